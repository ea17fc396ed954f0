"""Parts of long videos on Valkey or Redis, by RQ: offered to whichever worker has nothing else to do.

Only ids go through here. Losing all of it loses nothing: whoever offered a part makes it itself then.
"""

from __future__ import annotations

from contextlib import suppress

from redis import Redis
from rq import Queue
from rq.exceptions import DuplicateJobError

from adapters.rq_entries import ANSWER_S, FAILURE_TTL_S, SERIALIZER, EntryWatch, answered, find_entry

PARTS_QUEUE = "parts"
PART_TASK = "jobs.helping.process_part"
"""The one function that is called for a part."""

STALE_S = 10
"""A part that nobody has looked after for so long is lost; workers look every two seconds."""


class RqParts:
    """The `Parts` port over one RQ queue, beside that of whole videos and behind it."""

    def __init__(self, url: str) -> None:
        self._connection = Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
        self._queue = Queue(PARTS_QUEUE, connection=self._connection, serializer=SERIALIZER)
        self._watch = EntryWatch(STALE_S)

    def offer(self, job_id: str, attempt: int, name: str, *, timeout_s: int) -> None:
        """Hand a part to the workers; doing it again changes nothing."""
        with answered(), suppress(DuplicateJobError):
            self._queue.enqueue_call(
                PART_TASK,
                args=(job_id, attempt, name),
                timeout=timeout_s,
                job_id=_entry_id(job_id, attempt, name),
                unique=True,
                result_ttl=0,
                failure_ttl=FAILURE_TTL_S,
            )

    def take_back(self, job_id: str, attempt: int, name: str) -> bool:
        """Take a part that nobody has begun out of the queue; True for exactly one of all who try."""
        entry_id = _entry_id(job_id, attempt, name)
        with answered():
            if self._queue.remove(entry_id) != 1:
                return False
            entry = find_entry(entry_id, self._connection)
            if entry is not None:
                entry.delete(remove_from_queue=False)
            return True

    def is_alive(self, job_id: str, attempt: int, name: str) -> bool:
        """Tell whether a part that was offered still waits or is being made."""
        with answered():
            entry = find_entry(_entry_id(job_id, attempt, name), self._connection)
            return entry is not None and self._watch.is_alive(entry)


def _entry_id(job_id: str, attempt: int, name: str) -> str:
    return f"{job_id}-{attempt}-{name}"
