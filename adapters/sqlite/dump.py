"""The SQLite database as plain rows, for moving and backing up a whole installation."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapters.sqlite.schema import open_file
from adapters.sqlite.store import Store
from jobs.rows import SECRET_OF_IMPORT, TABLES, Kind, Row, RowsRefused, Snapshot, Table, Value, order_values

_ELSEWHERE = {("job_events", "user_id"): "(SELECT user_id FROM jobs WHERE jobs.id = job_events.job_id)"}
"""Columns that stand in another table here."""
_ORDER = {"users": "created_at, id", "credentials": "user_id", "charges": "user_id, key"}
"""Where rows have no order of their own: the same one in every database."""
_IN_PROGRESS = {"uploads": " WHERE state IN ('receiving', 'checking')"}


class SqliteRows:
    """`jobs.rows.Rows` of the file at ``path``, which is made, or brought up to date. Raises `StoreUnavailable`."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, lambda: datetime.now(UTC))
        open_file(self._store)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._store.read() as connection:
            yield _Snapshot(connection)

    def fill(self, read: Callable[[Table], Iterable[Row]], *, mark: str) -> None:
        try:
            with self._store.write() as connection:
                if _Snapshot(connection).count("users"):
                    raise RowsRefused("The database has people already: rows can be read into an empty one only.")
                with _without_triggers(connection):
                    for table in TABLES.values():
                        _insert(connection, table, read(table))
                if broken := connection.execute("PRAGMA foreign_key_check").fetchone():
                    raise RowsRefused(f"A row of {broken[0]} points to nothing: the archive is damaged.")
                connection.execute(
                    "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (SECRET_OF_IMPORT, mark, self._store.now_ms())
                )
        except sqlite3.IntegrityError as error:
            raise RowsRefused("The rows break a rule of the tables: the archive is damaged.", str(error)) from error


class _Snapshot:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def list_rows(self, table: Table) -> Iterator[Row]:
        columns = ", ".join(f"{_ELSEWHERE.get((table.name, name), name)} AS {name}" for name in table.columns)
        order = _ORDER.get(table.name, "rowid")
        for values in self._connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY {order}"):
            pairs = zip(table.columns.items(), values, strict=True)
            yield {name: _read(kind, value) for (name, kind), value in pairs}

    def count(self, name: str) -> int:
        query = f"SELECT count(*) FROM {name}{_IN_PROGRESS.get(name, '')}"
        return int(self._connection.execute(query).fetchone()[0])

    def read_secret(self, name: str) -> str:
        row = self._connection.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""


@contextmanager
def _without_triggers(connection: sqlite3.Connection) -> Iterator[None]:
    """Take the triggers away for a while; the transaction hides that from everybody else."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    yield
    for _, statement in triggers:
        connection.execute(statement)


def _insert(connection: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> None:
    here = [name for name in table.columns if (table.name, name) not in _ELSEWHERE]
    statement = f"INSERT INTO {table.name} ({', '.join(here)}) VALUES ({', '.join('?' * len(here))})"

    def write(row: Row) -> list[Value]:
        order_values(table, row)
        return [_write(table.columns[name], row[name]) for name in here]

    connection.executemany(statement, map(write, rows))


def _read(kind: Kind, value: Value) -> Value:
    if value is None:
        return None
    match kind:
        case Kind.FLAG:
            return bool(value)
        case Kind.JSON:
            return json.loads(str(value))
    return value


def _write(kind: Kind, value: Value) -> Value:
    if value is None:
        return None
    match kind:
        case Kind.FLAG:
            return int(bool(value))
        case Kind.JSON:
            return json.dumps(value)
    return value
