"""The embedded database: one SQLite file, for one machine.

Every transaction that writes begins as one (``BEGIN IMMEDIATE``), so no two see the same state and both change it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from adapters.sqlite.access import SqliteLinks, SqliteSessions, SqliteThrottles
from adapters.sqlite.figures import read_figures
from adapters.sqlite.jobs import SqliteJobs
from adapters.sqlite.schema import open_file
from adapters.sqlite.store import Store
from adapters.sqlite.uploads import SqliteUploads
from adapters.sqlite.users import SqliteUsers
from adapters.sqlite.videos import SqliteVideos
from adapters.sqlite.workers import SqliteWorkers
from jobs.models import Figures


class SqliteDatabase:
    """`jobs.ports.Database` in the file at ``path``, which is made, or brought up to date, when it is opened.

    Safe in many threads and processes; the file must lie on a local disk. Raises `StoreUnavailable`.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = Store(path, now)
        open_file(self._store)
        self.users = SqliteUsers(self._store)
        self.sessions = SqliteSessions(self._store)
        self.links = SqliteLinks(self._store)
        self.throttles = SqliteThrottles(self._store)
        self.uploads = SqliteUploads(self._store)
        self.videos = SqliteVideos(self._store)
        self.jobs = SqliteJobs(self._store)
        self.workers = SqliteWorkers(self._store)

    def check(self) -> str:
        with self._store.write() as connection:  # a disk that can't be written shows here
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            pages = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            size = pages.fetchone()[0]
        return f"SQLite {sqlite3.sqlite_version}, version {version} of the tables, {size / 1e6:.1f} MB."

    def require_tables(self) -> None:
        with self._store.read() as connection:  # opening the file has looked at its version
            connection.execute("PRAGMA user_version").fetchone()

    def read_figures(self) -> Figures:
        return read_figures(self._store)

    def get_secret(self, name: str, make: Callable[[], str]) -> str:
        query = "SELECT value FROM secrets WHERE name = ?"
        with self._store.read() as connection:
            row = connection.execute(query, (name,)).fetchone()
        if row is None:
            made = make()
            with self._store.write() as connection:
                connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?, ?)", (name, made, self._store.now_ms()))
                row = connection.execute(query, (name,)).fetchone()
        return str(row["value"])

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        self._store.close()
