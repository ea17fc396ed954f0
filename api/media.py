"""Playing and saving: originals and results, in ranges, for their owner while signed in.

Of a store elsewhere, videos and what is saved come from there, by a link that soon expires; what a page shows inline
goes through here, because browsers give no page the texts and pictures of another address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from api.guard import GetServices, iterate_at_store, owner_route, run_at_store
from jobs.errors import NotFound
from jobs.models import Download, User
from jobs.service import Services

LINK_S = 3600
"""A link to a store elsewhere is good for so long; a player that stays open asks for another."""
_HEADERS = {"Cache-Control": "private, no-cache"}
"""Kept by the browser, and asked for each time: after logging out it is not shown from there."""
_UNTYPED = "application/octet-stream"
_VIDEO = "video/"


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
    found = await run_at_store(services.videos.open_original, user.id, str(request.path_params["video_id"]))
    return await _send(request, services, found)


async def send_file(request: Request, services: Services, user: User) -> Response:
    """Answer one of the result files."""
    job_id, name = str(request.path_params["job_id"]), str(request.path_params["name"])
    return await _send(request, services, await run_at_store(services.videos.open_file, user.id, job_id, name))


async def send_archive(request: Request, services: Services, user: User) -> Response:
    """Answer the whole result as a ZIP."""
    job_id = str(request.path_params["job_id"])
    archive, blocks = await run_at_store(services.videos.open_archive, user.id, job_id)
    headers = _HEADERS | {
        "Content-Length": str(archive.size_bytes),
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(archive.name, safe='')}",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type=archive.media_type)
    return StreamingResponse(iterate_at_store(blocks), headers=headers, media_type=archive.media_type)


async def _send(request: Request, services: Services, found: Download) -> Response:
    is_download = request.query_params.get("download") == "1" or found.media_type == _UNTYPED
    path = services.storage.files.local_path(found.key)
    if path is None:
        return await _send_from_elsewhere(request, services, found, is_download=is_download)
    try:
        stat_result = await run_at_store(path.stat)
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


async def _send_from_elsewhere(
    request: Request, services: Services, found: Download, *, is_download: bool
) -> Response:  # fmt: skip
    files = services.storage.files
    # The key of a result is never used again, and an original never changes: one tag for each is enough.
    tag = f'"{hashlib.sha256(f"{found.key} {found.size_bytes}".encode()).hexdigest()[:32]}"'
    headers = _HEADERS | {
        "ETag": tag,
        "Content-Length": str(found.size_bytes),
        "Content-Disposition": f"{'attachment' if is_download else 'inline'}; "
        f"filename*=utf-8''{quote(found.name, safe='')}",
    }
    if request.method == "HEAD":  # a link is for one method, and this one needs nothing from elsewhere
        return Response(headers=headers | {"Accept-Ranges": "bytes"}, media_type=found.media_type)
    if is_download or found.media_type.startswith(_VIDEO):
        link = await run_at_store(
            files.link,
            found.key,
            file_name=found.name,
            media_type=found.media_type,
            download=is_download,
            expires_s=LINK_S,
        )
        if link is None:
            raise NotFound
        return RedirectResponse(link, 302, headers={"Cache-Control": "no-store"})
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=_HEADERS | {"ETag": tag})
    blocks = await run_at_store(_begin, files.read(found.key))
    return StreamingResponse(iterate_at_store(blocks), headers=headers, media_type=found.media_type)


def _begin(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the blocks once the first of them is there: until then, what goes wrong can still be answered."""
    return chain([next(blocks, b"")], blocks)
