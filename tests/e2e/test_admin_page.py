"""The admin page in a real browser: accounts, one-time links, everybody's jobs, and the health of the parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from jobs.models import JobStatus, VideoQuery
from jobs.service import Services, SignIn
from tests.e2e.person import SOON_MS
from tests.e2e.running import beside, sign_up
from tests.e2e.web_server import WebServer
from tests.media.clips import silent_clip
from tests.product.machine import wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("admin-page"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def services(server: WebServer) -> Iterator[Services]:
    with beside(server.running) as (services, _):
        yield services


@pytest.fixture(scope="module")
def admin(services: Services) -> SignIn:
    return sign_up(services, "mara")


@pytest.fixture(scope="module")
def ben(services: Services, admin: SignIn) -> SignIn:
    assert admin.token
    return sign_up(services, "ben")


@pytest.fixture
def page(browser: Browser, server: WebServer, admin: SignIn) -> Iterator[Page]:
    context = browser.new_context(base_url=server.running.url)
    context.add_cookies([{"name": "mvf_session", "value": admin.token, "url": server.running.url}])
    yield context.new_page()
    context.close()


def find_row(page: Page, text: str) -> Locator:
    """Return a row of a list."""
    return page.locator(".listing li").filter(has_text=text)


def test_a_person_is_managed(page: Page, services: Services, admin: SignIn, ben: SignIn) -> None:
    page.goto("/admin?view=Users")
    find_row(page, "ben").get_by_role("button", name="Manage: Ben").click(timeout=SOON_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Minutes a month").fill("60")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Saved", timeout=SOON_MS)
    expect(find_row(page, "ben")).to_contain_text("0 of 60 minutes this month", timeout=SOON_MS)

    find_row(page, "ben").get_by_role("button", name="Manage: Ben").click()
    dialog.get_by_role("button", name="Make a link for a new password").click()
    address = dialog.get_by_test_id("stCode")
    expect(address).to_contain_text("/?reset=", timeout=SOON_MS)
    token = address.inner_text().strip().partition("=")[2]
    assert services.auth.reset_password(token, "a password of his own").username == "ben"
    assert services.auth.identify(ben.token) is None
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_have_count(0)

    find_row(page, "ben").get_by_role("button", name="Manage: Ben").click()
    dialog.get_by_role("button", name="Disable account").click()
    expect(find_row(page, "ben")).to_contain_text("Disabled", timeout=SOON_MS)
    services.auth.set_active(admin.user, ben.user.id, True)


def test_the_last_administrator_stays(page: Page) -> None:
    page.goto("/admin?view=Users")
    find_row(page, "mara").get_by_role("button", name="Manage: Mara").click(timeout=SOON_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Disable account").click()
    expect(dialog.get_by_test_id("stAlert")).to_contain_text("administrator", timeout=SOON_MS)


def test_an_invitation_is_withdrawn(page: Page, services: Services, admin: SignIn) -> None:
    page.goto("/admin?view=Users")
    page.get_by_role("button", name="Invite").click(timeout=SOON_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("Ida, design")
    dialog.get_by_role("button", name="Make link").click()
    expect(dialog.get_by_test_id("stCode")).to_contain_text("/?invitation=", timeout=SOON_MS)
    page.keyboard.press("Escape")
    find_row(page, "Ida, design").get_by_role("button").click(timeout=SOON_MS)
    expect(find_row(page, "Ida, design")).to_have_count(0, timeout=SOON_MS)
    assert not services.auth.list_invitations(admin.user)


def test_anybodys_job_is_stopped(page: Page, services: Services, ben: SignIn, tmp_path: Path) -> None:
    clip = tmp_path / "a secret plan.mp4"
    silent_clip(clip)
    data, uploads = clip.read_bytes(), services.uploads
    begun = uploads.begin(ben.user.id, name=clip.name, size_bytes=len(data), fingerprint="", options={})
    uploads.append(ben.user.id, begun.upload.id, offset=0, data=data)
    uploads.complete(ben.user.id, begun.upload.id)
    page.goto("/admin?view=Jobs")
    row = find_row(page, "ben")
    expect(row).to_contain_text("Waiting", timeout=SOON_MS)
    assert "secret plan" not in page.content() + row.inner_text()
    row.get_by_role("button", name="Stop: ben").click()
    expect(row).to_contain_text("Stopped", timeout=SOON_MS)
    expect(row.get_by_role("button")).to_have_count(0)
    wait_for(
        lambda: (
            [card.job.status for card in services.videos.list_cards(ben.user.id, VideoQuery()).items]
            == [JobStatus.CANCELLED]
        ),
        label="the cancelled job",
    )


def test_health_says_what_needs_the_administrator_and_stays_fresh(page: Page) -> None:
    page.goto("/admin")
    workers = find_row(page, "Workers")
    expect(workers).to_contain_text("No worker is running", timeout=SOON_MS)
    expect(workers.get_by_role("img", name="Does not work")).to_be_visible()
    expect(find_row(page, "Database").get_by_role("img", name="Works")).to_be_visible()
    expect(workers).to_contain_text(re.compile(r"checked [5-9] s ago"), timeout=SOON_MS)
    expect(workers).to_contain_text(re.compile(r"checked [0-2] s ago"), timeout=SOON_MS)  # ten seconds are over
