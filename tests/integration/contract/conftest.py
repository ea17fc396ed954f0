"""The databases there are, each of them empty. A new one is added to `OPENERS`; the tests stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDatabase
from jobs.models import User
from jobs.ports import Database
from tests.database import OpenDatabase, make_person
from tests.product import Clock


def _open_sqlite(folder: Path) -> OpenDatabase:
    return partial(SqliteDatabase, folder / "data" / "factory.sqlite3")


OPENERS: Mapping[str, Callable[[Path], OpenDatabase]] = {"sqlite": _open_sqlite}


@pytest.fixture
def clock() -> Clock:
    """The time of the database's rows."""
    return Clock()


@pytest.fixture(params=OPENERS)
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDatabase:
    """See `OpenDatabase`."""
    return OPENERS[request.param](tmp_path)


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
