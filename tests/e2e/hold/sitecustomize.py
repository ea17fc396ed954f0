"""Loaded by every Python that has this folder on its path: stops a job at a stage, so that a test can do its worst.

The file ``stage`` in the folder that HOLD_DIR names says where. Who gets there first takes it away, leaves its process
id in ``held``, and goes on when there is a file ``go``, which it takes away too, or when the person cancels.

LEASE_S makes leases shorter, so that a test sees one run out.
"""

import os
import time
from pathlib import Path

from pipeline.models import RunContext, Stage

_FOLDER = Path(os.environ["HOLD_DIR"])
_report = RunContext.report


def _report_and_hold(self: RunContext, stage: Stage, fraction: float) -> None:
    _report(self, stage, fraction)
    if stage is Stage.RENDER and fraction == 0:
        return  # ffmpeg should be at work
    try:
        wanted = (_FOLDER / "stage").read_text("utf-8")
        if wanted != stage.value:
            return
        (_FOLDER / "stage").unlink()
    except FileNotFoundError:
        return
    part = _FOLDER / "held.part"
    part.write_text(str(os.getpid()), "utf-8")
    part.rename(_FOLDER / "held")
    while not (_FOLDER / "go").exists():
        time.sleep(0.02)
        self.check_cancelled()
    (_FOLDER / "go").unlink()


RunContext.report = _report_and_hold  # type: ignore[method-assign]

if "LEASE_S" in os.environ:
    import jobs.watch  # before any other module takes its length from there

    jobs.watch.LEASE_S = float(os.environ["LEASE_S"])
