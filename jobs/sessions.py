"""Signed-in browsers: what opens a session, what its token stands for, how long, and how it ends.

The row of the session is the truth about the cookie. Where a service keeps passwords, the row also holds the tokens of
the session there, sealed with the cookie key: they are renewed when they have run out, and whoever is not welcome there
any more is out here too.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from jobs.credentials import Claims, read_token, seal, sign_token, unseal
from jobs.errors import AuthError, DomainError
from jobs.models import Session, User
from jobs.ports import Passwords, Ports, Tokens

logger = logging.getLogger(__name__)

SESSION_S = 30 * 24 * 3600
"""How long a login lasts."""
TICKET_S = 60
TOUCH_S = 60
ASK_S = 60
"""Between two questions to the service about the same session, whatever the first one's answer was."""

_FOR_SESSION, _FOR_TICKET = "session", "ticket"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session that was opened just now. ``token`` is the cookie's value; never log it."""

    user: User
    session: Session
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a token stands for."""

    user: User
    session: Session


class SessionManager:
    """Sessions on the sessions table."""

    def __init__(self, ports: Ports, passwords: Passwords, *, cookie_key: str) -> None:
        self._ports, self._passwords, self._key = ports, passwords, cookie_key
        self._guard = Lock()
        self._asked: dict[str, datetime] = {}

    def open(self, user: User, label: str, tokens: Tokens | None) -> SignIn:
        """Open a session, which goes along with the one at the service that has these tokens."""
        session = self._ports.database.sessions.open(
            user.id,
            token_version=user.token_version,
            label=label,
            expires_at=self._ports.now() + timedelta(seconds=SESSION_S),
            tokens=self._seal(tokens) if tokens else "",
        )
        return SignIn(user=user, session=session, token=self._make_token(session))

    def identify(self, token: str | None) -> Identity | None:
        """Return who a cookie's token stands for: signed by us, unexpired, session open, user active, version right."""
        return self._identify(token, _FOR_SESSION)

    def make_ticket(self, session: Session) -> str:
        """Return a ticket, good for a minute, that the browser trades for the cookie."""
        return self._sign(session, _FOR_TICKET, self._ports.now() + timedelta(seconds=TICKET_S))

    def redeem_ticket(self, ticket: str) -> str:
        """Return the cookie's token for a ticket. Raises `AuthError`."""
        identity = self._identify(ticket, _FOR_TICKET)
        if identity is None:
            raise AuthError("dead_ticket", "The login took too long. Reload the page and log in again.")
        return self._make_token(identity.session)

    def list_open(self, user_id: str) -> Sequence[Session]:
        """Return a person's open sessions, newest first."""
        return self._ports.database.sessions.list_open(user_id)

    def close(self, session: Session) -> None:
        """End one session, here and at the service."""
        self._ports.database.sessions.close(session.user_id, session.id)
        self.end_at_service([session], everywhere=False)

    def close_all(self, user_id: str) -> None:
        """End every session of a person at once, here and at the service."""
        database = self._ports.database
        sessions = database.sessions.list_open(user_id)
        database.users.raise_token_version(user_id)
        database.sessions.close_all(user_id)
        self.end_at_service(sessions, everywhere=True)

    def end_at_service(self, sessions: Sequence[Session], *, everywhere: bool) -> None:
        """Tell the service that sessions have ended here; the first one it still knows ends all ``everywhere``."""
        for session in sessions:
            tokens = self._unseal(session.tokens)
            if tokens and self.discard(tokens, everywhere=everywhere) and everywhere:
                return

    def discard(self, tokens: Tokens | None, *, everywhere: bool = False) -> bool:
        """End a session of the service; return whether it was still known there. What is over here stays so."""
        try:
            return tokens is not None and self._passwords.end(tokens, everywhere=everywhere)
        except DomainError as error:
            logger.warning("a session that has ended here may go on elsewhere: %s", error.detail or error.message)
            return False

    # --- what a token stands for ---

    def _identify(self, token: str | None, audience: str) -> Identity | None:
        database, now = self._ports.database, self._ports.now()
        claims = read_token(token, key=self._signing_key, audience=audience, now=now) if token else None
        found = database.sessions.get_with_user(claims.session_id) if claims else None
        if claims is None or found is None:
            return None
        session, user = found
        versions = {claims.version, session.token_version, user.token_version}
        if session.user_id != claims.user_id or session.expires_at <= now or not user.is_active or len(versions) > 1:
            return None
        if session.tokens and not self._is_welcome(session):
            return None
        if now - session.seen_at > timedelta(seconds=TOUCH_S):
            database.sessions.touch(session.id)
        return Identity(user=user, session=session)

    def _is_welcome(self, session: Session) -> bool:
        """Tell whether the service still knows a session, which it is asked when the tokens have run out.

        A service that does not answer sends nobody away. Two processes may ask with the same token at once: a service
        that rotates them takes the one before the newest for a client that did not get its answer.
        """
        tokens = self._unseal(session.tokens)
        if tokens is None:
            return False
        if tokens.expires_at > self._ports.now() or not self._may_ask(session.id):
            return True
        sessions = self._ports.database.sessions
        try:
            renewed = self._passwords.renew(tokens)
        except DomainError as error:
            logger.warning("a session could not be renewed: %s", error.detail or error.message)
            return True
        if renewed is not None:
            sessions.set_tokens(session.id, self._seal(renewed), instead_of=session.tokens)
            return True
        current = sessions.get(session.id)
        if current is not None and current.tokens == session.tokens:
            sessions.close(session.user_id, session.id)
            logger.info("a session has been ended by the service", extra={"user_id": session.user_id})
            return False
        return current is not None

    def _may_ask(self, session_id: str) -> bool:
        """Tell one caller a minute that it may."""
        now = self._ports.now()
        with self._guard:
            self._asked = {one: at for one, at in self._asked.items() if now - at < timedelta(seconds=ASK_S)}
            return self._asked.setdefault(session_id, now) is now

    # --- tokens ---

    @property
    def _signing_key(self) -> str:
        self._key = self._key or self._ports.database.get_secret("cookie_key", lambda: secrets.token_urlsafe(48))
        return self._key

    def _make_token(self, session: Session) -> str:
        return self._sign(session, _FOR_SESSION, session.expires_at)

    def _sign(self, session: Session, audience: str, expires_at: datetime) -> str:
        claims = Claims(
            user_id=session.user_id, session_id=session.id, version=session.token_version, expires_at=expires_at
        )
        return sign_token(claims, key=self._signing_key, audience=audience, now=self._ports.now())

    def _seal(self, tokens: Tokens) -> str:
        text = json.dumps([tokens.access, tokens.refresh, int(tokens.expires_at.timestamp())])
        return seal(text, key=self._signing_key)

    def _unseal(self, sealed: str) -> Tokens | None:
        text = unseal(sealed, key=self._signing_key) if sealed else None
        if text is None:
            return None
        access, refresh, expires_s = json.loads(text)
        expires_at = datetime.fromtimestamp(expires_s, self._ports.now().tzinfo)
        return Tokens(access=access, refresh=refresh, expires_at=expires_at)
