"""Whether this product lives and can work, for supervisors and load balancers. Open to everybody."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.guard import GetServices, public_route
from jobs.service import Services

_NO_STORE = {"Cache-Control": "no-store"}
_WORKS = "It works."


def make_routes(get_services: GetServices) -> list[Route]:
    """Return ``/api/health`` and ``/api/ready``."""
    return [
        public_route("/api/health", tell_alive, get_services, methods=["GET", "HEAD"]),
        public_route("/api/ready", tell_ready, get_services, methods=["GET", "HEAD"]),
    ]


async def tell_alive(_request: Request, _services: Services) -> Response:
    """Answer that this process answers."""
    return JSONResponse({"alive": True}, headers=_NO_STORE)


async def tell_ready(_request: Request, services: Services) -> Response:
    """Answer 200 when every part works, else 503; with the sentence that mends what does not.

    Of what works it says no more: versions, room and load are the administrator's business.
    """
    parts = await run_in_threadpool(services.admin.check_readiness)
    ready = all(part.ok for part in parts)
    body = {
        "ready": ready,
        "parts": [
            {"id": part.id, "name": part.name, "ok": part.ok, "text": _WORKS if part.ok else part.text}
            for part in parts
        ],
    }
    return JSONResponse(body, status_code=200 if ready else 503, headers=_NO_STORE)
