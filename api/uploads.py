"""Receiving files: a JSON call begins an upload, PUTs bring its bytes in order, a last call makes the video.

Where files lie in a store elsewhere, the bytes go there from the browser, in parts, and never come by here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.guard import GetServices, owner_route, run_at_store
from jobs.errors import Conflict, DomainError, NotFound, Refused
from jobs.models import Upload, User
from jobs.service import Services

CHUNK_BYTES = 8 << 20
"""What a page sends with one PUT; small enough for the limits of usual proxies."""
BLOCK_BYTES = 1 << 20
"""What is held of it in memory."""
MAX_SIZE = (1 << 63) - 1
"""No disk and no database knows larger numbers."""
MAX_JSON_BYTES = 64 << 10
MAX_IGNORED_BYTES = 64 << 20
CHECKS_AT_ONCE = 4
"""Of all people; of one person one at a time, so that nobody's many files keep everybody waiting."""

_NO_STORE = {"Cache-Control": "no-store"}


def make_routes(get_services: GetServices) -> list[Route]:
    """Return the routes under ``/api/uploads``."""
    handlers = _Uploads()
    one = "/api/uploads/{upload_id}"
    return [
        owner_route("/api/uploads", handlers.begin, get_services, methods=["POST"]),
        owner_route(one, handlers.tell, get_services, methods=["HEAD"]),
        owner_route(one, handlers.receive, get_services, methods=["PUT"]),
        owner_route(one, handlers.cancel, get_services, methods=["DELETE"]),
        owner_route(f"{one}/options", handlers.set_options, get_services, methods=["POST"]),
        owner_route(f"{one}/complete", handlers.complete, get_services, methods=["POST"]),
        owner_route(f"{one}/parts/{{number}}", handlers.open_part, get_services, methods=["GET"]),
    ]


