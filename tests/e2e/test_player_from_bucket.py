"""Watching and saving in a real browser what lies in a real bucket: by links that end while the page stays open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from adapters.s3_bucket import prepare_bucket
from config import PROJECT_ROOT
from jobs.models import JobStatus
from jobs.ports import JobFinish, Ports
from jobs.service import Services, SignIn
from tests.e2e.person import MADE_MS, SOON_MS
from tests.e2e.running import beside, sign_up
from tests.e2e.web_server import WebServer
from tests.media.hard import ffmpeg
from tests.servers.weed import LocalS3

LINK_S = 6
SHORT_LINKS = PROJECT_ROOT / "tests" / "e2e" / "short_links"
SECONDS = 90
TITLE = "Größe 1; 日本"
CUE = "Said right here."


@dataclass(frozen=True)
class Watcher:
    """Somebody before a finished video."""

    page: Page
    store: LocalS3
    links: list[str]
    """What was answered by the store: statuses with the range asked for."""
    redirects: list[str]
    """What was answered with a link."""

    @property
    def video(self) -> Locator:
        return self.page.locator("video")

    def wait(self, condition: str) -> None:
        """Wait until ``condition`` holds of ``video``.

        A browser asks half a minute for what an ended link refuses, before the page hears of it.
        """
        for _ in range(MADE_MS // 100):
            if self.video.evaluate(f"video => Boolean({condition})"):
                return
            self.page.wait_for_timeout(100)
        state = self.video.evaluate("v => [v.currentTime, v.readyState, v.networkState, v.error?.message, v.paused]")
        raise AssertionError(f"never: {condition}: {state}")

    def seek(self, seconds: float) -> None:
        self.video.evaluate(f"video => {{ video.currentTime = {seconds} }}")
        self.wait(f"!video.seeking && video.readyState >= 2 && Math.abs(video.currentTime - {seconds}) < 20")


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video so large that no browser takes all of it at once."""
    path = tmp_path_factory.mktemp("movie") / "movie.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", f"color=gray:s=320x180:r=25:d={SECONDS},noise=c0s=100:c0f=t+u",
        "-f", "lavfi", "-i", f"sine=d={SECONDS}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25",
        "-b:v", "12M", "-minrate", "12M", "-maxrate", "12M", "-bufsize", "12M", "-pix_fmt", "yuv420p", "-c:a", "aac",
        "-movflags", "faststart", path, cwd=path.parent,
    )  # fmt: skip
    assert path.stat().st_size > 100_000_000
    return path


@pytest.fixture(scope="module")
def bucket(local_s3: LocalS3) -> str:
    return local_s3.make_bucket("player")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, local_s3: LocalS3, bucket: str) -> Iterator[WebServer]:
    environ = {"PYTHONPATH": f"{SHORT_LINKS}:{PROJECT_ROOT}", "LINK_S": str(LINK_S), **local_s3.environment(bucket)}
    server = WebServer(tmp_path_factory.mktemp("player"), **environ)
    list(
        prepare_bucket(
            bucket=bucket, region=local_s3.region, endpoint=local_s3.endpoint, public_endpoint=local_s3.endpoint,
            origin=server.running.url, access_key_id=local_s3.access_key_id,
            secret_access_key=local_s3.secret_access_key,
        )
    )  # fmt: skip
    yield server
    server.kill()


@pytest.fixture(scope="module")
def shelf(server: WebServer, movie: Path) -> Iterator[tuple[SignIn, str]]:
    """A person, and the id of a finished video."""
    with beside(server.running) as (services, ports):
        person = sign_up(services, "mara")
        yield person, make_video(services, ports, person.user.id, movie)


def make_video(services: Services, ports: Ports, user_id: str, movie: Path) -> str:
    data = movie.read_bytes()
    begun = services.uploads.begin(user_id, name=f"{TITLE}.mp4", size_bytes=len(data), fingerprint="x", options={})
    assert begun.plan is not None
    for number in range(1, begun.plan.count + 1):
        address, start = services.uploads.open_part(user_id, begun.upload.id, number), begun.plan.part_bytes
        part = data[(number - 1) * start : number * start]
        httpx.put(address.url, content=part, timeout=60, trust_env=False).raise_for_status()
    done = services.uploads.complete(user_id, begun.upload.id)
    assert done.job_id is not None
    job = ports.database.jobs.claim(done.job_id, "worker-1", lease_s=600)
    assert job is not None
    whole = {"duration_ms": SECONDS * 1000}
    texts = {
        "captions.vtt": f"WEBVTT\n\n00:00:01.000 --> 00:00:03.000\n{CUE}\n",
        "captions.srt": f"1\n00:00:01,000 --> 00:00:03,000\n{CUE}\n",
        "transcript.txt": CUE,
        "report.json": json.dumps({"version": 1, "source": whole, "cuts": {"removed": []}, "qa": []}),
        "peaks.json": json.dumps({"per_second": 10, "peaks": [120] * (10 * SECONDS)}),
    }
    for name, text in texts.items():
        movie.with_name(name).write_text(text, "utf-8")
    ffmpeg("-i", movie, "-frames:v", "1", movie.with_name("poster.jpg"), cwd=movie.parent)
    copy = movie.with_name("video.mp4")
    copy.write_bytes(data)
    files = {name: movie.with_name(name) for name in (*texts, "poster.jpg", "video.mp4")}
    sizes = services.storage.store_results(user_id, job.video_id, job.id, job.attempt, files)
    result = {**whole, "source_ms": SECONDS * 1000, "cuts": 0, "words": 3, "cues": 1, "language": "en", "files": sizes}
    finish = JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=job.attempt)
    assert ports.database.jobs.finish(job.id, "worker-1", finish)
    return job.video_id


