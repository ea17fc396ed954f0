"""What an administrator sees: everybody's jobs without their content, failures, and the health of each part."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from jobs.errors import DomainError, Forbidden, NotFound
from jobs.health import ALIVE_S, HealthChecks
from jobs.models import HealthPart, JobStatus, Limits, Page, ProcessingJob, User, WorkerInfo
from jobs.ports import Passwords, Ports, Totals
from jobs.roles import is_admin, require_admin

logger = logging.getLogger(__name__)

READINESS_S = 2.0
"""How long an answer to an outside probe serves for the next one."""
READINESS = ("database", "files", "queue", "workers", "weights")


class AdminService:
    """Every method takes the acting person first and raises `Forbidden` unless that is an administrator."""

    def __init__(self, ports: Ports, limits: Limits, passwords: Passwords | None = None) -> None:
        self._ports, self._limits = ports, limits
        self._health = HealthChecks(ports, passwords)
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
        """Return how every part is; never raises for one that does not work."""
        if not is_admin(actor):  # not asked of the database, which may be what does not work
            raise Forbidden
        return self._health.check(self._health.parts)

    def check_readiness(self) -> Sequence[HealthPart]:
        """Return the parts an outside probe asks for: database, files, queue, workers, weights. Public.

        An answer serves everybody who asks within two seconds.
        """
        with self._ready_lock:
            checked, parts = self._ready
            if time.monotonic() - checked >= READINESS_S:
                parts = self._health.check(READINESS)
                self._ready = time.monotonic(), parts
        return parts
