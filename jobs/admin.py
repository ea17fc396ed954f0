"""What an administrator sees: everybody's jobs without their content, failures, and the health of each part."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from jobs.errors import DomainError, Forbidden, NotFound
from jobs.models import HealthPart, JobStatus, Limits, Page, ProcessingJob, User, WorkerInfo
from jobs.ports import Ports, Totals
from jobs.roles import is_admin, require_admin

logger = logging.getLogger(__name__)

ALIVE_S = 35.0
"""A worker says every ten seconds that it is there; after three it did not, it is not."""
CHECK_S = 4.0
"""A part that takes longer to answer does not work."""
READINESS_S = 2.0
"""How long an answer to an outside probe serves for the next one."""
LOW_DISK_BYTES = 5_000_000_000

NAMES = {
    "database": "Database",
    "files": "Files",
    "queue": "Queue",
    "workers": "Workers",
    "tools": "Tools",
    "weights": "Speech weights",
    "disk": "Disk",
}
READINESS = ("database", "files", "queue", "workers", "weights")

_MENDED_BY = {
    "database": "The database does not answer. Check that the data folder is there, can be written and is not full.",
    "files": "Files can't be written or read. Check that the data folder can be written and is not full.",
    "queue": "The queue does not answer. Start the product again; if REDIS_URL is set, check that server.",
    "workers": "Nobody can tell while the database does not answer.",
    "tools": "Nobody can tell while no worker is running.",
    "weights": "Nobody can tell while no worker is running.",
    "disk": "The free room can't be read. Check that the data folder is there.",
}
_NO_WORKER = "No worker is running, so videos wait. Start the product again, or run `make worker`."


class _Fault(Exception):
    """A part does not work; the text is the sentence that mends it."""


class AdminService:
    """Every method takes the acting person first and raises `Forbidden` unless that is an administrator."""

    def __init__(self, ports: Ports, limits: Limits) -> None:
        self._ports, self._limits = ports, limits
        self._pool = ThreadPoolExecutor(max_workers=2 * len(NAMES), thread_name_prefix="health")
        self._ready: tuple[float, Sequence[HealthPart]] = (-READINESS_S, ())
        self._ready_lock = threading.Lock()

    def get_totals(self, actor: User) -> Totals:
        """Return today's numbers (UTC)."""
        require_admin(self._ports, actor)
        today = self._ports.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return self._ports.database.jobs.totals(today)

    def list_jobs(
        self, actor: User, *, states: frozenset[JobStatus] = frozenset(), offset: int = 0, limit: int = 50
    ) -> Page[tuple[ProcessingJob, str]]:
        """Return everybody's jobs, newest first, each with its owner's username; never a title."""
        require_admin(self._ports, actor)
        page = self._ports.database.jobs.list_all(states=states, offset=offset, limit=limit)
        names: dict[str, str] = {}
        for job in page.items:
            if job.user_id not in names:
                owner = self._ports.database.users.get(job.user_id)
                names[job.user_id] = owner.username if owner else ""
        return Page(items=tuple((job, names[job.user_id]) for job in page.items), total=page.total)

    def list_workers(self, actor: User) -> Sequence[WorkerInfo]:
        """Return who is there to work."""
        require_admin(self._ports, actor)
        return self._ports.database.workers.list_alive(within_s=ALIVE_S)

    def cancel_job(self, actor: User, job_id: str) -> None:
        """Stop anybody's job. Raises `NotFound`."""
        require_admin(self._ports, actor)
        found = self._ports.database.jobs.find(job_id)
        if found is None:
            raise NotFound
        job, _ = found
        self._ports.database.jobs.request_cancel(job.user_id, job_id)
        logger.info("stopped by %s", actor.username, extra={"job_id": job_id, "user_id": job.user_id})
        try:
            self._ports.queue.forget(job_id, job.attempt)
        except DomainError as error:  # who finds it in the queue sees that it is cancelled
            logger.warning("the queue keeps a cancelled job: %s", error.detail)

    def check_health(self, actor: User) -> Sequence[HealthPart]:
        """Check every part now, at the same time; never raises for a part that does not work."""
        if not is_admin(actor):  # not asked of the database, which may be what does not work
            raise Forbidden
        return self._check(tuple(NAMES))

    def check_readiness(self) -> Sequence[HealthPart]:
        """Return the parts an outside probe asks for: database, files, queue, workers, weights. Public.

        An answer serves everybody who asks within two seconds.
        """
        with self._ready_lock:
            checked, parts = self._ready
            if time.monotonic() - checked >= READINESS_S:
                parts = self._check(READINESS)
                self._ready = time.monotonic(), parts
        return parts

    def _check(self, ids: Sequence[str]) -> Sequence[HealthPart]:
        checks: Mapping[str, Callable[[], str]] = {
            "database": self._ports.database.check,
            "files": self._ports.files.check,
            "queue": self._ports.queue.check,
            "workers": self._check_workers,
            "tools": self._check_tools,
            "weights": self._check_weights,
            "disk": self._check_disk,
        }
        end = time.monotonic() + CHECK_S
        answers = {part: self._pool.submit(checks[part]) for part in ids}
        return tuple(self._judge(part, answer, max(0.0, end - time.monotonic())) for part, answer in answers.items())

    def _judge(self, part: str, answer: Future[str], wait_s: float) -> HealthPart:
        ok = False
        try:
            text, ok = answer.result(wait_s), True
        except _Fault as fault:
            text = str(fault)
        except FutureTimeout:
            answer.cancel()
            logger.warning("%s: no answer within %.0f s", part, CHECK_S)
            text = _MENDED_BY[part]
        except Exception as error:  # noqa: BLE001 - a check that breaks says that its part does not work
            logger.warning("%s does not work: %s %s", part, error, getattr(error, "detail", ""))
            text = _MENDED_BY[part]
        return HealthPart(id=part, name=NAMES[part], ok=ok, text=text, checked_at=self._ports.now())

    def _list_workers(self, otherwise: str) -> Sequence[WorkerInfo]:
        workers = self._ports.database.workers.list_alive(within_s=ALIVE_S)
        if not workers:
            raise _Fault(otherwise)
        return workers

    def _check_workers(self) -> str:
        count = len(self._list_workers(_NO_WORKER))
        return "1 is running." if count == 1 else f"{count} are running."

    def _check_tools(self) -> str:
        workers = self._list_workers(_MENDED_BY["tools"])
        for worker in workers:
            missing = worker.info.get("missing")
            if isinstance(missing, list) and missing:
                raise _Fault(
                    f"The ffmpeg on {worker.host} lacks {', '.join(map(str, missing))}. "
                    "Leave FFMPEG_BINARY unset to use ours, then start again."
                )
        return "; ".join(sorted({str(worker.info.get("ffmpeg") or "ffmpeg") for worker in workers})) + "."

    def _check_weights(self) -> str:
        workers = self._list_workers(_MENDED_BY["weights"])
        for worker in workers:
            if not worker.info.get("weights"):
                raise _Fault(  # anybody may read this, so it names no machine
                    "The speech weights are missing where a worker runs. Run `make weights` there, then start again."
                )
        return "; ".join(sorted({str(worker.info.get("model") or "") for worker in workers})) + "."

    def _check_disk(self) -> str:
        free = self._ports.files.free_bytes()
        if free is None:
            return "There is no end to it."
        if free < LOW_DISK_BYTES:
            raise _Fault(f"Only {free / 1e9:.1f} GB are free. Delete videos, or give the data folder more room.")
        return f"{free / 1e9:.0f} GB are free."
