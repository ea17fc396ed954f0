"""The product as it is started, and a real browser, for tests of the whole way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytest.register_assert_rewrite("tests.e2e.journey")  # else it does not say what it compared

from tests.e2e.person import SOON_MS  # noqa: E402
from tests.e2e.running import Product, Running, running_product  # noqa: E402

expect.set_options(timeout=SOON_MS)

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def product_server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The product with data of its own, for all tests of a module; nothing of it is left afterwards."""
    assert weights.is_dir()
    with running_product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; skips where there is none. For one module, because Playwright allows one at a time."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, product_server: Product) -> Iterator[Page]:
    """A new person's browser, signed out."""
    context = browser.new_context(base_url=product_server.url, accept_downloads=True)
    yield context.new_page()
    context.close()
