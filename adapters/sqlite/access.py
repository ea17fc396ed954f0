"""How people get in: sessions, one-time links, counters of wrong tries."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from adapters.sqlite.rows import make_id, make_link, make_session, make_throttle, make_user
from adapters.sqlite.store import Store
from adapters.times import to_ms
from jobs.errors import NotFound
from jobs.models import Link, LinkKind, Role, Session, Throttle, User

_OPEN = "SELECT * FROM sessions WHERE id = ? AND expires_at > ?"


class SqliteSessions:
    """`jobs.ports.Sessions`. An expired one is not there any more, and of an older token version none is listed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, user_id: str, *, token_version: int, label: str, expires_at: datetime, tokens: str = "") -> Session:
        now = self._store.now_ms()
        try:
            with self._store.write() as connection:
                row = connection.execute(
                    "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                    (make_id(), user_id, token_version, label, now, now, to_ms(expires_at), tokens),
                ).fetchone()
        except sqlite3.IntegrityError as error:
            raise NotFound(detail="a session for nobody") from error
        return make_session(row)

    def get(self, session_id: str) -> Session | None:
        with self._store.read() as connection:
            row = connection.execute(_OPEN, (session_id, self._store.now_ms())).fetchone()
        return make_session(row) if row else None

    def get_with_user(self, session_id: str) -> tuple[Session, User] | None:
        with self._store.read() as connection:
            session = connection.execute(_OPEN, (session_id, self._store.now_ms())).fetchone()
            if session is None:
                return None
            user = connection.execute("SELECT * FROM users WHERE id = ?", (session["user_id"],)).fetchone()
        return make_session(session), make_user(user)

    def touch(self, session_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("UPDATE sessions SET seen_at = ? WHERE id = ?", (self._store.now_ms(), session_id))

    def set_tokens(self, session_id: str, tokens: str, *, instead_of: str) -> bool:
        with self._store.write() as connection:
            changed = connection.execute(
                "UPDATE sessions SET tokens = ? WHERE id = ? AND tokens = ?", (tokens, session_id, instead_of)
            )
            return changed.rowcount == 1

    def list_open(self, user_id: str) -> Sequence[Session]:
        with self._store.read() as connection:
            rows = connection.execute(
                """
                SELECT sessions.* FROM sessions JOIN users ON users.id = sessions.user_id
                WHERE user_id = ? AND expires_at > ? AND sessions.token_version = users.token_version
                ORDER BY sessions.created_at DESC, sessions.rowid DESC
                """,
                (user_id, self._store.now_ms()),
            ).fetchall()
        return tuple(map(make_session, rows))

    def close(self, user_id: str, session_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM sessions WHERE user_id = ? AND id = ?", (user_id, session_id))

    def close_all(self, user_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM sessions WHERE user_id = ?", (user_id,))

    def purge(self) -> int:
        with self._store.write() as connection:
            return connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (self._store.now_ms(),)).rowcount


class SqliteLinks:
    """`jobs.ports.Links`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, kind: LinkKind, *, token_hash: str, user_id: str | None, role: Role, note: str, created_by: str,
        expires_at: datetime,
    ) -> Link:  # fmt: skip
        values = (make_id(), kind, token_hash, user_id, role, note, created_by, self._store.now_ms(), to_ms(expires_at))
        with self._store.write() as connection:
            row = connection.execute(
                "INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) RETURNING *", values
            ).fetchone()
        return make_link(row)

    def find(self, token_hash: str) -> Link | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM links WHERE token_hash = ?", (token_hash,)).fetchone()
        return make_link(row) if row else None

    def use(self, token_hash: str) -> bool:
        now = self._store.now_ms()
        with self._store.write() as connection:
            used = connection.execute(
                "UPDATE links SET used_at = ? WHERE token_hash = ? AND used_at IS NULL AND expires_at > ?",
                (now, token_hash, now),
            )
            return used.rowcount == 1

    def reopen(self, token_hash: str) -> None:
        with self._store.write() as connection:
            connection.execute("UPDATE links SET used_at = NULL WHERE token_hash = ?", (token_hash,))

    def list_open(self, kind: LinkKind) -> Sequence[Link]:
        with self._store.read() as connection:
            rows = connection.execute(
                """
                SELECT * FROM links WHERE kind = ? AND used_at IS NULL AND expires_at > ?
                ORDER BY created_at DESC, rowid DESC
                """,
                (kind, self._store.now_ms()),
            ).fetchall()
        return tuple(map(make_link, rows))

    def delete(self, link_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM links WHERE id = ?", (link_id,))

    def purge(self) -> int:
        """Delete expired links; return how many. A used one stays until then, for `reopen`."""
        with self._store.write() as connection:
            return connection.execute("DELETE FROM links WHERE expires_at <= ?", (self._store.now_ms(),)).rowcount


class SqliteThrottles:
    """`jobs.ports.Throttles`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Throttle | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM throttles WHERE key = ?", (key,)).fetchone()
        return make_throttle(row) if row else None

    def add_failure(self, key: str, *, forget_after_s: int) -> int:
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                INSERT INTO throttles (key, failures, last_failure_at) VALUES (:key, 1, :now)
                ON CONFLICT (key) DO UPDATE SET
                    failures = CASE WHEN last_failure_at <= :forgotten THEN 1 ELSE failures + 1 END,
                    last_failure_at = :now
                RETURNING failures
                """,
                {"key": key, "now": now, "forgotten": now - forget_after_s * 1000},
            ).fetchone()
        return int(row["failures"])

    def lock(self, key: str, until: datetime) -> None:
        with self._store.write() as connection:
            connection.execute(
                """
                INSERT INTO throttles VALUES (:key, 0, :until, :now)
                ON CONFLICT (key) DO UPDATE SET locked_until = :until
                """,
                {"key": key, "until": to_ms(until), "now": self._store.now_ms()},
            )

    def clear(self, key: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM throttles WHERE key = ?", (key,))

    def purge(self, *, older_than_s: int) -> int:
        now = self._store.now_ms()
        with self._store.write() as connection:
            return connection.execute(
                "DELETE FROM throttles WHERE last_failure_at <= ? AND coalesce(locked_until, 0) <= ?",
                (now - older_than_s * 1000, now),
            ).rowcount
