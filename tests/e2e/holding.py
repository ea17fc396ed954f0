"""A job that stands still at a stage until a test lets it go on (`tests/e2e/hold` is loaded by its processes)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from config import PROJECT_ROOT
from pipeline.models import Stage
from tests.product.machine import wait_for


@dataclass(frozen=True, slots=True)
class Hold:
    """Where a test and the processes of the jobs meet: an empty folder."""

    folder: Path
    _given_up: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    @property
    def environ(self) -> Mapping[str, str]:
        """What the worker is started with."""
        path = f"{PROJECT_ROOT / 'tests' / 'e2e' / 'hold'}:{PROJECT_ROOT}"
        return {"HOLD_DIR": str(self.folder), "PYTHONPATH": path}

    def at(self, stage: Stage) -> None:
        """Have the next job that gets there stand still; what was asked for before is forgotten."""
        for name in ("held", "go"):
            (self.folder / name).unlink(missing_ok=True)
        part = self.folder / "stage.part"
        part.write_text(stage.value, "utf-8")
        part.rename(self.folder / "stage")

    def wait(self) -> psutil.Process:
        """Wait until a job stands still, and return its process. Raises `AssertionError`, after `give_up` at once."""
        held = self.folder / "held"
        wait_for(lambda: held.exists() or self._given_up.is_set(), label="a job that stands still")
        assert held.exists(), "it is waited for no more"
        return psutil.Process(int(held.read_text("utf-8")))

    def let_go(self, until: Stage | None = None) -> None:
        """Let the job go on: to its end, or to another stage."""
        if until:
            self.at(until)
        (self.folder / "go").touch()

    def give_up(self) -> None:
        """End every `wait`: the test has failed."""
        self._given_up.set()
