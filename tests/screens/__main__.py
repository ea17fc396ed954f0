"""Takes a picture of every screen: ``python -m tests.screens [-o FOLDER] [NAME …]``, light, dark and on a phone.

Real pages of the real server over rows and files that are made here; only the people and their titles are invented.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from config import PROJECT_ROOT
from jobs.models import User
from tests.product import Product, make_product
from tests.screens import data
from tests.screens.server import serve
from tests.screens.studio import KEPT, LESSON, LIMITS, fill, open_studio

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PORT = 8645
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One page in one state."""

    name: str
    path: str
    height: int
    data: str = "busy"
    """``busy``: a morning's work; ``fresh``: an account without videos; ``nobody``: no account at all."""
    signed_in: bool = True
    prepare: Callable[[Page], None] = lambda _: None
    phone_height: int = 1000


def _open_menu(page: Page) -> None:
    page.get_by_role("button", name=f"More for {LESSON}").click()


def _move_into_talk(page: Page) -> None:
    page.locator(".lines button").first.wait_for()
    page.locator(".lines button", has_text="Say it once").click()
    page.locator("video").evaluate("video => { video.pause(); video.currentTime += 1.2 }")
    page.wait_for_function("document.querySelector('.st-key-player_box') !== null")
    page.locator("h1").hover()


def _fail_login(page: Page) -> None:
    page.get_by_role("textbox", name="Name").fill("mara")
    page.get_by_role("textbox", name="Password").fill("not her password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("do not match").wait_for()


def _send_two_files(page: Page) -> None:
    """Choose two files on a slow line, and captions that are part of the picture."""
    leftovers = page.locator(".uploader .end")  # of the look before
    while leftovers.count():
        leftovers.first.click()
    page.get_by_test_id("stButtonGroup").get_by_text("Both", exact=True).click()
    page.wait_for_timeout(1500)
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    conditions = {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 6_000_000}
    line.send("Network.emulateNetworkConditions", conditions)
    files = [KEPT / "lesson-6.mov", KEPT / "team-update-week-48.mp4"]  # kept: they are read until the page is closed
    for file, megabytes in zip(files, (48, 130), strict=True):
        with file.open("wb") as empty:
            empty.truncate(megabytes * 1_000_000)
    page.locator(".uploader input[type=file]").set_input_files(files)
    page.wait_for_timeout(5000)


SCREENS: Sequence[Screen] = (
    Screen(name="first-administrator", path="/", height=800, data="nobody", signed_in=False),
    Screen(name="login", path="/", height=800, data="fresh", signed_in=False),
    Screen(name="login-error", path="/", height=800, data="fresh", signed_in=False, prepare=_fail_login),
    Screen(name="videos-empty", path="/", height=800, data="fresh"),
    Screen(name="videos", path="/", height=860),
    Screen(name="videos-menu", path="/", height=860, prepare=_open_menu),
    Screen(name="upload", path="/upload", height=1060, phone_height=1500, prepare=_send_two_files),
    Screen(name="video", path="/video", height=1040, phone_height=1280, prepare=_move_into_talk),
    Screen(name="account", path="/account", height=1000, phone_height=1400),
    Screen(name="admin-users", path="/admin?view=Users", height=900),
    Screen(name="admin-jobs", path="/admin?view=Jobs", height=900),
    Screen(name="admin-health", path="/admin?view=Health", height=900, phone_height=1300),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A product that is being served."""

    url: str
    token: str
    lesson: str
    """Id of the video that is shown."""


def take(browser: Browser, screen: Screen, world: World, folder: Path) -> None:
    """Take a screen's three pictures."""
    path = f"{screen.path}?id={world.lesson}" if screen.path == "/video" else screen.path
    wide, phone = (1280, screen.height, 1), (390, screen.phone_height, 2)
    for suffix, (width, height, scale), scheme in (
        ("", wide, "light"),
        ("-dark", wide, "dark"),
        ("-390", phone, "light"),
    ):
        size = ViewportSize(width=width, height=height)
        context = browser.new_context(
            viewport=size, device_scale_factor=scale, timezone_id="Europe/Berlin", locale="en-GB",
            color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce",
        )  # fmt: skip
        if screen.signed_in:
            context.add_cookies([{"name": "mvf_session", "value": world.token, "url": world.url}])
        page = context.new_page()
        page.goto(world.url + path)
        page.wait_for_selector(SETTLED, timeout=60_000)
        page.wait_for_timeout(2000)  # pictures and fonts
        screen.prepare(page)
        page.wait_for_timeout(900)
        page.screenshot(path=folder / f"{screen.name}{suffix}.png")
        context.close()
    print(f"{screen.name}, in three looks")


def build(kind: str, root: Path, browser: Browser) -> tuple[Product, User | None]:
    """Make one of the three worlds under ``root``."""
    if kind == "busy":
        return fill(root, open_studio(browser))
    product = make_product(root, limits=LIMITS)
    return product, data.add_administrator(product) if kind == "fresh" else None


def main() -> None:
    """Take the pictures that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.screens", description=__doc__)
    parser.add_argument("names", nargs="*", help="screens to take; all by default")
    parser.add_argument("-o", "--out", type=Path, default=PROJECT_ROOT / "docs" / "screens")
    arguments = parser.parse_args()
    wanted = [screen for screen in SCREENS if not arguments.names or screen.name in arguments.names]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for number, kind in enumerate(dict.fromkeys(screen.data for screen in wanted)):
            with tempfile.TemporaryDirectory(prefix="screens-") as folder:
                product, user = build(kind, Path(folder), browser)
                token = lesson = ""
                if user:
                    token = product.services.auth.login("mara", data.PASSWORD, address="").token
                    lesson = data.find_video(product, user, LESSON).id if kind == "busy" else ""
                with serve(Path(folder), PORT + number) as url:
                    for screen in wanted:
                        if screen.data == kind:
                            take(browser, screen, World(url=url, token=token, lesson=lesson), arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
