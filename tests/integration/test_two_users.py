"""Two people side by side: what each route and each service method allows, read off the app itself.

The table below gives every entry a class; one without a class, or a class for what is gone, fails. Everything that
serves an owner is then called by Ben with each of Alice's ids in turn.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import api
import jobs.service
from api.guard import COOKIE
from config import PROJECT_ROOT
from jobs.errors import AuthError, DomainError, Forbidden, JobError, NotFound
from jobs.models import JobStatus, LinkKind, Role, VideoQuery
from jobs.service import Identity, Services, SignIn
from pipeline.models import RESULT_FILES
from tests.product.two_people import FINGERPRINT, PASSWORDS, RECEIVED, World, make_world


class Access(StrEnum):
    """Whom an entry serves."""

    PUBLIC = "public"
    """Anybody; it tells nothing about a person."""
    OWNER = "owner"
    """Whoever is signed in, about their own things."""
    ADMIN = "admin"
    INTERNAL = "internal"
    """No page and no route."""


RIGHTS: Mapping[Access, Sequence[str]] = {
    Access.PUBLIC: [
        "POST /auth/session",
        "DELETE /auth/session",
        "GET /api/health",
        "GET /api/ready",
        "GET /metrics",
        *(f"{method} /api/{{path}}" for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
        "auth.has_users",
        "auth.create_administrator",
        "auth.login",
        "auth.register",
        "auth.find_link",
        "auth.reset_password",
        "auth.identify",
        "auth.redeem_ticket",
        "videos.has_worker",
        "admin.check_readiness",
        "metrics.count_storage_error",
        "metrics.require_token",
        "metrics.render",
    ],
    Access.OWNER: [
        "POST /api/uploads",
        "HEAD /api/uploads/{id}",
        "PUT /api/uploads/{id}",
        "DELETE /api/uploads/{id}",
        "GET /api/uploads/{id}/parts/{number}",
        "POST /api/uploads/{id}/options",
        "POST /api/uploads/{id}/complete",
        "GET /api/videos/{id}/original",
        "GET /api/jobs/{id}/files/{name}",
        "GET /api/jobs/{id}/archive",
        "auth.make_ticket",
        "auth.logout",
        "auth.logout_everywhere",
        "auth.list_sessions",
        "auth.change_password",
        "auth.set_name",
        "auth.set_options",
        "auth.confirm_deletion",
        "auth.delete_account",
        "uploads.get_limits",
        "uploads.begin",
        "uploads.get",
        "uploads.list_open",
        "uploads.append",
        "uploads.open_part",
        "uploads.complete",
        "uploads.set_options",
        "uploads.cancel",
        "videos.list_cards",
        "videos.get_card",
        "videos.list_versions",
        "videos.list_events",
        "videos.get_usage",
        "videos.rename",
        "videos.set_details",
        "videos.cancel",
        "videos.retry",
        "videos.process_again",
        "videos.delete",
        "videos.delete_all",
        "videos.open_file",
        "videos.open_original",
        "videos.open_archive",
    ],
    Access.ADMIN: [
        "auth.list_users",
        "auth.create_user",
        "auth.invite",
        "auth.list_invitations",
        "auth.withdraw_invitation",
        "auth.make_reset_link",
        "auth.set_active",
        "auth.set_role",
        "auth.set_quota",
        "admin.get_totals",
        "admin.list_jobs",
        "admin.list_workers",
        "admin.cancel_job",
        "admin.check_health",
    ],
    Access.INTERNAL: [
        "service.build_services",
        "auth.issue_reset_link",
        "uploads.complete_received",
        "storage.store_results",
        "storage.delete_attempt",
        "storage.delete_attempts",
        "storage.delete_video",
        "storage.delete_user",
        "storage.list_all",
        "storage.delete",
        "recovery.enqueue",
        "recovery.recover_jobs",
        "recovery.sweep",
        "recovery.sweep_regularly",
    ],
}
CLASS_OF: Mapping[str, Access] = {entry: access for access, entries in RIGHTS.items() for entry in entries}

SENDERS = {"media.py"}
"""Routes that reach the file store itself, for what a service has just opened for its owner."""

ID_PARAMETERS = {"user_id", "video_id", "job_id", "upload_id", "session_id", "link_id"}
TOKEN_PARAMETERS = {"token", "ticket", "invitation"}
WHO = {"user_id", "identity", "sign_in", "actor"}
"""Names of the first parameter of a method that serves somebody."""

FILLED: Mapping[str, object] = {
    "username": "alice",
    "full_name": "Nobody",
    "password": PASSWORDS["ben"],
    "current": PASSWORDS["ben"],
    "new": "another password of ben",
    "new_password": "another password of ben",
    "address": "192.0.2.7",
    "authorization": "Bearer of nothing",
    "code": "files",
    "label": "A browser",
    "kind": LinkKind.RESET,
    "role": Role.USER,
    "note": "From Ben",
    "search": "",
    "is_active": False,
    "minutes": 1,
    "size_bytes": 1000,
    "name": "video.mp4",
    "fingerprint": FINGERPRINT,
    "options": {"pace": "tight"},
    "offset": len(RECEIVED),
    "data": b"from ben",
    "number": 1,
    "query": VideoQuery(),
    "title": "From Ben",
    "tags": ("ben",),
    "recorded_on": "2026-01-02",
    "idempotency_key": "one",
    "limit": 20,
    "states": frozenset[JobStatus](),
}
"""What the other parameters get, by name."""

BODIES: Mapping[str, bytes] = {
    "POST /api/uploads": json.dumps(
        {"name": "video.mp4", "size": 1000, "fingerprint": FINGERPRINT, "options": {}}
    ).encode(),
    "POST /api/uploads/{id}/options": b'{"options": {"pace": "tight"}}',
    "PUT /api/uploads/{id}": b"from ben",
}

NO_IDS = (
    "1",
    "..",
    "../../../../etc/passwd",
    "..%2f..%2fetc",
    "%00",
    "\x00",
    "x" * 5000,
    "Ä" * 50,
    "' OR 1=1 --",
    "{id}",
    str(uuid4()).upper(),
    uuid4().hex,
    f"{uuid4()}\n",
    f"{uuid4()}/",
    str(uuid4()),
)
"""Texts that name nothing, for where an id belongs."""


# --- the entries, read off the app ---


def list_routes() -> dict[str, Route]:
    """Return every route by method and path. HEAD goes with its GET."""

    def nothing() -> Services:
        raise AssertionError("a route asked for the product while it was made")

    found: dict[str, Route] = {}
    for route in api.make_routes(nothing):
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        path = re.sub(r"\{\w*id\}", "{id}", path)
        methods = set(route.methods or ())
        for method in sorted(methods - {"HEAD"} if "GET" in methods else methods):
            assert f"{method} {path}" not in found, f"{method} {path} is there twice"
            found[f"{method} {path}"] = route
    return found


def list_methods() -> dict[str, Callable[..., object]]:
    """Return every public method of every service by ``service.method``, unbound."""
    found: dict[str, Callable[..., object]] = {}
    hints = typing.get_type_hints(Services)
    for field in dataclasses.fields(Services):
        owner = hints[field.name]
        if not dataclasses.is_dataclass(owner):
            members = inspect.getmembers(owner, inspect.isroutine)
            found |= {f"{field.name}.{name}": member for name, member in members if not name.startswith("_")}
    functions = inspect.getmembers(jobs.service, inspect.isfunction)
    found |= {
        f"service.{name}": function
        for name, function in functions
        if function.__module__ == jobs.service.__name__ and not name.startswith("_")
    }
    return found


ROUTES, METHODS = list_routes(), list_methods()
ENTRIES = sorted({*ROUTES, *METHODS})


def of_class(entries: Mapping[str, object], *wanted: Access) -> list[str]:
    return sorted(entry for entry in entries if CLASS_OF.get(entry) in wanted)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The data all tests begin with; each works on its own copy."""
    return make_world(tmp_path_factory.mktemp("two") / "data")


