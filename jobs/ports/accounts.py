"""Who people are: their rows, and who knows their passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from jobs.models import Json, Link, LinkKind, Page, Role, Session, Throttle, User


class Users(Protocol):
    """Accounts. A username is stored in lower case and unique."""

    def count(self) -> int: ...
    def create(
        self, *, username: str, full_name: str, role: Role, password_hash: str, only_if_first: bool = False,
        user_id: str | None = None,
    ) -> User | None:  # fmt: skip
        """Return the new user, with ``user_id`` where it is given; None when that or the name is taken, or when
        ``only_if_first`` and there is anyone already."""

    def get(self, user_id: str) -> User | None: ...
    def find(self, username: str) -> User | None: ...
    def password_hash(self, user_id: str) -> str | None: ...
    def set_password(self, user_id: str, password_hash: str) -> None:
        """Store a new hash and raise the token version, which ends every session."""

    def raise_token_version(self, user_id: str) -> None: ...
    def set_name(self, user_id: str, full_name: str) -> None: ...
    def set_role(self, user_id: str, role: Role) -> bool:
        """Return False, and change nothing, when it would leave no active administrator."""

    def set_active(self, user_id: str, is_active: bool) -> bool:
        """Raise the token version too when disabling. Return False when it would leave no active administrator."""

    def set_quota(self, user_id: str, *, minutes: int | None, size_bytes: int | None) -> None: ...
    def set_options(self, user_id: str, options: Json) -> None: ...
    def list_all(self, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]: ...
    def delete(self, user_id: str) -> bool:
        """Delete the account and all its rows; False when others would be left without an active administrator."""


class Sessions(Protocol):
    """Signed-in browsers."""

    def open(
        self, user_id: str, *, token_version: int, label: str, expires_at: datetime, tokens: str = ""
    ) -> Session: ...
    def get(self, session_id: str) -> Session | None: ...
    def get_with_user(self, session_id: str) -> tuple[Session, User] | None:
        """Return a session with its person, in one step: every page and every request begins with it."""

    def touch(self, session_id: str) -> None: ...
    def set_tokens(self, session_id: str, tokens: str, *, instead_of: str) -> bool:
        """Store other tokens; True only when the session is there and still has ``instead_of``."""

    def list_open(self, user_id: str) -> Sequence[Session]: ...
    def close(self, user_id: str, session_id: str) -> None: ...
    def close_all(self, user_id: str) -> None: ...
    def purge(self) -> int:
        """Delete expired sessions; return how many."""


class Links(Protocol):
    """One-time links: invitations and password resets."""

    def create(
        self, kind: LinkKind, *, token_hash: str, user_id: str | None, role: Role, note: str, created_by: str,
        expires_at: datetime,
    ) -> Link: ...  # fmt: skip
    def find(self, token_hash: str) -> Link | None: ...
    def use(self, token_hash: str) -> bool:
        """Mark it used; True for exactly one caller, and never after it has expired."""

    def reopen(self, token_hash: str) -> None:
        """Undo `use`, for when what it was used for could not be done."""

    def list_open(self, kind: LinkKind) -> Sequence[Link]: ...
    def delete(self, link_id: str) -> None: ...
    def purge(self) -> int: ...


class Throttles(Protocol):
    """Counters of wrong tries, by account and by address."""

    def get(self, key: str) -> Throttle | None: ...
    def add_failure(self, key: str, *, forget_after_s: int) -> int:
        """Count one more try and return the count; starts at 1 again after ``forget_after_s`` without any."""

    def lock(self, key: str, until: datetime) -> None: ...
    def clear(self, key: str) -> None: ...
    def purge(self, *, older_than_s: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A session at a service that keeps passwords; never log them."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    """Is good for one renewal."""
    expires_at: datetime
    """From when on it has to be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the right password is answered with."""

    user_id: str
    tokens: Tokens | None
    """None where nobody else keeps sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A login name that has just got its password. An account here is to be made with it."""

    user_id: str | None
    """The account must have this id; None leaves it to the database."""
    password_hash: str | None
    """To be stored with the account; None where somebody else keeps it."""


class Passwords(Protocol):
    """Who knows passwords: our own table, or a service. It decides nothing else about a person.

    Names and new passwords are checked and cleaned before they come here. A service may have rules of its own: all
    methods raise `Refused` by field, `TooManyTries`, and `LoginUnavailable` when it does not answer.
    """

    @property
    def by_email(self) -> bool:
        """Whether login names are e-mail addresses."""

    def check(self, name: str, password: str, *, address: str) -> Proof | None:
        """Return the proof of a right pair; None for every other one, known or not. Raises `AuthError` when the pair is
        right and may still not be used."""

    def sign_in(self, name: str, password: str, *, address: str) -> Tokens | None:
        """Open a session with a pair that is right; None where nobody else keeps sessions."""

    def add(self, name: str, password: str | None) -> Added | None:
        """Give a new login name its password; None when the name is taken.

        Without a password nobody can log in until `replace`, and a name that a service knows already is taken over.
        """

    def replace(self, user: User, password: str) -> str | None:
        """Set another password, which ends every session of the person there.

        Return the hash to store with the account; None where somebody else keeps it.
        """

    def set_active(self, user_id: str, is_active: bool) -> None:
        """Bar a person, or let them in again."""

    def remove(self, user_id: str) -> None:
        """Forget a person. Nothing happens when there is none."""

    def renew(self, tokens: Tokens) -> Tokens | None:
        """Return fresh tokens; None when the session, or the person, is not welcome there any more."""

    def end(self, tokens: Tokens, *, everywhere: bool) -> bool:
        """End this session there, or all of the person's; return whether these tokens were still good for it."""

    def check_service(self) -> str:
        """Return a sentence for the health page; empty where there is no service."""
