"""The account page without a browser: what it shows, and what its fields and buttons do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from config import PROJECT_ROOT
from jobs.errors import Conflict, LoginFailed
from jobs.models import Session, Usage, User
from jobs.service import SignIn
from tests.product import Product, make_product
from ui import account, session

PASSWORD, OTHER = "correct horse battery", "another good password"
ROUTER = PROJECT_ROOT / "ui" / "router.py"


@pytest.fixture
def product(tmp_path: Path) -> Product:
    made = make_product(tmp_path)
    session.install(made.services, base_url="http://localhost:8501")
    return made


@pytest.fixture
def mara(product: Product) -> SignIn:
    return product.services.auth.create_administrator(username="mara", full_name="Mara", password=PASSWORD)


def open_page(opened: SignIn | None) -> AppTest:
    """Return the account page, as somebody who is signed in sees it."""
    page = AppTest.from_file(str(ROUTER), default_timeout=30)
    if opened is not None:
        page.session_state["session_token"] = opened.token
    page.run()
    page.switch_page("../pages/account.py").run()
    assert not page.exception
    return page


def read_user(product: Product, opened: SignIn) -> User:
    user = product.ports.database.users.get(opened.user.id)
    assert user is not None
    return user


def say(page: AppTest) -> list[str]:
    return [element.value for element in [*page.markdown, *page.caption, *page.error, *page.title]]


def type_into(page: AppTest, label: str, value: str) -> None:
    next(box for box in page.text_input if box.label == label).input(value)


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return page.run()


def test_nobody_sees_the_login_instead(product: Product, mara: SignIn) -> None:
    assert mara
    page = open_page(None)
    assert [box.label for box in page.text_input] == ["Name", "Password"]
    assert "Account" not in say(page)
    product.services.auth.logout_everywhere(mara.user.id)
    assert [box.label for box in open_page(mara).text_input] == ["Name", "Password"]


def test_a_token_that_has_ended_is_forgotten(product: Product, mara: SignIn) -> None:
    page = open_page(mara)
    assert "Account" in say(page)
    product.services.auth.logout_everywhere(mara.user.id)
    page.run()
    assert "Account" not in say(page)
    assert "session_token" not in page.session_state


def test_every_card_is_there(product: Product, mara: SignIn) -> None:
    product.services.auth.login("mara", PASSWORD, address="", label="Firefox on Windows")
    words = say(open_page(mara))
    for title in (
        "Used so far",
        "Name",
        "Password",
        "Defaults for new videos",
        "Where you are logged in",
        "Delete account",
    ):
        assert f"**{title}**" in words
    assert "This browser and 1 other: Firefox on Windows." in words
    assert "At least 10 characters. Changing it logs out your other devices." in words


def test_the_name_is_saved(product: Product, mara: SignIn) -> None:
    page = open_page(mara)
    type_into(page, "Name that is shown", "Mara *Lind*")
    press(page, "Save name")
    assert read_user(product, mara).full_name == "Mara *Lind*"
    assert [toast.value for toast in page.toast] == ["Saved"]


def test_defaults_are_kept_at_once(product: Product, mara: SignIn) -> None:
    product.services.auth.set_options(mara.user.id, {"min_pause_ms": 900, "language": "de", "captions": "none"})
    page = open_page(mara)
    pace, captions = page.button_group(key="account_pace"), page.button_group(key="account_captions")
    assert (pace.value, captions.value) == ("natural", "none")
    pace.set_value("tight").run()
    assert dict(read_user(product, mara).options) == {"language": "de", "captions": "none", "pace": "tight"}
    page.button_group(key="account_captions").set_value("both").run()
    assert read_user(product, mara).options["captions"] == "both"
    assert page.button_group(key="account_pace").value == "tight"


def test_the_password_is_changed(product: Product, mara: SignIn) -> None:
    elsewhere = product.services.auth.login("mara", PASSWORD, address="")
    page = open_page(mara)
    type_into(page, "Current password", PASSWORD)
    type_into(page, "New password", OTHER)
    type_into(page, "Password again", OTHER)
    press(page, "Change password")
    del page.session_state["session_errand"]  # as the browser's answer does; there is none here
    page.run()
    assert [toast.value for toast in page.toast] == ["Password changed"]
    assert "Account" in say(page), "this browser stays"
    assert product.services.auth.identify(elsewhere.token) is None
    assert product.services.auth.login("mara", OTHER, address="")
    with pytest.raises(LoginFailed):
        product.services.auth.login("mara", PASSWORD, address="")


@pytest.mark.parametrize(
    ("current", "new", "again", "sentence"),
    [
        ("wrong password", OTHER, OTHER, "The current password is not right."),
        (PASSWORD, "short", "short", "The password is too short: take at least 10 characters."),
        (PASSWORD, OTHER, PASSWORD, "The two passwords differ. Type the same one twice."),
        (PASSWORD, PASSWORD, PASSWORD, "The new password is the current one. Choose another one."),
        ("", "", "", "The new password is the current one. Choose another one."),
    ],
)
def test_a_bad_change_is_told(
    product: Product, mara: SignIn, current: str, new: str, again: str, sentence: str
) -> None:
    page = open_page(mara)
    type_into(page, "Current password", current)
    type_into(page, "New password", new)
    type_into(page, "Password again", again)
    press(page, "Change password")
    assert [error.value for error in page.error] == [sentence]
    assert product.services.auth.identify(mara.token) is not None
    assert product.services.auth.login("mara", PASSWORD, address="")


def test_log_out_everywhere(product: Product, mara: SignIn) -> None:
    elsewhere = product.services.auth.login("mara", PASSWORD, address="")
    page = press(open_page(mara), "Log out everywhere")
    assert [box.label for box in page.text_input] == ["Name", "Password"]
    assert product.services.auth.identify(elsewhere.token) is None
    assert product.services.auth.identify(mara.token) is None


def test_nothing_is_deleted_before_everything_has_been_checked(product: Product, mara: SignIn) -> None:
    """The only administrator can't go, so neither do their files."""
    key = f"user/{mara.user.id}/video/{mara.user.id}/original"
    source = product.root / "source"
    source.write_bytes(b"a recording")
    product.ports.files.put(key, source)
    with pytest.raises(Conflict):
        account.delete_account(product.services, mara.user, PASSWORD, "")
    assert product.ports.files.stat(key) is not None
    product.services.auth.create_user(mara.user, username="ben", full_name="", role=mara.user.role)
    account.delete_account(product.services, mara.user, PASSWORD, "")
    assert product.ports.files.stat(key) is None
    assert product.ports.database.users.get(mara.user.id) is None


