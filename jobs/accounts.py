"""Who somebody is: logins, lockout, invitations and resets. The only place that decides about a login."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum

from jobs import fields
from jobs.credentials import UNUSABLE_HASH, hash_link_token, make_link_token
from jobs.errors import AuthError, Conflict, DomainError, Forbidden, LoginFailed, NotFound, Refused
from jobs.lockout import Lockout
from jobs.models import Json, Link, LinkKind, Page, Role, Session, User
from jobs.passwords import TablePasswords
from jobs.ports import Added, Passwords, Ports, Proof
from jobs.roles import has_other_administrator, require_admin
from jobs.sessions import SESSION_S, Identity, SessionManager, SignIn
from pipeline.options import OptionError, parse_job_options

__all__ = ["SESSION_S", "AuthManager", "Identity", "SignIn", "SignUp"]

logger = logging.getLogger(__name__)

INVITATION_LIFE, RESET_LIFE = timedelta(days=7), timedelta(days=1)

_DEAD_INVITATION = "This invitation has been used or is too old. Ask the administrator for a new one."
_DEAD_RESET = "This link has been used or is too old. Ask the administrator for a new one."
_NOT_THE_FIRST = "The administrator has just been created. Log in, or ask for an invitation."
_NO_ACCOUNT = "This login has no account here yet. Ask the administrator for an invitation."
_LAST_ADMINISTRATOR = "This is the only administrator. Make somebody else an administrator first."


class SignUp(StrEnum):
    """Who may make an account."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"


