"""``make migrate``: bring the PostgreSQL below Supabase up to date, and say what was done."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from config import UNUSABLE, Settings
from jobs.upkeep.command import Command

_FOR_POSTGREST = (
    "To put a PostgREST in front of it: give its user a password (ALTER ROLE authenticator PASSWORD '...'), and start "
    'it with that user in db-uri, db-schemas = "public", db-anon-role = "anon" and a jwt-secret of your own.'
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be applied, and change nothing")


def run(settings: Settings, arguments: Namespace) -> int:
    """Apply the migrations that are missing. Raises `MigrationFailed`."""
    db_url = settings.supabase_db_url
    if not db_url and settings.supabase is None:
        print(
            "Nothing to do: state lives in SQLite, which brings itself up to date at every start. For PostgreSQL, set "
            "SUPABASE_DB_URL."
        )
        return 0
    if not db_url:
        print(
            "SUPABASE_DB_URL is not set: migrations need the PostgreSQL below SUPABASE_URL, as an address such as "
            "postgresql://user:password@host:5432/postgres.",
            file=sys.stderr,
        )
        return UNUSABLE
    from adapters.supabase.migrate import ROLES, migrate_database  # here, because its libraries are large

    def describe(name: str, verb: str) -> str:
        if name == ROLES.stem:
            return f"{verb} supabase/local/roles.sql, for this PostgreSQL lacks the roles of Supabase's API."
        return f"{verb} {name}."

    if arguments.dry_run:
        report = migrate_database(db_url, dry_run=True)
        for name in (*([ROLES.stem] if report.roles else []), *report.applied):
            print(describe(name, "Would apply"))
    else:
        report = migrate_database(db_url, on_applied=lambda name: print(describe(name, "Applied")))
    if not report.applied:
        done = "the one migration is" if report.total == 1 else f"all {report.total} migrations are"
        print(f"Nothing to do: {done} applied.")
    if report.roles:
        print(_FOR_POSTGREST)
    return 0


COMMAND = Command(
    summary="Apply the migrations that the PostgreSQL below Supabase lacks.", run=run, add_arguments=add_arguments
)
