"""Which product a machine belongs to: the same database and the same files, reached from wherever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from jobs.ports import Database

logger = logging.getLogger(__name__)

SECRET_OF_INSTALLATION = "installation"
"""Name of the secret by which a database is known again, whichever way it is reached."""
_TAKEN = (
    "The queue in REDIS_URL is another product's, so no worker of this one will work. "
    "Name a queue of its own, such as another number at the end of REDIS_URL."
)
_OTHER_DATABASE = (
    "This worker has another database than the web server on this queue, so it would work on nothing. "
    "Set SUPABASE_URL and SUPABASE_SECRET_KEY as they are set there; for a product of its own, name a queue of its own "
    "in REDIS_URL."
)
_OTHER_FILES = (
    "This worker keeps files elsewhere than the web server on this queue, so it would find no original. "
    "Set the WASABI_ settings as they are set there, or let both have the same DATA_DIR."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One product, by the ids of its stores."""

    database: str
    files: str

    def __str__(self) -> str:
        return f"{self.database} {self.files}"


def identify_database(database: Database) -> str:
    """Return the id of a database, made once by whoever asks first. Raises `StoreUnavailable`."""
    return database.get_secret(SECRET_OF_INSTALLATION, lambda: uuid4().hex)


def describe_difference(ours: Installation, theirs: str) -> str:
    """Return what is wrong with a worker of ours on a queue of theirs, as a sentence; empty when nothing is.

    ``theirs`` is what a web server has written down as its `Installation`; empty when none has.
    """
    if not theirs or theirs == str(ours):
        return ""
    return _OTHER_FILES if theirs.partition(" ")[0] == ours.database else _OTHER_DATABASE


class Owner(Protocol):
    """Where it stands whose queue it is."""

    def claim(self, owner: str) -> str: ...
    def withdraw(self, owner: str) -> None: ...


class QueueClaim:
    """A web server's word on whose queue it is, for workers elsewhere; it counts for a minute and is repeated."""

    def __init__(self, owner: Owner, identify: Callable[[], Installation]) -> None:
        self._owner, self._identify = owner, identify
        self._is_told = False

    def claim_queue(self) -> None:
        """Say it (again); tell the log once when another product has the queue. Raises `StoreUnavailable`."""
        ours = str(self._identify())
        is_ours = self._owner.claim(ours) == ours
        if not is_ours and not self._is_told:
            logger.error(_TAKEN)
        self._is_told = not is_ours

    def withdraw(self) -> None:
        """Say it no longer, so that another product may follow at once. Raises `StoreUnavailable`."""
        self._owner.withdraw(str(self._identify()))
