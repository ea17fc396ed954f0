"""``/metrics`` for Prometheus: whoever has the token of the settings, and nobody else."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.guard import GetServices, make_error, public_route
from jobs.errors import AuthError
from jobs.service import Services


def make_routes(get_services: GetServices) -> list[Route]:
    """Return ``/metrics``."""
    return [public_route("/metrics", tell_metrics, get_services, methods=["GET"])]


async def tell_metrics(request: Request, services: Services) -> Response:
    """Answer with all metrics; 401 without the right token, 404 where nobody has set one."""
    try:
        services.metrics.require_token(request.headers.get("authorization", ""))
    except AuthError as error:
        answer = make_error(error.status, error.code, error.message)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    text = await run_in_threadpool(services.metrics.render)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