@pytest.fixture
def world(template: World, tmp_path: Path) -> Iterator[World]:
    world = template.copy(tmp_path / "data")
    yield world
    world.product.ports.database.close()


def client_of(world: World, person: SignIn | None = None) -> TestClient:
    app = Starlette(routes=api.make_routes(lambda: world.services))
    return TestClient(app, cookies={COOKIE: person.token} if person else None)


# --- the table ---


def test_every_entry_has_a_class_and_every_class_an_entry() -> None:
    assert len(CLASS_OF) == sum(map(len, RIGHTS.values())), "an entry stands in the table twice"
    assert {entry for entry in ENTRIES if entry not in CLASS_OF} == set(), "without a class"
    assert {entry for entry in CLASS_OF if entry not in ENTRIES} == set(), "a class for what is gone"


@pytest.mark.parametrize("entry", sorted(METHODS))
def test_a_method_begins_with_whom_it_serves(entry: str) -> None:
    first = next(iter(parameters_of(METHODS[entry])), "")
    allowed = {
        Access.PUBLIC: first not in WHO,
        Access.OWNER: first in WHO - {"actor"},
        Access.ADMIN: first == "actor",
        Access.INTERNAL: True,
    }
    assert allowed[CLASS_OF[entry]], f"{entry} is for {CLASS_OF[entry]} and begins with {first!r}"


