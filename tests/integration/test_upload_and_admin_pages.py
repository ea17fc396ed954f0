"""The upload page and the admin page as Streamlit runs them, over a real database and real files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from jobs.models import JobStatus, LinkKind
from tests.media.clips import silent_clip
from tests.product import Product, make_product
from tests.product.people import Person, end_job, make_video, sign_up
from ui import session

ROOT = Path(__file__).resolve().parents[2]
BASE_URL = "https://videos.example.com"


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    product = make_product(tmp_path)
    session.install(product.services, base_url=BASE_URL)
    yield product
    session._product = None
    product.ports.database.close()


@pytest.fixture
def admin(product: Product) -> Person:
    return sign_up(product, "mara")


@pytest.fixture
def ben(product: Product, admin: Person) -> Person:
    assert admin.id
    return sign_up(product, "ben")


def open_page(name: str, person: Person | None, **query: str) -> AppTest:
    """Return a page that has run once, for a person who is signed in, or for nobody."""
    page = AppTest.from_file(str(ROOT / "ui" / "router.py"), default_timeout=60)
    if person:
        page.session_state["session_token"] = person.token
    page.switch_page(f"../pages/{name}.py")
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def texts(page: AppTest) -> str:
    """Return the words on a page that come from Streamlit's own elements."""
    parts = [*page.title, *page.markdown, *page.caption, *page.info, *page.warning, *page.error, *page.metric]
    return "\n".join(str(part.label if part.type == "metric" else part.value) for part in parts)


@pytest.mark.parametrize("name", ["upload", "admin"])
def test_nobody_sees_a_page_without_login(product: Product, admin: Person, name: str) -> None:
    assert product.services.auth.has_users() and admin.id
    page = open_page(name, None)
    assert name.title() not in texts(page)
    assert any("Log in" in button.label for button in page.button)


def test_the_admin_page_is_for_administrators(ben: Person) -> None:
    page = open_page("admin", ben)
    assert session.FOR_ADMINS in texts(page)
    assert not page.button_group
    assert not page.metric
    for view in ("Users", "Jobs"):
        assert session.FOR_ADMINS in texts(open_page("admin", ben, view=view))


def test_the_upload_page_remembers_its_choices(product: Product, ben: Person) -> None:
    page = open_page("upload", ben)
    assert "Pauses over 0.6 s are cut, 0.2 s of air is left around speech." in texts(page)
    page.button_group(key="upload_pace").set_value("tight")
    page.selectbox(key="upload_language").set_value("de")
    page.text_area(key="upload_vocabulary").set_value("Kubernetes,  Mara")
    page.number_input(key="upload_pause").set_value(0.5)
    page.run()
    assert "Pauses over 0.5 s are cut" in texts(page)
    again = open_page("upload", ben)
    assert again.button_group(key="upload_pace").value == "tight"
    assert again.selectbox(key="upload_language").value == "de"
    assert again.text_area(key="upload_vocabulary").value == "Kubernetes, Mara"
    assert again.number_input(key="upload_pause").value == 0.5
    identity = product.services.auth.identify(ben.token)
    assert identity is not None
    assert identity.user.options["min_pause_ms"] == 500


def test_a_pause_within_the_air_is_told_at_the_fields(ben: Person) -> None:
    page = open_page("upload", ben)
    page.number_input(key="upload_pause").set_value(0.3)
    page.number_input(key="upload_before").set_value(0.4)
    page.run()
    assert "No pause shorter than the air around speech can be cut: that is 0.6 s." in texts(page)


def test_options_that_can_no_longer_be_read_do_not_break_the_page(product: Product, ben: Person) -> None:
    product.ports.database.users.set_options(ben.id, {"version": 99, "pace": "frantic"})
    assert open_page("upload", ben).button_group(key="upload_pace").value == "natural"


def test_health_tells_what_needs_the_administrator(product: Product, admin: Person) -> None:
    assert product.services.admin
    page = open_page("admin", admin)
    assert [metric.label for metric in page.metric] == [
        "Waiting", "Longest wait today", "Processed today", "Failed today",
    ]  # fmt: skip
    assert "things need you" in texts(page)  # no worker is running here
    assert "**Working**" in texts(page)


def test_jobs_are_shown_without_what_they_are_about(
    product: Product, admin: Person, ben: Person, tmp_path: Path
) -> None:
    clip = tmp_path / "a secret plan.mp4"
    silent_clip(clip)
    upload = make_video(product, ben.id, clip)
    assert upload.job_id
    end_job(product, upload.job_id, JobStatus.FAILED)
    page = open_page("admin", admin, view="Jobs")
    shown = "\n".join(str(one.proto) for one in page.get("bidi_component"))
    assert "It went wrong." in shown
    assert "ben" in shown
    assert "secret plan" not in shown
    page.button_group(key="jobs").set_value("Ready").run()
    assert "No jobs here." in texts(page)


def test_an_account_is_created_with_a_link_that_sets_its_password(product: Product, admin: Person) -> None:
    page = open_page("admin", admin, view="Users")
    page.button(key="primary_people_create").click().run()
    username, full_name = page.text_input[1], page.text_input[2]
    username.set_value("not a name")
    page.button(key="primary_create_account").click().run()
    assert "A name has 2 to 40 letters" in page.error[0].value
    page.text_input[1].set_value("ida")
    full_name.set_value("Ida")
    page.button(key="primary_create_account").click().run()
    address = page.code[0].value
    assert address.startswith(f"{BASE_URL}/?reset=")
    token = address.partition("=")[2]
    assert product.services.auth.reset_password(token, "a new password").username == "ida"
    page.button(key="people_done").click().run()
    assert not page.code


def test_an_invitation_is_made_listed_and_open(product: Product, admin: Person) -> None:
    page = open_page("admin", admin, view="Users")
    page.button(key="people_invite").click().run()
    page.text_input[1].set_value("Ben, sales")
    page.button(key="primary_make_invitation").click().run()
    address = page.code[0].value
    assert address.startswith(f"{BASE_URL}/?invitation=")
    link = product.services.auth.find_link(LinkKind.INVITATION, address.partition("=")[2])
    assert link is not None and link.note == "Ben, sales"
    assert "1 open invitation" in texts(page)
