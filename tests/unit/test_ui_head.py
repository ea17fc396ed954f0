"""The document's head: patched on its way out, and nothing else is touched."""

from __future__ import annotations

import gzip

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.head import DocumentHead, build_head, patch_document

DOCUMENT = (
    b'<html><head><link rel="shortcut icon" href="./favicon.png" /><link\n rel="preload" '
    b'href="./static/media/SourceSansVF-Upright.x.woff2" as="font" /><title>Streamlit</title></head><body>'
    + b"x" * 2000
    + b"</body></html>"
)
PAGE = {"accept": "text/html,*/*", "accept-encoding": "gzip"}


def document(_: Request) -> Response:
    return HTMLResponse(DOCUMENT, headers={"etag": '"old"'})


def lines(_: Request) -> Response:
    return JSONResponse({"html": "</head>"})


def broken(_: Request) -> Response:
    return HTMLResponse(DOCUMENT, status_code=500)


APP = Starlette(
    routes=[Route("/", document), Route("/lines", lines), Route("/broken", broken), Route("/api/page", document)],
    middleware=[Middleware(DocumentHead), Middleware(GZipMiddleware, minimum_size=100)],
)


def test_a_document_gets_title_stylesheet_and_font() -> None:
    answer = TestClient(APP).get("/", headers=PAGE)
    assert "<title>Mini Video Factory</title>" in answer.text
    assert build_head().decode() + "</head>" in answer.text
    assert "favicon.png" not in answer.text
    assert "SourceSans" not in answer.text
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_patched_document_is_never_taken_from_an_older_copy() -> None:
    answer = TestClient(APP).get("/", headers={**PAGE, "if-none-match": '"old"'})
    assert answer.status_code == 200
    assert "etag" not in answer.headers


def test_other_answers_are_left_alone() -> None:
    client = TestClient(APP)
    assert client.get("/lines", headers=PAGE).json() == {"html": "</head>"}
    assert "Streamlit" in client.get("/broken", headers=PAGE).text
    assert "Streamlit" in client.get("/", headers={"accept": "*/*"}).text


def test_routes_keep_their_compression() -> None:
    with TestClient(APP).stream("GET", "/api/page", headers=PAGE) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert b"<title>" in gzip.decompress(b"".join(answer.iter_raw()))


def test_the_stylesheets_address_follows_its_content() -> None:
    assert b'href="/app/static/app.css?v=' in build_head()


def test_a_document_without_a_head_stays_as_it_is() -> None:
    assert patch_document(b"<p>hello</p>", b"<link>") == b"<p>hello</p>"
