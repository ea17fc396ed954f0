"""The upload page in a real browser against the real web server: files arrive whole, whatever comes between."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from jobs.models import ProcessingJob, VideoQuery
from jobs.service import Services
from tests.e2e.person import MADE_MS, SOON_MS
from tests.e2e.running import beside, sign_up
from tests.e2e.web_server import WebServer
from tests.media.clips import silent_clip
from tests.product.machine import wait_for

SLOW, FAST = 4_000_000, -1
"""Bytes a second that the browser sends; -1 is as fast as it can."""
MB = 1_000_000
ARRIVED_MS = MADE_MS


@dataclass(frozen=True)
class Uploader:
    """Somebody on the upload page."""

    page: Page
    context: BrowserContext
    services: Services
    server: WebServer
    user_id: str
    token: str

    def open(self) -> None:
        """Open the page and wait for the drop zone."""
        self.page.goto("/upload")
        expect(self.page.locator(".uploader .limits")).not_to_be_empty(timeout=SOON_MS)

    def throttle(self, speed: int) -> None:
        """Let the browser send only so many bytes a second."""
        devtools = self.context.new_cdp_session(self.page)
        devtools.send("Network.enable")
        devtools.send(
            "Network.emulateNetworkConditions",
            {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed},
        )

    def choose(self, *paths: Path) -> None:
        """Choose files."""
        self.page.locator(".uploader input[type=file]").set_input_files(paths)

    def row(self, path: Path) -> Locator:
        """Return the row of a file."""
        return self.page.locator(".uploader li").filter(has_text=path.name)

    def expect_state(self, path: Path, state: str, timeout_ms: int = SOON_MS) -> None:
        """Wait until a row is in a state."""
        expect(self.row(path)).to_have_attribute("data-state", state, timeout=timeout_ms)

    def percent(self, path: Path) -> int:
        """Return what a bar shows."""
        return int(self.row(path).get_by_role("progressbar").get_attribute("aria-valuenow") or -1)

    def wait_percent(self, path: Path, least: int) -> None:
        """Wait until a bar shows at least so much."""
        for _ in range(ARRIVED_MS // 100):
            if self.percent(path) >= least:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{path.name} stays at {self.percent(path)} %: {self.row(path).inner_text()}")

    def press(self, what: str, path: Path) -> None:
        """Press a button of a row."""
        self.row(path).get_by_role("button", name=f"{what} {path.name}").click()

    def stored(self) -> set[str]:
        """Return the SHA-256 of every file of this person's on the server's disk."""
        files = (self.server.running.data_dir / "files").rglob("*")
        return {hash_file(path) for path in files if path.is_file() and self.user_id in path.parts}

    def find(self, path: Path) -> str:
        """Return the id of the video a file became."""
        (card,) = self.services.videos.list_cards(self.user_id, VideoQuery(search=path.stem)).items
        return card.video.id

    def jobs(self) -> list[ProcessingJob]:
        """Return the jobs that were made, newest first."""
        return [card.job for card in self.services.videos.list_cards(self.user_id, VideoQuery()).items]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("upload-page"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def services(server: WebServer) -> Iterator[Services]:
    with beside(server.running) as (services, _):
        yield services


@pytest.fixture
def uploader(
    browser: Browser, server: WebServer, services: Services, request: pytest.FixtureRequest
) -> Iterator[Uploader]:
    name = request.node.name.removeprefix("test_")[:40].strip("_")
    signed_in = sign_up(services, name)
    context = browser.new_context(base_url=server.running.url)
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    person = Uploader(page, context, services, server, signed_in.user.id, signed_in.token)
    add_cookie(person)
    person.open()
    yield person
    context.close()


def add_cookie(person: Uploader) -> None:
    """Sign the browser in."""
    person.context.add_cookies([{"name": "mvf_session", "value": person.token, "url": person.server.running.url}])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    silent_clip(path)
    return path.read_bytes()


def write_file(path: Path, clip: bytes, size: int) -> Path:
    """Write a real video of exactly ``size`` bytes: the rest is a box that players skip."""
    rest = size - len(clip)
    filling = random.Random(path.name).randbytes(rest - 8)
    path.write_bytes(clip + rest.to_bytes(4, "big") + b"free" + filling)
    return path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_several_files_arrive_two_at_a_time_with_their_options(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    files = [write_file(tmp_path / f"lesson-{number}.mp4", clip, 14 * MB) for number in (1, 2, 3)]
    page = uploader.page
    expect(page.locator(".uploader .limits")).to_contain_text("up to 10 GB or 3 hours")
    expect(page.locator(".uploader")).to_have_class("uploader idle")
    page.get_by_text("Tight", exact=True).click()
    expect(page.get_by_text("Pauses over 0.35 s are cut")).to_be_visible(timeout=SOON_MS)
    uploader.throttle(SLOW)
    uploader.choose(*files)
    uploader.wait_percent(files[0], 10)
    uploader.expect_state(files[1], "sending")
    uploader.expect_state(files[2], "waiting")
    expect(uploader.row(files[0])).to_contain_text("MB/s")
    expect(uploader.row(files[0])).to_contain_text("s left")
    expect(page.locator(".uploader")).to_have_class("uploader")
    page.get_by_text("None", exact=True).click()  # a change while they arrive counts for all of them
    uploader.throttle(FAST)
    for file in files:
        uploader.expect_state(file, "done", ARRIVED_MS)
        expect(uploader.row(file)).to_contain_text("Ready to go: it is being made")
    assert uploader.stored() == {hash_file(file) for file in files}
    assert [(job.options["pace"], job.options["captions"]) for job in uploader.jobs()] == [("tight", "none")] * 3
    expect(page.get_by_test_id("stToast").first).to_contain_text("Uploaded lesson-")
    uploader.row(files[0]).get_by_role("button", name="Open it").click()
    expect(page).to_have_url(f"{uploader.server.running.url}/video?id={uploader.find(files[0])}", timeout=SOON_MS)


def test_a_paused_file_stands_still_and_goes_on(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 20 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 30)
    uploader.press("Pause", file)
    uploader.expect_state(file, "paused")
    expect(uploader.row(file)).to_contain_text("Paused at")
    uploader.page.wait_for_timeout(1000)  # what was on its way arrives
    before = uploader.services.uploads.list_open(uploader.user_id)[0].received
    uploader.page.wait_for_timeout(3000)
    assert uploader.services.uploads.list_open(uploader.user_id)[0].received == before > 0
    uploader.throttle(FAST)
    uploader.press("Go on with", file)
    uploader.expect_state(file, "done", ARRIVED_MS)
    assert uploader.stored() == {hash_file(file)}


def test_a_lost_connection_is_waited_for(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 30 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 10)
    uploader.page.route("**/api/uploads/**", lambda route: route.abort())
    uploader.expect_state(file, "broken", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("Connection lost, trying again")
    uploader.throttle(FAST)
    uploader.page.unroute("**/api/uploads/**")
    uploader.expect_state(file, "done", ARRIVED_MS)
    assert uploader.stored() == {hash_file(file)}


def test_a_restart_of_the_server_is_waited_for(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 30 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 35)
    uploader.server.kill()
    uploader.expect_state(file, "broken")
    uploader.throttle(FAST)
    uploader.server.start()
    uploader.expect_state(file, "done", ARRIVED_MS)
    assert uploader.stored() == {hash_file(file)}
    assert len(uploader.jobs()) == 1


def test_after_a_reload_the_same_file_goes_on(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 30 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 40)
    uploader.page.reload()
    uploader.expect_state(file, "absent")
    expect(uploader.row(file)).to_contain_text("Choose the file again to go on")
    received = uploader.services.uploads.list_open(uploader.user_id)[0].received
    assert received >= 8 << 20
    uploader.throttle(FAST)
    with uploader.page.expect_request(lambda asked: asked.method == "PUT") as first:
        uploader.choose(file)
    assert int(first.value.url.rpartition("=")[2]) >= 8 << 20
    uploader.expect_state(file, "done", ARRIVED_MS)
    expect(uploader.page.locator(".uploader li")).to_have_count(1)
    assert uploader.stored() == {hash_file(file)}


def test_a_cancelled_file_leaves_nothing(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    sending, listed = (write_file(tmp_path / name, clip, 20 * MB) for name in ("sending.mp4", "listed.mp4"))
    uploader.throttle(SLOW)
    uploader.choose(listed)
    uploader.wait_percent(listed, 20)
    uploader.page.reload()
    uploader.expect_state(listed, "absent")
    uploader.choose(sending)
    uploader.wait_percent(sending, 20)
    for file in (sending, listed):
        uploader.press("Cancel", file)
        expect(uploader.row(file)).to_have_count(0)
    wait_for(lambda: not uploader.services.uploads.list_open(uploader.user_id), label="no upload")
    wait_for(lambda: not uploader.stored(), label="no file")
    assert not uploader.jobs()
    uploader.page.reload()
    expect(uploader.page.locator(".uploader .limits")).not_to_be_empty(timeout=SOON_MS)
    expect(uploader.page.locator(".uploader li")).to_have_count(0)


def test_a_refused_file_says_why_and_leaves_nothing(uploader: Uploader, tmp_path: Path) -> None:
    empty, notes, text = tmp_path / "empty.mp4", tmp_path / "notes.pdf", tmp_path / "text.mp4"
    empty.touch()
    notes.write_bytes(b"%PDF-1.4")
    text.write_text("not a video at all\n" * 1000)
    uploader.choose(empty, notes, text)
    for file, sentence in ((empty, "The file is empty"), (notes, "not a video"), (text, "not a video")):
        uploader.expect_state(file, "refused", ARRIVED_MS)
        expect(uploader.row(file)).to_contain_text(sentence)
        expect(uploader.row(file)).to_contain_text("Upload again")
    assert not uploader.stored()
    assert not uploader.services.uploads.list_open(uploader.user_id)
    uploader.press("Remove", notes)
    expect(uploader.row(notes)).to_have_count(0)


def test_a_video_that_is_too_long_is_told_before_it_is_sent(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 2 * MB)
    asked: list[str] = []
    uploader.page.on("request", lambda request: asked.append(request.method) if "/api/uploads" in request.url else None)
    uploader.page.evaluate("window.mvfTransfers.limits.max_duration_ms = 1000")
    uploader.choose(file)
    uploader.expect_state(file, "refused")
    expect(uploader.row(file)).to_contain_text("Split it and upload the parts")
    assert not asked


def test_leaving_the_page_stops_nothing(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file, page = write_file(tmp_path / "talk.mp4", clip, 24 * MB), uploader.page
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 10)
    page.get_by_test_id("stTopNavLink").filter(has_text="Videos").first.click()
    expect(page.locator(".uploader")).to_have_count(0, timeout=SOON_MS)
    page.get_by_test_id("stTopNavLink").filter(has_text="Upload").first.click()
    uploader.expect_state(file, "sending")
    page.get_by_test_id("stTopNavLink").filter(has_text="Videos").first.click()
    expect(page.locator(".uploader")).to_have_count(0, timeout=SOON_MS)
    uploader.throttle(FAST)
    wait_for(uploader.jobs, label="the job")  # nobody is on the page, and the video is made all the same
    assert uploader.stored() == {hash_file(file)}


def test_after_a_new_login_the_file_goes_on(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 24 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 20)
    uploader.context.clear_cookies()
    uploader.expect_state(file, "login", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("Log in again to go on")
    add_cookie(uploader)
    uploader.throttle(FAST)
    uploader.press("Go on with", file)
    uploader.expect_state(file, "done", ARRIVED_MS)
    assert uploader.stored() == {hash_file(file)}