def test_pages_and_routes_call_nothing_internal() -> None:
    internal = set(of_class(METHODS, Access.INTERNAL))
    services = {entry.partition(".")[0] for entry in METHODS}
    closed = {name for name in services if all(e in internal for e in METHODS if e.startswith(f"{name}."))}
    assert closed >= {"storage", "recovery"}
    for folder in ("api", "ui", "pages"):
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Attribute):
                    continue
                owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
                where = f"{path.relative_to(PROJECT_ROOT)}:{node.lineno}"
                is_open = node.attr not in closed or owner != "services" or path.name in SENDERS
                assert is_open, f"{where} uses {node.attr}"
                assert f"{owner}.{node.attr}" not in internal, f"{where} uses {owner}.{node.attr}"


# --- service methods ---


def parameters_of(method: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name != "self"]


def call(services: Services, entry: str, who: SignIn, given: Mapping[str, str]) -> object:
    """Call a method as ``who``, with ``given`` for its ids and tokens and the table's values for the rest."""
    service, name = entry.split(".")
    arguments: dict[str, object] = {}
    for position, parameter in enumerate(parameters_of(METHODS[entry])):
        if position == 0 and parameter in WHO:
            arguments[parameter] = {
                "user_id": who.user.id,
                "identity": Identity(user=who.user, session=who.session),
                "sign_in": who,
                "actor": who.user,
            }[parameter]
        elif parameter in given:
            arguments[parameter] = given[parameter]
        else:
            assert parameter in FILLED, f"{entry}: say in FILLED what {parameter!r} gets"
            arguments[parameter] = FILLED[parameter]
    result = getattr(getattr(services, service), name)(**arguments)
    return list(result) if inspect.isgenerator(result) else result


def ids_in(entry: str) -> list[str]:
    """Return the parameters of a method that name a thing."""
    names = parameters_of(METHODS[entry])
    return [name for position, name in enumerate(names) if name in ID_PARAMETERS and position != 0]


@pytest.mark.parametrize("entry", of_class(METHODS, Access.OWNER))
def test_ben_can_do_nothing_with_what_is_alices(world: World, entry: str) -> None:
    before = world.snapshot()
    assert all(len(rows) >= least for rows, least in ((before["files"], 13), (before["jobs"], 3), (before["links"], 1)))
    names = ids_in(entry)
    if not names:
        assert not world.tells_of_alice(call(world.services, entry, world.ben, {}))
    for kind, one in world.ids.items() if names else ():
        with pytest.raises((NotFound, Forbidden)) as refusal:
            call(world.services, entry, world.ben, dict.fromkeys(names, one))
        assert refusal.value.status in (403, 404), kind
        with pytest.raises((NotFound, Forbidden)) as unknown:
            call(world.services, entry, world.ben, dict.fromkeys(names, str(uuid4())))
        assert str(refusal.value) == str(unknown.value), f"{kind}: the answer tells that it exists"
    assert world.snapshot() == before


