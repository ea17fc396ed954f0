"""The tables: made and brought up to date when the database is opened, by the numbered files in ``migrations``."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.sqlite.store import TIMEOUT_S, Store, answering
from jobs.errors import DatabaseUnusable

FOLDER = Path(__file__).parent / "migrations"
MIN_SQLITE = (3, 37, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step forward."""

    version: int
    name: str
    sql: str


def read_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return every step in order; they are numbered from 1 without a gap."""
    steps = tuple(
        Migration(version=int(path.name.split("_")[0]), name=path.stem, sql=path.read_text("utf-8"))
        for path in sorted(folder.glob("[0-9]*_*.sql"))
    )
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"the migrations in {folder} are not numbered 1, 2, 3 …")
    return steps


def open_file(store: Store, steps: Sequence[Migration] | None = None) -> None:
    """Make the file when it is missing and bring its tables up to date, safely beside other processes.

    Raises `DatabaseUnusable` for a database of a newer program, `StoreUnavailable`.
    """
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise DatabaseUnusable(f"SQLite {sqlite3.sqlite_version} is too old: Python needs one of at least 3.37.")
    with answering():
        store.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(store.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(store.connect()) as connection:
            migrate(connection, read_migrations() if steps is None else steps, name=str(store.path))


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], *, name: str) -> None:
    """Bring the tables up to the last of ``steps``, all or nothing."""
    _check_version(connection, steps, name)
    _use_wal(connection)
    connection.execute("PRAGMA foreign_keys = OFF")  # so that a step may build a table anew
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for step in steps[_check_version(connection, steps, name) :]:
            for statement in split_statements(step.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.version}")
        if connection.execute("PRAGMA foreign_key_check").fetchone():
            raise sqlite3.DatabaseError("a migration leaves rows that point to nothing")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def split_statements(sql: str) -> Iterator[str]:
    """Yield the statements of a script, which end with their line."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _check_version(connection: sqlite3.Connection, steps: Sequence[Migration], name: str) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise DatabaseUnusable(
            f"The database {name} was made by a newer version of this program: start that version, "
            "or put back a backup from before."
        )
    return version


def _use_wal(connection: sqlite3.Connection) -> None:
    end = time.monotonic() + TIMEOUT_S
    while True:  # this change does not wait for its lock by itself
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise DatabaseUnusable("The data folder's file system can't hold the database: it must be a local disk.")
        time.sleep(0.02)
