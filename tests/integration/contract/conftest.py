"""The databases there are, each of them empty. A new one is added to `OPENERS`; the tests stay what they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import psycopg
import pytest

from adapters.sqlite import SqliteDatabase
from config import Settings, load_settings
from jobs.models import User
from jobs.ports import Database
from tests.database import OpenDatabase, make_person
from tests.database.supabase import SupabaseOpener, empty
from tests.product import Clock
from tests.servers.supabase import TEST_CLOCK, LocalSupabase


def _open_sqlite(_request: pytest.FixtureRequest, folder: Path) -> OpenDatabase:
    return partial(SqliteDatabase, folder / "data" / "factory.sqlite3")


def _open_supabase(request: pytest.FixtureRequest, _folder: Path) -> OpenDatabase:
    """As a project is used that has a signing key: what people see is read with their own tokens."""
    project: LocalSupabase = request.getfixturevalue("contract_project")
    empty(project.db_url)
    return SupabaseOpener(
        project.url,
        secret_key=project.secret_key,
        publishable_key=project.publishable_key,
        signing_key=project.signing_key,
    )


def _open_supabase_with_one_key(request: pytest.FixtureRequest, _folder: Path) -> OpenDatabase:
    project: LocalSupabase = request.getfixturevalue("contract_project")
    empty(project.db_url)
    return SupabaseOpener(project.url, secret_key=project.secret_key)


def _open_live(request: pytest.FixtureRequest, _folder: Path) -> OpenDatabase:
    live: Settings = request.getfixturevalue("live_project")
    settings = live.supabase
    assert settings is not None
    empty(live.supabase_db_url)
    return SupabaseOpener(
        settings.url,
        secret_key=settings.secret_key,
        publishable_key=settings.publishable_key,
        signing_key=settings.signing_key,
    )


IS_LIVE = os.environ.get("TEST_LIVE_SUPABASE") == "1"
_ONE_KEY = "supabase-one-key"
_READS_FOR_PEOPLE = ("test_owners", "test_videos")
"""Where it matters whether people's rows are read with their own tokens."""

OPENERS: Mapping[str, Callable[[pytest.FixtureRequest, Path], OpenDatabase]] = {
    "sqlite": _open_sqlite,
    "supabase": _open_supabase,
    _ONE_KEY: _open_supabase_with_one_key,
    "live": _open_live,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test over every database."""
    if "open_database" in metafunc.fixturenames:
        reads = metafunc.module.__name__.endswith(_READS_FOR_PEOPLE)
        names = [name for name in OPENERS if (reads or name != _ONE_KEY) and (IS_LIVE or name != "live")]
        metafunc.parametrize("open_database", names, indirect=True)


@pytest.fixture(scope="session")
def contract_project(local_supabase: LocalSupabase) -> LocalSupabase:
    """The project that the tests of this folder share, one after the other."""
    return local_supabase.make_project("contract")


@pytest.fixture(scope="session")
def live_project() -> Iterator[Settings]:
    """A project elsewhere, migrated and without a single account, for these tests alone: they delete what is in it."""
    if not IS_LIVE:
        pytest.skip("no live project: TEST_LIVE_SUPABASE=1 runs these tests over the one that SUPABASE_URL names")
    settings = load_settings()
    if settings.supabase is None or not settings.supabase_db_url or os.environ.get("PYTEST_XDIST_WORKER"):
        pytest.skip("a live project needs SUPABASE_DB_URL too, and one test process (-p no:xdist)")
    with psycopg.connect(settings.supabase_db_url, autocommit=True) as connection:
        count = connection.execute("select count(*) from public.users").fetchone()
        assert count == (0,), "the live project has accounts: these tests would delete them"
        clock = connection.execute("select pg_get_functiondef('private.clock'::regproc)").fetchone()
        assert clock is not None
        connection.execute(TEST_CLOCK)
        yield settings
        connection.execute(clock[0])


@pytest.fixture
def clock() -> Clock:
    """The time of the database's rows."""
    return Clock()


@pytest.fixture
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDatabase:
    """See `OpenDatabase`."""
    return OPENERS[request.param](request, tmp_path)


@pytest.fixture
def database(open_database: OpenDatabase, clock: Clock) -> Iterator[Database]:
    """An empty database."""
    opened = open_database(now=clock)
    yield opened
    opened.close()


@pytest.fixture
def ann(database: Database) -> User:
    """A person."""
    return make_person(database, "ann")


@pytest.fixture
def bob(database: Database) -> User:
    """Another person."""
    return make_person(database, "bob")
