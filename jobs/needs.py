"""What a worker needs of the other machines before it takes a job."""

from __future__ import annotations

from collections.abc import Callable

from jobs.errors import DatabaseUnusable, DomainError
from jobs.health import MENDED_BY
from jobs.installation import Installation, describe_difference
from jobs.ports import NIL, Ports
from jobs.storage import original_key

NO_QUEUE = (
    "No queue runs on this machine. Start the product here with `make run`, or set REDIS_URL to the queue of the "
    "machine where it runs, and SUPABASE_URL and WASABI_BUCKET with their keys as there."
)

Lack = tuple[str, str]
"""The id of a part that does not work yet, and the sentence that mends it."""


class Unsuitable(Exception):
    """This worker can't work before somebody has mended something; the text is the sentence that says what."""


def find_lack(
    ports: Ports, *, identify: Callable[[], Installation], read_owner: Callable[[], str] | None
) -> Lack | None:
    """Return what is not there yet, which may come; None when everything is.

    ``read_owner`` returns whose queue it is; None for the queue of this machine, which can only be ours. Raises
    `Unsuitable` for what does not mend itself.
    """
    part = "database"
    try:
        ports.database.require_tables()
        part = "queue"
        ports.queue.check()
        if read_owner is not None:
            require_owner(identify(), read_owner())
        part = "files"
        ports.files.stat(original_key(NIL, NIL))
    except DatabaseUnusable as error:
        raise Unsuitable(error.message) from error
    except DomainError as error:
        if part == "queue" and read_owner is None:
            return part, NO_QUEUE
        return part, error.remedy or MENDED_BY[part]
    return None


def require_owner(ours: Installation, theirs: str) -> None:
    """Raise `Unsuitable` when the queue is another product's, or this worker's settings are."""
    if difference := describe_difference(ours, theirs):
        raise Unsuitable(difference)
