"""A project of its own for each file, with nothing in it at the beginning of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobs.ports import Database
from tests.database.supabase import SupabaseOpener, empty
from tests.product import Clock
from tests.servers.supabase import LocalSupabase


@pytest.fixture(scope="module")
def shared_project(local_supabase: LocalSupabase) -> Iterator[LocalSupabase]:
    """The project of a file's tests."""
    project = local_supabase.make_project("alone")
    yield project
    project.close()


@pytest.fixture
def project(shared_project: LocalSupabase) -> LocalSupabase:
    """An empty project."""
    empty(shared_project.db_url)
    return shared_project


@pytest.fixture
def clock() -> Clock:
    """The time of the database's rows."""
    return Clock()


@pytest.fixture
def database(project: LocalSupabase, clock: Clock) -> Iterator[Database]:
    """The project as the product uses it."""
    opener = SupabaseOpener(
        project.url,
        secret_key=project.secret_key,
        publishable_key=project.publishable_key,
        signing_key=project.signing_key,
    )
    opened = opener(now=clock)
    yield opened
    opened.close()
