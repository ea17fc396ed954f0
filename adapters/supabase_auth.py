"""Passwords kept by Supabase Auth: e-mail and password, with its sessions behind ours.

Everything goes over the auth client of supabase-py with the secret key. Whoever signs in gets a client of their own for
that one request: a shared one would go on as that person. Nothing is kept in memory, and nothing renews by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
from pydantic import ValidationError
from supabase_auth import AdminUserAttributes, AuthResponse, SyncGoTrueAdminAPI, SyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError
from supabase_auth.errors import AuthError as ServiceError

from adapters.connections import SharedClient
from jobs import fields
from jobs.errors import AuthError, LoginUnavailable, Refused, TooManyTries
from jobs.models import User
from jobs.ports import Added, Proof, Tokens

TIMEOUT = httpx.Timeout(10, connect=5)
CONNECTIONS = 10
BARRED, WELCOME = "876000h", "none"
"""Lengths of a ban: a hundred years, and none."""
RATE_LIMIT_WAIT_S = 60

_WRONG_PAIR = {"invalid_credentials", "user_banned", "user_not_found", "password_not_set", "validation_failed"}
"""What a login is refused with. A ban is told before the password is looked at, so it has to read the same."""
_ENDED = {
    "refresh_token_not_found",
    "refresh_token_already_used",
    "session_not_found",
    "session_expired",
    "user_banned",
    "user_not_found",
}
_WEAK = {
    "pwned": "This password is known from a leak. Choose another one.",
    "characters": "The password is too plain. Mix small letters, capitals, digits and symbols.",
    "length": "The password is too short. Take a longer one.",
}


_WITHOUT_CODES = {
    "Invalid login credentials": "invalid_credentials",
    "Email not confirmed": "email_not_confirmed",
    "Invalid Refresh Token": "session_not_found",
}
"""How messages begin by which versions without codes are understood."""


class _Rejected(Exception):
    """The service understood a request and said no; the text tells code and reason."""

    def __init__(self, error: AuthApiError) -> None:
        super().__init__(f"Supabase Auth: {error.code or error.status}: {error.message}")
        message = str(error.message)
        meant = next((code for start, code in _WITHOUT_CODES.items() if message.startswith(start)), "")
        self.status, self.code = error.status, str(error.code or meant)


class SupabaseAuth:
    """`jobs.ports.Passwords` at a Supabase project, or at any Supabase Auth behind the same gateway."""

    by_email = True

    def __init__(self, url: str, *, secret_key: str, http: httpx.Client | None = None) -> None:
        self._url = f"{url}/auth/v1"
        # The secret key everywhere: with it no captcha is asked for, and the address of the person is believed.
        self._headers = {"apikey": secret_key, "Authorization": f"Bearer {secret_key}"}
        self._http = http or SharedClient(connections=CONNECTIONS, timeout=TIMEOUT)
        self._admin = SyncGoTrueAdminAPI(url=self._url, headers=self._headers, http_client=self._http)

    def check(self, name: str, password: str, *, address: str) -> Proof | None:
        cleaned = fields.clean_password(password).encode("utf-8", "replace").decode()
        if not (name and cleaned) or len(cleaned.encode()) > fields.MAX_PASSWORD_BYTES:
            return None
        client = self._make_client({"Sb-Forwarded-For": address} if address else {})
        try:
            with _answering():
                answer = client.sign_in_with_password({"email": name, "password": cleaned})
        except _Rejected as error:
            if error.code == "email_not_confirmed":
                sentence = "Confirm your e-mail address first: open the link that was sent to it."
                raise AuthError(error.code, sentence) from error
            if error.code in _WRONG_PAIR:
                return None
            raise LoginUnavailable(str(error)) from error
        user_id, tokens = _read(answer)
        return Proof(user_id=user_id, tokens=tokens)

    def sign_in(self, name: str, password: str, *, address: str) -> Tokens | None:
        proof = self.check(name, password, address=address)
        if proof is None:
            raise LoginUnavailable("Supabase Auth refuses a password that it was just given")
        return proof.tokens

    def add(self, name: str, password: str | None) -> Added | None:
        attributes: AdminUserAttributes = {"email": name, "email_confirm": True}
        if password is not None:
            attributes["password"] = password
        try:
            return Added(user_id=self._create(attributes), password_hash=None)
        except _Rejected as error:
            if error.code not in ("email_exists", "user_already_exists"):
                raise _refuse(error, fields.EMAIL) from error
        if password is not None:
            return None
        user_id = self._find(name)  # its password may be a stranger's, who was there first
        try:
            self._update(user_id, {"password": secrets.token_urlsafe(32)})
        except _Rejected as error:
            raise LoginUnavailable(str(error)) from error
        return Added(user_id=user_id, password_hash=None)

    def replace(self, user: User, password: str) -> str | None:
        attributes: AdminUserAttributes = {"password": password, "email_confirm": True}
        try:
            if not self._update(user.id, attributes):
                # somebody was deleted there and not here: an administrator's link brings the login back
                self._create({"id": user.id, "email": user.username, **attributes})
        except _Rejected as error:
            raise _refuse(error, fields.PASSWORD) from error
        return None

    def set_active(self, user_id: str, is_active: bool) -> None:
        try:
            self._update(user_id, {"ban_duration": WELCOME if is_active else BARRED})
        except _Rejected as error:
            raise LoginUnavailable(str(error)) from error

    def remove(self, user_id: str) -> None:
        try:
            with _answering():
                self._admin.delete_user(user_id)
        except _Rejected as error:
            if error.status != 404:
                raise LoginUnavailable(str(error)) from error

    def renew(self, tokens: Tokens) -> Tokens | None:
        try:
            with _answering():
                answer = self._make_client({}).refresh_session(tokens.refresh)
        except _Rejected as error:
            if error.code in _ENDED:
                return None
            raise LoginUnavailable(str(error)) from error
        return _read(answer)[1]

    def end(self, tokens: Tokens, *, everywhere: bool) -> bool:
        if self._sign_out(tokens, everywhere):
            return True
        renewed = self.renew(tokens)  # the access token may just have run out
        return renewed is not None and self._sign_out(renewed, everywhere)

    def check_service(self) -> str:
        try:
            with _answering():
                self._admin.list_users(page=1, per_page=1)
        except _Rejected as error:
            raise LoginUnavailable(str(error)) from error
        return "Supabase Auth answers."

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _make_client(self, headers: dict[str, str]) -> SyncGoTrueClient:
        return SyncGoTrueClient(
            url=self._url,
            headers={**self._headers, **headers},
            http_client=self._http,
            auto_refresh_token=False,
            persist_session=False,
        )

    def _create(self, attributes: AdminUserAttributes) -> str:
        with _answering():
            return self._admin.create_user(attributes).user.id

    def _update(self, user_id: str, attributes: AdminUserAttributes) -> bool:
        """Return False when there is no such person."""
        try:
            with _answering():
                self._admin.update_user_by_id(user_id, attributes)
        except _Rejected as error:
            if error.status != 404:
                raise
            return False
        return True

    def _find(self, name: str) -> str:
        """Return the id of a person by name. No mail is sent: the link that is made along with it is dropped."""
        try:
            with _answering():
                return self._admin.generate_link({"type": "recovery", "email": name}).user.id
        except _Rejected as error:
            raise LoginUnavailable(str(error)) from error

    def _sign_out(self, tokens: Tokens, everywhere: bool) -> bool:
        try:
            with _answering():
                self._admin.sign_out(tokens.access, "global" if everywhere else "local")
        except _Rejected as error:
            if error.status not in (401, 403, 404):
                raise LoginUnavailable(str(error)) from error
            return False
        return True


@contextmanager
def _answering() -> Iterator[None]:
    """Raise `_Rejected` for a no, and what the person has to know for all else that goes wrong."""
    try:
        yield
    except AuthWeakPasswordError as error:
        sentence = next((text for reason, text in _WEAK.items() if reason in error.reasons), _WEAK["characters"])
        raise fields.PASSWORD.refuse(sentence) from error
    except AuthApiError as error:
        if error.status == 429:
            raise TooManyTries(RATE_LIMIT_WAIT_S) from error
        if error.status >= 500:
            raise LoginUnavailable(str(_Rejected(error))) from error
        raise _Rejected(error) from error
    except ServiceError as error:
        raise LoginUnavailable(f"Supabase Auth: {error.message}") from error
    except ValidationError:  # its text repeats the answer, tokens and all
        raise LoginUnavailable("Supabase Auth: an answer that can't be read") from None


def _refuse(error: _Rejected, field: fields.Field) -> Refused | LoginUnavailable:
    """Return what to raise when a person could not be stored as they are."""
    if error.code in ("email_exists", "user_already_exists"):
        return field.refuse("Another login has this e-mail address already. Ask the administrator.")
    if error.status in (400, 422):
        return field.refuse()
    return LoginUnavailable(str(error))


def _read(answer: AuthResponse) -> tuple[str, Tokens]:
    """Return whose session an answer opens, and its tokens."""
    session = answer.session
    if session is None or session.expires_at is None:
        raise LoginUnavailable("Supabase Auth: an answer without a session")
    expires_at = datetime.fromtimestamp(session.expires_at, UTC)
    return session.user.id, Tokens(access=session.access_token, refresh=session.refresh_token, expires_at=expires_at)
