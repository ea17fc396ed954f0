"""The door, in a real browser at the real server: first visit, login, links, log-out, and what does not get in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from adapters.supabase_auth import SupabaseAuth
from api.guard import COOKIE
from config import load_settings
from jobs.accounts import AuthManager
from jobs.fields import EMAIL, USERNAME, LoginField
from jobs.models import LinkKind, Role, User
from jobs.outside import make_passwords, make_ports, read_machine_options
from jobs.ports import Database
from jobs.service import SignUp
from tests.e2e.person import SOON_MS
from tests.e2e.web_server import WebServer
from tests.product import COOKIE_KEY
from tests.servers.gotrue import GoTrue
from tests.servers.supabase import LocalSupabase

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD, OTHER = "correct horse battery", "another good password"
PAGES = (("video?id=00000000-0000-0000-0000-000000000000", "", "account"), ("admin", "upload"))
"""All of them, for two servers: each asks for the first one before anything was drawn."""


@dataclass(frozen=True)
class Server:
    """A web server over data that the test looks into, too."""

    url: str
    auth: AuthManager
    database: Database

    @property
    def field(self) -> LoginField:
        """What people log in with here."""
        return self.auth.login_field

    def name(self, name: str) -> str:
        """Return what a person of that name logs in with."""
        return name_of(name, self.field)

    def log_in(self, page: Page, name: str = "mara", password: str = PASSWORD) -> None:
        fill(page, self.field.label, self.name(name))
        fill(page, "Password", password)
        page.get_by_role("button", name="Log in").click()


def name_of(name: str, field: LoginField) -> str:
    return f"{name}@example.com" if field is EMAIL else name


@contextmanager
def run_server(
    folder: Path, sign_up: SignUp = SignUp.INVITATION, *, state: Mapping[str, str] | None = None, first: str = ""
) -> Iterator[Server]:
    """Start the web part alone, without queue and workers. ``state`` are the settings of where state and passwords
    live, ``first`` the administrator there is before it draws anything."""
    environ = {"COOKIE_KEY": COOKIE_KEY, "SIGNUP": sign_up.value, "LOG_LEVEL": "WARNING", **(state or {})}
    settings = load_settings({"DATA_DIR": str(folder / "data"), **environ})
    ports = make_ports(settings, read_machine_options(settings))
    passwords = make_passwords(settings)
    auth = AuthManager(ports, cookie_key=COOKIE_KEY, sign_up=sign_up, passwords=passwords)
    if first:
        auth.create_administrator(
            username=name_of(first, auth.login_field), full_name=first.title(), password=PASSWORD
        )  # fmt: skip
    web = WebServer(folder, **environ)
    try:
        yield Server(url=web.running.url, auth=auth, database=ports.database)
        assert "Traceback" not in web.running.read_log(), web.running.read_log()
    finally:
        web.kill()
        ports.database.close()
        if isinstance(passwords, SupabaseAuth):
            passwords.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        expect.set_options(timeout=SOON_MS)
        yield browser
        browser.close()


@contextmanager
def make_state(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """Yield the settings of where state and passwords live: all in our table, or all in a new project of Supabase."""
    if request.param == "table":
        yield {}
        return
    local: LocalSupabase = request.getfixturevalue("local_supabase")
    project = local.make_project("login")
    project.gateway.auth_app = GoTrue(secret_key=project.secret_key, signing_key=project.signing_key)
    yield {**project.environment, "AUTH_BACKEND": "supabase"}
    project.close()


@pytest.fixture(scope="module", params=["table", "supabase"])
def state(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    with make_state(request) as state:
        yield state


@pytest.fixture(params=["table", "supabase"])
def empty_state(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    with make_state(request) as state:
        yield state


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, state: Mapping[str, str]) -> Iterator[Server]:
    """A server with an administrator, mara, and whoever the tests add."""
    with run_server(tmp_path_factory.mktemp("login"), state=state, first="mara") as server:
        yield server


@pytest.fixture
def tab(browser: Browser, server: Server) -> Iterator[Page]:
    """A tab of a browser that nobody has used."""
    context = browser.new_context(base_url=server.url)
    yield context.new_page()
    context.close()


def add_person(server: Server, name: str, role: Role = Role.USER) -> str:
    """Return the id of a new person with `PASSWORD`."""
    token = server.auth.invite(find_administrator(server), role=role, note="")
    opened = server.auth.register(
        username=server.name(name), full_name="", password=PASSWORD, invitation=token, address=""
    )
    server.auth.logout_everywhere(opened.user.id)
    return opened.user.id


def find_administrator(server: Server) -> User:
    administrator = server.database.users.find(server.name("mara"))
    assert administrator is not None
    return administrator


def fill(page: Page, label: str, value: str) -> None:
    page.get_by_role("textbox", name=re.compile(f"^{label}(,|$)")).fill(value, timeout=SOON_MS)


def expect_login(page: Page) -> None:
    expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_text("Log in to see your videos.")).to_be_visible()
    expect(page.get_by_test_id("stTopNavLink")).to_have_count(0)


def expect_inside(page: Page, heading: str = "Account") -> None:
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".st-key-gate")).to_have_count(0)


def expect_failure(page: Page, sentence: str) -> None:
    expect(page.get_by_test_id("stAlert").get_by_text(sentence)).to_be_visible(timeout=SOON_MS)


def wait_for_cookie(context: BrowserContext, page: Page) -> str:
    """Return the login cookie's value as soon as the browser has it."""
    for _ in range(SOON_MS // 100):
        for cookie in context.cookies():
            if cookie.get("name") == COOKIE:
                assert cookie.get("httpOnly") is True
                assert cookie.get("sameSite") == "Lax"
                assert cookie.get("path") == "/"
                return str(cookie.get("value"))
        page.wait_for_timeout(100)
    raise AssertionError("the browser has no login cookie")


def ask_route(server: Server, token: str) -> int:
    """Return what a route answers to a cookie: 404 for whoever is signed in, because there is no such video."""
    address = f"{server.url}/api/videos/00000000-0000-0000-0000-000000000000/original"
    return httpx.get(address, cookies={COOKIE: token}, trust_env=False).status_code


def test_the_first_visit_makes_the_administrator_who_stays_logged_in(
    browser: Browser, tmp_path: Path, empty_state: Mapping[str, str]
) -> None:
    with run_server(tmp_path, state=empty_state) as server:
        context = browser.new_context(base_url=server.url)
        tab = context.new_page()
        tab.goto("/account?from=mail")
        expect(tab.get_by_role("heading", name="Create the administrator")).to_be_visible(timeout=SOON_MS)
        fill(tab, server.field.label, server.name("Mara"))
        fill(tab, "Password", "short")
        fill(tab, "Password again", "short")
        tab.get_by_role("button", name="Create account").click()
        expect_failure(tab, "The password is too short: take at least 10 characters.")
        fill(tab, "Password", PASSWORD)
        tab.get_by_role("button", name="Create account").click()
        expect_failure(tab, "The two passwords differ.")
        fill(tab, "Password again", PASSWORD)
        tab.get_by_role("button", name="Create account").click()
        expect_inside(tab)
        assert tab.url.endswith("/account?from=mail"), "the deep link outlives the login"

        token = wait_for_cookie(context, tab)
        tab.reload()
        expect_inside(tab)
        assert tab.url.endswith("/account?from=mail")
        other = context.new_page()
        other.goto("/account")
        expect_inside(other)
        assert ask_route(server, token) == 404

        other.locator(".st-key-account_menu").get_by_role("button").click()
        other.get_by_text("Log out", exact=True).click()
        expect_login(other)
        assert ask_route(server, token) == 401
        tab.get_by_role("button", name="Save name").click()
        expect_login(tab)
        tab.reload()
        expect_login(tab)
        tab.goto("/account")
        server.log_in(tab)
        expect_inside(tab)
        context.close()


@pytest.mark.parametrize("pages", PAGES)
def test_a_cold_deep_link_shows_the_login(browser: Browser, tmp_path: Path, pages: Sequence[str]) -> None:
    """Streamlit has been seen to run a page past its main script where that has not run yet in the server's process."""
    with run_server(tmp_path, first="mara") as server:
        for page in pages:
            context = browser.new_context(base_url=server.url)
            tab = context.new_page()
            tab.goto(f"/{page}")
            expect_login(tab)
            expect(tab.get_by_test_id("stSidebarNavLink")).to_have_count(0)
            expect(tab.get_by_test_id("stException")).to_have_count(0)
            server.log_in(tab)
            expect(tab.get_by_test_id("stTopNavLink").first).to_be_visible(timeout=SOON_MS)
            assert tab.url == f"{server.url}/{page}"
            context.close()


def test_wrong_passwords_are_told_then_made_to_wait(server: Server, tab: Page) -> None:
    add_person(server, "ben")
    tab.goto("/account")
    tab.get_by_role("button", name="Log in").click(timeout=SOON_MS)
    expect_failure(tab, server.field.empty)
    for number in range(5):
        server.log_in(tab, "ben", f"wrong password {number}")
        expect_failure(tab, server.field.mismatch)
        tab.wait_for_timeout(500)
    server.log_in(tab, "Ben", PASSWORD)
    expect_failure(tab, "Too many tries. Wait 1 minute, then try again.")
    server.log_in(tab, "mara")
    expect_inside(tab)


def test_an_unknown_name_reads_the_same(server: Server, tab: Page) -> None:
    tab.goto("/")
    server.log_in(tab, "nobody")
    expect_failure(tab, server.field.mismatch)


@pytest.mark.parametrize("forgery", ["another key", "no signature", "old version", "expired", "rubbish"])
def test_a_forged_cookie_shows_the_login(server: Server, tab: Page, forgery: str) -> None:
    opened = server.auth.login(server.name("mara"), PASSWORD, address="")
    claims = jwt.decode(opened.token, options={"verify_signature": False})
    token = {
        "another key": jwt.encode(claims, "x" * 48, algorithm="HS256"),
        "no signature": jwt.encode(claims, key="", algorithm="none"),
        "old version": jwt.encode(claims | {"ver": claims["ver"] - 1}, COOKIE_KEY, algorithm="HS256"),
        "expired": jwt.encode(claims | {"exp": 1}, COOKIE_KEY, algorithm="HS256"),
        "rubbish": "rubbish",
    }[forgery]
    tab.context.add_cookies([{"name": COOKIE, "value": token, "url": server.url}])
    tab.goto("/account")
    expect_login(tab)
    tab.context.add_cookies([{"name": COOKIE, "value": opened.token, "url": server.url}])
    tab.goto("/account")
    expect_inside(tab)


def test_an_invitation_opens_the_door_once(server: Server, tab: Page) -> None:
    token = server.auth.invite(find_administrator(server), role=Role.USER, note="Cleo")
    tab.goto(f"/?invitation={token}")
    expect(tab.get_by_role("heading", name="Create your account")).to_be_visible(timeout=SOON_MS)
    fill(tab, server.field.label, server.name("mara"))
    fill(tab, "Password", PASSWORD)
    fill(tab, "Password again", PASSWORD)
    tab.get_by_role("button", name="Create account").click()
    expect_failure(tab, server.field.taken.format(server.name("mara")))
    fill(tab, server.field.label, server.name("Cleo"))
    tab.get_by_role("button", name="Create account").click()
    shown = "Cleo" if server.field is USERNAME else "cleo@example.com"
    expect(tab.locator(".st-key-account_menu").get_by_text(shown)).to_be_visible(timeout=SOON_MS)
    assert token not in tab.url
    wait_for_cookie(tab.context, tab)

    tab.context.clear_cookies()
    tab.goto(f"/?invitation={token}")
    expect_failure(tab, "This invitation has been used or is too old. Ask the administrator for a new one.")
    tab.get_by_role("button", name="Go to the login").click()
    expect_login(tab)
    assert token not in tab.url


def test_a_reset_link_sets_a_new_password_once(server: Server, tab: Page) -> None:
    dora = add_person(server, "dora")
    token = server.auth.make_reset_link(find_administrator(server), dora)
    tab.goto(f"/?reset={token}")
    expect(tab.get_by_role("heading", name="Set a new password")).to_be_visible(timeout=SOON_MS)
    fill(tab, "New password", OTHER)
    fill(tab, "Password again", PASSWORD)
    tab.get_by_role("button", name="Set password").click()
    expect_failure(tab, "The two passwords differ.")
    fill(tab, "Password again", OTHER)
    tab.get_by_role("button", name="Set password").click()
    expect(tab.locator(".st-key-account_menu").get_by_text(server.name("dora"))).to_be_visible(timeout=SOON_MS)
    assert token not in tab.url
    assert server.auth.find_link(LinkKind.RESET, token) is None
    assert server.auth.login(server.name("dora"), OTHER, address="").user.id == dora

    tab.context.clear_cookies()
    tab.goto(f"/?reset={token}")
    expect_failure(tab, "This link has been used or is too old.")


def test_nobody_signs_up_without_an_invitation(tab: Page) -> None:
    tab.goto("/")
    expect_login(tab)
    expect(tab.get_by_text("No account yet? Ask the administrator for an invitation.")).to_be_visible()
    expect(tab.get_by_role("button", name="Create one")).to_have_count(0)


def test_where_sign_up_is_open_anybody_may(browser: Browser, tmp_path: Path, empty_state: Mapping[str, str]) -> None:
    with run_server(tmp_path, SignUp.OPEN, state=empty_state, first="mara") as server:
        context = browser.new_context(base_url=server.url)
        tab = context.new_page()
        tab.goto("/account")
        tab.get_by_role("button", name="Create one").click(timeout=SOON_MS)
        expect(tab.get_by_role("heading", name="Create your account")).to_be_visible(timeout=SOON_MS)
        fill(tab, server.field.label, server.name("ben"))
        fill(tab, "Password", PASSWORD)
        fill(tab, "Password again", PASSWORD)
        tab.get_by_role("button", name="Create account").click()
        expect_inside(tab)
        ben = server.database.users.find(server.name("ben"))
        assert ben is not None and ben.role is Role.USER
        context.close()


def test_only_administrators_see_the_administrators_page(server: Server, tab: Page) -> None:
    add_person(server, "emil")
    tab.goto("/admin")
    server.log_in(tab, "emil")
    expect(tab.get_by_text("Only an administrator may see this page.")).to_be_visible(timeout=SOON_MS)


def test_a_disabled_account_is_out_at_its_next_step(server: Server, tab: Page) -> None:
    finn = add_person(server, "finn")
    tab.goto("/account")
    server.log_in(tab, "finn")
    expect_inside(tab)
    token = wait_for_cookie(tab.context, tab)
    expect(tab.get_by_role("button", name="Save name")).to_be_visible()
    server.auth.set_active(find_administrator(server), finn, False)
    assert ask_route(server, token) == 401
    tab.get_by_role("button", name="Save name").click()
    expect_login(tab)


def test_a_new_password_keeps_this_browser_and_no_other(browser: Browser, server: Server, tab: Page) -> None:
    add_person(server, "gina")
    elsewhere = browser.new_context(base_url=server.url)
    other = elsewhere.new_page()
    for page in (tab, other):
        page.goto("/account")
        server.log_in(page, "gina")
        expect_inside(page)
        wait_for_cookie(page.context, page)
    before = wait_for_cookie(tab.context, tab)
    tab.reload()
    expect(tab.get_by_text("This browser and 1 other")).to_be_visible(timeout=SOON_MS)
    fill(tab, "Current password", PASSWORD)
    fill(tab, "New password", OTHER)
    fill(tab, "Password again", OTHER)
    tab.get_by_role("button", name="Change password").click()
    expect(tab.get_by_test_id("stToast").get_by_text("Password changed")).to_be_visible(timeout=SOON_MS)
    expect(tab.get_by_text("This browser only.")).to_be_visible(timeout=SOON_MS)
    for _ in range(SOON_MS // 100):
        if wait_for_cookie(tab.context, tab) != before:
            break
        tab.wait_for_timeout(100)
    tab.reload()
    expect_inside(tab)
    other.reload()
    expect_login(other)
    assert ask_route(server, before) == 401
    elsewhere.close()


def test_log_out_everywhere_is_everywhere(browser: Browser, server: Server, tab: Page) -> None:
    add_person(server, "hana")
    elsewhere = browser.new_context(base_url=server.url)
    other = elsewhere.new_page()
    for page in (tab, other):
        page.goto("/account")
        server.log_in(page, "hana")
        expect_inside(page)
        wait_for_cookie(page.context, page)
    tab.get_by_role("button", name="Log out everywhere").click()
    expect_login(tab)
    other.reload()
    expect_login(other)
    elsewhere.close()


def test_an_account_is_deleted_by_its_password(server: Server, tab: Page) -> None:
    ivo = add_person(server, "ivo")
    tab.goto("/account")
    server.log_in(tab, "ivo")
    expect_inside(tab)
    token = wait_for_cookie(tab.context, tab)
    tab.get_by_role("button", name="Delete account…").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Password").fill("wrong password")
    dialog.get_by_role("button", name="Delete account").click()
    expect(dialog.get_by_text("The current password is not right.")).to_be_visible(timeout=SOON_MS)
    dialog.get_by_role("textbox", name="Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Delete account").click()
    expect_login(tab)
    assert server.database.users.get(ivo) is None
    assert ask_route(server, token) == 401
