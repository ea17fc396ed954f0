"""Loaded by every Python that has this folder on its path: short videos are shared out, and parts wait as a test says.

In the folder that SHARING_DIR names: ``together`` has who has the job wait, in each step, until a helper has made a
part. With the name of a step in ``hold`` the helper's next part of it after that leaves its process id in ``held`` and
waits until ``hold`` is gone, or the part is not wanted any more.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import jobs.crew
import jobs.helping
from jobs.parts import Part, make_part
from pipeline.models import RunContext
from pipeline.options import PipelineOptions

_FOLDER = Path(os.environ["SHARING_DIR"])
_make = jobs.crew.RqCrew.make


def _make_together(self: jobs.crew.RqCrew, part: Part, sound: Path | None, ctx: RunContext) -> Path:
    kind = part.name.partition("-")[0]
    while (_FOLDER / "together").exists() and not ((_FOLDER / kind).exists() and _is_held_if_wanted(kind)):
        time.sleep(0.02)
        self.check_cancelled()
    return _make(self, part, sound, ctx)


def _is_held_if_wanted(kind: str) -> bool:
    return _wanted() != kind or (_FOLDER / "held").exists()


def _make_part_or_wait(
    part: Part, options: PipelineOptions, ctx: RunContext, bring: Callable[[], Path]
) -> Path:  # fmt: skip
    kind = part.name.partition("-")[0]
    if _wanted() == kind and (_FOLDER / kind).exists():
        written = _FOLDER / "held.part"
        written.write_text(str(os.getpid()), "utf-8")
        written.rename(_FOLDER / "held")
        while _wanted() == kind:
            time.sleep(0.02)
            ctx.check_cancelled()
    made = make_part(part, options, ctx, bring)
    (_FOLDER / kind).touch()
    return made


def _wanted() -> str:
    try:
        return (_FOLDER / "hold").read_text("utf-8")
    except FileNotFoundError:
        return ""


jobs.crew.SHARED_FROM_MS = 1000
jobs.crew.LEAST_PARTS = 6
jobs.crew.RqCrew.least_windows = 1
jobs.crew.RqCrew.least_s = 2
jobs.crew.RqCrew.make = _make_together  # type: ignore[method-assign]
jobs.helping.make_part = _make_part_or_wait  # type: ignore[attr-defined]
