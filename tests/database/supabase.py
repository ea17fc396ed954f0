"""How tests open a project: in other processes too, and at the time of a test's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import httpx
import psycopg

from adapters.connections import SharedClient
from adapters.supabase import SupabaseDatabase
from adapters.supabase.client import CONNECTIONS, TIMEOUT
from jobs.ports import Database
from tests.product import Clock


class SupabaseOpener:
    """Opens a project, here and in other processes; with ``now`` its rows have the time of a test's clock."""

    def __init__(self, url: str, **keys: str) -> None:
        self._url, self._keys = url, keys

    def __call__(self, *, now: Clock | None = None) -> Database:
        if now is None:
            return SupabaseDatabase(self._url, http=None, **self._keys)
        return _TimedDatabase(self._url, now, self._keys)


class _TimedDatabase(SupabaseDatabase):
    def __init__(self, url: str, clock: Clock, keys: Mapping[str, str]) -> None:
        def tell_time(request: httpx.Request) -> None:
            request.headers["x-test-ahead-ms"] = str(round(clock.ahead / timedelta(milliseconds=1)))

        self._client = SharedClient(connections=CONNECTIONS, timeout=TIMEOUT, event_hooks={"request": [tell_time]})
        super().__init__(url, http=self._client, **keys)

    def close(self) -> None:
        super().close()
        self._client.close()


def empty(db_url: str) -> None:
    """Delete every row of a migrated database."""
    with psycopg.connect(db_url, autocommit=True) as connection:
        for table in ("users", "links", "throttles", "workers", "secrets", "tallies"):  # other rows go with the users
            connection.execute(f"delete from public.{table}")
