"""Uploads from a real browser straight into a real bucket: not a byte by way of the app, whatever comes between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from adapters.s3_bucket import prepare_bucket
from jobs.models import VideoQuery
from jobs.service import Services
from jobs.storage import original_key
from tests.e2e.person import MADE_MS, SOON_MS
from tests.e2e.running import beside, sign_up
from tests.e2e.web_server import WebServer
from tests.media.clips import silent_clip, text_file
from tests.product.bucket import list_bucket
from tests.product.machine import wait_for
from tests.servers.weed import LocalS3

SLOW, FAST = 6_000_000, -1
"""Bytes a second that the browser sends; -1 is as fast as it can."""
MB = 1_000_000
ARRIVED_MS = MADE_MS


@dataclass(frozen=True)
class Store:
    """A store of its own, which tests stop and start, and its bucket."""

    s3: LocalS3
    bucket: str

    def list(self) -> list[str]:
        return list_bucket(self.s3, self.bucket)


class Traffic:
    """What the browser itself sent: bytes of bodies by host, from its own network log."""

    def __init__(self, page: Page) -> None:
        self.sent: dict[str, int] = {}
        self.puts: list[str] = []
        self.devtools = page.context.new_cdp_session(page)
        self.devtools.send("Network.enable")
        self.devtools.on("Network.requestWillBeSentExtraInfo", self._hear)
        page.on("request", lambda asked: self.puts.append(asked.url) if asked.method == "PUT" else None)

    def _hear(self, event: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in event["headers"].items()}
        host, size = headers.get("host", ""), int(headers.get("content-length", 0))
        self.sent[host] = self.sent.get(host, 0) + size


@dataclass(frozen=True)
class Uploader:
    """Somebody on the upload page."""

    page: Page
    context: BrowserContext
    services: Services
    server: WebServer
    store: Store
    user_id: str
    traffic: Traffic

    def open(self) -> None:
        self.page.goto("/upload")
        expect(self.page.locator(".uploader .limits")).not_to_be_empty(timeout=SOON_MS)

    def throttle(self, speed: int, *, offline: bool = False) -> None:
        """Let the browser send only so many bytes a second, or nothing at all."""
        self.traffic.devtools.send(
            "Network.emulateNetworkConditions",
            {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed},
        )

    def choose(self, *paths: Path) -> None:
        self.page.locator(".uploader input[type=file]").set_input_files(paths)

    def row(self, path: Path) -> Locator:
        return self.page.locator(".uploader li").filter(has_text=path.name)

    def expect_state(self, path: Path, state: str, timeout_ms: int = SOON_MS) -> None:
        expect(self.row(path)).to_have_attribute("data-state", state, timeout=timeout_ms)

    def wait_percent(self, path: Path, least: int) -> None:
        """Wait until a bar shows at least so much."""
        bar = self.row(path).get_by_role("progressbar")
        for _ in range(ARRIVED_MS // 100):
            if int(bar.get_attribute("aria-valuenow") or -1) >= least:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(self.row(path).inner_text())

    def wait_parts(self, least: int) -> None:
        """Wait until so many parts are in the bucket."""

        def count() -> bool:
            begun = self.services.uploads.list_open(self.user_id)
            return bool(begun) and len(self.services.uploads.get(self.user_id, begun[0].upload.id).parts) >= least

        for _ in range(ARRIVED_MS // 200):
            if count():
                return
            self.page.wait_for_timeout(200)
        raise AssertionError("the parts do not arrive")

    def press(self, what: str, path: Path) -> None:
        self.row(path).get_by_role("button", name=f"{what} {path.name}").click()

    def expect_stored(self, path: Path) -> None:
        """Check that the bucket holds this file of the person's, and nothing else."""
        (card,) = self.services.videos.list_cards(self.user_id, VideoQuery()).items
        key = original_key(self.user_id, card.video.id)
        assert self.store.list() == [key]
        assert b"".join(self.services.storage.files.read(key)) == path.read_bytes()


@pytest.fixture(scope="module")
def store(local_s3: LocalS3) -> Iterator[Store]:
    assert local_s3.endpoint  # a reason is told where there is none
    with LocalS3() as s3:
        yield Store(s3, s3.make_bucket())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("direct"), **store.s3.environment(store.bucket))
    allow_browsers(store, server.running.url)
    yield server
    server.kill()


def allow_browsers(store: Store, origin: str) -> None:
    """Do what `make bucket` does."""
    list(
        prepare_bucket(
            bucket=store.bucket,
            region=store.s3.region,
            endpoint=store.s3.endpoint,
            public_endpoint=store.s3.endpoint,
            access_key_id=store.s3.access_key_id,
            secret_access_key=store.s3.secret_access_key,
            origin=origin,
        )
    )


@pytest.fixture(scope="module")
def services(server: WebServer) -> Iterator[Services]:
    with beside(server.running) as (services, _):
        yield services


@pytest.fixture
def uploader(
    browser: Browser, server: WebServer, services: Services, store: Store, request: pytest.FixtureRequest
) -> Iterator[Uploader]:
    signed_in = sign_up(services, request.node.name.removeprefix("test_")[:40].strip("_"))
    context = browser.new_context(base_url=server.running.url)
    page = context.new_page()
    traffic = Traffic(page)
    page.on("dialog", lambda dialog: dialog.accept())
    context.add_cookies([{"name": "mvf_session", "value": signed_in.token, "url": server.running.url}])
    person = Uploader(page, context, services, server, store, signed_in.user.id, traffic)
    person.open()
    yield person
    context.close()
    for key in store.list():
        if key.startswith("user/"):
            store.s3.client.delete_object(Bucket=store.bucket, Key=key)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    silent_clip(path)
    return path.read_bytes()


