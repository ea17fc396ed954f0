"""State on PostgreSQL behind PostgREST, as a Supabase project has it.

The database does what must not be done halfway: every step that reads and then writes is one function in it, called
with the server's key. What a page shows is read with the person's own token where there is a key to sign one.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from adapters.supabase.access import SupabaseLinks, SupabaseSessions, SupabaseThrottles
from adapters.supabase.client import Project
from adapters.supabase.errors import CHECK_URL, MIGRATE, UPDATE, DatabaseFault
from adapters.supabase.figures import read_figures
from adapters.supabase.jobs import SupabaseJobs
from adapters.supabase.uploads import SupabaseUploads
from adapters.supabase.users import SupabaseUsers
from adapters.supabase.videos import SupabaseVideos
from adapters.supabase.workers import SupabaseWorkers
from jobs.errors import DatabaseUnusable
from jobs.models import Figures
from jobs.ports import NIL

TABLES_VERSION = "20261123000600"
"""The newest migration that this program needs."""


class SupabaseDatabase:
    """`jobs.ports.Database` in the project at ``url``. Nothing is asked of it before the first call.

    ``secret_key`` has all rights. ``signing_key`` (a private JWK, or a shared secret) makes people's own tokens, which
    go along with ``publishable_key``; without it reads for people are made with the secret key. ``http`` is for one
    process only and stays the caller's to close. Raises `ValueError` for a signing key that is none.
    """

    def __init__(
        self,
        url: str,
        *,
        secret_key: str,
        publishable_key: str = "",
        signing_key: str = "",
        http: httpx.Client | None = None,
    ) -> None:
        self._project = Project(
            url, secret_key=secret_key, publishable_key=publishable_key, signing_key=signing_key, http=http
        )
        self.users = SupabaseUsers(self._project)
        self.sessions = SupabaseSessions(self._project)
        self.links = SupabaseLinks(self._project)
        self.throttles = SupabaseThrottles(self._project)
        self.uploads = SupabaseUploads(self._project)
        self.videos = SupabaseVideos(self._project)
        self.jobs = SupabaseJobs(self._project)
        self.workers = SupabaseWorkers(self._project)

    def check(self) -> str:
        facts = self._project.call("describe_database")
        if not isinstance(facts, dict):
            raise DatabaseFault("the answer is not the database's", CHECK_URL)
        if facts["version"] < TABLES_VERSION:
            raise DatabaseFault(f"the tables are of version {facts['version']}, not {TABLES_VERSION}", MIGRATE)
        if self._project.signs:  # nobody's rows, but with a token
            self._project.select("jobs", {"user_id": NIL}, columns="id", limit=1, person=NIL)
        version, size = facts["version"], facts["size_bytes"]
        return f"PostgreSQL {facts['postgres']}, version {version} of the tables, {size / 1e6:.1f} MB."

    def require_tables(self) -> None:
        try:
            facts = self._project.call("describe_database")
        except DatabaseFault as fault:
            if fault.remedy == MIGRATE:
                raise DatabaseUnusable(MIGRATE, fault.detail) from fault
            raise
        version = str(facts["version"]) if isinstance(facts, dict) else ""
        if version != TABLES_VERSION:
            remedy = MIGRATE if version < TABLES_VERSION else UPDATE
            raise DatabaseUnusable(remedy, f"the tables are of version {version}, not {TABLES_VERSION}")

    def read_figures(self) -> Figures:
        return read_figures(self._project)

    def get_secret(self, name: str, make: Callable[[], str]) -> str:
        rows = self._project.select("secrets", {"name": name})
        if rows:
            return str(rows[0]["value"])
        return str(self._project.call("keep_secret", again=True, name=name, value=make()))

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._project.close()