class _Uploads:
    """The handlers, and what they know of requests that are under way."""

    def __init__(self) -> None:
        self._receiving: dict[str, object] = {}
        """The newest PUT of each upload."""
        self._completing: dict[tuple[str, str], asyncio.Task[Upload]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """One for each person whose files are being checked."""
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="upload-check")

    async def begin(self, request: Request, services: Services, user: User) -> Response:
        """Answer where to go on: ``{id, offset, mode, chunk_bytes}``, or ``{id, offset, mode, part_bytes, parts}``."""
        given = await _read_json(request)
        name, size, fingerprint = given.get("name"), given.get("size"), given.get("fingerprint", "")
        if not isinstance(name, str) or not isinstance(fingerprint, str) or type(size) is not int or size > MAX_SIZE:
            raise Refused("bad_request", "An upload needs a name, a size and a fingerprint.", status=400)
        begun = await run_at_store(
            services.uploads.begin,
            user.id,
            name=name,
            size_bytes=size,
            fingerprint=fingerprint,
            options=_read_options(given),
        )
        answer: dict[str, object] = {"id": begun.upload.id, "offset": begun.received}
        if begun.plan is None:
            answer |= {"chunk_bytes": CHUNK_BYTES, "mode": "local"}
        else:
            answer |= {"part_bytes": begun.plan.part_bytes, "parts": begun.parts, "mode": "parts"}
        return JSONResponse(answer, headers=_NO_STORE)

    async def tell(self, request: Request, services: Services, user: User) -> Response:
        """Answer how far it is, in headers."""
        found = await run_at_store(services.uploads.get, user.id, _id_of(request))
        headers = {"Upload-Offset": str(found.received), "Upload-Length": str(found.upload.size_bytes)}
        return Response(headers=headers | _NO_STORE)

    async def receive(self, request: Request, services: Services, user: User) -> Response:
        """Store the body as it comes; what has arrived stays, however the request ends."""
        upload_id, offset = _id_of(request), _read_offset(request)
        found = await run_at_store(services.uploads.get, user.id, upload_id)
        if found.plan is not None:
            await _ignore_rest(request)
            raise Conflict("Files go straight to the file store here. Reload the page, then go on.", code="in_parts")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and offset + int(announced) > found.upload.size_bytes:
            raise Refused(
                "too_long_body",
                "More was sent than the file was said to have. It has changed meanwhile: choose it again.",
                status=413,
            )
        this = self._receiving[upload_id] = object()
        waiting = bytearray()

        async def store(least: int) -> None:
            nonlocal offset
            while len(waiting) >= max(least, 1):
                if self._receiving.get(upload_id) is not this:
                    raise Conflict("This upload goes on in another connection.", code="wrong_offset")
                data = bytes(waiting[:BLOCK_BYTES])
                offset = await run_in_threadpool(services.uploads.append, user.id, upload_id, offset=offset, data=data)
                del waiting[: len(data)]

        try:
            async for part in request.stream():
                waiting += part
                await store(BLOCK_BYTES)
            await store(1)
        except ClientDisconnect:
            await store(1)
        except Conflict as error:
            await _ignore_rest(request)
            now = await run_at_store(services.uploads.get, user.id, upload_id)
            body = {"error": {"code": error.code, "message": error.message}, "offset": now.received}
            return JSONResponse(body, status_code=error.status, headers=_NO_STORE)
        except DomainError:
            await _ignore_rest(request)
            raise
        finally:
            if self._receiving.get(upload_id) is this:
                del self._receiving[upload_id]
        return JSONResponse({"offset": offset}, headers=_NO_STORE)

    async def cancel(self, request: Request, services: Services, user: User) -> Response:
        """Forget the upload."""
        await run_at_store(services.uploads.cancel, user.id, _id_of(request))
        return JSONResponse({}, headers=_NO_STORE)

    async def set_options(self, request: Request, services: Services, user: User) -> Response:
        """Change how the video is to come back: ``{options}``."""
        options = _read_options(await _read_json(request))
        await run_in_threadpool(services.uploads.set_options, user.id, _id_of(request), options)
        return JSONResponse({}, headers=_NO_STORE)

    async def complete(self, request: Request, services: Services, user: User) -> Response:
        """Check the file and answer ``{video_id, job_id}``; goes on when nobody waits for it any more."""
        this = (user.id, _id_of(request))
        if (running := self._completing.get(this)) is None:
            running = self._completing[this] = asyncio.create_task(self._check(services, *this))
            running.add_done_callback(lambda task: self._forget(this, task))
        done = await asyncio.shield(running)
        return JSONResponse({"video_id": done.video_id, "job_id": done.job_id}, headers=_NO_STORE)

    async def _check(self, services: Services, user_id: str, upload_id: str) -> Upload:
        async with self._turns.setdefault(user_id, asyncio.Lock()):
            return await asyncio.wrap_future(self._checks.submit(services.uploads.complete, user_id, upload_id))

    def _forget(self, this: tuple[str, str], task: asyncio.Task[Upload]) -> None:
        self._completing.pop(this, None)
        if not task.cancelled():
            task.exception()  # it was told to who waited; with nobody waiting, the upload's row tells it

    async def open_part(self, request: Request, services: Services, user: User) -> Response:
        """Answer where a part is to be sent, ``{url, size}``, when files lie elsewhere; here they do not."""
        number = str(request.path_params["number"])
        if not (number.isascii() and number.isdecimal() and len(number) <= 9):
            raise NotFound
        part = await run_at_store(services.uploads.open_part, user.id, _id_of(request), int(number))
        return JSONResponse({"url": part.url, "size": part.size_bytes}, headers=_NO_STORE)


def _id_of(request: Request) -> str:
    return str(request.path_params["upload_id"])


def _read_offset(request: Request) -> int:
    text = request.query_params.get("offset", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refused("bad_request", "The offset is missing: say where these bytes belong.", status=400)
    return int(text)


async def _read_json(request: Request) -> Mapping[str, object]:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_JSON_BYTES:
            raise Refused("bad_request", "This request is too long.", status=413)
    try:
        given = json.loads(body)
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()  # halves of characters, and what is no number
    except (ValueError, RecursionError) as error:
        raise Refused("bad_request", "This request can't be read.", status=400) from error
    if not isinstance(given, dict):
        raise Refused("bad_request", "This request can't be read.", status=400)
    return given


def _read_options(given: Mapping[str, object]) -> Mapping[str, object]:
    options = given.get("options") or {}
    if not isinstance(options, dict):
        raise Refused("bad_request", "The options can't be read.", status=400)
    return options


async def _ignore_rest(request: Request) -> None:
    """Read what is still coming: browsers see an answer only when they could send everything."""
    ignored = 0
    try:
        async for part in request.stream():
            ignored += len(part)
            if ignored > MAX_IGNORED_BYTES:
                return
    except (ClientDisconnect, RuntimeError):  # gone, or everything was read before
        return
