"""What all of our queues on RQ have in common: ids only, as JSON, and whether an entry will still come to something."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from adapters.queue_errors import translate

SERIALIZER = "json"
"""RQ's own choice is pickle: who can write to the queue could then run anything."""
ANSWER_S = 5.0
FAILURE_TTL_S = 60
REMEMBERED = 1000
"""Entries whose signs of life a watch remembers: those it was asked for last."""


@contextmanager
def answered() -> Iterator[None]:
    """Raise `StoreUnavailable` for whatever the queue's server does wrong."""
    try:
        yield
    except RedisError as error:
        raise translate(error) from error


def find_entry(entry_id: str, connection: Redis) -> Job | None:
    """Return what RQ knows of one entry."""
    try:
        return Job.fetch(entry_id, connection=connection, serializer=SERIALIZER)
    except NoSuchJobError:
        return None


class EntryWatch:
    """Tells which entries will still come to something.

    Who has an entry says so again and again, by a clock that may differ from ours: what counts is that it says
    something new.
    """

    def __init__(self, stale_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_s, self._clock = stale_s, clock
        self._signs: dict[str, tuple[datetime | None, float]] = {}
        """By entry, the last sign of who has it, and since when we know that sign."""

    def is_alive(self, entry: Job) -> bool:
        """Tell whether an entry stands in line, or who has it gave a new sign in the last ``stale_s`` seconds."""
        match entry.get_status(refresh=False):
            case JobStatus.QUEUED:
                return entry.get_position() is not None
            case JobStatus.STARTED:
                return self._clock() - self._note(entry.id, entry.last_heartbeat) < self._stale_s
        return False

    def _note(self, entry_id: str, sign: datetime | None) -> float:
        """Return since when a sign of life is known."""
        before, since = self._signs.pop(entry_id, (None, None))
        if since is None or sign != before:
            since = self._clock()
        self._signs[entry_id] = sign, since
        if len(self._signs) > REMEMBERED:
            del self._signs[next(iter(self._signs))]
        return since
