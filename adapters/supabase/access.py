"""How people get in: sessions, one-time links, counters of wrong tries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.supabase.client import Project
from adapters.supabase.rows import format_time, make_link, make_session, make_throttle, make_user
from jobs.models import Link, LinkKind, Role, Session, Throttle, User


class SupabaseSessions:
    """`jobs.ports.Sessions`. An expired one is not there any more, and of an older token version none is listed."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def open(self, user_id: str, *, token_version: int, label: str, expires_at: datetime, tokens: str = "") -> Session:
        """As the port says. Raises `NotFound` for nobody's session."""
        values = {
            "user_id": user_id,
            "token_version": token_version,
            "label": label,
            "expires_at": format_time(expires_at),
            "tokens": tokens,
        }
        return make_session(self._project.insert("sessions", values))

    def get(self, session_id: str) -> Session | None:
        rows = self._project.call("get_session", again=True, session_id=session_id)
        return make_session(rows[0]) if rows else None

    def get_with_user(self, session_id: str) -> tuple[Session, User] | None:
        found = self._project.call("get_session_with_user", again=True, session_id=session_id)
        return (make_session(found["session"]), make_user(found["user"])) if found else None

    def touch(self, session_id: str) -> None:
        self._project.call("touch_session", again=True, session_id=session_id)

    def set_tokens(self, session_id: str, tokens: str, *, instead_of: str) -> bool:
        changed = self._project.call("set_session_tokens", session_id=session_id, tokens=tokens, instead_of=instead_of)
        return bool(changed)

    def list_open(self, user_id: str) -> Sequence[Session]:
        rows = self._project.call("list_open_sessions", again=True, user_id=user_id)
        return tuple(map(make_session, rows or ()))

    def close(self, user_id: str, session_id: str) -> None:
        self._project.delete("sessions", {"user_id": user_id, "id": session_id}, again=True)

    def close_all(self, user_id: str) -> None:
        self._project.delete("sessions", {"user_id": user_id}, again=True)

    def purge(self) -> int:
        return int(self._project.call("purge_sessions"))


class SupabaseLinks:
    """`jobs.ports.Links`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def create(
        self, kind: LinkKind, *, token_hash: str, user_id: str | None, role: Role, note: str, created_by: str,
        expires_at: datetime,
    ) -> Link:  # fmt: skip
        values = {
            "kind": kind,
            "token_hash": token_hash,
            "user_id": user_id,
            "role": role,
            "note": note,
            "created_by": created_by,
            "expires_at": format_time(expires_at),
        }
        return make_link(self._project.insert("links", values))

    def find(self, token_hash: str) -> Link | None:
        rows = self._project.select("links", {"token_hash": token_hash})
        return make_link(rows[0]) if rows else None

    def use(self, token_hash: str) -> bool:
        return bool(self._project.call("use_link", token_hash=token_hash))

    def reopen(self, token_hash: str) -> None:
        self._project.update("links", {"used_at": None}, {"token_hash": token_hash}, again=True)

    def list_open(self, kind: LinkKind) -> Sequence[Link]:
        return tuple(map(make_link, self._project.call("list_open_links", again=True, kind=kind)))

    def delete(self, link_id: str) -> None:
        self._project.delete("links", {"id": link_id}, again=True)

    def purge(self) -> int:
        """Delete expired links; return how many. A used one stays until then, for `reopen`."""
        return int(self._project.call("purge_links"))


class SupabaseThrottles:
    """`jobs.ports.Throttles`."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def get(self, key: str) -> Throttle | None:
        rows = self._project.select("throttles", {"key": key})
        return make_throttle(rows[0]) if rows else None

    def add_failure(self, key: str, *, forget_after_s: int) -> int:
        return int(self._project.call("add_failure", key=key, forget_after_s=forget_after_s))

    def lock(self, key: str, until: datetime) -> None:
        self._project.call("lock_throttle", again=True, key=key, until=format_time(until))

    def clear(self, key: str) -> None:
        self._project.delete("throttles", {"key": key}, again=True)

    def purge(self, *, older_than_s: int) -> int:
        return int(self._project.call("purge_throttles", older_than_s=older_than_s))
