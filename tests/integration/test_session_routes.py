"""The login cookie: how a browser gets it, what it opens, and how it ends."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from api import session
from api.guard import COOKIE, owner_route, public_route
from jobs.errors import StoreUnavailable, TooManyTries
from jobs.models import User
from jobs.service import SESSION_S, Services, SignIn
from tests.product import COOKIE_KEY, Product, make_product

PASSWORD = "correct horse battery"
OURS = {"X-App": "1"}
WHO = "/api/who"


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def mara(product: Product) -> SignIn:
    return product.services.auth.create_administrator(username="mara", full_name="", password=PASSWORD)


async def tell_who(_request: Request, _services: Services, user: User) -> Response:
    return JSONResponse({"name": user.username})


async def break_down(request: Request, _services: Services) -> Response:
    raise {
        "wait": TooManyTries(90),
        "database": StoreUnavailable("the disk is full"),
        "bug": ZeroDivisionError("a secret of the inside"),
    }[request.path_params["how"]]


def open_client(product: Product, token: str = "", **headers: str) -> TestClient:
    get_services = lambda: product.services  # noqa: E731
    routes = [
        *session.make_routes(get_services),
        owner_route(WHO, tell_who, get_services, methods=["GET", "PUT"]),
        public_route("/api/broken/{how}", break_down, get_services, methods=["GET"]),
    ]
    cookies = {COOKIE: token} if token else None
    return TestClient(Starlette(routes=routes), cookies=cookies, headers=headers, base_url="http://factory.test:8501")


def read_cookie(answer: object) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"])  # type: ignore[attr-defined]


def test_a_ticket_is_answered_with_a_cookie_no_script_can_read(product: Product, mara: SignIn) -> None:
    client = open_client(product)
    answer = client.post("/auth/session", content=product.services.auth.make_ticket(mara), headers=OURS)
    assert answer.status_code == 200
    assert mara.token not in answer.text
    cookie = read_cookie(answer)[COOKIE]
    assert cookie["httponly"] and cookie["samesite"].lower() == "lax" and cookie["path"] == "/"
    assert int(cookie["max-age"]) == SESSION_S
    assert not cookie["secure"]
    assert client.get(WHO).json() == {"name": "mara"}


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-Proto": "https"}, {"Origin": "https://factory.test:8501"}],
    ids=lambda one: next(iter(one)),
)
def test_on_https_the_cookie_is_sent_on_https_only(product: Product, mara: SignIn, headers: dict[str, str]) -> None:
    ticket = product.services.auth.make_ticket(mara)
    answer = open_client(product).post("/auth/session", content=ticket, headers=OURS | headers)
    assert read_cookie(answer)[COOKIE]["secure"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-App": "0"},
        OURS | {"Origin": "http://elsewhere.test"},
        OURS | {"Origin": "http://factory.test"},
        OURS | {"Origin": "null"},
        OURS | {"Sec-Fetch-Site": "cross-site"},
        OURS | {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_site_can_neither_log_in_nor_out(
    product: Product, mara: SignIn, method: str, headers: dict[str, str]
) -> None:
    client = open_client(product, mara.token)
    answer = client.request(method, "/auth/session", content=product.services.auth.make_ticket(mara), headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"
    assert "set-cookie" not in answer.headers
    assert client.get(WHO).status_code == 200, "still logged in"


def test_our_own_origin_may(product: Product, mara: SignIn) -> None:
    ticket = product.services.auth.make_ticket(mara)
    for origin, forwarded in [("http://factory.test:8501", ""), ("https://videos.example", "videos.example")]:
        headers = OURS | {"Origin": origin, "X-Forwarded-Host": forwarded, "Sec-Fetch-Site": "same-origin"}
        assert open_client(product).post("/auth/session", content=ticket, headers=headers).status_code == 200


@pytest.mark.parametrize("ticket", ["", "rubbish", "é" * 10, "x" * 100_000], ids=["none", "rubbish", "accents", "huge"])
def test_rubbish_is_no_ticket(product: Product, mara: SignIn, ticket: str) -> None:
    assert mara.token
    answer = open_client(product).post("/auth/session", content=ticket.encode(), headers=OURS)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_cookie_is_no_ticket_and_a_ticket_no_cookie(product: Product, mara: SignIn) -> None:
    answer = open_client(product).post("/auth/session", content=mara.token, headers=OURS)
    assert answer.status_code == 401
    assert open_client(product, product.services.auth.make_ticket(mara)).get(WHO).status_code == 401


def test_an_old_ticket_is_dead(product: Product, mara: SignIn) -> None:
    ticket = product.services.auth.make_ticket(mara)
    product.clock.advance(seconds=61)
    assert open_client(product).post("/auth/session", content=ticket, headers=OURS).status_code == 401


def test_log_out_ends_the_session_for_every_copy_of_the_cookie(product: Product, mara: SignIn) -> None:
    here, other_tab = open_client(product, mara.token), open_client(product, mara.token)
    answer = here.delete("/auth/session", headers=OURS)
    assert answer.status_code == 200
    assert read_cookie(answer)[COOKIE]["max-age"] == "0"
    refused = other_tab.get(WHO)
    assert refused.status_code == 401
    assert refused.json()["error"] == {"code": "signed_out", "message": "Log in to go on."}
    assert other_tab.delete("/auth/session", headers=OURS).status_code == 200, "logging out twice is no mistake"


@pytest.mark.parametrize("end", ["everywhere", "password", "disabled", "deleted", "expired"])
def test_what_ends_a_session_ends_it_for_the_routes(product: Product, mara: SignIn, end: str) -> None:
    auth = product.services.auth
    ben = auth.register(username="ben", full_name="", password=PASSWORD, address="")
    client = open_client(product, ben.token)
    assert client.get(WHO).status_code == 200
    identity = auth.identify(ben.token)
    assert identity is not None
    if end == "everywhere":
        auth.logout_everywhere(ben.user.id)
    elif end == "password":
        auth.change_password(identity, PASSWORD, "another good password", address="")
    elif end == "disabled":
        auth.set_active(mara.user, ben.user.id, False)
    elif end == "deleted":
        auth.delete_account(ben.user.id, PASSWORD, address="")
    else:
        product.clock.advance(seconds=SESSION_S + 1)
    assert client.get(WHO).status_code == 401


@pytest.mark.parametrize("forgery", ["other key", "no signature", "old version", "expired", "cut short"])
def test_a_forged_cookie_opens_nothing(product: Product, mara: SignIn, forgery: str) -> None:
    claims = jwt.decode(mara.token, options={"verify_signature": False})
    token = {
        "other key": jwt.encode(claims, "x" * 48, algorithm="HS256"),
        "no signature": jwt.encode(claims, key="", algorithm="none"),
        "old version": jwt.encode(claims | {"ver": claims["ver"] - 1}, COOKIE_KEY, algorithm="HS256"),
        "expired": jwt.encode(claims | {"exp": 1}, COOKIE_KEY, algorithm="HS256"),
        "cut short": mara.token[:-2],
    }[forgery]
    assert open_client(product, jwt.encode(claims, COOKIE_KEY, algorithm="HS256")).get(WHO).status_code == 200
    assert open_client(product, token).get(WHO).status_code == 401


def test_a_write_needs_the_header_of_our_pages(product: Product, mara: SignIn) -> None:
    client = open_client(product, mara.token)
    assert client.put(WHO).status_code == 403
    assert client.put(WHO, headers=OURS).status_code == 200


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("wait", 429, "too_many_tries"), ("database", 503, "unavailable"), ("bug", 500, "internal")],
)
def test_what_goes_wrong_is_told_in_one_sentence(product: Product, how: str, status: int, code: str) -> None:
    answer = open_client(product).get(f"/api/broken/{how}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"].endswith(".") and "secret" not in answer.text and "disk" not in answer.text
    assert answer.headers.get("retry-after") == ("90" if how == "wait" else None)
