"""Whole databases as each version of the tables left them, to see that every one can be brought up to date.

After a new migration was written, ``python -m tests.database.versions`` adds the database of the newest version. A dump
of a version that was released is never made anew.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.sqlite import SqliteDatabase
from adapters.sqlite.schema import read_migrations
from jobs.models import LinkKind, Role, WorkerInfo
from jobs.ports import Database
from tests.database import FAILURE, claim, make_job, make_person, make_upload, make_video, process

FOLDER = Path(__file__).parent
NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)


def fill(path: Path) -> None:
    """Make a database with rows in every table."""
    database = SqliteDatabase(path, now=lambda: NOW)
    fill_tables(database)
    database.close()


def fill_tables(database: Database) -> None:
    """Put rows into every table of any database."""
    boss, ann = make_person(database, "boss", role=Role.ADMIN), make_person(database, "ann")
    later = NOW + timedelta(days=7)
    database.sessions.open(ann.id, token_version=1, label="Firefox on Linux", expires_at=later)
    database.links.create(
        LinkKind.RESET, token_hash="f" * 64, user_id=ann.id, role=Role.USER, note="", created_by=boss.id,
        expires_at=later,
    )  # fmt: skip
    database.throttles.add_failure("account:ann", forget_after_s=60)
    make_upload(database, ann)
    video, job = make_video(database, ann, "Finished")
    process(database, job)
    database.videos.set_details(ann.id, video.id, note="A note", tags=["one", "zwölf"], recorded_on="2026-11-01")
    process(database, make_job(database, video), FAILURE)
    make_video(database, ann, "Waiting")
    claim(database, make_video(database, ann, "Running")[1])
    database.workers.beat(WorkerInfo(id="w", host="h", pid=1, started_at=NOW, seen_at=NOW, info={"cores": 2}))
    database.get_secret("cookie_key", lambda: "secret")


def dump(path: Path) -> str:
    """Return a database as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {version};", ""])


def restore(version: int, path: Path) -> None:
    """Make the database of a version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / f"{version:04}.sql").read_text("utf-8"))


def main() -> None:
    """Store the database of the newest version."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "factory.sqlite3"
        fill(path)
        (FOLDER / f"{len(read_migrations()):04}.sql").write_text(dump(path), "utf-8")
