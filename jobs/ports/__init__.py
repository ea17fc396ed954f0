"""What the life of a job needs from the outside: a database, a file store, a queue, a prober.

One contract suite runs over every implementation. Rules that hold for all of them:

- Methods that serve a person take that person's ``user_id`` first and see only that person's rows: a foreign id is
  answered like an unknown one (None, False, or nothing).
- Every method is one atomic step. Claims, beats, finishing and charges are compare-and-set: they tell by their return
  value whether they happened, and doing them twice happens once.
- Instances may be used from several threads; after a fork a process makes its own.
- They raise `StoreUnavailable` when the database or queue does not answer, `StorageError` when files can't be had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from jobs.models import Figures, RemoteFile, VideoFacts
from jobs.ports.accounts import Added, Links, Passwords, Proof, Sessions, Throttles, Tokens, Users
from jobs.ports.files import FileStore, OnProgress, ignore_progress
from jobs.ports.queue import Parts, Queue
from jobs.ports.videos import NIL, Charge, JobFinish, Jobs, Totals, Uploads, Videos, Workers

__all__ = [
    "NIL",
    "Added",
    "Charge",
    "Database",
    "FileStore",
    "JobFinish",
    "Jobs",
    "Links",
    "OnProgress",
    "Parts",
    "Passwords",
    "Ports",
    "Prober",
    "Proof",
    "Queue",
    "Sessions",
    "Throttles",
    "Tokens",
    "Totals",
    "Uploads",
    "Users",
    "Videos",
    "Workers",
    "ignore_progress",
]


class Database(Protocol):
    """All tables."""

    @property
    def users(self) -> Users: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def links(self) -> Links: ...
    @property
    def throttles(self) -> Throttles: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def videos(self) -> Videos: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def workers(self) -> Workers: ...
    def check(self) -> str:
        """Return a sentence about the working database, for the health page. Raises `StoreUnavailable`."""

    def require_tables(self) -> None:
        """Raise `DatabaseUnusable` when the tables are of another version than this program, `StoreUnavailable`."""

    def read_figures(self) -> Figures:
        """Return what the metrics tell; a hundred thousand jobs are no burden."""

    def get_secret(self, name: str, make: Callable[[], str]) -> str:
        """Return the secret of this installation with that name, made once for everybody."""

    def close(self) -> None: ...


class Prober(Protocol):
    """Looks at an untrusted file, in a process of its own with limits."""

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        """Return what the file is. Raises `Refused` with the sentence of the pipeline for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside, as one value the composition roots make."""

    database: Database
    files: FileStore
    queue: Queue
    parts: Parts
    prober: Prober
    now: Callable[[], datetime]
