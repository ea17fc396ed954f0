"""The addresses under ``/api`` and ``/auth``, and ``/metrics``: all that goes beside Streamlit's own connection."""

from __future__ import annotations

from starlette.routing import Route

from api.guard import GetServices
from api.health import make_routes as make_health_routes
from api.media import make_routes as make_media_routes
from api.metrics import make_routes as make_metrics_routes
from api.session import make_routes as make_session_routes
from api.unknown import make_routes as make_unknown_routes
from api.uploads import make_routes as make_upload_routes


def make_routes(get_services: GetServices) -> list[Route]:
    """Return every route of ours; ``get_services`` is asked at each request, so that nothing is opened before."""
    known = [
        *make_session_routes(get_services),
        *make_upload_routes(get_services),
        *make_media_routes(get_services),
        *make_health_routes(get_services),
        *make_metrics_routes(get_services),
    ]
    return [*known, *make_unknown_routes(get_services, known)]
