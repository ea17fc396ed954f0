"""What lies under ``/api`` and is no address of ours: else Streamlit would answer with a page."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.guard import GetServices, make_error, public_route
from jobs.errors import NotFound
from jobs.service import Services

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_routes(get_services: GetServices, known: Sequence[Route]) -> list[Route]:
    """Return the route for whatever ``known`` does not answer; it stands behind all of them."""

    async def answer_unknown(request: Request, _services: Services) -> Response:
        """Answer 404, or 405 where only the method is wrong."""
        there = [route for route in known if route.matches(request.scope)[0] is Match.PARTIAL]
        if not there:
            raise NotFound("There is nothing at this address.")
        answer = make_error(405, "wrong_method", f"This address does not take {request.method}.")
        answer.headers["Allow"] = ", ".join(sorted({method for route in there for method in route.methods or ()}))
        return answer

    return [public_route("/api/{path:path}", answer_unknown, get_services, methods=METHODS)]
