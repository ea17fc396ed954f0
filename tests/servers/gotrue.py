"""A small stand-in for Supabase Auth (GoTrue), which can't be had as a package.

It answers the part of the documented HTTP contract that the product uses, and no more: no mail, no MFA, no captcha, no
other providers. It is the ``auth_app`` of a `tests.servers.gateway.Gateway`, which checks the API key in front of it.
Errors have the form of API version 2024-01-01, or, ``speaks_codes`` off, of versions that had no codes.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import bcrypt
import jwt
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

VERSION = "X-Supabase-Api-Version"
Body = Mapping[str, Any]


class Problem(Exception):
    """What is answered instead."""

    def __init__(self, status: int, code: str, message: str, **more: object) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more


@dataclass
class Person:
    """A row of auth.users."""

    id: str
    email: str
    password_hash: bytes
    is_confirmed: bool
    created_at: datetime
    banned_until: datetime | None = None


@dataclass
class RefreshToken:
    """One link in the chain of a session's refresh tokens."""

    text: str
    session_id: str
    parent: str = ""
    revoked_at: datetime | None = None


@dataclass
class GoTrue:
    """The stand-in, with what tests may look at and turn.

    Admin requests need ``secret_key`` as bearer token, which the real gateway trades for one of the service's role.
    Access tokens are signed with ``signing_key``, the private JWK whose public half the project's PostgREST knows.
    """

    secret_key: str
    signing_key: str
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    token_life_s: int = 3600
    reuse_interval_s: int = 10
    min_password_chars: int = 6
    needs_digit: bool = False
    leaked: set[str] = field(default_factory=set)
    fails_with: int = 0
    """Answers everything with this status."""
    speaks_codes: bool = True
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    """Method, path with query, and headers of what was asked."""
    people: dict[str, Person] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    """Whose each open session is."""
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._key = jwt.PyJWK.from_json(self.signing_key)
        self._app = Starlette(
            routes=[
                self._route("/token", "POST", self._grant),
                self._route("/logout", "POST", self._log_out),
                self._route("/user", "GET", self._tell_user),
                self._route("/health", "GET", lambda *_: {"name": "GoTrue", "version": "stand-in"}),
                self._route("/settings", "GET", lambda *_: {"external": {"email": True}, "disable_signup": False}),
                self._route("/admin/users", "GET", self._admin(self._list)),
                self._route("/admin/users", "POST", self._admin(self._create)),
                self._route("/admin/users/{id}", "GET", self._admin(self._get)),
                self._route("/admin/users/{id}", "PUT", self._admin(self._update)),
                self._route("/admin/users/{id}", "DELETE", self._admin(self._delete)),
                self._route("/admin/generate_link", "POST", self._admin(self._generate_link)),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; paths begin below ``/auth/v1``."""
        await self._app(scope, receive, send)

    # --- what somebody does in the dashboard, or another product of the project ---

    def add(self, email: str, password: str, *, is_confirmed: bool = True, id: str = "") -> str:
        """Make a person and return their id."""
        person = Person(
            id=id or str(uuid4()),
            email=email.lower(),
            password_hash=bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)),
            is_confirmed=is_confirmed,
            created_at=self.now(),
        )
        with self._lock:
            self.people[person.id] = person
        return person.id

    def find(self, email: str) -> Person | None:
        """Return a person by address."""
        return next((one for one in self.people.values() if one.email == email.lower()), None)

    def count_sessions(self, email: str) -> int:
        """Return how many sessions a person has."""
        person = self.find(email)
        return sum(owner == person.id for owner in self.sessions.values()) if person else 0

    def end_sessions(self, user_id: str, *, keep: str = "") -> None:
        """Revoke a person's sessions but one."""
        with self._lock:
            for session_id in [one for one, owner in self.sessions.items() if owner == user_id and one != keep]:
                self.end_session(session_id)

    def end_session(self, session_id: str) -> None:
        """Revoke a session, and its refresh tokens with it."""
        with self._lock:
            del self.sessions[session_id]
            for text in [text for text, token in self.refresh_tokens.items() if token.session_id == session_id]:
                del self.refresh_tokens[text]

    def ban(self, user_id: str, length: timedelta = timedelta(days=36500)) -> None:
        """Ban a person from now on."""
        self.people[user_id].banned_until = self.now() + length

    def delete(self, user_id: str) -> None:
        """Delete a person, who loses their sessions."""
        with self._lock:
            self.end_sessions(user_id)
            del self.people[user_id]

    # --- tokens ---

    def _grant(self, request: Request, body: Body) -> Body:
        match request.query_params.get("grant_type"):
            case "password":
                return self._grant_password(body)
            case "refresh_token":
                return self._grant_refresh(str(body.get("refresh_token", "")))
        raise Problem(400, "invalid_credentials", "unsupported_grant_type")

    def _grant_password(self, body: Body) -> Body:
        if not body.get("email"):
            raise Problem(400, "validation_failed", "missing email or phone")
        person = self.find(body["email"])
        wrong = Problem(400, "invalid_credentials", "Invalid login credentials")
        if person is None:
            raise wrong
        if self._is_banned(person):  # told before the password is looked at, as there
            raise Problem(400, "user_banned", "User is banned")
        if not bcrypt.checkpw(str(body.get("password", "")).encode()[:72], person.password_hash):
            raise wrong
        if not person.is_confirmed:
            raise Problem(400, "email_not_confirmed", "Email not confirmed")
        session_id = str(uuid4())
        self.sessions[session_id] = person.id
        return self._issue(person, self._make_refresh_token(session_id))

    def _grant_refresh(self, text: str) -> Body:
        token = self.refresh_tokens.get(text)
        if token is None:
            raise Problem(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        person = self.people[self.sessions[token.session_id]]
        if self._is_banned(person):
            raise Problem(400, "user_banned", "Invalid Refresh Token: User Banned")
        if token.revoked_at is None:
            token.revoked_at = self.now()
            return self._issue(person, self._make_refresh_token(token.session_id, parent=text))
        chain = [one for one in self.refresh_tokens.values() if one.session_id == token.session_id]
        active = next((one for one in chain if one.revoked_at is None), None)
        if active and active.parent == text:  # a client that did not get its answer
            return self._issue(person, active)
        if self.now() > token.revoked_at + timedelta(seconds=self.reuse_interval_s):
            for one in chain:
                one.revoked_at = one.revoked_at or self.now()
            raise Problem(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
        return self._issue(person, self._make_refresh_token(token.session_id, parent=text))

    def _make_refresh_token(self, session_id: str, parent: str = "") -> RefreshToken:
        token = RefreshToken(text=secrets.token_urlsafe(9), session_id=session_id, parent=parent)
        self.refresh_tokens[token.text] = token
        return token

    def _issue(self, person: Person, token: RefreshToken) -> Body:
        issued = int(self.now().timestamp())
        claims = {
            "sub": person.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": person.email,
            "session_id": token.session_id,
            "iat": issued,
            "exp": issued + self.token_life_s,
        }
        headers = {"kid": self._key.key_id} if self._key.key_id else None
        return {
            "access_token": jwt.encode(claims, self._key.key, algorithm=self._key.algorithm_name, headers=headers),
            "token_type": "bearer",
            "expires_in": self.token_life_s,
            "expires_at": issued + self.token_life_s,
            "refresh_token": token.text,
            "user": self._show(person),
        }

    # --- a person's own ---

    def _read_claims(self, request: Request) -> dict[str, Any]:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims: dict[str, Any] = jwt.decode(
                bearer,
                self._key.key.public_key(),
                algorithms=[self._key.algorithm_name],
                audience="authenticated",
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Problem(403, "bad_jwt", f"invalid JWT: {error}") from error
        if claims["exp"] <= self.now().timestamp():
            raise Problem(403, "bad_jwt", "invalid JWT: token is expired")
        if claims["sub"] not in self.people:
            raise Problem(403, "user_not_found", "User from sub claim in JWT does not exist")
        if claims["session_id"] not in self.sessions:
            raise Problem(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return claims

    def _log_out(self, request: Request, _body: Body) -> Body:
        claims = self._read_claims(request)
        match request.query_params.get("scope", "global"):
            case "global":
                self.end_sessions(claims["sub"])
            case "others":
                self.end_sessions(claims["sub"], keep=claims["session_id"])
            case "local":
                self.end_session(claims["session_id"])
            case scope:
                raise Problem(400, "validation_failed", f"Unsupported logout scope {scope}")
        return {}

    def _tell_user(self, request: Request, _body: Body) -> Body:
        return self._show(self.people[self._read_claims(request)["sub"]])

    # --- the administrator's ---

    def _list(self, request: Request, _body: Body) -> Body:
        page, size = int(request.query_params.get("page", 1)), int(request.query_params.get("per_page", 50))
        people = list(self.people.values())[(page - 1) * size : page * size]
        return {"users": [self._show(one) for one in people], "aud": "authenticated"}

    def _create(self, _request: Request, body: Body) -> Body:
        email = str(body.get("email", ""))
        if "@" not in email.strip("@"):
            raise Problem(400, "validation_failed", "Unable to validate email address: invalid format")
        if self.find(email):
            raise Problem(422, "email_exists", "A user with this email address has already been registered")
        password = body.get("password") or secrets.token_urlsafe(48)
        self._check_strength(password)
        user_id = self.add(email, password, is_confirmed=bool(body.get("email_confirm")), id=body.get("id", ""))
        return self._show(self.people[user_id])

    def _get(self, request: Request, _body: Body) -> Body:
        return self._show(self._person(request))

    def _update(self, request: Request, body: Body) -> Body:
        person = self._person(request)
        if "password" in body:
            self._check_strength(body["password"])
            person.password_hash = bcrypt.hashpw(body["password"].encode(), bcrypt.gensalt(4))
            self.end_sessions(person.id)
        if body.get("email_confirm"):
            person.is_confirmed = True
        if body.get("email"):
            person.email = body["email"].lower()
        if length := body.get("ban_duration"):
            hours = 0 if length == "none" else int(length.removesuffix("h"))
            person.banned_until = self.now() + timedelta(hours=hours) if hours else None
        return self._show(person)

    def _delete(self, request: Request, _body: Body) -> Body:
        self.delete(self._person(request).id)
        return {}

    def _generate_link(self, _request: Request, body: Body) -> Body:
        person = self.find(body["email"])
        if person is None or body["type"] != "recovery":
            raise Problem(404, "user_not_found", "User with this email not found")
        token = secrets.token_hex(16)
        link = {
            "action_link": f"https://project.example/verify?token={token}",
            "email_otp": "123456",
            "hashed_token": token,
            "redirect_to": "",
            "verification_type": "recovery",
        }
        return {**self._show(person), **link}

    def _person(self, request: Request) -> Person:
        person = self.people.get(request.path_params["id"])
        if person is None:
            raise Problem(404, "user_not_found", "User not found")
        return person

    def _check_strength(self, password: str) -> None:
        reasons = []
        if len(password) < self.min_password_chars:
            reasons.append("length")
        if self.needs_digit and not any(char.isdigit() for char in password):
            reasons.append("characters")
        if password in self.leaked:
            reasons.append("pwned")
        if reasons:
            weak = {"reasons": reasons}
            raise Problem(422, "weak_password", "Password is too weak.", weak_password=weak)

    def _is_banned(self, person: Person) -> bool:
        return person.banned_until is not None and person.banned_until > self.now()

    def _show(self, person: Person) -> dict[str, Any]:
        confirmed = {"email_confirmed_at": person.created_at.isoformat()} if person.is_confirmed else {}
        banned = {"banned_until": person.banned_until.isoformat()} if person.banned_until else {}
        return {
            "id": person.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": person.email,
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "identities": [],
            "created_at": person.created_at.isoformat(),
            "updated_at": person.created_at.isoformat(),
            "is_anonymous": False,
            **confirmed,
            **banned,
        }

    # --- requests ---

    def _admin(self, answer: Callable[[Request, Body], Body]) -> Callable[[Request, Body], Body]:
        def guarded(request: Request, body: Body) -> Body:
            bearer = request.headers.get("authorization", "")
            if not bearer:
                raise Problem(401, "no_authorization", "This endpoint requires a valid Bearer token")
            if bearer != f"Bearer {self.secret_key}":
                raise Problem(403, "not_admin", "User not allowed")
            return answer(request, body)

        return guarded

    def _route(self, path: str, method: str, answer: Callable[[Request, Body], Body]) -> Route:
        def work(request: Request, body: Body) -> Response:
            try:
                if self.fails_with:
                    raise Problem(self.fails_with, "unexpected_failure", "Told to fail")
                with self._lock:
                    result = answer(request, body)
            except Problem as problem:
                return self._refuse(problem)
            return Response(status_code=204) if path == "/logout" else JSONResponse(result)

        async def endpoint(request: Request) -> Response:
            text = await request.body()
            self.requests.append((method, f"{path}?{request.url.query}".rstrip("?"), dict(request.headers)))
            return await run_in_threadpool(work, request, json.loads(text) if text else {})

        return Route(path, endpoint, methods=[method])

    def _refuse(self, problem: Problem) -> Response:
        if self.speaks_codes:
            answer = {"code": problem.code, "message": problem.message, **problem.more}
            return JSONResponse(answer, problem.status, headers={VERSION: "2024-01-01"})
        if problem.status == 400:
            return JSONResponse({"error": "invalid_grant", "error_description": problem.message}, 400)
        return JSONResponse({"code": problem.status, "msg": problem.message, **problem.more}, problem.status)
