"""A worker: takes waiting jobs from the queue, one at a time (`python -m jobs.worker`, ``make worker``).

The composition root of the worker. Its own process stays small and single-threaded: it forks off a process for each
job (`jobs.tasks`), gives a job back at once when that process dies, and looks after lost jobs meanwhile. A stop lets
the running job end if it does so soon (DRAIN_S); else it waits again and goes on, with the transcript it had, when a
worker takes it next.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapters.rq_worker import run_worker
from config import UNUSABLE, Settings, SettingsError, load_settings
from jobs import machine
from jobs.equipment import describe_machine
from jobs.errors import DatabaseUnusable, DomainError, StoreUnavailable
from jobs.health import explain_closed_store
from jobs.log import about, configure_logging
from jobs.models import JobStatus, ProcessingJob, WorkerInfo
from jobs.needs import Lack, Unsuitable, find_lack, require_owner
from jobs.outside import identify, make_ports, make_queue_owner, read_limits, read_machine_options
from jobs.ports import Ports
from jobs.recovery import Recovery
from jobs.storage import StorageManager
from jobs.workspace import tidy_folders
from pipeline.errors import PipelineError

logger = logging.getLogger("jobs.worker")  # also where it is the main program

BEAT_S = 10.0
RECOVERY_S = 15.0
FIRST_IN_LINE = 50
"""So many are asked for at a time: what other workers take this moment is passed over."""
LOOK_S = 1.0
"""Between two looks at what a worker waits for before its first job."""
PATIENCE_S = 3.0
"""What is not there for so long is told: at the start of a whole product all of it starts together."""


def main() -> int:
    """Work until told to stop; 0 then, 78 with a sentence when this machine can't work."""
    for number in (signal.SIGINT, signal.SIGTERM):  # until there are jobs to look after
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level or "INFO", as_json=settings.log_format == "json")
        JobWorker(settings).run()
    except (SettingsError, PipelineError, DomainError, Unsuitable) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    return 0


def work_root_of(settings: Settings) -> Path:
    """Return where this machine's jobs have their work folders."""
    return settings.data_dir / "work"


