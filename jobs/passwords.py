"""The passwords that our own table keeps: names and bcrypt hashes beside the accounts."""

from __future__ import annotations

from jobs.credentials import hash_password, match_password
from jobs.models import User
from jobs.ports import Added, Proof, Tokens, Users


class TablePasswords:
    """`jobs.ports.Passwords` on the users table, which is also where accounts are deleted and disabled."""

    by_email = False

    def __init__(self, users: Users) -> None:
        self._users = users

    def check(self, name: str, password: str, *, address: str) -> Proof | None:  # noqa: ARG002
        user = self._users.find(name)
        stored = self._users.password_hash(user.id) if user else None
        if not match_password(password, stored) or user is None:
            return None
        return Proof(user_id=user.id, tokens=None)

    def sign_in(self, name: str, password: str, *, address: str) -> Tokens | None:  # noqa: ARG002
        return None

    def add(self, name: str, password: str | None) -> Added | None:  # noqa: ARG002
        return Added(user_id=None, password_hash=None if password is None else hash_password(password))

    def replace(self, user: User, password: str) -> str | None:  # noqa: ARG002
        return hash_password(password)

    def set_active(self, user_id: str, is_active: bool) -> None:
        pass

    def remove(self, user_id: str) -> None:
        pass

    def renew(self, tokens: Tokens) -> Tokens | None:
        return tokens

    def end(self, tokens: Tokens, *, everywhere: bool) -> bool:  # noqa: ARG002
        return False

    def check_service(self) -> str:
        return ""