@pytest.mark.parametrize("entry", [entry for entry in of_class(METHODS, Access.OWNER) if ids_in(entry)])
def test_alice_can(world: World, entry: str) -> None:
    """Otherwise the test above would show nothing."""
    answers: list[object] = []
    for one in world.ids.values():
        try:
            answers.append(call(world.services, entry, world.alice, dict.fromkeys(ids_in(entry), one)))
        except NotFound:
            continue
        except JobError as error:
            answers.append(error)
    assert answers, f"{entry} finds nothing of its own owner's either"


@pytest.mark.parametrize("entry", of_class(METHODS, Access.ADMIN))
def test_only_an_administrator_may(world: World, entry: str) -> None:
    before = world.snapshot()
    for one in world.ids.values():
        with pytest.raises(Forbidden):
            call(world.services, entry, world.ben, dict.fromkeys(ids_in(entry), one))
    assert world.snapshot() == before
    for one in world.ids.values():
        try:
            call(world.services, entry, world.ada, dict.fromkeys(ids_in(entry), one))
        except JobError:
            continue  # no such thing of that kind; but it was not forbidden


@pytest.mark.parametrize("entry", of_class(METHODS, Access.PUBLIC))
def test_what_is_public_takes_no_id_for_a_key(world: World, entry: str) -> None:
    before = world.snapshot()
    tokens = [name for name in parameters_of(METHODS[entry]) if name in TOKEN_PARAMETERS]
    for one in [*world.ids.values(), *NO_IDS, ""]:
        try:
            result = call(world.services, entry, world.ben, dict.fromkeys(tokens, one))
        except DomainError:
            continue
        assert not world.tells_of_alice(result), entry
        assert not tokens or result is None, f"{entry} took {one!r}"
        if not tokens:
            break
    assert world.snapshot() == before


@pytest.mark.parametrize("entry", [entry for entry in of_class(METHODS, Access.OWNER) if ids_in(entry)])
@pytest.mark.parametrize("who", ["alice", "ben"])
def test_what_is_no_id_is_not_found(world: World, entry: str, who: str) -> None:
    before = world.snapshot()
    for text in NO_IDS:
        with pytest.raises(NotFound):
            call(world.services, entry, getattr(world, who), dict.fromkeys(ids_in(entry), text))
    assert world.snapshot() == before


# --- routes ---


def path_of(entry: str, one: str) -> str:
    """Return the address of a route for an id."""
    path = entry.partition(" ")[2]
    values = {"id": one, "name": "video.mp4", "number": "1", "path": "nothing/here"}
    for name in re.findall(r"\{(\w+)\}", path):
        assert name in values, f"{entry}: say what {name!r} gets"
        path = path.replace(f"{{{name}}}", quote(values[name], safe=""))
    return path


