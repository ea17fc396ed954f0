"""Addresses under /api that are none: an answer for programs, never a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import api
from tests.product import make_product


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """The routes with a page behind them that takes everything, as Streamlit's does."""
    product = make_product(tmp_path)
    page = Route("/{path:path}", lambda _: PlainTextResponse("a page"))
    yield TestClient(Starlette(routes=[*api.make_routes(lambda: product.services), page]))
    product.ports.database.close()


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/uploads/a/b/c", "/api/health/", "/api/%2e%2e/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_an_unknown_address_is_404_in_json(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"X-App": "1"})
    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "not_found", "message": "There is nothing at this address."}}
    assert answer.headers["Cache-Control"] == "no-store"


def test_head_of_an_unknown_address_is_404(client: TestClient) -> None:
    assert client.head("/api/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/api/health", "GET, HEAD"), ("PATCH", f"/api/uploads/{'0' * 8}-0000-4000-8000-{'0' * 12}", None)],
)
def test_a_wrong_method_is_405_and_says_which_are_right(
    client: TestClient, method: str, path: str, allowed: str | None
) -> None:
    answer = client.request(method, path, headers={"X-App": "1"})
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "wrong_method"
    assert answer.headers["Allow"] == allowed or {"PUT", "DELETE", "HEAD"} <= set(answer.headers["Allow"].split(", "))


def test_everything_else_stays_what_it_was(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"alive": True}
    assert client.get("/videos").text == "a page"
