"""What stands in front of a Supabase project: ``/rest/v1`` and ``/auth/v1`` at one address, opened by an API key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers.guarded import find_free_port

_REST, _AUTH = "/rest/v1", "/auth/v1"
_NOT_PASSED_ON = {"host", "apikey", "connection", "accept-encoding", "content-length", "transfer-encoding"}


class Gateway:
    """Passes requests on to a PostgREST, as Supabase's gateway does: an unknown key is refused; a known one stands for
    the token of its role, unless the request brings a person's own.

    Tests may set ``delay_s``, which makes it slow, and ``cut_answers``: so many requests are carried out, and the
    answer gets lost. ``auth_app`` answers below ``/auth/v1``, and sees paths without it.
    """

    def __init__(self, *, tokens: Mapping[str, str], rest_socket: Path, auth_app: ASGIApp | None = None) -> None:
        self._tokens = tokens
        self._rest_socket = rest_socket
        self.auth_app = auth_app
        self.delay_s = 0.0
        self.cut_answers = 0
        self.port = find_free_port()
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, always on the same port; doing it again changes nothing."""
        if self._thread and self._thread.is_alive():
            return
        config = uvicorn.Config(
            self, host="127.0.0.1", port=self.port, lifespan="off", log_level="critical", access_log=False,
            timeout_graceful_shutdown=1, server_header=False, date_header=False,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        thread = self._thread = threading.Thread(target=self._server.run, name="gateway", daemon=True)
        thread.start()
        while not self._server.started:
            assert thread.is_alive(), f"port {self.port} is taken"
            thread.join(0.005)

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        await asyncio.sleep(self.delay_s)
        path = request.url.path
        refusal = self._refuse(request)
        if refusal:
            await refusal(scope, receive, send)
        elif path.startswith(_REST):
            answer = await self._ask_rest(request)
            if self.cut_answers:
                self.cut_answers -= 1
                answer.headers["content-length"] = str(len(answer.body) + 1)  # so the connection ends too early
            await answer(scope, receive, send)
        elif path.startswith(_AUTH) and self.auth_app:
            inner = {**scope, "path": path.removeprefix(_AUTH), "root_path": ""}
            inner["raw_path"] = scope["raw_path"].removeprefix(_AUTH.encode())
            await self.auth_app(inner, receive, send)
        else:
            await JSONResponse({"message": "no Route matched with those values"}, 404)(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        key = request.headers.get("apikey") or request.query_params.get("apikey") or ""
        if not key:
            return JSONResponse(
                {
                    "message": "No API key found in request",
                    "hint": "No `apikey` request header or url param was found.",
                },
                401,
            )
        if key not in self._tokens:
            hint = "Double check your Supabase `anon` or `service_role` API key."
            return JSONResponse({"message": "Invalid API key", "hint": hint}, 401)
        if key.startswith("sb_secret_") and "Mozilla" in request.headers.get("user-agent", ""):
            return JSONResponse({"message": "Forbidden use of secret API key in browser"}, 401)
        return None

    async def _ask_rest(self, request: Request) -> Response:
        key = request.headers.get("apikey") or request.query_params["apikey"]
        headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_PASSED_ON]
        if request.headers.get("authorization", f"Bearer {key}") == f"Bearer {key}":
            headers = [(name, value) for name, value in headers if name != "authorization"]
            headers.append(("authorization", f"Bearer {self._tokens[key]}"))
        target = request.scope["raw_path"].removeprefix(_REST.encode()) or b"/"
        if request.scope["query_string"]:
            target += b"?" + request.scope["query_string"]
        url = httpx.URL("http://postgrest").copy_with(raw_path=target)
        transport = httpx.AsyncHTTPTransport(uds=str(self._rest_socket), verify=False)  # else it reads certificates
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            try:
                answer = await client.request(
                    request.method, url, headers=headers, content=await request.body(), follow_redirects=False
                )
            except httpx.TransportError:
                message = "An invalid response was received from the upstream server"
                return JSONResponse({"message": message}, 502)
        response = Response(answer.content, answer.status_code)
        for name, value in answer.headers.multi_items():
            if name not in _NOT_PASSED_ON:
                response.headers.append(name, value)
        return response
