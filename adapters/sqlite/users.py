"""Accounts, and their password hashes in a table of their own."""

from __future__ import annotations

import sqlite3

from adapters.sqlite.rows import dump_json, make_id, make_pattern, make_user
from adapters.sqlite.store import Store
from adapters.text import fold_text
from jobs.models import Json, Page, Role, User

_LEAVES_AN_ADMIN = """
    EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND is_active AND id <> :id)
    OR NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND is_active AND id = :id)
"""


class SqliteUsers:
    """`jobs.ports.Users`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self) -> int:
        with self._store.read() as connection:
            return int(connection.execute("SELECT count(*) FROM users").fetchone()[0])

    def create(
        self, *, username: str, full_name: str, role: Role, password_hash: str, only_if_first: bool = False,
        user_id: str | None = None,
    ) -> User | None:  # fmt: skip
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                INSERT INTO users (id, username, full_name, role, created_at)
                SELECT :id, :username, :full_name, :role, :now
                WHERE NOT :only_if_first OR NOT EXISTS (SELECT 1 FROM users)
                ON CONFLICT DO NOTHING
                RETURNING *
                """,
                {
                    "id": user_id or make_id(),
                    "username": username.lower(),
                    "full_name": full_name,
                    "role": role,
                    "now": now,
                    "only_if_first": only_if_first,
                },
            ).fetchone()
            if row is None:
                return None
            connection.execute("INSERT INTO credentials VALUES (?, ?, ?)", (row["id"], password_hash, now))
            return make_user(row)

    def get(self, user_id: str) -> User | None:
        return self._find("id", user_id)

    def find(self, username: str) -> User | None:
        return self._find("username", username.lower())

    def _find(self, column: str, value: str) -> User | None:
        with self._store.read() as connection:
            row = connection.execute(f"SELECT * FROM users WHERE {column} = ?", (value,)).fetchone()
        return make_user(row) if row else None

    def password_hash(self, user_id: str) -> str | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT password_hash FROM credentials WHERE user_id = ?", (user_id,)).fetchone()
        return row["password_hash"] if row else None

    def set_password(self, user_id: str, password_hash: str) -> None:
        with self._store.write() as connection:
            connection.execute(
                "UPDATE credentials SET password_hash = ?, changed_at = ? WHERE user_id = ?",
                (password_hash, self._store.now_ms(), user_id),
            )
            _end_sessions(connection, user_id)

    def raise_token_version(self, user_id: str) -> None:
        with self._store.write() as connection:
            _end_sessions(connection, user_id)

    def set_name(self, user_id: str, full_name: str) -> None:
        self._set(user_id, full_name=full_name)

    def set_role(self, user_id: str, role: Role) -> bool:
        with self._store.write() as connection:
            if role is not Role.ADMIN and not _leaves_an_admin(connection, user_id):
                return False
            connection.execute("UPDATE users SET role = ? WHERE id = ?", (role, user_id))
        return True

    def set_active(self, user_id: str, is_active: bool) -> bool:
        with self._store.write() as connection:
            if not is_active:
                if not _leaves_an_admin(connection, user_id):
                    return False
                _end_sessions(connection, user_id)
            connection.execute("UPDATE users SET is_active = ? WHERE id = ?", (is_active, user_id))
        return True

    def set_quota(self, user_id: str, *, minutes: int | None, size_bytes: int | None) -> None:
        self._set(user_id, quota_minutes=minutes, quota_bytes=size_bytes)

    def set_options(self, user_id: str, options: Json) -> None:
        self._set(user_id, options=dump_json(options))

    def _set(self, user_id: str, **values: str | int | None) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._store.write() as connection:
            connection.execute(f"UPDATE users SET {columns} WHERE id = ?", (*values.values(), user_id))

    def list_all(self, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]:
        patterns = dump_json([make_pattern(word) for word in fold_text(search).split()])
        where = r"""
            NOT EXISTS (
                SELECT 1 FROM json_each(:patterns)
                WHERE fold(username || char(10) || full_name) NOT LIKE value ESCAPE '\'
            )
        """
        values = {"patterns": patterns, "limit": limit, "offset": offset}
        with self._store.read() as connection:
            total = connection.execute(f"SELECT count(*) FROM users WHERE {where}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT * FROM users WHERE {where} ORDER BY username LIMIT :limit OFFSET :offset", values
            ).fetchall()
        return Page(items=tuple(map(make_user, rows)), total=total)

    def delete(self, user_id: str) -> bool:
        with self._store.write() as connection:
            others = connection.execute("SELECT 1 FROM users WHERE id <> ? LIMIT 1", (user_id,)).fetchone()
            if others and not _leaves_an_admin(connection, user_id):
                return False
            connection.execute("DELETE FROM links WHERE created_by = ?", (user_id,))
            connection.execute("DELETE FROM users WHERE id = ?", (user_id,))
        return True


def _leaves_an_admin(connection: sqlite3.Connection, user_id: str) -> bool:
    """Tell whether an administrator is left without this one; also when it is none, and nothing changes."""
    return bool(connection.execute(f"SELECT {_LEAVES_AN_ADMIN}", {"id": user_id}).fetchone()[0])


def _end_sessions(connection: sqlite3.Connection, user_id: str) -> None:
    connection.execute("UPDATE users SET token_version = token_version + 1 WHERE id = ?", (user_id,))
    connection.execute("DELETE FROM sessions WHERE user_id = ?", (user_id,))
