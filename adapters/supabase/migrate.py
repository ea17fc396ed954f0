"""Bring a PostgreSQL up to date by the files in ``supabase/migrations``, for `make migrate`.

What is applied stands in the same table in which the Supabase command line notes it, so that both can be used in turn.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from jobs.errors import DomainError

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parents[2] / "supabase"
ROLES = FOLDER / "local" / "roles.sql"
MIGRATIONS = FOLDER / "migrations"
CONNECT_S = 10
LOCK_WAIT_S = 60
"""How long a step waits for another `make migrate`, or for a table that is being written."""

_LOCK = 4_283_150_226_917
"""Key of the advisory lock that lets one program at a time do this; any number that nobody else uses."""
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
"""
_LACKS_ROLES = """
select (select count(*) from pg_catalog.pg_roles
         where rolname in ('anon', 'authenticated', 'service_role', 'authenticator')) < 4
    or not exists (select from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
                    where n.nspname = 'auth' and p.proname = 'uid')
"""
_FILE_NAME = re.compile(r"(\d{14})_(\w+)\.sql")

Connection = psycopg.Connection[tuple[Any, ...]]


class MigrationFailed(DomainError):
    """The database could not be brought up to date; the message says why and what to do."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("migration_failed", message, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: a step forward."""

    version: str
    """When it was written, in 14 digits."""
    name: str
    sql: str

    @property
    def stem(self) -> str:
        """Name of its file, without ``.sql``."""
        return f"{self.version}_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What was done, or would be."""

    roles: bool
    """Whether Supabase's roles were missing."""
    applied: tuple[str, ...]
    """Names of the files, in order."""
    total: int
    """How many migrations there are."""


def read_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Return every step, oldest first."""
    found = ((path, _FILE_NAME.fullmatch(path.name)) for path in sorted(folder.glob("*.sql")))
    steps = []
    for path, match in found:
        if match is None:
            raise ValueError(f"{path} is not named like 20261123000000_tables.sql")
        steps.append(Migration(version=match[1], name=match[2], sql=path.read_text("utf-8")))
    if len({step.version for step in steps}) != len(steps):
        raise ValueError(f"two migrations in {folder} have the same version")
    return tuple(steps)


def migrate_database(
    db_url: str,
    *,
    steps: Sequence[Migration] | None = None,
    dry_run: bool = False,
    on_applied: Callable[[str], None] = lambda _name: None,
) -> MigrationReport:
    """Apply the steps that are missing, each whole or not at all; safe beside another one doing the same.

    ``steps`` are the product's own unless others are given. ``on_applied`` is told the name of each file that was
    applied. Raises `MigrationFailed`; the steps before the one that fails stay applied.
    """
    steps = read_migrations() if steps is None else steps
    applied: list[str] = []
    with connecting(db_url) as connection:
        roles = _lacks_roles(connection)
        if dry_run:
            pending = find_pending(steps, _read_history(connection))
            return MigrationReport(roles=roles, applied=tuple(step.stem for step in pending), total=len(steps))
        if roles:
            _apply_roles(connection)
            on_applied(ROLES.stem)
        while step := _apply_next(connection, steps):
            applied.append(step.stem)
            on_applied(step.stem)
        connection.execute("notify pgrst, 'reload schema'")
    return MigrationReport(roles=roles, applied=tuple(applied), total=len(steps))


def find_pending(steps: Sequence[Migration], history: Sequence[str]) -> Sequence[Migration]:
    """Return the steps that are not among the applied versions. Raises `MigrationFailed` where they can't follow."""
    unknown = sorted(set(history) - {step.version for step in steps})
    if unknown:
        raise MigrationFailed(
            f"The database has the migration {unknown[-1]}, which this program does not know: it belongs to a newer "
            "version. Update Mini Video Factory, then try again."
        )
    pending = [step for step in steps if step.version not in history]
    if pending and history and pending[0].version < max(history):
        raise MigrationFailed(
            f"The database lacks the migration {pending[0].stem}, but has later ones: somebody changed "
            "supabase_migrations.schema_migrations by hand. Restore its rows, then try again."
        )
    return pending


