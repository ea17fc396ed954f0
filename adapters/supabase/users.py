"""Accounts, and their password hashes in a table of their own."""

from __future__ import annotations

from adapters.supabase.client import Project
from adapters.supabase.rows import make_user
from adapters.text import fold_text
from jobs.models import Json, Page, Role, User


class SupabaseUsers:
    """`jobs.ports.Users`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def count(self) -> int:
        return self._project.count("users")

    def create(
        self, *, username: str, full_name: str, role: Role, password_hash: str, only_if_first: bool = False,
        user_id: str | None = None,
    ) -> User | None:  # fmt: skip
        rows = self._project.call(
            "create_user",
            new_id=user_id,
            username=username.lower(),
            full_name=full_name,
            role=role,
            password_hash=password_hash,
            username_key=fold_text(username.lower()),
            full_name_key=fold_text(full_name),
            only_if_first=only_if_first,
        )
        return make_user(rows[0]) if rows else None

    def get(self, user_id: str) -> User | None:
        return self._find({"id": user_id})

    def find(self, username: str) -> User | None:
        return self._find({"username": username.lower()})

    def _find(self, match: dict[str, str]) -> User | None:
        rows = self._project.select("users", match)
        return make_user(rows[0]) if rows else None

    def password_hash(self, user_id: str) -> str | None:
        rows = self._project.select("credentials", {"user_id": user_id})
        return rows[0]["password_hash"] if rows else None

    def set_password(self, user_id: str, password_hash: str) -> None:
        self._project.call("set_password", user_id=user_id, password_hash=password_hash)

    def raise_token_version(self, user_id: str) -> None:
        self._project.call("raise_token_version", user_id=user_id)

    def set_name(self, user_id: str, full_name: str) -> None:
        self._set(user_id, full_name=full_name, full_name_key=fold_text(full_name))

    def set_role(self, user_id: str, role: Role) -> bool:
        return bool(self._project.call("set_role", again=True, user_id=user_id, role=role))

    def set_active(self, user_id: str, is_active: bool) -> bool:
        return bool(self._project.call("set_active", user_id=user_id, is_active=is_active))

    def set_quota(self, user_id: str, *, minutes: int | None, size_bytes: int | None) -> None:
        self._set(user_id, quota_minutes=minutes, quota_bytes=size_bytes)

    def set_options(self, user_id: str, options: Json) -> None:
        self._set(user_id, options=options)

    def _set(self, user_id: str, **values: object) -> None:
        self._project.update("users", values, {"id": user_id}, again=True)

    def list_all(self, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]:
        words = fold_text(search).split()
        found = self._project.call("list_users", again=True, words=words, offset=offset, limit=limit)
        return Page(items=tuple(map(make_user, found["rows"])), total=found["total"])

    def delete(self, user_id: str) -> bool:
        return bool(self._project.call("delete_user", user_id=user_id))
