"""The database and the files that the settings name, below the product's rules."""

from __future__ import annotations

from adapters.sqlite.dump import SqliteRows
from config import Settings, SettingsError
from jobs.installation import SECRET_OF_INSTALLATION, identify_database
from jobs.ports import Database
from jobs.rows import Rows, RowsRefused


def open_rows(settings: Settings) -> Rows:
    """Return the tables below the database of the settings. Raises `SettingsError`."""
    if settings.supabase is None:
        return SqliteRows(settings.data_dir / "factory.sqlite3")
    if not settings.supabase_db_url:
        raise SettingsError(
            "SUPABASE_DB_URL is not set: whole tables are read and written in the PostgreSQL below SUPABASE_URL, at an "
            "address such as postgresql://user:password@host:5432/postgres."
        )
    from adapters.supabase.dump import PostgresRows  # here, because its libraries are large

    return PostgresRows(settings.supabase_db_url)


def require_same(database: Database, rows: Rows) -> None:
    """Raise `RowsRefused` when the tables are not those of the database: two settings then name different projects."""
    known = identify_database(database)
    with rows.snapshot() as snapshot:
        if snapshot.read_secret(SECRET_OF_INSTALLATION) != known:
            raise RowsRefused(
                "SUPABASE_DB_URL is not the database below SUPABASE_URL: copy both from the settings of one project."
            )
