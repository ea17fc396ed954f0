"""What the document says before Streamlit has started: the title, our stylesheet, our font and icon.

A rule that arrives with the script comes a moment after the first paint, and everything jumps. So the document itself
is patched on its way out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.places import PRODUCT

_STATIC = Path(__file__).parent / "static"
_TITLE = re.compile(rb"<title>[^<]*</title>")
_ICON = re.compile(rb"""<link rel="shortcut icon"[^>]*>""")
_FONT = re.compile(rb"""<link\s+rel="preload"\s+href="[^"]*SourceSans[^"]*"[^>]*>""")


def build_head() -> bytes:
    """Return what goes before ``</head>``. The stylesheet's address changes with its content."""
    version = hashlib.sha256((_STATIC / "app.css").read_bytes()).hexdigest()[:12]
    return (
        '<meta name="color-scheme" content="light dark" />'
        '<meta name="theme-color" content="#f8f8f7" media="(prefers-color-scheme: light)" />'
        '<meta name="theme-color" content="#111113" media="(prefers-color-scheme: dark)" />'
        '<link rel="icon" type="image/svg+xml" href="/app/static/mark.svg" />'
        '<link rel="preload" href="/app/static/fonts/inter-latin-wght-normal.woff2" as="font" type="font/woff2"'
        " crossorigin />"
        f'<link rel="stylesheet" href="/app/static/app.css?v={version}" />'
    ).encode()


def patch_document(html: bytes, head: bytes) -> bytes:
    """Return Streamlit's document with our title and ``head`` in it."""
    html = _TITLE.sub(f"<title>{PRODUCT}</title>".encode(), html, count=1)
    html = _FONT.sub(b"", _ICON.sub(b"", html, count=1), count=1)
    return html.replace(b"</head>", head + b"</head>", 1)


class DocumentHead:
    """ASGI middleware that patches every HTML document and leaves everything else alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.head = build_head()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self.app(scope, receive, send)
            return
        # Streamlit compresses inside this middleware, and a copy kept by the browser may hold an older head.
        dropped = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"}
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in dropped]
        if scope["path"].startswith(("/api/", "/auth/", "/media/", "/app/static/")):
            headers = scope["headers"]
        await self.app({**scope, "headers": headers}, receive, _Patcher(send, self.head))


class _Patcher:
    """Holds a document back until it is whole; passes other responses on as they come."""

    def __init__(self, send: Send, head: bytes) -> None:
        self._send, self._head = send, head
        self._start: MutableMapping[str, object] | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_document(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)
        else:
            await self._send(message)

    async def _finish(self, start: Message) -> None:
        body = patch_document(bytes(self._body), self._head)
        headers = MutableHeaders(raw=start["headers"])
        for name in ("etag", "last-modified"):
            del headers[name]
        if self._body:  # a HEAD request has none, and keeps its length
            headers["content-length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _is_document(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        start["status"] == 200
        and headers.get("content-type", "").startswith("text/html")
        and "content-encoding" not in headers
    )
