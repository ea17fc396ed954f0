"""The finished video in a real browser: it plays and seeks, and its captions show as a track."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.person import SOON_MS
from tests.media.shared import MEDIA
from tests.media.talks import run_command, short_talk, write_video

CHROMIUM = Path("/usr/bin/chromium")
PAGE = """<!doctype html><title>Result</title><body style="margin:0;background:#111">
<video src="video.mp4" controls muted playsinline width="1280" style="max-width:100%">
<track kind="captions" srclang="en" label="English" src="captions.vtt" default></video>"""
VIDEO = "document.querySelector('video')"
PLAYS = f"{VIDEO}.readyState >= 2"


class _Server(SimpleHTTPRequestHandler):
    """Files of a folder; the video by byte ranges, without which no browser seeks."""

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # a seek drops the request before it
            self.wfile.write(content[first : last + 1])

    def log_message(self, *_: object) -> None:  # the test says what matters
        return None


@pytest.fixture(scope="module")
def result(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished result: of a real talking head where there is one, else of a talk made here."""
    assert weights.is_dir()
    folder = tmp_path_factory.mktemp("browser")
    source = MEDIA / "ae_example.mp4"
    if not source.is_file():
        source = write_video(folder / "talk.mp4", short_talk().samples)
    ended = run_command(source, "-o", folder / "out", "--captions", "soft")
    assert ended.status == 0, ended.errors
    (folder / "out" / "index.html").write_text(PAGE)
    return folder / "out"


@pytest.fixture(scope="module")
def page(result: Path) -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(result)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/index.html")
        page.wait_for_function(PLAYS)
        yield page
        browser.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_plays(page: Page) -> None:
    page.evaluate(f"{VIDEO}.play()")
    page.wait_for_function(f"{VIDEO}.currentTime > 1", timeout=SOON_MS)
    assert page.evaluate(f"{VIDEO}.error") is None
    assert page.evaluate(f"{VIDEO}.videoWidth") > 0
    assert page.evaluate(f"{VIDEO}.getVideoPlaybackQuality().corruptedVideoFrames") == 0


def test_its_captions_are_the_ones_that_were_made(page: Page, result: Path) -> None:
    page.wait_for_function(f"{VIDEO}.textTracks[0].cues?.length > 0")
    as_shown = "c => [c.startTime, c.endTime, c.getCueAsHTML().textContent]"
    shown = page.evaluate(f"[...{VIDEO}.textTracks[0].cues].map({as_shown})")
    blocks = (result / "captions.vtt").read_text().strip().split("\n\n")[1:]
    assert len(shown) == len(blocks) > 0
    for (start, end, text), block in zip(shown, blocks, strict=True):
        times, *lines = block.split("\n")
        assert text == "\n".join(lines)
        assert times == f"{clock(start)} --> {clock(end)}"


def test_a_caption_is_on_screen_while_it_is_spoken(page: Page) -> None:
    start, end, text = page.evaluate(f"(c => [c.startTime, c.endTime, c.text])({VIDEO}.textTracks[0].cues[0])")
    page.evaluate(f"{VIDEO}.pause()")
    page.evaluate(f"{VIDEO}.currentTime = {(start + end) / 2}")
    page.wait_for_function(f"{VIDEO}.textTracks[0].activeCues.length === 1")
    active = page.evaluate(f"{VIDEO}.textTracks[0].activeCues[0].text")
    assert active == text


def test_it_seeks_to_the_end(page: Page) -> None:
    duration = page.evaluate(f"{VIDEO}.duration")
    page.evaluate(f"{VIDEO}.currentTime = {duration - 0.2}")
    page.wait_for_function(f"!{VIDEO}.seeking && {PLAYS}")
    assert page.evaluate(f"{VIDEO}.currentTime") == pytest.approx(duration - 0.2, abs=0.1)


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
