"""Who is asking, and may they: every route is made here, so that none can forget to ask.

A cookie is sent along by any page that makes the browser fetch an address of ours. Writes therefore need a header of
their own, which another site can't add without the browser asking us first, and an Origin that is us, when one is sent.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial, wraps
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jobs.errors import AuthError, DomainError, Forbidden, StorageError, TooManyTries
from jobs.log import about
from jobs.models import User
from jobs.service import Identity, Services

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

COOKIE = "mvf_session"
GetServices = Callable[[], Services]
PublicHandler = Callable[[Request, Services], Awaitable[Response]]
OwnerHandler = Callable[[Request, Services, User], Awaitable[Response]]

_AT_STORE = CapacityLimiter(24)
_READS = ("GET", "HEAD")
_BROKEN = "Something broke on our side. Try again; if it fails once more, tell the administrator."


def public_route(path: str, handler: PublicHandler, get_services: GetServices, *, methods: Sequence[str]) -> Route:
    """Return a route for anybody; a write still has to come from our own pages."""

    async def endpoint(request: Request) -> Response:
        if request.method not in _READS:
            require_write(request)
        return await handler(request, get_services())

    return Route(path, answer_errors(endpoint, get_services), methods=list(methods), name=_name(handler))


def owner_route(path: str, handler: OwnerHandler, get_services: GetServices, *, methods: Sequence[str]) -> Route:
    """Return a route for whoever is signed in; the handler gets that person and asks for their own things only."""

    async def endpoint(request: Request) -> Response:
        services = get_services()
        if request.method not in _READS:
            require_write(request)
        user = (await identify(request, services)).user
        with about(user_id=user.id):
            return await handler(request, services, user)

    return Route(path, answer_errors(endpoint, get_services), methods=list(methods), name=_name(handler))


async def run_at_store(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function returns that may ask the file store, in a thread.

    These are threads of their own kind: a store elsewhere that hangs holds up whoever asks for files, and nobody else.
    """
    return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=_AT_STORE)


async def iterate_at_store(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the blocks of a file, each brought by `run_at_store`."""
    while (block := await run_at_store(next, blocks, None)) is not None:
        yield block


async def identify(request: Request, services: Services) -> Identity:
    """Return who the cookie stands for. Raises `AuthError`."""
    identity = await run_in_threadpool(services.auth.identify, request.cookies.get(COOKIE))
    if identity is None:
        raise AuthError()
    return identity


def require_write(request: Request) -> None:
    """Raise `Forbidden` unless the request was made by one of our own pages."""
    if request.headers.get("x-app") != "1" or not is_same_origin(request):
        raise Forbidden("This request did not come from a page of this app. Reload the page, then try again.")


def is_same_origin(request: Request) -> bool:
    """Tell whether the Origin, when there is one, names the host that was asked."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    forwarded = request.headers.get("x-forwarded-host", "").partition(",")[0].strip()
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc in {request.headers.get("host", ""), forwarded} - {""}


def is_secure(request: Request) -> bool:
    """Tell whether the browser sees this address over https, whatever lies between it and us."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    origin = urlsplit(request.headers.get("origin", "")).scheme
    return "https" in (request.url.scheme, forwarded, origin)


def answer_errors(
    endpoint: Callable[[Request], Awaitable[Response]], get_services: GetServices
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint with what it raises answered as ``{"error": {"code", "message"}}``, and counted if it is the
    file store's."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except DomainError as error:
            if isinstance(error, StorageError):
                get_services().metrics.count_storage_error(error.code)
            if error.detail or error.status >= 500:
                logger.warning("%s %s: %s", request.method, request.url.path, error.detail or error.message)
            return make_error(error.status, error.code, error.message, error)
        except ClientDisconnect:
            raise
        except Exception:  # the last stop before the person, who never sees a traceback
            logger.exception("%s %s failed", request.method, request.url.path)
            return make_error(500, "internal", _BROKEN)

    return answer


def make_error(status: int, code: str, message: str, cause: DomainError | None = None) -> JSONResponse:
    """Return the answer for a person's mistake or ours."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(cause, TooManyTries):
        headers["Retry-After"] = str(cause.wait_s)
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status, headers=headers)


def _name(handler: Callable[..., object]) -> str:
    return f"{handler.__module__}.{handler.__name__}"
