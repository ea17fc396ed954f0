"""The heart of a running job: it keeps the lease, tells how far the run is, and hears when it has to stop."""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
import time

from jobs.errors import StoreUnavailable
from jobs.models import ProcessingJob
from jobs.ports import Jobs
from pipeline.models import Progress, Stage

logger = logging.getLogger(__name__)

LEASE_S = 60.0
BEAT_S = 2.0
"""Between two beats; each prolongs the lease, tells the progress and hears whether the person wants it to stop."""
GRACE_S = 20.0
"""A run that was told to stop and still goes on after this time is killed with its children."""


class Watch:
    """Beats for a running job from a thread of its own, and knows why the run has to stop."""

    def __init__(self, jobs: Jobs, job: ProcessingJob, worker_id: str) -> None:
        self.is_cancelled = False
        """The person wants it to stop."""
        self.is_lost = False
        """The lease went to somebody else, or the job is gone."""
        self._jobs, self._job, self._worker_id = jobs, job, worker_id
        self._stage, self._progress = Stage.PROBE.value, 0.0
        self._news, self._over = threading.Event(), threading.Event()
        self._told_at: float | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), name="beat", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._news.set()
        self._thread.join()

    def should_stop(self) -> bool:
        """Tell whether the run has to end now."""
        return self.is_cancelled or self.is_lost

    def follow(self, progress: Progress) -> None:
        """Take note of how far the run is; a new stage is told at once."""
        self._progress = progress.overall
        if progress.stage.value != self._stage:
            self._stage = progress.stage.value
            self._news.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._beat()
            if self.should_stop():
                self._told_at = self._told_at or time.monotonic()
                if time.monotonic() - self._told_at > GRACE_S:
                    _kill_ourselves()
            self._news.wait(BEAT_S)
            self._news.clear()

    def _beat(self) -> None:
        if self.is_lost:
            return
        try:
            answer = self._jobs.beat(
                self._job.id, self._worker_id, stage=self._stage, progress=self._progress, lease_s=LEASE_S
            )
        except StoreUnavailable as error:  # whoever took the job meanwhile is heard of with the next answer
            logger.warning("no beat: %s", error.detail)
            return
        self.is_lost = answer is None
        self.is_cancelled = self.is_cancelled or bool(answer)


def _kill_ourselves() -> None:
    """Kill this job's process with all its children; the worker sees to the rest."""
    logger.error("the run does not stop, so it is killed")
    if os.getpgrp() == os.getpid():  # never the group of somebody who merely called us
        os.killpg(os.getpgrp(), signal.SIGKILL)
