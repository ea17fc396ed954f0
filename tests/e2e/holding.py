"""A job that stands still at a stage until a test lets it go on (`tests/e2e/hold` is loaded by its processes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config import PROJECT_ROOT
from pipeline.models import Stage
from tests.e2e.running import wait_for

HELD_S = 240.0
"""A job of less than a minute of video reaches any stage within, on a slow, busy machine too."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Where a test and the processes of the jobs meet: an empty folder."""

    folder: Path

    @property
    def environ(self) -> Mapping[str, str]:
        """What the worker is started with."""
        path = f"{PROJECT_ROOT / 'tests' / 'e2e' / 'hold'}:{PROJECT_ROOT}"
        return {"HOLD_DIR": str(self.folder), "PYTHONPATH": path}

    def at(self, stage: Stage) -> None:
        """Have the next job that gets there stand still."""
        (self.folder / "held").unlink(missing_ok=True)
        part = self.folder / "stage.part"
        part.write_text(stage.value, "utf-8")
        part.rename(self.folder / "stage")

    def wait(self) -> None:
        """Wait until a job stands still. Raises `AssertionError`."""
        assert wait_for(lambda: (self.folder / "held").exists(), HELD_S), "no job got there"

    def let_go(self, until: Stage | None = None) -> None:
        """Let the job go on: to its end, or to another stage."""
        if until:
            self.at(until)
        (self.folder / "go").touch()