def make_usage(*, used_ms: int = 0, limit_ms: int = 0, stored: int = 0, limit: int = 0) -> Usage:
    return Usage(
        used_ms=used_ms,
        limit_ms=limit_ms,
        stored_bytes=stored,
        limit_bytes=limit,
        period_ends_at=datetime(2026, 12, 1, tzinfo=UTC),
    )


def test_what_is_used_is_shown_against_what_is_allowed() -> None:
    html = account.build_usage_bars(
        make_usage(used_ms=19 * 60_000, limit_ms=60 * 60_000, stored=18 * 10**9, limit=50 * 10**9)
    )
    assert "19 of 60 min" in html and "18 of 50 GB" in html
    assert 'aria-valuenow="32"' in html and 'aria-valuenow="36"' in html
    assert 'class="meter full"' in account.build_usage_bars(make_usage(used_ms=99, limit_ms=100))


def test_without_a_limit_there_is_no_bar() -> None:
    html = account.build_usage_bars(make_usage(used_ms=19 * 60_000, stored=184 * 10**6))
    assert "19 min" in html and "184 MB" in html
    assert "progressbar" not in html


def test_a_day_is_said_as_people_say_it() -> None:
    assert account.format_day(datetime(2026, 12, 1, tzinfo=UTC)) == "1 December"


def make_session(label: str) -> Session:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    return Session(id="s", user_id="u", token_version=1, label=label, created_at=at, seen_at=at, expires_at=at)


def test_other_browsers_are_counted_and_named() -> None:
    assert account.describe_sessions([]) == "This browser only."
    assert account.describe_sessions([make_session("")]) == "This browser and 1 other."
    labels = ["Firefox on Linux", "Firefox on Linux", "Safari on iPhone"]
    assert (
        account.describe_sessions([make_session(label) for label in labels])
        == "This browser and 3 others: Firefox on Linux, Safari on iPhone."
    )


@pytest.mark.parametrize(
    ("user_agent", "label"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605", "Safari on Mac"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Safari/604", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", ""),
        ("", ""),
    ],
)
def test_a_browser_is_named_by_what_it_says(user_agent: str, label: str) -> None:
    assert session.describe_browser(user_agent) == label