def write_file(path: Path, clip: bytes, size: int) -> Path:
    """Write a real video of exactly ``size`` bytes: the rest is a box that players skip."""
    rest = size - len(clip)
    path.write_bytes(clip + rest.to_bytes(4, "big") + b"free" + random.Random(path.name).randbytes(rest - 8))
    return path


def test_the_bytes_go_to_the_bucket_and_not_to_the_app(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 60 * MB)
    uploader.choose(file)
    uploader.expect_state(file, "done", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("Ready to go: it is being made")
    uploader.expect_stored(file)
    bucket, app = urlsplit(uploader.store.s3.endpoint).netloc, urlsplit(uploader.server.running.url).netloc
    assert uploader.traffic.sent[bucket] == 60 * MB
    assert uploader.traffic.sent.get(app, 0) < 10_000, "only what begins and completes it"
    assert len(uploader.traffic.puts) == 4
    assert {urlsplit(url).netloc for url in uploader.traffic.puts} == {bucket}


def test_after_a_reload_only_missing_parts_are_sent(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 100 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_parts(3)
    uploader.page.reload()
    uploader.expect_state(file, "absent")
    expect(uploader.row(file)).to_contain_text("Choose the file again to go on")
    uploader.traffic.sent.clear()
    uploader.throttle(FAST)
    uploader.choose(file)
    uploader.expect_state(file, "done", ARRIVED_MS)
    expect(uploader.page.locator(".uploader li")).to_have_count(1)
    assert uploader.traffic.sent[urlsplit(uploader.store.s3.endpoint).netloc] <= 100 * MB - 3 * (16 << 20)
    uploader.expect_stored(file)


def test_a_paused_file_stands_still_and_goes_on(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 70 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 10)
    uploader.press("Pause", file)
    uploader.expect_state(file, "paused")
    sent = len(uploader.traffic.puts)
    uploader.page.wait_for_timeout(2000)
    assert len(uploader.traffic.puts) == sent
    uploader.throttle(FAST)
    uploader.press("Go on with", file)
    uploader.expect_state(file, "done", ARRIVED_MS)
    uploader.expect_stored(file)


def test_a_store_that_is_away_is_waited_for(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 100 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 20)
    uploader.store.s3.stop()
    uploader.expect_state(file, "broken", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("The file store does not answer, trying again", timeout=SOON_MS)
    uploader.throttle(FAST)
    uploader.store.s3.start()
    uploader.expect_state(file, "done", ARRIVED_MS)
    uploader.expect_stored(file)


def test_a_lost_network_is_waited_for(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 70 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 10)
    uploader.throttle(FAST, offline=True)
    uploader.expect_state(file, "broken", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("Connection lost, trying again")
    uploader.throttle(FAST)
    uploader.expect_state(file, "done", ARRIVED_MS)
    uploader.expect_stored(file)


def test_a_restart_of_the_app_stops_no_part(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 100 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_percent(file, 10)
    uploader.server.kill()
    uploader.wait_percent(file, 30)  # what has its address goes on
    uploader.throttle(FAST)
    uploader.server.start()
    uploader.expect_state(file, "done", ARRIVED_MS)
    uploader.expect_stored(file)


def test_a_cancelled_file_leaves_nothing_in_the_bucket(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 70 * MB)
    uploader.throttle(SLOW)
    uploader.choose(file)
    uploader.wait_parts(1)
    assert uploader.store.list()
    uploader.press("Cancel", file)
    expect(uploader.row(file)).to_have_count(0)
    wait_for(lambda: not uploader.services.uploads.list_open(uploader.user_id), label="no upload")
    wait_for(lambda: not uploader.store.list(), label="an empty bucket", explain=uploader.store.list)


def test_a_refused_file_says_why_and_leaves_nothing(uploader: Uploader, tmp_path: Path) -> None:
    file = text_file(tmp_path / "talk.mp4")
    uploader.choose(file)
    uploader.expect_state(file, "refused", ARRIVED_MS)
    expect(uploader.row(file)).to_contain_text("This is not a video we can read. Export it as MP4 and use that.")
    assert uploader.store.list() == []


def test_several_files_arrive_two_at_a_time(uploader: Uploader, clip: bytes, tmp_path: Path) -> None:
    files = [write_file(tmp_path / f"lesson-{number}.mp4", clip, 20 * MB) for number in (1, 2, 3)]
    uploader.throttle(SLOW)
    uploader.choose(*files)
    uploader.wait_percent(files[0], 10)
    uploader.expect_state(files[1], "sending")
    uploader.expect_state(files[2], "waiting")
    uploader.throttle(FAST)
    for file in files:
        uploader.expect_state(file, "done", ARRIVED_MS)
    assert len(uploader.store.list()) == 3


def test_a_bucket_that_does_not_know_the_page_is_told_and_waited_for(
    uploader: Uploader, clip: bytes, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "talk.mp4", clip, 20 * MB)
    allow_browsers(uploader.store, "https://elsewhere.example.com")
    uploader.choose(file)
    expect(uploader.row(file)).to_contain_text(
        "The file store does not accept uploads from this address. Tell the administrator: make bucket",
        timeout=ARRIVED_MS,
    )
    uploader.expect_state(file, "broken")
    allow_browsers(uploader.store, uploader.server.running.url)
    uploader.expect_state(file, "done", ARRIVED_MS)
    uploader.expect_stored(file)