def _apply_next(connection: Connection, steps: Sequence[Migration]) -> Migration | None:
    """Apply the first missing step in a transaction of its own; None when there is none."""
    with connection.transaction():
        _lock(connection)
        pending = find_pending(steps, _read_history(connection))
        if not pending:
            return None
        step = pending[0]
        try:
            connection.execute(_HISTORY)
            connection.execute(step.sql.encode())
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)",
                [step.version, step.name, [step.sql]],
            )
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise MigrationFailed(
                f"The migration {step.stem} failed{_find_line(step.sql, error)}: {first_line(error)}. Nothing of it "
                "was applied.",
                repr(error.sqlstate),
            ) from error
    return step


def _apply_roles(connection: Connection) -> None:
    try:
        with connection.transaction():
            _lock(connection)
            connection.execute(ROLES.read_text("utf-8").encode())
    except errors.InsufficientPrivilege as error:
        raise MigrationFailed(
            "This PostgreSQL lacks the roles of Supabase's API, and the user of SUPABASE_DB_URL may not make them: let "
            "a superuser run supabase/local/roles.sql in this database, then try again.",
            first_line(error),
        ) from error


def _lock(connection: Connection) -> None:
    # All of it ends with the transaction, so that a pooler that lends connections for single transactions will do.
    connection.execute(f"set local lock_timeout = '{LOCK_WAIT_S}s'; set local statement_timeout = 0")
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])


def _lacks_roles(connection: Connection) -> bool:
    row = connection.execute(_LACKS_ROLES).fetchone()
    return bool(row and row[0])


def _read_history(connection: Connection) -> Sequence[str]:
    there = connection.execute("select to_regclass('supabase_migrations.schema_migrations')").fetchone()
    if there is None or there[0] is None:
        return ()
    rows = connection.execute("select version from supabase_migrations.schema_migrations order by version")
    return [str(version) for (version,) in rows]


@contextmanager
def connecting(db_url: str) -> Iterator[Connection]:
    """Yield a connection; what goes wrong with it becomes a sentence without address or password.

    Raises `MigrationFailed`.
    """
    try:
        conninfo_to_dict(db_url)
    except psycopg.ProgrammingError as error:
        # Neither shown nor logged: what can't be read may be the password.
        raise MigrationFailed(
            "SUPABASE_DB_URL can't be read: it must be an address such as postgresql://user:password@host:5432/postgres,"
            " with @, /, #, ? and % in the password written as %40, %2F, %23, %3F and %25."
        ) from error.with_traceback(None)
    try:
        with psycopg.connect(
            db_url, autocommit=True, connect_timeout=CONNECT_S, prepare_threshold=None, application_name="migrate"
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        # What stands before the cause names host and user, and those may be parts of a password that was not encoded.
        raise MigrationFailed(_explain(error), first_line(error).rpartition("failed: ")[2]) from error


def _explain(error: psycopg.OperationalError) -> str:
    said = str(error)
    if isinstance(error, errors.LockNotAvailable):
        return (
            f"The tables were in use for more than {LOCK_WAIT_S} seconds, so nothing more was applied. Stop the "
            "product or wait, then try again."
        )
    if "authentication failed" in said or "no password supplied" in said:
        return "PostgreSQL refuses the user or the password in SUPABASE_DB_URL. Correct it, then try again."
    if 'database "' in said and "does not exist" in said:
        return "The database that SUPABASE_DB_URL names does not exist. Correct it, then try again."
    if error.sqlstate:
        return f"PostgreSQL gave up: {first_line(error)}. Nothing more was applied; try again when that is mended."
    return (
        "The PostgreSQL that SUPABASE_DB_URL names does not answer, or the connection broke. Check host and port (the "
        "direct address of a Supabase project needs IPv6, its session pooler does not), then try again."
    )


def first_line(error: psycopg.Error) -> str:
    """Return what PostgreSQL says, without the lines below that hold values of rows."""
    said = error.diag.message_primary or str(error).partition("\n")[0]
    return said.rstrip(". ")


def _find_line(sql: str, error: psycopg.Error) -> str:
    position = error.diag.statement_position
    return f" in line {sql.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
