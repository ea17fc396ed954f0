"""The rows of whole databases behind PostgREST, as each version of the product left them, to see that every one can be
brought up to date.

After a new migration was written, ``python -m tests.database.supabase_versions`` adds the rows of the newest version.
Those of a version that was released are never made anew.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from adapters.supabase.migrate import read_migrations
from tests.database.supabase import SupabaseOpener
from tests.database.versions import fill_tables
from tests.servers.supabase import LocalSupabase

FOLDER = Path(__file__).parent


def list_versions() -> list[str]:
    """Return the versions whose rows are stored, oldest first."""
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def fill(project: LocalSupabase) -> None:
    """Put rows into every table of a project."""
    database = SupabaseOpener(project.url, secret_key=project.secret_key)()
    fill_tables(database)
    database.close()


def dump(project: LocalSupabase) -> str:
    """Return the rows of a project as SQL."""
    said = project.cluster.postgres.run_tool(
        "pg_dump", "--data-only", "--column-inserts", "--on-conflict-do-nothing", "--no-comments",
        "--schema=public", "--schema=private", project.cluster.postgres.url(project.database),
    )  # fmt: skip
    lines = said.splitlines(keepends=True)
    not_rows = ("--", "\\", "SET ", "SELECT pg_catalog.set_config(")
    return "".join(line for line in lines if line.strip() and not line.startswith(not_rows))


def restore(version: str, admin_url: str) -> None:
    """Put the rows of a version into a database that has its tables."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("set local session_replication_role = replica")  # no triggers: they have run already
        connection.execute((FOLDER / f"{version}.sql").read_bytes())


def main() -> None:
    """Store the rows of the newest version."""
    with LocalSupabase() as project:
        fill(project)
        (FOLDER / f"{read_migrations()[-1].version}.sql").write_text(dump(project), "utf-8")