@pytest.fixture
def context(browser: Browser, server: WebServer, shelf: tuple[SignIn, str]) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=server.running.url, accept_downloads=True)
    context.add_cookies([{"name": "mvf_session", "value": shelf[0].token, "url": server.running.url}])
    yield context
    context.close()


@pytest.fixture
def watcher(context: BrowserContext, shelf: tuple[SignIn, str], local_s3: LocalS3) -> Watcher:
    page, links, redirects = context.new_page(), list[str](), list[str]()
    host = urlsplit(local_s3.endpoint).netloc

    def hear(url: str, status: int, asked: str) -> None:
        if urlsplit(url).netloc == host:
            links.append(f"{status} {asked}")
        elif status == 302:
            redirects.append(url)

    page.on("response", lambda answer: hear(answer.url, answer.status, answer.request.headers.get("range", "")))
    page.goto(f"/video?id={shelf[1]}")
    watcher = Watcher(page, local_s3, links, redirects)
    page.locator(".lines button").first.wait_for(timeout=SOON_MS)
    watcher.wait("video.readyState >= 2")
    return watcher


def test_it_plays_from_the_bucket_with_captions_poster_and_waveform(watcher: Watcher) -> None:
    page = watcher.page
    assert watcher.links and all(link.startswith("206 ") for link in watcher.links)
    assert watcher.video.evaluate("video => video.duration") == pytest.approx(SECONDS, abs=1)
    expect(page.locator(".lines")).to_contain_text(CUE)
    poster = watcher.video.get_attribute("poster") or ""
    picture = page.evaluate(
        "url => new Promise((done) => { const image = new Image(); image.onload = () => done(image.naturalWidth);"
        " image.onerror = () => done(0); image.src = url })",
        poster,
    )
    assert picture == 320
    page.get_by_role("button", name="Play").first.click()
    watcher.wait("video.currentTime > 1.2")
    expect(page.locator(".caption")).to_contain_text(CUE)
    assert watcher.video.evaluate("video => video.textTracks[0].cues.length") == 1


def test_seeking_asks_the_bucket_for_another_part(watcher: Watcher) -> None:
    before = len(watcher.links)
    watcher.seek(70)
    asked = [int(link.partition("bytes=")[2].partition("-")[0]) for link in watcher.links[before:]]
    assert max(asked) > 50_000_000


def test_a_player_that_stays_open_outlives_its_links(watcher: Watcher) -> None:
    watcher.video.evaluate("video => { video.muted = true; video.playbackRate = 1.5; video.play() }")
    watcher.wait("video.currentTime > 1")
    for place in (75, 20):
        watcher.page.wait_for_timeout((LINK_S + 1) * 1000)
        watcher.seek(place)
        watcher.wait(f"!video.paused && video.currentTime > {place} + 0.5")
    assert len(watcher.redirects) > 1, "no link ended, so nothing was shown"
    expect(watcher.page.locator(".broken")).to_be_hidden()


def test_a_paused_player_outlives_its_links_and_stays_paused(watcher: Watcher) -> None:
    watcher.page.wait_for_timeout((LINK_S + 1) * 1000)
    watcher.seek(80)
    assert watcher.video.evaluate("video => video.paused")
    expect(watcher.page.locator(".broken")).to_be_hidden()


def test_the_original_plays_too(watcher: Watcher) -> None:
    watcher.page.get_by_role("radio", name="Original").click()
    watcher.wait("video.currentSrc.includes('/original') && video.readyState >= 2")
    watcher.seek(66)
    expect(watcher.page.locator(".broken")).to_be_hidden()


def test_a_download_has_its_name_and_all_its_bytes(watcher: Watcher, movie: Path, tmp_path: Path) -> None:
    page = watcher.page
    with page.expect_download(timeout=SOON_MS) as caught:
        page.get_by_role("link", name="Download MP4").click()
    assert caught.value.suggested_filename == f"{TITLE}.mp4"
    caught.value.save_as(tmp_path / "saved.mp4")
    assert (tmp_path / "saved.mp4").read_bytes() == movie.read_bytes()
    page.get_by_role("button", name="Other files to download").click()
    with page.expect_download(timeout=SOON_MS) as caught:
        page.get_by_role("menuitem", name="Captions, SRT").click()
    assert caught.value.suggested_filename == f"{TITLE}.srt"
    expect(page.locator(".lines")).to_contain_text(CUE)  # the page is still there


def test_the_list_shows_its_picture(watcher: Watcher) -> None:
    watcher.page.goto("/")
    picture = watcher.page.locator("article img.front").first
    picture.wait_for(timeout=SOON_MS)
    assert picture.evaluate("image => image.naturalWidth") == 320
