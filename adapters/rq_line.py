"""Which waiting entry a worker takes: the first in line, whichever it was handed.

The list in the queue is in the order in which entries were put in. The order of the line is the database's.
"""

from __future__ import annotations

from collections.abc import Iterable

from rq import Queue
from rq.job import Job

from adapters.rq_entries import find_entry

_SWAP = """
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('LREM', KEYS[1], 0, ARGV[2])
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
"""
"""One step for the queue: a process that dies leaves the one entry or the other in hand, and never both."""


def take_first(handed: Job, queue: Queue, entry_ids: Iterable[str]) -> Job | None:
    """Return the first of the entries that still waits, and put the one that was handed out back at the front.

    It is the handed one itself when that comes first, or when none of them waits; None when somebody takes the chosen
    one out of the queue this moment.
    """
    for entry_id in entry_ids:
        if entry_id == handed.id:
            return handed
        keys = (queue.key, Job.key_for(entry_id))
        if queue.connection.eval(_SWAP, len(keys), *keys, entry_id, handed.id):
            return find_entry(entry_id, queue.connection)
    return handed