class AuthManager:
    """Accounts on the users table. Passwords are the same table's, or a service's."""

    def __init__(self, ports: Ports, *, cookie_key: str, sign_up: SignUp, passwords: Passwords | None = None) -> None:
        self._ports, self.sign_up = ports, sign_up
        self._passwords = passwords or TablePasswords(ports.database.users)
        self._sessions = SessionManager(ports, self._passwords, cookie_key=cookie_key)
        self._lockout = Lockout(ports)
        self.login_field = fields.EMAIL if self._passwords.by_email else fields.USERNAME

    # --- nobody is signed in yet ---

    def has_users(self) -> bool:
        """Tell whether there is any account; without one, the first visitor makes the administrator."""
        return self._ports.database.users.count() > 0

    def create_administrator(
        self, *, username: str, full_name: str, password: str, address: str = "", label: str = ""
    ) -> SignIn:
        """Make the first account and sign it in. Raises `Conflict` when there is one already, `Refused` by field."""
        name, shown = self.login_field.check(username), fields.check_full_name(full_name)
        checked = fields.check_password(password)
        if self.has_users():
            raise Conflict(_NOT_THE_FIRST)
        added = self._add(name, checked, address)
        user = self._create(added, name, shown, Role.ADMIN, only_if_first=True)
        if user is None:
            raise Conflict(_NOT_THE_FIRST)
        return self._open(user, checked, address, label)

    def login(self, username: str, password: str, *, address: str, label: str = "") -> SignIn:
        """Check name and password and open a session. Raises `LoginFailed` or `TooManyTries`."""
        user, proof = self._verify(username, password, address)
        return self._sessions.open(user, label, proof.tokens)

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
        name, shown = self.login_field.check(username), fields.check_full_name(full_name)
        checked = fields.check_password(password)
        self._lockout.count_sign_up(address)
        added = self._add(name, checked, address)
        links = self._ports.database.links
        if link is not None and not links.use(link.token_hash):
            raise AuthError("dead_link", _DEAD_INVITATION)
        role = link.role if link else Role.USER
        user = None
        try:
            user = self._create(added, name, shown, role)
        finally:
            if user is None and link is not None:
                links.reopen(link.token_hash)
        if user is None:
            raise self._taken(name)
        return self._open(user, checked, address, label)

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
        checked = fields.check_password(new_password)
        links = self._ports.database.links
        if not links.use(link.token_hash):
            raise AuthError("dead_link", _DEAD_RESET)
        stored = False
        try:
            self._set_password(user, checked)
            stored = True
        finally:
            if not stored:
                links.reopen(link.token_hash)
        return self._get(user.id)

    def identify(self, token: str | None) -> Identity | None:
        """Return who a cookie's token stands for: signed by us, unexpired, session open, user active, version right."""
        return self._sessions.identify(token)

    def make_ticket(self, sign_in: SignIn) -> str:
        """Return a ticket, good for a minute, that the browser trades for the cookie."""
        return self._sessions.make_ticket(sign_in.session)

    def redeem_ticket(self, ticket: str) -> str:
        """Return the cookie's token for a ticket. Raises `AuthError`."""
        return self._sessions.redeem_ticket(ticket)

    # --- the person's own account ---

    def logout(self, identity: Identity) -> None:
        """End this session."""
        self._sessions.close(identity.session)

    def logout_everywhere(self, user_id: str) -> None:
        """End every session of a person at once."""
        self._sessions.close_all(user_id)

    def list_sessions(self, user_id: str) -> Sequence[Session]:
        """Return the open sessions, newest first."""
        return self._sessions.list_open(user_id)

    def change_password(self, identity: Identity, current: str, new: str, *, address: str) -> SignIn:
        """Set a new password, end every session, and open a new one for this browser.

        Raises `Refused` by field, also for a wrong current password, and `TooManyTries`.
        """
        checked = fields.check_password(new)
        user = self._confirm(identity.user.id, current, address)
        self._set_password(user, checked)
        return self._open(self._get(user.id), checked, address, identity.session.label)

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
        if user.role is Role.ADMIN and user.is_active and not has_other_administrator(self._ports, user.id):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")

    def delete_account(self, user_id: str, password: str, *, address: str) -> None:
        """Delete the account's rows after checking the password. The caller deletes its files first.

        Raises `Refused` for a wrong password, `TooManyTries`, and `Conflict` for the last administrator.
        """
        self.confirm_deletion(user_id, password, address=address)
        if not self._ports.database.users.delete(user_id):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")
        # last, for it can't be refused: who is left there has no account here, and may make a new one
        self._try("forget a deleted account", user_id, lambda: self._passwords.remove(user_id))

    # --- the administrator's ---

    def list_users(self, actor: User, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]:
        """Return accounts by name."""
        require_admin(self._ports, actor)
        return self._ports.database.users.list_all(search=search, offset=offset, limit=limit)

    def create_user(self, actor: User, *, username: str, full_name: str, role: Role) -> str:
        """Make an account without a usable password and return the token of a link to set one. Raises `Refused`."""
        require_admin(self._ports, actor)
        name, shown = self.login_field.check(username), fields.check_full_name(full_name)
        user = self._create(self._add(name, None, ""), name, shown, role)
        if user is None:
            raise self._taken(name)
        return self.make_reset_link(actor, user.id)

    def invite(self, actor: User, *, role: Role, note: str) -> str:
        """Return the token of an invitation, good for seven days. Raises `Refused`, `Conflict` if useless."""
        require_admin(self._ports, actor)
        if self.sign_up is SignUp.CLOSED:
            raise Conflict("Nobody can sign up here, so an invitation would be useless. Create the account instead.")
        return self._make_link(
            LinkKind.INVITATION,
            user_id=None,
            role=role,
            note=fields.check_note(note),
            created_by=actor.id,
            life=INVITATION_LIFE,
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
        return self.issue_reset_link(user_id, created_by=actor.id)

    def issue_reset_link(self, user_id: str, *, created_by: str = "") -> str:
        """Return what `make_reset_link` does, without asking who wants it: whoever works on the machine may have it."""
        user = self._get(user_id)
        self._delete_links(lambda link: link.user_id == user.id)
        return self._make_link(
            LinkKind.RESET, user_id=user.id, role=user.role, note="", created_by=created_by, life=RESET_LIFE
        )

    def set_active(self, actor: User, user_id: str, is_active: bool) -> None:
        """Disable an account, which ends its sessions at once, or enable it. Raises `Conflict` for the last one."""
        require_admin(self._ports, actor)
        user = self._get(user_id)
        if is_active:
            self._passwords.set_active(user.id, True)
        if not self._ports.database.users.set_active(user.id, is_active):
            raise Conflict(_LAST_ADMINISTRATOR, "last_administrator")
        if not is_active:
            self._ports.database.sessions.close_all(user.id)
            # what an administrator has handed out may be a way back in
            self._delete_links(lambda link: user.id in (link.user_id, link.created_by))
            self._try("bar a disabled account", user.id, lambda: self._passwords.set_active(user.id, False))

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

    def _add(self, name: str, password: str | None, address: str) -> Added:
        """Give a new login name its password. Raises `Refused` when the name is taken.

        A service may know the name already, from elsewhere or from a sign-up that was broken off: whoever knows its
        password goes on with it.
        """
        if self._ports.database.users.find(name) is not None:
            raise self._taken(name)
        added = self._passwords.add(name, password)
        if added is None and password is not None:
            try:
                proof = self._prove(name, password, address)
            except LoginFailed as error:
                raise self._taken(name) from error
            self._sessions.discard(proof.tokens)
            added = Added(user_id=proof.user_id, password_hash=None)
        if added is None:
            raise self._taken(name)
        return added

    def _prove(self, name: str, password: str, address: str) -> Proof:
        """Return the proof of a right pair. Raises `LoginFailed`, `TooManyTries`."""
        with self._lockout.trying(name, address) as attempt:
            proof = self._passwords.check(name, password, address=address)
            user = self._ports.database.users.get(proof.user_id) if proof else None
            if proof is None or (user is not None and not user.is_active):
                self._sessions.discard(proof.tokens if proof else None)
                raise LoginFailed(self.login_field.mismatch)
            attempt.succeed()
        return proof

    def _verify(self, username: str, password: str, address: str) -> tuple[User, Proof]:
        """Return the active user whose name and password these are. Raises `LoginFailed`, `TooManyTries`."""
        name = fields.clean_username(username)
        proof = self._prove(name, password, address)
        user = self._ports.database.users.get(proof.user_id) or self._admit(name, proof)
        return user, proof

    def _admit(self, name: str, proof: Proof) -> User:
        """Return a new account for somebody whom only the service knew. Raises `LoginFailed`, `Forbidden`."""
        if proof.tokens is None:
            raise LoginFailed(self.login_field.mismatch)
        user = None
        if self.sign_up is SignUp.OPEN and self.has_users():
            added = Added(user_id=proof.user_id, password_hash=None)
            user = self._create(added, self.login_field.check(name), "", Role.USER)
        if user is None:
            self._sessions.discard(proof.tokens)
            raise Forbidden(_NO_ACCOUNT)
        return user

    def _confirm(self, user_id: str, password: str, address: str) -> User:
        """Return the signed-in user after asking for the password again. Raises `Refused`, `TooManyTries`."""
        user = self._get(user_id)
        try:
            proof = self._prove(user.username, password, address)
        except LoginFailed as error:
            raise fields.CURRENT_PASSWORD.refuse() from error
        self._sessions.discard(proof.tokens)
        if proof.user_id != user.id:  # a service may have given the name to somebody else
            raise fields.CURRENT_PASSWORD.refuse()
        return user

    def _set_password(self, user: User, password: str) -> None:
        database = self._ports.database
        database.users.set_password(user.id, self._passwords.replace(user, password) or UNUSABLE_HASH)
        database.sessions.close_all(user.id)
        self._delete_links(lambda link: link.user_id == user.id)
        self._lockout.forgive(user.username)

    def _open(self, user: User, password: str, address: str, label: str) -> SignIn:
        """Open a session for somebody whose password has just been set."""
        return self._sessions.open(user, label, self._passwords.sign_in(user.username, password, address=address))

    def _try(self, what: str, user_id: str, step: Callable[[], None]) -> None:
        """Do at the service what is decided and done here."""
        try:
            step()
        except DomainError as error:
            reason = error.detail or error.message
            logger.warning("the service of the passwords did not %s: %s", what, reason, extra={"user_id": user_id})

    # --- links and users ---

    def _make_link(
        self, kind: LinkKind, *, user_id: str | None, role: Role, note: str, created_by: str, life: timedelta
    ) -> str:
        token = make_link_token()
        self._ports.database.links.create(
            kind,
            token_hash=hash_link_token(token),
            user_id=user_id,
            role=role,
            note=note,
            created_by=created_by,
            expires_at=self._ports.now() + life,
        )
        return token

    def _delete_links(self, is_meant: Callable[[Link], bool]) -> None:
        links = self._ports.database.links
        for link in (*links.list_open(LinkKind.RESET), *links.list_open(LinkKind.INVITATION)):
            if is_meant(link):
                links.delete(link.id)

    def _create(
        self, added: Added, name: str, full_name: str, role: Role, *, only_if_first: bool = False
    ) -> User | None:
        return self._ports.database.users.create(
            username=name,
            full_name=full_name,
            role=role,
            password_hash=added.password_hash or UNUSABLE_HASH,
            only_if_first=only_if_first,
            user_id=added.user_id,
        )

    def _get(self, user_id: str) -> User:
        user = self._ports.database.users.get(user_id)
        if user is None:
            raise NotFound("This account is not here any more.")
        return user

    def _taken(self, name: str) -> Refused:
        return self.login_field.refuse(self.login_field.taken.format(name))
