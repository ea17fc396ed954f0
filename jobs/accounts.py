"""Who somebody is: passwords, sessions, lockout, invitations and resets. The only place that decides about a login."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs import fields
from jobs.credentials import (
    UNUSABLE_HASH,
    Claims,
    hash_link_token,
    hash_password,
    make_link_token,
    match_password,
    read_token,
    sign_token,
)
from jobs.errors import AuthError, Conflict, Forbidden, LoginFailed, NotFound, Refused
from jobs.lockout import Lockout
from jobs.models import Json, Link, LinkKind, Page, Role, Session, User
from jobs.ports import Ports
from jobs.roles import require_admin
from pipeline.options import OptionError, parse_job_options

SESSION_S = 30 * 24 * 3600
"""How long a login lasts."""
TICKET_S = 60
TOUCH_S = 60
INVITATION_LIFE, RESET_LIFE = timedelta(days=7), timedelta(days=1)

_FOR_SESSION, _FOR_TICKET = "session", "ticket"
_DEAD_INVITATION = "This invitation has been used or is too old. Ask the administrator for a new one."
_DEAD_RESET = "This link has been used or is too old. Ask the administrator for a new one."
_LAST_ADMINISTRATOR = "This is the only administrator. Make somebody else an administrator first."


class SignUp(StrEnum):
    """Who may make an account."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A session that was opened just now. ``token`` is the cookie's value; never log it."""

    user: User
    session: Session
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a token stands for."""

    user: User
    session: Session


class AuthManager:
    """Accounts and sessions on the users table."""

    def __init__(self, ports: Ports, *, cookie_key: str, sign_up: SignUp) -> None:
        self._ports, self._key, self.sign_up = ports, cookie_key, sign_up
        self._lockout = Lockout(ports)

    # --- nobody is signed in yet ---

    def has_users(self) -> bool:
        """Tell whether there is any account; without one, the first visitor makes the administrator."""
        return self._ports.database.users.count() > 0

    def create_administrator(self, *, username: str, full_name: str, password: str, label: str = "") -> SignIn:
        """Make the first account and sign it in. Raises `Conflict` when there is one already, `Refused` by field."""
        name, shown = fields.check_username(username), fields.check_full_name(full_name)
        user = self._ports.database.users.create(
            username=name,
            full_name=shown,
            role=Role.ADMIN,
            password_hash=hash_password(fields.check_password(password)),
            only_if_first=True,
        )
        if user is None:
            raise Conflict("The administrator has just been created. Log in, or ask for an invitation.")
        return self._open_session(user, label)

    def login(self, username: str, password: str, *, address: str, label: str = "") -> SignIn:
        """Check name and password and open a session. Raises `LoginFailed` or `TooManyTries`."""
        return self._open_session(self._verify(username, password, address), label)

    def register(
        self, *, username: str, full_name: str, password: str, invitation: str = "", address: str, label: str = ""
    ) -> SignIn:
        """Make an account, by an invitation's token where sign-up is not open, and sign it in.

        Raises `Forbidden`, `AuthError` for a dead invitation, `Refused` by field, `TooManyTries`.
        """
        link = self.find_link(LinkKind.INVITATION, invitation) if invitation else None
        if self.sign_up is SignUp.CLOSED:
            raise Forbidden("Nobody can sign up here. Ask the administrator for an account.")
        if invitation and link is None:
            raise AuthError("dead_link", _DEAD_INVITATION)
        if link is None and self.sign_up is not SignUp.OPEN:
            raise Forbidden("An invitation is needed to sign up. Ask the administrator for one.")
        name, shown = fields.check_username(username), fields.check_full_name(full_name)
        checked = fields.check_password(password)
        self._lockout.count_sign_up(address)
        password_hash = hash_password(checked)
        links, users = self._ports.database.links, self._ports.database.users
        if link is not None and not links.use(link.token_hash):
            raise AuthError("dead_link", _DEAD_INVITATION)
        role = link.role if link else Role.USER
        user = None
        try:
            user = users.create(username=name, full_name=shown, role=role, password_hash=password_hash)
        finally:
            if user is None and link is not None:
                links.reopen(link.token_hash)
        if user is None:
            raise _taken(name)
        return self._open_session(user, label)

    def find_link(self, kind: LinkKind, token: str) -> Link | None:
        """Return an unused, unexpired link by its token."""
        link = self._ports.database.links.find(hash_link_token(token))
        if link is None or link.kind is not kind or link.used_at is not None or link.expires_at <= self._ports.now():
            return None
        return link

    def reset_password(self, token: str, new_password: str) -> User:
        """Set a new password by a reset link, which ends every session. Raises `AuthError`, `Refused`."""
        link = self.find_link(LinkKind.RESET, token)
        user = self._ports.database.users.get(link.user_id) if link and link.user_id else None
        if link is None or user is None:
            raise AuthError("dead_link", _DEAD_RESET)
        password_hash = hash_password(fields.check_password(new_password))
        links = self._ports.database.links
        if not links.use(link.token_hash):
            raise AuthError("dead_link", _DEAD_RESET)
        stored = False
        try:
            self._set_password(user, password_hash)
            stored = True
        finally:
            if not stored:
                links.reopen(link.token_hash)
        return self._get(user.id)

    def identify(self, token: str | None) -> Identity | None:
        """Return who a cookie's token stands for: signed by us, unexpired, session open, user active, version right."""
        return self._identify(token, _FOR_SESSION)

    def make_ticket(self, sign_in: SignIn) -> str:
        """Return a ticket, good for a minute, that the browser trades for the cookie."""
        return self._sign(sign_in.session, _FOR_TICKET, self._ports.now() + timedelta(seconds=TICKET_S))

    def redeem_ticket(self, ticket: str) -> str:
        """Return the cookie's token for a ticket. Raises `AuthError`."""
        identity = self._identify(ticket, _FOR_TICKET)
        if identity is None:
            raise AuthError("dead_ticket", "The login took too long. Reload the page and log in again.")
        return self._make_token(identity.session)

    # --- the person's own account ---

    def logout(self, identity: Identity) -> None:
        """End this session."""
        self._ports.database.sessions.close(identity.user.id, identity.session.id)

    def logout_everywhere(self, user_id: str) -> None:
        """End every session of a person at once."""
        self._ports.database.users.raise_token_version(user_id)
        self._ports.database.sessions.close_all(user_id)

    def list_sessions(self, user_id: str) -> Sequence[Session]:
        """Return the open sessions, newest first."""
        return self._ports.database.sessions.list_open(user_id)

    def change_password(self, identity: Identity, current: str, new: str, *, address: str) -> SignIn:
        """Set a new password, end every session, and open a new one for this browser.

        Raises `Refused` by field, also for a wrong current password, and `TooManyTries`.
        """
        checked = fields.check_password(new)
        user = self._confirm(identity.user.id, current, address)
        self._set_password(user, hash_password(checked))
        return self._open_session(self._get(user.id), identity.session.label)

    def set_name(self, user_id: str, full_name: str) -> None:
        """Change the name that is shown. Raises `Refused`."""
        self._ports.database.users.set_name(user_id, fields.check_full_name(full_name))

    def set_options(self, user_id: str, options: Json) -> None:
        """Remember the job options for the next upload. Raises `Refused`."""
        try:
            parse_job_options(options)
        except OptionError as error:
            raise Refused("options", str(error)) from error
        self._ports.database.users.set_options(user_id, options)

    def confirm_deletion(self, user_id: str, password: str, *, address: str) -> None:
        """Check what `delete_account` will check, before the first file goes. Raises what it raises."""
        user = self._confirm(user_id, password, address)
        if user.role is Role.ADMIN and user.is_active and not self._has_other_administrator(user.id):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")

    def delete_account(self, user_id: str, password: str, *, address: str) -> None:
        """Delete the account's rows after checking the password. The caller deletes its files first.

        Raises `Refused` for a wrong password, `TooManyTries`, and `Conflict` for the last administrator.
        """
        self.confirm_deletion(user_id, password, address=address)
        if not self._ports.database.users.delete(user_id):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")

    # --- the administrator's ---

    def list_users(self, actor: User, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]:
        """Return accounts by name."""
        require_admin(self._ports, actor)
        return self._ports.database.users.list_all(search=search, offset=offset, limit=limit)

    def create_user(self, actor: User, *, username: str, full_name: str, role: Role) -> str:
        """Make an account without a usable password and return the token of a link to set one. Raises `Refused`."""
        require_admin(self._ports, actor)
        name, shown = fields.check_username(username), fields.check_full_name(full_name)
        user = self._ports.database.users.create(username=name, full_name=shown, role=role, password_hash=UNUSABLE_HASH)
        if user is None:
            raise _taken(name)
        return self.make_reset_link(actor, user.id)

    def invite(self, actor: User, *, role: Role, note: str) -> str:
        """Return the token of an invitation, good for seven days. Raises `Refused`, `Conflict` if useless."""
        require_admin(self._ports, actor)
        if self.sign_up is SignUp.CLOSED:
            raise Conflict("Nobody can sign up here, so an invitation would be useless. Create the account instead.")
        return self._make_link(
            LinkKind.INVITATION, user_id=None, role=role, note=fields.check_note(note), by=actor, life=INVITATION_LIFE
        )

    def list_invitations(self, actor: User) -> Sequence[Link]:
        """Return the invitations that can still be used."""
        require_admin(self._ports, actor)
        return self._ports.database.links.list_open(LinkKind.INVITATION)

    def withdraw_invitation(self, actor: User, link_id: str) -> None:
        """Make an invitation useless."""
        require_admin(self._ports, actor)
        self._ports.database.links.delete(link_id)

    def make_reset_link(self, actor: User, user_id: str) -> str:
        """Return the token of a link that sets a new password once, good for a day. Older ones become useless."""
        require_admin(self._ports, actor)
        user = self._get(user_id)
        self._delete_links(lambda link: link.user_id == user.id)
        return self._make_link(LinkKind.RESET, user_id=user.id, role=user.role, note="", by=actor, life=RESET_LIFE)

    def set_active(self, actor: User, user_id: str, is_active: bool) -> None:
        """Disable an account, which ends its sessions at once, or enable it. Raises `Conflict` for the last one."""
        require_admin(self._ports, actor)
        user = self._get(user_id)
        if not self._ports.database.users.set_active(user.id, is_active):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")
        if not is_active:
            self._ports.database.sessions.close_all(user.id)
            # what an administrator has handed out may be a way back in
            self._delete_links(lambda link: user.id in (link.user_id, link.created_by))

    def set_role(self, actor: User, user_id: str, role: Role) -> None:
        """Change what an account may do. Raises `Conflict` for the last administrator."""
        require_admin(self._ports, actor)
        if not self._ports.database.users.set_role(self._get(user_id).id, role):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")
        if role is not Role.ADMIN:
            self._delete_links(lambda link: link.created_by == user_id)

    def set_quota(self, actor: User, user_id: str, *, minutes: int | None, size_bytes: int | None) -> None:
        """Set limits of an account; None takes the machine's, 0 is none. Raises `Refused`."""
        require_admin(self._ports, actor)
        minutes, size_bytes = fields.check_minutes(minutes), fields.check_storage(size_bytes)
        self._ports.database.users.set_quota(self._get(user_id).id, minutes=minutes, size_bytes=size_bytes)

    # --- passwords ---

    def _verify(self, username: str, password: str, address: str) -> User:
        """Return the active user whose name and password these are. Raises `LoginFailed`, `TooManyTries`."""
        users = self._ports.database.users
        name = fields.clean_username(username)
        with self._lockout.trying(name, address) as attempt:
            user = users.find(name)
            stored = users.password_hash(user.id) if user else None
            if not match_password(password, stored) or user is None or not user.is_active:
                raise LoginFailed()
            attempt.succeed()
        return user

    def _confirm(self, user_id: str, password: str, address: str) -> User:
        """Return the signed-in user after asking for the password again. Raises `Refused`, `TooManyTries`."""
        try:
            return self._verify(self._get(user_id).username, password, address)
        except LoginFailed as error:
            raise fields.CURRENT_PASSWORD.refuse() from error

    def _set_password(self, user: User, password_hash: str) -> None:
        database = self._ports.database
        database.users.set_password(user.id, password_hash)
        database.sessions.close_all(user.id)
        self._delete_links(lambda link: link.user_id == user.id)
        self._lockout.forgive(user.username)

    # --- tokens ---

    @property
    def _signing_key(self) -> str:
        self._key = self._key or self._ports.database.get_secret("cookie_key", lambda: secrets.token_urlsafe(48))
        return self._key

    def _open_session(self, user: User, label: str) -> SignIn:
        session = self._ports.database.sessions.open(
            user.id,
            token_version=user.token_version,
            label=label,
            expires_at=self._ports.now() + timedelta(seconds=SESSION_S),
        )
        return SignIn(user=user, session=session, token=self._make_token(session))

    def _make_token(self, session: Session) -> str:
        return self._sign(session, _FOR_SESSION, session.expires_at)

    def _sign(self, session: Session, audience: str, expires_at: datetime) -> str:
        claims = Claims(
            user_id=session.user_id, session_id=session.id, version=session.token_version, expires_at=expires_at
        )
        return sign_token(claims, key=self._signing_key, audience=audience, now=self._ports.now())

    def _identify(self, token: str | None, audience: str) -> Identity | None:
        database, now = self._ports.database, self._ports.now()
        claims = read_token(token, key=self._signing_key, audience=audience, now=now) if token else None
        session = database.sessions.get(claims.session_id) if claims else None
        user = database.users.get(session.user_id) if session else None
        if claims is None or session is None or user is None:
            return None
        versions = {claims.version, session.token_version, user.token_version}
        if session.user_id != claims.user_id or session.expires_at <= now or not user.is_active or len(versions) > 1:
            return None
        if now - session.seen_at > timedelta(seconds=TOUCH_S):
            database.sessions.touch(session.id)
        return Identity(user=user, session=session)

    # --- links and users ---

    def _make_link(
        self, kind: LinkKind, *, user_id: str | None, role: Role, note: str, by: User, life: timedelta
    ) -> str:
        token = make_link_token()
        self._ports.database.links.create(
            kind,
            token_hash=hash_link_token(token),
            user_id=user_id,
            role=role,
            note=note,
            created_by=by.id,
            expires_at=self._ports.now() + life,
        )
        return token

    def _delete_links(self, is_meant: Callable[[Link], bool]) -> None:
        links = self._ports.database.links
        for link in (*links.list_open(LinkKind.RESET), *links.list_open(LinkKind.INVITATION)):
            if is_meant(link):
                links.delete(link.id)

    def _get(self, user_id: str) -> User:
        user = self._ports.database.users.get(user_id)
        if user is None:
            raise NotFound("This account is not here any more.")
        return user

    def _has_other_administrator(self, user_id: str) -> bool:
        offset = 0
        while True:
            page = self._ports.database.users.list_all(offset=offset, limit=200)
            if any(one.role is Role.ADMIN and one.is_active and one.id != user_id for one in page.items):
                return True
            offset += len(page.items)
            if not page.items or offset >= page.total:
                return False


def _taken(name: str) -> Refused:
    return fields.USERNAME.refuse(f"The name {name} is taken. Choose another one.")
