"""What all of our queues on RQ have in common: ids only, as JSON, and whether an entry will still come to something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from adapters.queue_errors import translate

SERIALIZER = "json"
"""RQ's own choice is pickle: who can write to the queue could then run anything."""
ANSWER_S = 5.0
FAILURE_TTL_S = 60


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


def is_alive(entry: Job, *, stale_s: float) -> bool:
    """Tell whether an entry stands in line, or a worker has looked after it in the last ``stale_s`` seconds."""
    match entry.get_status(refresh=False):
        case JobStatus.QUEUED:
            return entry.get_position() is not None
        case JobStatus.STARTED:
            seen = entry.last_heartbeat
            return seen is not None and datetime.now(UTC) - seen.replace(tzinfo=UTC) < timedelta(seconds=stale_s)
    return False
