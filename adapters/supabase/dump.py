"""The PostgreSQL below Supabase as plain rows, for moving and backing up a whole installation.

It is reached by its own address, as the owner of the tables, who needs no superuser's rights: triggers of one's own
tables may be switched off for a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel, errors, sql

from adapters.supabase import TABLES_VERSION
from adapters.supabase.client import clean
from adapters.supabase.migrate import Connection, connecting, first_line
from adapters.text import fold_text
from adapters.times import from_ms, to_ms
from jobs.rows import SECRET_OF_IMPORT, TABLES, Kind, Row, RowsRefused, Snapshot, Table, Value, order_values

_BY_SEQ = sql.SQL("seq")
_ORDER = {
    "users": sql.SQL("created_at, id"),
    "credentials": sql.SQL("user_id"),
    "charges": sql.SQL('user_id, key collate "C"'),
    "job_events": sql.SQL("id"),
}
"""Where rows are not numbered by ``seq``; those without an order of their own have the same one in every database."""
_ROWS_AT_ONCE = 500
_PATIENCE = "set local lock_timeout = '60s'; set local statement_timeout = 0"
_MIGRATE = "The tables are not those of this version of the program: run make migrate, then try again."


def _fold(*names: str) -> Callable[[Row], str]:
    def fold(row: Row) -> str:
        values = [row[name] for name in names]
        return fold_text(
            "\n".join(str(one) for value in values for one in (value if isinstance(value, list) else [value]))
        )

    return fold


_DERIVED: Mapping[str, Mapping[str, Callable[[Row], str]]] = {
    "users": {"username_key": _fold("username"), "full_name_key": _fold("full_name")},
    "videos": {
        "title_key": _fold("title"),
        "details_key": _fold("note", "tags"),
        "file_name_key": _fold("file_name"),
    },
}
"""Columns by which is searched and sorted, as `adapters.supabase` makes them."""


class PostgresRows:
    """`jobs.rows.Rows` of the PostgreSQL at ``db_url``, with the tables of this version."""

    def __init__(self, db_url: str) -> None:
        self._db_url = db_url

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with _working(self._db_url, IsolationLevel.REPEATABLE_READ) as connection:
            yield _Snapshot(connection)

    def fill(self, read: Callable[[Table], Iterable[Row]], *, mark: str) -> None:
        with _working(self._db_url, IsolationLevel.READ_COMMITTED) as connection:
            tables = [sql.Identifier("public", name) for name in TABLES]
            for name in tables:  # which also waits for whoever writes just now, and keeps others from writing
                connection.execute(sql.SQL("alter table {} disable trigger user").format(name))
            if _Snapshot(connection).count("users"):
                raise RowsRefused("The database has people already: rows can be read into an empty one only.")
            for table in TABLES.values():
                _copy_in(connection, table, read(table))
            for name in tables:
                connection.execute(sql.SQL("alter table {} enable trigger user").format(name))
            connection.execute(
                "insert into public.secrets (name, value) values (%s, %s) on conflict (name) do update "
                "set value = excluded.value",
                [SECRET_OF_IMPORT, mark],
            )


class _Snapshot:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_rows(self, table: Table) -> Iterator[Row]:
        query = sql.SQL("select {} from {} order by {}").format(
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            sql.Identifier("public", table.name),
            _ORDER.get(table.name, _BY_SEQ),
        )
        with self._connection.cursor(name=f"rows_of_{table.name}") as cursor:  # at the server, a few rows at a time
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(query)
            for values in cursor:
                pairs = zip(table.columns.items(), values, strict=True)
                yield {name: _read(kind, value) for (name, kind), value in pairs}

    def count(self, name: str) -> int:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier("public", name))
        if name == "uploads":
            query += sql.SQL(" where state in ('receiving', 'checking')")
        return int(_fetch(self._connection.execute(query)))

    def read_secret(self, name: str) -> str:
        row = self._connection.execute("select value from public.secrets where name = %s", [name]).fetchone()
        return str(row[0]) if row else ""


@contextmanager
def _working(db_url: str, isolation: IsolationLevel) -> Iterator[Connection]:
    """Give a transaction over tables of this version."""
    try:
        with connecting(db_url) as connection:
            connection.isolation_level = isolation
            with connection.transaction():
                connection.execute(_PATIENCE)
                _check_version(connection)
                yield connection
    except errors.InsufficientPrivilege as error:
        raise RowsRefused(
            "The user of SUPABASE_DB_URL may not do this: it must be the one that owns the tables, who ran make "
            "migrate.",
            first_line(error),
        ) from error
    except psycopg.Error as error:
        raise RowsRefused(
            f"PostgreSQL refuses: {first_line(error)}. Nothing was written.", repr(error.sqlstate)
        ) from error


def _check_version(connection: Connection) -> None:
    there = _fetch(connection.execute("select to_regclass('private.installation')::text"))
    version = _fetch(connection.execute("select version from private.installation")) if there else ""
    if version != TABLES_VERSION:
        raise RowsRefused(_MIGRATE, f"the tables are of version {version!r}, not {TABLES_VERSION}")


def _fetch(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    row = cursor.fetchone()
    return row[0] if row else None


def _copy_in(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    derived = _DERIVED.get(table.name, {})
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier("public", table.name), sql.SQL(", ").join(map(sql.Identifier, [*table.columns, *derived]))
    )
    kinds = list(table.columns.values())
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in map(clean, rows):  # as what is written through the API
            values = map(_write, kinds, order_values(table, row))
            copy.write_row([*values, *(derive(row) for derive in derived.values())])


def _read(kind: Kind, value: Any) -> Value:
    if value is None:
        return None
    match kind:
        case Kind.TIME:
            return to_ms(value)
        case Kind.TEXT:
            return str(value)
    return value


def _write(kind: Kind, value: Value) -> str | int | float | bool | datetime | None:
    match kind, value:
        case _, None:
            return None
        case Kind.TIME, int():
            return from_ms(value)
        case Kind.JSON, _:
            return json.dumps(value)
        case _, str() | int() | float():
            return value
    raise RowsRefused(f"A value of the archive is no {kind.value}: the archive is damaged.")
