"""A worker: takes waiting jobs from the queue, one at a time (`python -m jobs.worker`, ``make worker``).

The composition root of the worker. Its own process stays small and single-threaded: it forks off a process for each
job (`jobs.tasks`), gives a job back at once when that process dies, and looks after lost jobs meanwhile. A stop kills
the running job, which waits again and goes on with the transcript it had when a worker starts next.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapters.rq_queue import run_worker
from config import Settings, SettingsError, load_settings
from jobs import tasks
from jobs.errors import DomainError
from jobs.log import about, configure_logging
from jobs.models import JobStatus, Json, ProcessingJob, WorkerInfo
from jobs.outside import make_ports, read_limits, read_machine_options
from jobs.ports import Ports
from jobs.recovery import Recovery
from jobs.storage import StorageManager
from jobs.workspace import tidy_folders
from pipeline.errors import PipelineError
from pipeline.ffmpeg import find_ffmpeg, run_tool
from pipeline.options import PipelineOptions
from pipeline.weights import WeightsUnavailable, find_weights

logger = logging.getLogger("jobs.worker")  # also where it is the main program

UNUSABLE = 78
"""Exit status when this machine or its settings have to be mended first: starting again changes nothing."""
BEAT_S = 10.0
RECOVERY_S = 15.0
_NEEDED = ("encoder=libx264", "encoder=aac", "filter=ass", "filter=zscale")
_LACKING = re.compile(r"is not recognized|Unknown filter")


def main() -> int:
    """Work until told to stop; 0 then, 78 with a sentence when this machine can't work."""
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level or "INFO", as_json=settings.log_format == "json")
        worker = JobWorker(settings)
    except (SettingsError, PipelineError, DomainError) as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    worker.run()
    return 0


def work_root_of(settings: Settings) -> Path:
    """Return where this machine's jobs have their work folders."""
    return settings.data_dir / "work"


class JobWorker:
    """One worker process. Raises `PipelineError` when weights or ffmpeg are missing."""

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
        self._ports: Ports | None = None
        self._recovery: Recovery | None = None

    def run(self) -> None:
        """Take jobs until SIGTERM or SIGINT."""
        tasks.install(
            tasks.Machine(
                worker_id=self.id,
                make_ports=self._make_ports,
                options=self._options,
                work_root=self._work_root,
                parent_pid=os.getpid(),
            )
        )
        logger.info("worker %s is ready", self.id)
        try:
            run_worker(self._settings.redis_url, self.id, on_tick=self._tick, on_begin=self._begin, on_end=self._end)
        finally:
            self._leave()
            logger.info("worker %s stopped", self.id)

    def _make_ports(self) -> Ports:
        return make_ports(self._settings, self._options)

    @contextmanager
    def _opened(self, purpose: str) -> Iterator[Ports]:
        """Yield ports that are closed again before the next fork; what is out of reach is tried again later."""
        try:
            self._ports = self._ports or self._make_ports()
            try:
                yield self._ports
            finally:
                self._ports.database.close()
        except DomainError as error:
            logger.warning("%s has to be tried again: %s %s", purpose, error.message, error.detail)
        except Exception:  # a worker outlives whatever goes wrong beside its jobs
            logger.exception("%s has to be tried again", purpose)

    def _tick(self) -> None:
        """Say that we are there, and put right what is lost; called every few seconds."""
        now = time.monotonic()
        if now >= self._beat_due:
            self._beat_due = now + BEAT_S
            with self._opened("the worker's sign of life") as ports:
                self._beat(ports)
        if now >= self._recovery_due:
            self._recovery_due = now + RECOVERY_S
            with self._opened("recovery") as ports:
                self._hand_over(ports, tidy_folders(self._work_root, ports.database.jobs))
                self._recovery_over(ports).recover_jobs()

    def _begin(self, job_id: str) -> None:
        self._job_id, self._beat_due = job_id, 0.0

    def _end(self, job_id: str, was_stopped: bool) -> None:
        """The process that had a job is dead: unless it said how the job ended, give it back and on, now."""
        self._job_id, self._beat_due = "", 0.0
        with about(job_id=job_id), self._opened("giving a job back") as ports:
            reason = "worker_stopped" if was_stopped else "process_died"
            job = ports.database.jobs.release(job_id, self.id, reason=reason, counts=not was_stopped)
            if job is not None:
                ended = "was stopped" if was_stopped else "died"
                logger.log(
                    logging.INFO if was_stopped else logging.WARNING,
                    "the process of the job %s; the job is %s",
                    ended,
                    job.status.value,
                )
            self._hand_over(ports, [] if job is None else [job])
            tidy_folders(self._work_root, ports.database.jobs)

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
                info={**self._info, "disk_free_bytes": free, **({"job_id": self._job_id} if self._job_id else {})},
            )
        )

    def _leave(self) -> None:
        with self._opened("signing off") as ports:
            ports.database.workers.remove(self.id)


def describe_machine(options: PipelineOptions) -> Json:
    """Return what the administrator sees of a worker. Raises `PipelineError` when weights or ffmpeg are missing."""
    weights = find_weights(options.model, options.model_dir, hub=_no_hub)
    ffmpeg = find_ffmpeg(options.ffmpeg)
    version = _ask(ffmpeg, "-version").partition("\n")[0].removeprefix("ffmpeg version ").partition(" ")[0]
    return {
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "ffmpeg": f"ffmpeg {version}",
        "missing": [part.partition("=")[2] for part in _NEEDED if _LACKING.search(_ask(ffmpeg, "-h", part))],
        "model": f"{options.speech_engine.value} {Path(options.model).name}",
        "weights": weights.is_dir(),
    }


def _ask(ffmpeg: Path, *question: str) -> str:
    return run_tool([str(ffmpeg), "-hide_banner", *question], timeout_s=30.0, cwd=Path.cwd())


def _no_hub(_model: str, _folder: Path) -> None:
    raise WeightsUnavailable("a worker fetches nothing")


if __name__ == "__main__":
    sys.exit(main())
