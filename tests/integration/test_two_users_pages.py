"""Every page for the wrong person: nothing of Alice reaches Ben, and nothing at all one who is signed out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block, Node

from config import PROJECT_ROOT
from jobs.service import SignIn
from tests.product.two_people import World, make_world
from ui import session

PAGES = sorted(path.stem for path in (PROJECT_ROOT / "pages").glob("*.py"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("two") / "data")


@pytest.fixture
def world(template: World, tmp_path: Path) -> Iterator[World]:
    world = template.copy(tmp_path / "data")
    session.install(world.services, base_url="https://videos.example.com")
    yield world
    session._product = None
    world.product.ports.database.close()


def open_page(name: str, person: SignIn | None, query: dict[str, str]) -> AppTest:
    """Return a page that has run once."""
    page = AppTest.from_file(str(PROJECT_ROOT / "ui" / "router.py"), default_timeout=60)
    if person:
        page.session_state["session_token"] = person.token
    page.switch_page(f"../pages/{name}.py")
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def sent(node: Node) -> str:
    """Return everything the server sent for a page, what components are told too."""
    inside = "".join(sent(child) for child in node.children.values()) if isinstance(node, Block) else ""
    return f"{getattr(node, 'proto', '')}{inside}"


def sent_by(page: AppTest) -> str:
    return sent(page._tree)


def queries(world: World) -> Iterator[dict[str, str]]:
    """Yield addresses with each of Alice's ids in each place that an id may stand in."""
    yield {}
    for one in world.ids.values():
        yield {"id": one, "version": one}
    yield {"id": world.ids["video ready"], "version": world.ids["job ready"]}
    yield {"search": "zebra", "q": "zebra"}


@pytest.mark.parametrize("name", PAGES)
def test_ben_sees_nothing_of_alice(world: World, name: str) -> None:
    before = world.snapshot()
    for query in queries(world):
        text = sent_by(open_page(name, world.ben, query))
        for given in query.values():
            text = text.replace(given, "")  # what Ben himself wrote into the address
        assert not world.tells_of_alice(text), query
    assert world.snapshot() == before


@pytest.mark.parametrize("name", PAGES)
def test_the_signed_out_see_the_login_alone(world: World, name: str) -> None:
    before = world.snapshot()
    for query in queries(world):
        page = open_page(name, None, query)
        text = sent_by(page)
        for given in query.values():
            text = text.replace(given, "")
        assert not world.tells_of_alice(text), query
        assert [button.label for button in page.button if button.label == "Log in"], query
    assert world.snapshot() == before


@pytest.mark.parametrize("name", ["videos", "video"])
def test_alice_sees_hers(world: World, name: str) -> None:
    """Otherwise the tests above would show nothing."""
    assert world.tells_of_alice(sent_by(open_page(name, world.alice, {"id": world.ids["video ready"]})))


def test_ben_does_not_see_the_admin_page(world: World) -> None:
    page = open_page("admin", world.ben, {})
    assert [info.value for info in page.info] == [session.FOR_ADMINS]
    assert not page.tabs and not page.dataframe and not page.metric