def ask(
    client: TestClient, entry: str, method: str, one: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return status and body of a request to a route."""
    answer = client.request(
        method,
        path_of(entry, one),
        params={"offset": str(len(RECEIVED))} if method == "PUT" else None,
        content=BODIES.get(entry, b""),
        headers={"X-App": "1"} if headers is None else headers,
    )
    assert answer.status_code < 500 or entry == "GET /api/ready", f"{entry}: {answer.status_code} {answer.text[:200]}"
    return answer.status_code, answer.content


def methods_there(entry: str) -> list[str]:
    method = entry.partition(" ")[0]
    return [method, "HEAD"] if method == "GET" and "HEAD" in (ROUTES[entry].methods or ()) else [method]


def has_id(entry: str) -> bool:
    return "{id}" in entry


@pytest.mark.parametrize("entry", of_class(ROUTES, Access.OWNER))
def test_ben_gets_404_for_what_is_alices(world: World, entry: str) -> None:
    before = world.snapshot()
    client = client_of(world, world.ben)
    for method in methods_there(entry):
        for kind, one in world.ids.items() if has_id(entry) else [("", "")]:
            status, body = ask(client, entry, method, one)
            if has_id(entry):
                assert status == 404, f"{method} with the id of {kind}"
                assert (status, body) == ask(client, entry, method, str(uuid4())), "the answer tells that it exists"
            assert not world.tells_of_alice(body)
    assert world.snapshot() == before


@pytest.mark.parametrize("entry", [entry for entry in of_class(ROUTES, Access.OWNER) if has_id(entry)])
def test_alice_gets_an_answer(world: World, entry: str) -> None:
    """Otherwise the test above would show nothing."""
    client = client_of(world, world.alice)
    for method in methods_there(entry):
        statuses = {kind: ask(client, entry, method, one)[0] for kind, one in world.ids.items()}
        found = {kind for kind, status in statuses.items() if status not in (401, 403, 404, 405)}
        assert found or entry.endswith("/parts/{number}"), statuses  # parts are for stores elsewhere


@pytest.mark.parametrize("entry", of_class(ROUTES, Access.OWNER, Access.ADMIN))
def test_signed_out_is_401(world: World, entry: str) -> None:
    before = world.snapshot()
    strangers = [
        client_of(world),
        *(client_of(world, dataclasses.replace(world.alice, token=token)) for token in bad_tokens(world)),
    ]
    for client in strangers:
        for method in methods_there(entry):
            for one in list(world.ids.values()) if has_id(entry) else [""]:
                assert ask(client, entry, method, one)[0] == 401, method
    assert world.snapshot() == before


def bad_tokens(world: World) -> list[str]:
    """Return tokens that must not pass: cut, of nobody, unsigned, a ticket, and one whose session has ended."""
    auth, token = world.services.auth, world.alice.token
    ended = auth.login("ben", PASSWORDS["ben"], address="192.0.2.1")
    auth.logout(Identity(user=ended.user, session=ended.session))
    head, claims, _ = token.split(".")
    return [token[:-4], "x", f"{head}.{claims}.", auth.make_ticket(world.ben), ended.token]


WRITES = [entry for entry in sorted(ROUTES) if entry.split()[0] not in ("GET", "HEAD")]


@pytest.mark.parametrize("entry", WRITES)
@pytest.mark.parametrize(
    "headers", [{}, {"X-App": "0"}, {"X-App": "1", "Origin": "https://example.org"}], ids=["without", "wrong", "origin"]
)
def test_a_write_from_elsewhere_is_403(world: World, entry: str, headers: dict[str, str]) -> None:
    before = world.snapshot()
    client = client_of(world, world.alice)
    for one in list(world.ids.values()) if has_id(entry) else [""]:
        assert ask(client, entry, entry.split()[0], one, headers)[0] == 403
    assert world.snapshot() == before


@pytest.mark.parametrize("entry", [entry for entry in of_class(ROUTES, Access.OWNER) if has_id(entry)])
def test_no_id_in_an_address_is_404(world: World, entry: str) -> None:
    before = world.snapshot()
    client = client_of(world, world.alice)
    for method in methods_there(entry):
        for text in NO_IDS:
            assert ask(client, entry, method, text)[0] == 404, f"{method} {text!r}"
    assert world.snapshot() == before


@pytest.mark.parametrize("entry", [entry for entry in sorted(ROUTES) if "{name}" in entry])
def test_only_the_nine_files_have_an_address(world: World, entry: str) -> None:
    client = client_of(world, world.alice)
    job = world.ids["job ready"]
    for name in (*RESULT_FILES, "original", "../original", "..", "video.mp4/..", "VIDEO.MP4", "x" * 5000, "\x00"):
        path = entry.partition(" ")[2].replace("{id}", job).replace("{name}", quote(name, safe=""))
        assert client.get(path).status_code == (200 if name in RESULT_FILES else 404), name


def test_an_ended_session_ends_the_routes_too(world: World) -> None:
    address = f"/api/jobs/{world.ids['job ready']}/files/video.mp4"
    client = client_of(world, world.alice)
    assert client.get(address).status_code == 200
    world.services.auth.logout_everywhere(world.alice.user.id)
    assert client.get(address).status_code == 401


def test_a_disabled_account_is_out_at_once(world: World) -> None:
    address = f"/api/videos/{world.ids['video ready']}/original"
    client = client_of(world, world.alice)
    assert client.get(address).status_code == 200
    world.services.auth.set_active(world.ada.user, world.alice.user.id, False)
    assert client.get(address).status_code == 401
    with pytest.raises(AuthError):
        world.services.auth.login("alice", PASSWORDS["alice"], address="192.0.2.1")
