"""One person at two browsers while a video is made: both show the same, and each sees what is done at the other."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.person import MADE_MS, SOON_MS, Person, Witness
from tests.e2e.running import Running, command_of, find_job_processes
from tests.media.talks import short_talk, write_video
from tests.product.machine import wait_for

TITLE = "Long lesson"
PASSWORD = "two devices, one password"
CANCELLED_S = 8.0
"""Two beats of the job and the way of the click, on a machine that has time; a busy one is given more in proportion."""
TALKS = 14


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some two and a half minutes of speech, so that there is time to look at it being made."""
    samples = np.tile(short_talk().samples, TALKS)
    return write_video(tmp_path_factory.mktemp("lesson") / f"{TITLE}.mp4", samples)


@pytest.fixture
def devices(browser: Browser, product_server: Running) -> Iterator[tuple[Person, Person]]:
    """One person, twice; the account is made by the first test that asks."""
    contexts = [browser.new_context(base_url=product_server.url) for _ in range(2)]
    desk, phone = (Person(page=context.new_page(), name="ada", password=PASSWORD) for context in contexts)
    phone.page.set_viewport_size({"width": 390, "height": 844})
    yield desk, phone
    for context in contexts:
        context.close()


def test_both_devices_show_the_same(
    devices: tuple[Person, Person], lesson: Path, product_server: Running, show: Callable[[str], None]
) -> None:
    desk, phone = devices
    witnesses = [Witness(person.page).listen() for person in devices]
    desk.create_administrator()
    desk.upload(lesson)
    desk.go("Videos")
    phone.log_in("/")
    desk.expect_state(TITLE, "working")
    phone.expect_state(TITLE, "working")
    wait_for(
        lambda: (text := read(desk)) == read(phone) and text,
        every_s=0.3,
        label="the same on both",
        explain=lambda: f"desk: {read(desk)}; phone: {read(phone)}",
    )

    # a reload shows it as it stands, not from the start
    before = percent(desk)
    desk.page.reload()
    desk.expect_state(TITLE, "working")
    assert percent(desk) >= before

    # cancelled at one, it stops at both, and on the machine
    wait_for(lambda: find_job_processes(product_server), label="a process that works on the job")
    phone.choose(TITLE, "Cancel")
    asked = time.monotonic()
    wait_for(
        lambda: not find_job_processes(product_server),
        within_s=CANCELLED_S * busyness(),
        label="the end of the cancelled job's processes",
        explain=lambda: [command_of(process) for process in find_job_processes(product_server)],
    )
    show(f"a cancelled job's processes were gone {time.monotonic() - asked:.1f} s after the click")
    wait_for(lambda: not product_server.work_files(), label="empty work folders", explain=product_server.work_files)
    phone.expect_state(TITLE, "stopped")
    desk.expect_state(TITLE, "stopped")

    # and starts again from the other
    desk.card(TITLE).get_by_role("button", name="Start again").click()
    phone.page.reload()
    phone.expect_state(TITLE, "working")
    desk.expect_state(TITLE, "ready", MADE_MS)
    phone.expect_state(TITLE, "ready")
    assert read(desk) == read(phone)
    assert not product_server.work_files()
    for witness in witnesses:
        assert witness.errors == []
        assert witness.other_hosts(product_server) == set()


def test_logging_out_everywhere_ends_the_other_device(devices: tuple[Person, Person]) -> None:
    desk, phone = devices
    desk.log_in("/")
    phone.log_in("/account")
    phone.page.get_by_role("button", name=re.compile("Log out everywhere")).click()
    confirm = phone.page.get_by_role("dialog").get_by_role("button", name=re.compile("Log out"))
    if confirm.count():
        confirm.first.click()
    expect(phone.page.get_by_role("button", name="Log in")).to_be_visible(timeout=SOON_MS)
    desk.page.reload()
    expect(desk.page.get_by_role("button", name="Log in")).to_be_visible(timeout=SOON_MS)


def busyness() -> float:
    """Return how many programs wait for each core, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def read(person: Person) -> str:
    """Return what the card says, but for the time left and the day's time."""
    card = person.card(TITLE)
    return " ".join(card.locator(".line, .chip").all_inner_texts())


def percent(person: Person) -> int:
    """Return how far the card's bar is."""
    return int(person.card(TITLE).get_by_role("progressbar").get_attribute("aria-valuenow") or 0)
