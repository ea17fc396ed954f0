"""Playing and saving: originals and results, in ranges, for their owner while signed in."""

from __future__ import annotations

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from api.guard import GetServices, owner_route
from jobs.errors import NotFound
from jobs.models import Download, User
from jobs.service import Services

LINK_S = 3600
_HEADERS = {"Cache-Control": "private, no-cache"}
"""Kept by the browser, and asked for each time: after logging out it is not shown from there."""
_UNTYPED = "application/octet-stream"


class _File(FileResponse):
    """A file in larger steps than Starlette's: each is a trip to another thread."""

    chunk_size = 256 << 10


def make_routes(get_services: GetServices) -> list[Route]:
    """Return the routes under ``/api/videos`` and ``/api/jobs``."""
    reads = ["GET", "HEAD"]
    return [
        owner_route("/api/videos/{video_id}/original", send_original, get_services, methods=reads),
        owner_route("/api/jobs/{job_id}/files/{name}", send_file, get_services, methods=reads),
        owner_route("/api/jobs/{job_id}/archive", send_archive, get_services, methods=reads),
    ]


async def send_original(request: Request, services: Services, user: User) -> Response:
    """Answer the recording as it was uploaded."""
    found = await run_in_threadpool(services.videos.open_original, user.id, str(request.path_params["video_id"]))
    return await _send(request, services, found)


async def send_file(request: Request, services: Services, user: User) -> Response:
    """Answer one of the result files."""
    job_id, name = str(request.path_params["job_id"]), str(request.path_params["name"])
    return await _send(request, services, await run_in_threadpool(services.videos.open_file, user.id, job_id, name))


async def send_archive(request: Request, services: Services, user: User) -> Response:
    """Answer the whole result as a ZIP."""
    job_id = str(request.path_params["job_id"])
    archive, blocks = await run_in_threadpool(services.videos.open_archive, user.id, job_id)
    headers = _HEADERS | {
        "Content-Length": str(archive.size_bytes),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(archive.name, safe='')}",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type=archive.media_type)
    return StreamingResponse(blocks, headers=headers, media_type=archive.media_type)


async def _send(request: Request, services: Services, found: Download) -> Response:
    is_download = request.query_params.get("download") == "1" or found.media_type == _UNTYPED
    files = services.storage.files
    path = files.local_path(found.key)
    if path is None:
        link = await run_in_threadpool(
            files.link,
            found.key,
            file_name=found.name,
            media_type=found.media_type,
            download=is_download,
            expires_s=LINK_S,
        )
        return RedirectResponse(link or "", headers={"Cache-Control": "no-store"})
    try:
        stat_result = await run_in_threadpool(path.stat)
    except FileNotFoundError:
        raise NotFound from None  # deleted between the two looks
    response = _File(
        path,
        media_type=found.media_type,
        filename=found.name,
        content_disposition_type="attachment" if is_download else "inline",
        headers=_HEADERS,
        stat_result=stat_result,
    )
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, headers=_HEADERS | {"ETag": response.headers["etag"]})
    return response
