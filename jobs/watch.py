"""The heart of a running job: it keeps the lease, tells how far the run is, and hears when it has to stop.

A part of a job has one too, which only listens: the lease is that of the process which has the job.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from typing import Self

from jobs.errors import StoreUnavailable
from jobs.models import JobStatus, ProcessingJob
from jobs.ports import Jobs
from pipeline.models import Progress, Stage

logger = logging.getLogger(__name__)

LEASE_S = 60.0
BEAT_S = 2.0
"""Between two beats; each prolongs the lease, tells the progress and hears whether the person wants it to stop."""
GRACE_S = 20.0
"""A run that was told to stop and still goes on after this time is killed with its children."""
GRACE_IN_SPEECH_S = 1.5
"""The same for a person's cancel while speech is written down: a window can't be interrupted, and takes seconds.
Nothing but what was written before lies about then."""
LOOK_S = 0.5
"""Between two looks at a run that was told to stop."""


class _Heart(ABC):
    """Beats from a thread of its own, until it hears that the run has to stop; a run that does not is killed."""

    def __init__(self) -> None:
        self._news, self._over = threading.Event(), threading.Event()
        self._told_at: float | None = None
        self._has_ended = False
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), name="beat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._news.set()
        self._thread.join()

    def stand_down(self) -> None:
        """The run has ended: nothing kills it any more while its end is written down and cleared up."""
        self._has_ended = True

    @abstractmethod
    def should_stop(self) -> bool:
        """Tell whether the run has to end now."""

    @abstractmethod
    def _beat(self) -> None:
        """Ask, and tell, what there is to know now."""

    def _is_in_speech(self) -> bool:
        return False

    def _run(self) -> None:
        while not self._over.is_set():
            self._beat()
            if self.should_stop() and not self._has_ended:
                self._told_at = self._told_at or time.monotonic()
                waited_s = time.monotonic() - self._told_at
                if self._is_in_speech() and waited_s > GRACE_IN_SPEECH_S:
                    logger.info("cancelled within a window of speech, so the process ends")
                    _kill_ourselves()
                elif waited_s > GRACE_S:
                    logger.error("the run does not stop, so it is killed")
                    _kill_ourselves()
            self._news.wait(BEAT_S if self._told_at is None else LOOK_S)
            self._news.clear()


class Watch(_Heart):
    """Beats for a running job, and knows why the run has to stop."""

    def __init__(self, jobs: Jobs, job: ProcessingJob, worker_id: str) -> None:
        super().__init__()
        self.is_cancelled = False
        """The person wants it to stop."""
        self.is_lost = False
        """The lease went to somebody else, or the job is gone."""
        self._jobs, self._job, self._worker_id = jobs, job, worker_id
        self._stage, self._progress = Stage.PROBE.value, 0.0

    def should_stop(self) -> bool:
        """Tell whether the run has to end now."""
        return self.is_cancelled or self.is_lost

    def follow(self, progress: Progress) -> None:
        """Take note of how far the run is, which never goes back; a new stage is told at once."""
        self._progress = max(self._progress, progress.overall)
        if progress.stage.value != self._stage:
            self._stage = progress.stage.value
            self._news.set()

    def _is_in_speech(self) -> bool:
        return self.is_cancelled and self._stage == Stage.TRANSCRIBE.value

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


class PartWatch(_Heart):
    """Looks after the making of a part: it ends when nobody wants it any more."""

    def __init__(self, jobs: Jobs, job_id: str, attempt: int) -> None:
        super().__init__()
        self._jobs, self._job_id, self._attempt = jobs, job_id, attempt
        self._is_wanted = True

    def should_stop(self) -> bool:
        """Tell whether the run has to end now."""
        return not self._is_wanted

    def look(self) -> bool:
        """Ask the jobs table, now, whether the part is still wanted. Raises `StoreUnavailable`."""
        found = self._jobs.find(self._job_id)
        self._is_wanted = self._is_wanted and found is not None and is_wanted(found[0], self._attempt)
        return self._is_wanted

    def _beat(self) -> None:
        try:
            self.look()
        except StoreUnavailable as error:
            logger.warning("no answer about the job: %s", error.detail)


def is_wanted(job: ProcessingJob, attempt: int) -> bool:
    """Tell whether parts of that attempt at a job come to something."""
    return job.status is JobStatus.RUNNING and job.attempt == attempt and not job.cancel_requested


def _kill_ourselves() -> None:
    """Kill this process with all its children; the worker sees to the rest."""
    if os.getpgrp() == os.getpid():  # never the group of somebody who merely called us
        os.killpg(os.getpgrp(), signal.SIGKILL)
