"""What a person does in the browser, and what the browser has to complain about meanwhile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Download, Locator, Page, Request, expect

from tests.e2e.running import Running
from tests.product.machine import LONG_S

SOON_MS = 60_000
"""The limit of a wait for a page, by which nothing is measured."""
MADE_MS = round(LONG_S * 1000)

_HARMLESS = (
    # Streamlit asks below the page's own path first, and goes on at the root
    re.compile(r"Failed to load resource: .*404.*_stcore/(health|host-config)"),
    # who is signed out gets a plain 401 for what a page had asked for before
    re.compile(r"Failed to load resource: .*(401|403).*/(api|auth)/"),
    re.compile(r"WebSocket connection to .*_stcore/stream.* failed"),
)

_OUTAGE = re.compile(
    r"Failed to load resource: .*(ERR_CONNECTION_|ERR_EMPTY_RESPONSE|ERR_INVALID_HTTP_RESPONSE|\b50[0-4]\b)"
    r"|blocked by CORS policy"  # so a browser calls every answer of a server that is just starting
)
"""What a browser says of a service that is away, whatever the page makes of it."""


@dataclass
class Witness:
    """Hears everything a page says and asks for."""

    page: Page
    with_outages: bool = False
    """Services go away meanwhile: then the browser says so too."""
    errors: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def listen(self) -> Witness:
        """Begin, and return itself."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request))
        return self

    def _hear(self, message: ConsoleMessage) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        harmless = (*_HARMLESS, _OUTAGE) if self.with_outages else _HARMLESS
        if message.type == "error" and not any(known.search(text) for known in harmless):
            self.errors.append(text)

    def hosts(self) -> set[str]:
        """Return the hosts that were asked, with their ports."""
        asked = {urlsplit(request.url) for request in self.requests}
        return {host.netloc for host in asked if host.scheme in ("http", "https", "ws", "wss")}

    def other_hosts(self, product: Running) -> set[str]:
        """Return the hosts that were asked beside the product."""
        return self.hosts() - {urlsplit(product.url).netloc}

    def count(self, method: str, path: str) -> int:
        """Return how often an address was asked for."""
        return sum(r.method == method and re.search(path, urlsplit(r.url).path) is not None for r in self.requests)


@dataclass
class Person:
    """Somebody at a browser."""

    page: Page
    name: str
    password: str

    def create_administrator(self) -> None:
        """Make the first account; ends on the empty list."""
        self.page.goto("/")
        expect(self.page.get_by_role("heading", name="Create the administrator")).to_be_visible(timeout=SOON_MS)
        self._fill("Name", self.name)
        self._fill("Password,", self.password)
        self._fill("Password again", self.password)
        self.page.get_by_role("button", name="Create account").click()
        self.expect_signed_in()

    def sign_up(self) -> None:
        """Make an account where everybody may; ends on the empty list."""
        self.page.goto("/")
        self.page.get_by_role("button", name="Create one").click(timeout=SOON_MS)
        expect(self.page.get_by_role("heading", name="Create your account")).to_be_visible(timeout=SOON_MS)
        self._fill("Name", self.name)
        self._fill("Password,", self.password)
        self._fill("Password again", self.password)
        self.page.get_by_role("button", name="Create account").click()
        self.expect_signed_in()

    def log_in(self, path: str = "/") -> None:
        """Log in at an address; ends there."""
        self.page.goto(path)
        self._fill("Name", self.name)
        self._fill("Password", self.password)
        self.page.get_by_role("button", name="Log in").click()
        self.expect_signed_in()

    def log_out(self) -> None:
        """Log out by the account menu; ends at the login."""
        self._menu().click()
        self.page.get_by_text("Log out", exact=True).click()
        expect(self.page.get_by_role("button", name="Log in")).to_be_visible(timeout=SOON_MS)
        self.wait_for_cookie(present=False)

    def expect_signed_in(self) -> None:
        """Wait for the account menu and the cookie."""
        expect(self._menu()).to_be_visible(timeout=SOON_MS)
        self.wait_for_cookie(present=True)

    def wait_for_cookie(self, *, present: bool) -> None:
        """Wait until the browser holds the login cookie, or does not."""
        for _ in range(SOON_MS // 100):
            if any(cookie.get("name") == "mvf_session" for cookie in self.page.context.cookies()) == present:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the login cookie is {'missing' if present else 'still there'}")

    def go(self, name: str) -> None:
        """Go to a page by the bar at the top."""
        self.page.get_by_test_id("stTopNavLink").filter(has_text=name).first.click()
        expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=SOON_MS)

    def upload(self, path: Path) -> None:
        """Upload a file by the page's own uploader; ends when it has become a video."""
        self.go("Upload")
        self.page.locator(".uploader input[type=file]").set_input_files(path)
        row = self.page.locator(".uploader li").filter(has_text=path.name)
        expect(row).to_have_attribute("data-state", "done", timeout=MADE_MS)

    def card(self, title: str) -> Locator:
        """Return the card of a video in the list."""
        return self.page.locator("article.card").filter(has=self.page.get_by_role("heading", name=title, exact=True))

    def choose(self, title: str, action: str) -> None:
        """Choose from the menu of a card."""
        self.card(title).locator(".more").click()
        self.page.get_by_role("menuitem", name=action, exact=True).click()

    def expect_state(self, title: str, state: str, timeout_ms: float = SOON_MS) -> None:
        """Wait until a card says so: ``waiting``, ``working``, ``stopping``, ``ready``, ``stopped`` or ``failed``."""
        expect(self.card(title)).to_have_attribute("data-state", state, timeout=timeout_ms)

    def save(self, click: Locator, path: Path) -> Download:
        """Click what downloads, and return the download once it lies at ``path``."""
        with self.page.expect_download(timeout=SOON_MS) as caught:
            click.click()
        caught.value.save_as(path)
        return caught.value

    def _menu(self) -> Locator:
        return self.page.locator(".st-key-account_menu").get_by_role("button")

    def _fill(self, label: str, value: str) -> None:
        box = self.page.get_by_role("textbox", name=re.compile(f"^{re.escape(label)}(?! again)"))
        box.first.fill(value, timeout=SOON_MS)