class JobWorker:
    """One worker process. Raises `PipelineError` when weights or ffmpeg are missing and can't be had."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = read_machine_options(settings)
        self._work_root = work_root_of(settings)
        self._work_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._info = describe_machine(self._options)
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._started_at = datetime.now(UTC)
        self._beat_due, self._recovery_due = 0.0, 0.0
        self._job_id = ""
        self._is_draining = False
        self._told: dict[str, str] = {}
        """What the log says is wrong with what has to be done again and again."""
        self._waits_for = ""
        """Id of the part without which the first job is not begun yet."""
        self._refusal = ""
        """Why it stops although nobody told it to."""
        owner = make_queue_owner(settings)
        self._read_owner = owner.read if owner is not None else None
        self._ports: Ports | None = None
        self._recovery: Recovery | None = None

    def run(self) -> None:
        """Take jobs until SIGTERM or SIGINT. Raises `Unsuitable` when its settings are another product's."""
        machine.install(
            machine.Machine(
                worker_id=self.id,
                make_ports=self._make_ports,
                options=self._options,
                work_root=self._work_root,
                parent_pid=os.getpid(),
            )
        )
        try:
            self._wait_for_needs()
            logger.info("worker %s is ready", self.id)
            run_worker(
                self._settings.redis_url,
                self.id,
                on_tick=self._tick,
                on_begin=self._begin,
                on_end=self._end,
                choose=self._choose,
                drain_s=self._settings.drain_s,
                on_drain=self._drain,
            )
        finally:
            self._leave()
            logger.info("worker %s stopped", self.id)
        if self._refusal:
            raise Unsuitable(self._refusal)

    def _wait_for_needs(self) -> None:
        """Wait until database, queue and files are there; say once what is not."""
        began, told = time.monotonic(), ""
        while (lack := self._find_lack()) is not None:
            self._waits_for, sentence = lack
            if sentence != told and time.monotonic() - began > PATIENCE_S:
                told = sentence
                logger.warning("waiting: %s", sentence)
            if self._ports is not None and self._waits_for != "database":
                self._tell_life()
            time.sleep(LOOK_S)
        self._waits_for, self._beat_due = "", 0.0

    def _find_lack(self) -> Lack | None:
        try:
            self._ports = self._ports or self._make_ports()
        except DatabaseUnusable as error:
            raise Unsuitable(error.message) from error
        except DomainError as error:
            return explain_closed_store(error)
        ports = self._ports
        try:
            return find_lack(
                ports, identify=lambda: identify(self._settings, ports.database), read_owner=self._read_owner
            )
        finally:
            ports.database.close()

    def _make_ports(self) -> Ports:
        return make_ports(self._settings, self._options)

    @contextmanager
    def _opened(self, purpose: str) -> Iterator[Ports]:
        """Yield ports that are closed again before the next fork; what is out of reach is tried again later."""
        ports = self._ports
        assert ports is not None, "what a worker needs is looked at first"
        try:
            try:
                yield ports
            finally:
                ports.database.close()
            self._told.pop(purpose, None)
        except DomainError as error:
            is_news = self._told.get(purpose) != error.detail
            self._told[purpose] = error.detail
            level = logging.WARNING if is_news else logging.DEBUG
            logger.log(level, "%s has to be tried again: %s", purpose, error.remedy or error.detail or error.message)
        except Exception:  # a worker outlives whatever goes wrong beside its jobs
            logger.exception("%s has to be tried again", purpose)

    def _tick(self) -> None:
        """Say that we are there, and put right what is lost; called every few seconds."""
        self._tell_life()
        if time.monotonic() >= self._recovery_due:
            self._recovery_due = time.monotonic() + RECOVERY_S
            with self._opened("the look at whose queue it is") as ports:
                self._check_owner(ports)
            with self._opened("recovery") as ports:
                self._hand_over(ports, tidy_folders(self._work_root, ports.database.jobs))
                self._recovery_over(ports).recover_jobs()

    def _tell_life(self) -> None:
        if time.monotonic() >= self._beat_due:
            self._beat_due = time.monotonic() + BEAT_S
            with self._opened("the worker's sign of life") as ports:
                self._beat(ports)

    def _check_owner(self, ports: Ports) -> None:
        """Stop, as if told to, when another product has taken the queue meanwhile."""
        if self._read_owner is None or self._refusal:
            return
        try:
            require_owner(identify(self._settings, ports.database), self._read_owner())
        except StoreUnavailable as error:
            logger.debug("nobody says whose queue it is: %s", error.detail)
        except Unsuitable as error:
            self._refusal = str(error)
            signal.raise_signal(signal.SIGTERM)

    def _choose(self) -> Sequence[tuple[str, int]]:
        """Return which jobs are first in line, with their attempts; none when the database does not say."""
        with self._opened("asking who is first in line") as ports:
            return [(job.id, job.attempt) for job, _ in ports.database.jobs.list_queued(limit=FIRST_IN_LINE)]
        return ()

    def _begin(self, job_id: str) -> None:
        self._job_id, self._beat_due = job_id, 0.0

    def _drain(self) -> None:
        self._is_draining, self._beat_due = True, 0.0
        logger.info("told to stop: no new video is begun, and this one has %d s to end", self._settings.drain_s)

    def _end(self, job_id: str, was_stopped: bool) -> None:
        """The process that had a job is dead: unless it said how the job ended, give it back and on, now."""
        self._job_id, self._beat_due = "", 0.0
        with about(job_id=job_id), self._opened("giving a job back") as ports:
            reason = "worker_stopped" if was_stopped else "process_died"
            job = ports.database.jobs.release(job_id, self.id, reason=reason, counts=not was_stopped)
            if job is not None:
                is_meant = was_stopped or job.status is JobStatus.CANCELLED
                ended = "was stopped" if is_meant else "died"
                level = logging.INFO if is_meant else logging.WARNING
                logger.log(level, "the process of the job %s; the job is %s", ended, job.status.value)
            self._hand_over(ports, [] if job is None else [job])
            tidy_folders(self._work_root, ports.database.jobs)
            if job is not None and job.status.is_final:
                StorageManager(ports.files).delete_attempts(job.user_id, job.video_id, job.id, but=job.stored_attempt)

    def _hand_over(self, ports: Ports, jobs: list[ProcessingJob]) -> None:
        for job in jobs:
            if job.status is JobStatus.QUEUED:
                self._recovery_over(ports).enqueue(job)

    def _recovery_over(self, ports: Ports) -> Recovery:
        self._recovery = self._recovery or Recovery(ports, StorageManager(ports.files), read_limits(self._settings))
        return self._recovery

    def _beat(self, ports: Ports) -> None:
        free = shutil.disk_usage(self._work_root).free
        ports.database.workers.beat(
            WorkerInfo(
                id=self.id,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=self._started_at,
                seen_at=datetime.now(UTC),
                info={
                    **self._info,
                    "disk_free_bytes": free,
                    **({"job_id": self._job_id} if self._job_id else {}),
                    **({"is_draining": True} if self._is_draining else {}),
                    **({"waits_for": self._waits_for} if self._waits_for else {}),
                },
            )
        )

    def _leave(self) -> None:
        if self._ports is None:
            return
        with self._opened("signing off") as ports:
            ports.database.workers.remove(self.id)


if __name__ == "__main__":
    sys.exit(main())
