"""The login cookie: a page that has signed somebody in sends its ticket here and gets the cookie no script can read."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.guard import COOKIE, GetServices, is_secure, public_route
from jobs.errors import AuthError
from jobs.service import SESSION_S, Services

MAX_TICKET_BYTES = 4096


def make_routes(get_services: GetServices) -> list[Route]:
    """Return ``POST`` and ``DELETE /auth/session``."""
    return [
        public_route("/auth/session", open_session, get_services, methods=["POST"]),
        public_route("/auth/session", close_session, get_services, methods=["DELETE"]),
    ]


async def open_session(request: Request, services: Services) -> Response:
    """Trade the ticket in the body for the cookie."""
    ticket = await _read_ticket(request)
    token = await run_in_threadpool(services.auth.redeem_ticket, ticket)
    response = JSONResponse({}, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE, token, max_age=SESSION_S, path="/", secure=is_secure(request), httponly=True, samesite="lax"
    )
    return response


async def close_session(request: Request, services: Services) -> Response:
    """End the session of the cookie, if it has one, and remove the cookie."""
    identity = await run_in_threadpool(services.auth.identify, request.cookies.get(COOKIE))
    if identity is not None:
        await run_in_threadpool(services.auth.logout, identity)
    response = JSONResponse({}, headers={"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, path="/", secure=is_secure(request), httponly=True, samesite="lax")
    return response


async def _read_ticket(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_TICKET_BYTES:
            raise AuthError()
    return body.decode("ascii", "replace")
