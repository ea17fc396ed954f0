"""The queue on Valkey or Redis, by RQ: what hands a waiting job to a worker.

RQ carries ids only. Which job is next, whether it runs, and who runs it, is decided by the jobs table; losing all of
this loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from contextlib import suppress

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus

from adapters.rq_entries import ANSWER_S, FAILURE_TTL_S, SERIALIZER, EntryWatch, answered, find_entry

QUEUE_NAME = "videos"
TASK = "jobs.tasks.process_job"
"""The one function that is called for a job."""

STALE_S = 30
"""A job that RQ calls running and that nobody has looked at for so long is lost."""


def check_queue_address(url: str) -> None:
    """Raise `ValueError` with a sentence for an address that no queue can have; nothing is asked of the queue."""
    try:
        with Redis.from_url(url) as client:
            client.connection_pool.make_connection()
    except (ValueError, TypeError, RedisError) as error:
        raise ValueError(
            "REDIS_URL can't be read: it must be such as rediss://user:password@host:6379/0, with signs like @, / and "
            "# in a password as %40, %2F and %23, and options that redis-py knows, such as ?ssl_ca_certs=/path/ca.pem."
        ) from error


class RqQueue:
    """The `Queue` port over one RQ queue."""

    def __init__(self, url: str) -> None:
        self._connection = Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
        self._queue = Queue(QUEUE_NAME, connection=self._connection, serializer=SERIALIZER)
        self._watch = EntryWatch(STALE_S)

    def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:
        """Hand a job to the workers; doing it again while it waits or starts changes nothing."""
        with answered():
            try:
                self._add(job_id, attempt, timeout_s)
            except DuplicateJobError:
                entry = self._find(job_id, attempt)
                if entry is None or not self._watch.is_alive(entry):
                    if entry is not None:
                        entry.delete()
                    with suppress(DuplicateJobError):  # another recovery was quicker
                        self._add(job_id, attempt, timeout_s)

    def find_missing(self, jobs: Iterable[tuple[str, int]]) -> Set[tuple[str, int]]:
        """Return those of the jobs, given with their attempts, that do not stand in line: one question for all."""
        with answered():
            in_line = set(self._queue.job_ids)
        return {(job_id, attempt) for job_id, attempt in jobs if _entry_id(job_id, attempt) not in in_line}

    def forget(self, job_id: str, attempt: int) -> None:
        """Take a waiting job out of the queue; one that runs is left to its worker."""
        with answered():
            entry = self._find(job_id, attempt)
            if entry is not None and entry.get_status(refresh=False) is JobStatus.QUEUED:
                entry.delete()

    def check(self) -> str:
        """Return how many jobs wait. Raises `StoreUnavailable`."""
        with answered():
            waiting = self._queue.count
        return "Nothing waits." if waiting == 0 else f"{waiting} {'job waits' if waiting == 1 else 'jobs wait'}."

    def _add(self, job_id: str, attempt: int, timeout_s: int) -> None:
        self._queue.enqueue_call(
            TASK,
            args=(job_id,),
            timeout=timeout_s,
            job_id=_entry_id(job_id, attempt),
            unique=True,
            result_ttl=0,
            failure_ttl=FAILURE_TTL_S,
        )

    def _find(self, job_id: str, attempt: int) -> Job | None:
        return find_entry(_entry_id(job_id, attempt), self._connection)


def _entry_id(job_id: str, attempt: int) -> str:
    return f"{job_id}-{attempt}"
