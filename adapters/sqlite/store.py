"""Connections to the database file, and transactions on them.

A connection serves one caller at a time and is kept for the next one, whatever its thread. None is open while the
process forks: SQLite holds file locks for each process, and a child that inherits an open file believes in locks
which only its parent has. So a fork waits for the transactions of this moment and closes what is idle.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from adapters.text import fold_text
from adapters.times import to_ms
from jobs.errors import StoreUnavailable

TIMEOUT_S = 10.0
"""How long a writer waits for the one before it."""
MAX_IDLE = 8
_FORK_WAIT_S = TIMEOUT_S + 5

_STORES: weakref.WeakSet[Store] = weakref.WeakSet()


class Store:
    """The database file at ``path``. The time of every row is ``now``'s."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self.path = path
        self.now = now
        self._idle: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None
        self._in_use = 0
        self._gate = threading.Condition()
        _STORES.add(self)
        weakref.finalize(self, _close_all, self._idle)

    def now_ms(self) -> int:
        """Return the present time in epoch milliseconds."""
        return to_ms(self.now())

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection on which every query sees the same state. Raises `StoreUnavailable`."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the connection of the only writer; all of it is stored, or with an exception nothing.

        Raises `StoreUnavailable`, `sqlite3.IntegrityError` where a rule of the schema is broken.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def close(self) -> None:
        """Close the idle connections; a later call opens new ones."""
        with self._gate:
            _close_all(self._idle)

    def connect(self) -> sqlite3.Connection:
        """Return a new connection to the file, which must be there. The caller closes it."""
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(self.path))}?mode=rw",
            uri=True,
            timeout=TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.create_function("fold", 1, fold_text, deterministic=True)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with answering(), self._borrow() as connection:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _borrow(self) -> Iterator[sqlite3.Connection]:
        idle = self._take()
        kept: sqlite3.Connection | None = None
        try:
            connection = idle or self.connect()
            try:
                yield connection
            except BaseException:
                connection.close()  # which also rolls back, in whatever state it is
                raise
            kept = connection
        finally:
            self._give(kept)

    def _take(self) -> sqlite3.Connection | None:
        status = self.path.stat()
        file = (status.st_dev, status.st_ino)
        with self._gate:
            if file != self._file:  # another file lies here now, such as a backup
                _close_all(self._idle)
                self._file = file
            self._in_use += 1
            return self._idle.pop() if self._idle else None

    def _give(self, connection: sqlite3.Connection | None) -> None:
        with self._gate:
            self._in_use -= 1
            if connection is not None:
                if len(self._idle) < MAX_IDLE:
                    self._idle.append(connection)
                else:
                    connection.close()
            self._gate.notify_all()

    def before_fork(self) -> None:
        """Have no connection open, and none opened until the fork is over."""
        self._gate.acquire()
        end = time.monotonic() + _FORK_WAIT_S
        while self._in_use and self._gate.wait(end - time.monotonic()):
            pass
        _close_all(self._idle)

    def after_fork(self) -> None:
        """Go on, in the parent."""
        self._gate.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: nothing of the parent's threads is left."""
        self._gate = threading.Condition()
        self._in_use = 0


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


@contextmanager
def answering() -> Iterator[None]:
    """Turn errors of SQLite and of the disk into `StoreUnavailable`; a broken rule of the schema stays what it is."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


_FORKING: list[Store] = []
_FORK = threading.RLock()


def _before_fork() -> None:
    _FORK.acquire()
    _FORKING[:] = list(_STORES)
    for store in _FORKING:
        store.before_fork()


def _after_fork() -> None:
    for store in _FORKING:
        store.after_fork()
    _FORKING.clear()
    _FORK.release()


def _after_fork_in_child() -> None:
    for store in _FORKING:
        store.after_fork_in_child()
    _FORKING.clear()
    _FORK.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
