"""The whole way of a video as one story in a real browser; where the product runs is told by who tells it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
from playwright.sync_api import Page, expect

from pipeline.models import RESULT_FILES
from pipeline.models import Stage as Step
from tests.e2e.person import MADE_MS, SOON_MS, Person, Witness
from tests.e2e.running import Product, beside
from tests.e2e.stage import Stage
from tests.media.speech import talk
from tests.media.talks import write_video
from tests.vtt import Cue, parse_vtt

NAME = "Lesson one"
RENAMED = "Lesson one, “cut” & done"
PADDING = 40 << 20
"""Free room at the end of the file, so that a small video goes up in several pieces."""
HEARD = "Processing audio with duration"
"""What the speech model says each time it runs."""

REMEMBER_NEWS = """() => {
  window.news = []
  const note = (text) => { if (!window.news.includes(text)) window.news.push(text) }
  new MutationObserver(() => {
    note(`title: ${document.title}`)
    for (const toast of document.querySelectorAll('[data-testid=stToast]')) {
      for (const text of toast.querySelectorAll('p')) note(`toast: ${text.textContent}`)
    }
  }).observe(document, { subtree: true, childList: true, characterData: true })
}"""
"""Keeps every title and toast of a page; a reload would forget them."""
STOP_WHERE_IT_PLAYS = """{
  video.hasPlayed = false
  video.addEventListener("playing", () => { video.hasPlayed = true; video.pause() }, { once: true })
}"""
"""Stops the player as soon as it plays."""


def write_lesson(folder: Path) -> Path:
    """Return some twenty seconds of speech with pauses between, over a moving picture."""
    spoken = talk(
        [
            "Good morning everyone, and welcome to the first lesson.",
            "Today we talk about cutting videos, and why pauses matter.",
            "A pause is a place where nobody speaks.",
            "A machine can find it, and it can take it away.",
            "Thank you for your time, and see you next week.",
        ],
        [900, 1800, 1500, 2200, 1600, 1200],
        noise_dbfs=-60.0,
    )
    path = write_video(folder / f"{NAME}.mp4", spoken.samples, size=(640, 360))
    with path.open("ab") as file:
        file.write(PADDING.to_bytes(4, "big") + b"free" + bytes(PADDING - 8))
    return path


def go_the_whole_way(page: Page, product: Product, stage: Stage, folder: Path) -> None:
    """Make an account, upload, watch it being made, see and download it, make it again, leave and delete it.

    ``folder`` takes the video and the downloads.
    """
    lesson = write_lesson(folder)
    witness = Witness(page, with_outages=stage.is_interrupted).listen()
    ada = Person(page=page, name="ada", password="one password for everything")

    ada.create_administrator()
    expect(page.get_by_text("Your videos will be here")).to_be_visible()
    ada.log_out()
    ada.log_in()

    stage.hold.at(Step.TRANSCRIBE)  # else a quick machine is done before anybody looks
    with stage.interrupting("upload"):
        ada.upload(lesson)
    sent = [request for request in witness.requests if request.method == "PUT"]
    assert {urlsplit(request.url).netloc for request in sent} == {product.files_host}
    assert len(sent) >= 3
    watch_it_being_made(ada, stage)
    assert product.work_files() == []

    page.get_by_role("link", name=NAME, exact=True).click()
    expect(page.get_by_role("heading", name=NAME, exact=True)).to_be_visible(timeout=SOON_MS)
    job = read_job_id(page)
    cues = read_cues(page, job)
    watch_it(page)
    with stage.interrupting("watching"):
        run(page, "{ video.currentTime = 0 }")
    read_captions_on_screen(page, cues)
    jump_by_transcript(page, cues)
    download_everything(ada, job, cues, folder)

    rename(page)
    burned = process_again(ada, product, job)
    links = list_links(page, burned)
    assert {status(page, link) for link in links} == {200}

    token = next(cookie["value"] for cookie in page.context.cookies() if cookie.get("name") == "mvf_session")
    ada.log_out()
    assert {status(page, link) for link in links} == {401}
    assert {status(page, link, {"Cookie": f"mvf_session={token}"}) for link in links} == {401}, "the session lives on"

    ada.log_in(page_of(links))
    expect(page.get_by_role("heading", name=RENAMED, exact=True)).to_be_visible(timeout=SOON_MS)
    expect(page.locator(".transcript .lines button")).to_have_count(len(cues), timeout=SOON_MS)
    wait_until(page, "video.readyState >= 1")
    delete(page)
    assert {status(page, link) for link in links} == {404}
    assert list_stored(product) == []

    assert witness.errors == []
    assert witness.hosts() == {urlsplit(product.url).netloc, product.files_host}
    assert "Traceback" not in product.read_log()


def watch_it_being_made(ada: Person, stage: Stage) -> None:
    """Follow the card to its end, on one and the same page."""
    page = ada.page
    ada.go("Videos")
    page.evaluate(REMEMBER_NEWS)  # news go away by themselves after some seconds
    ada.expect_state(NAME, "working", MADE_MS)
    bar = ada.card(NAME).locator("[role=progressbar]:visible")
    expect(bar).to_be_visible(timeout=SOON_MS)
    seen: list[int] = []
    with stage.going_on():
        for _ in range(MADE_MS // 250):
            seen += bar.evaluate_all("bars => bars.map((bar) => Number(bar.getAttribute('aria-valuenow')))")
            if ada.card(NAME).get_attribute("data-state") not in ("waiting", "working"):
                break
            page.wait_for_timeout(250)
    ada.expect_state(NAME, "ready")
    assert seen, "it was never shown at work"
    assert all(before <= after for before, after in pairwise(seen)), seen
    page.wait_for_function(f"window.news.join().includes('title: ✓ {NAME} is ready')", timeout=SOON_MS)
    page.wait_for_function(f"window.news.join().includes('toast: {NAME} is ready')", timeout=SOON_MS)
    expect(ada.card(NAME)).to_contain_text("% shorter")


def read_job_id(page: Page) -> str:
    address = re.compile(r"/api/jobs/([0-9a-f-]{36})/files/video\.mp4\?download=1")
    expect(page.locator("a.main")).to_have_attribute("href", address, timeout=SOON_MS)
    found = address.match(page.locator("a.main").get_attribute("href") or "")
    assert found
    return found[1]


def read_cues(page: Page, job: str) -> Sequence[Cue]:
    """Return the captions of a version as the file has them, each on one line."""
    answer = page.request.get(f"/api/jobs/{job}/files/captions.vtt")
    assert answer.headers["content-type"].startswith("text/vtt")
    cues = [(start, end, text.replace("\n", " ")) for start, end, text in parse_vtt(answer.text())]
    assert len(cues) >= 3
    assert "lesson" in " ".join(text for _, _, text in cues).lower()
    return cues


def run(page: Page, script: str) -> object:
    """Return what a script says about the player's ``video``."""
    return page.locator("video").evaluate(f"(video) => {script}")


def wait_until(page: Page, script: str) -> None:
    """Wait until a script says yes about the player's ``video``."""
    for _ in range(SOON_MS // 100):
        if run(page, script):
            return
        page.wait_for_timeout(100)
    state = run(page, "[video.currentTime, video.readyState, video.paused, video.error?.message, video.src]")
    raise AssertionError(f"never: {script}; {state}")


def watch_it(page: Page) -> None:
    """Play by the button; time passes, and the picture is there."""
    wait_until(page, "video.readyState >= 2 || video.preload === 'metadata' && video.readyState >= 1")
    page.get_by_role("button", name="Play", exact=True).click()
    wait_until(page, "video.currentTime > 0.7 && video.readyState >= 2")
    assert run(page, "video.error") is None
    assert run(page, "video.videoWidth") == 640
    assert run(page, "video.getVideoPlaybackQuality().corruptedVideoFrames") == 0
    run(page, "video.pause()")


def read_captions_on_screen(page: Page, cues: Sequence[Cue]) -> None:
    """Look at the middle of each caption, and between two that are apart."""
    for start, end, text in cues:
        run(page, f"{{ video.currentTime = {(start + end) / 2000} }}")
        wait_until(page, "!video.seeking")
        expect(page.locator(".screen .caption")).to_be_visible()
        expect(page.locator(".screen .caption")).to_have_text(text)  # line breaks count as spaces
        current = page.locator(".transcript .lines button[aria-current=true] span")
        expect(current).to_have_text(text)
    for (_, before, _), (after, _, _) in pairwise(cues):
        if after - before > 400:
            run(page, f"{{ video.currentTime = {(before + after) / 2000} }}")
            wait_until(page, "!video.seeking")
            expect(page.locator(".screen .caption")).to_be_hidden()


def jump_by_transcript(page: Page, cues: Sequence[Cue]) -> None:
    """Click lines: each plays from its cue on, and is stopped there, so that it does not matter when anybody looks."""
    lines = page.locator(".transcript .lines button")
    expect(lines).to_have_count(len(cues))
    for at in (len(cues) - 1, 0, len(cues) // 2):
        start, end, _ = cues[at]
        run(page, STOP_WHERE_IT_PLAYS)
        lines.nth(at).click()
        wait_until(page, "video.hasPlayed && video.paused && !video.seeking")
        wait_until(page, f"video.currentTime >= {start / 1000 - 0.05} && video.currentTime < {end / 1000}")
        expect(lines.nth(at)).to_have_attribute("aria-current", "true")


def download_everything(ada: Person, job: str, cues: Sequence[Cue], folder: Path) -> None:
    """Take every file away by its click, and open it."""
    page = ada.page
    report = page.request.get(f"/api/jobs/{job}/files/report.json").json()
    saved = ada.save(page.locator("a.main"), folder / "video.mp4")
    assert saved.suggested_filename == f"{NAME}.mp4"
    check_video(folder / "video.mp4", report["result"], captions=True)
    for label, name in (("Captions, SRT", "srt"), ("Captions, WebVTT", "vtt"), ("Text, TXT", "txt")):
        assert save_other(ada, label, folder / f"other.{name}") == f"{NAME}.{name}"
    original = {name: (folder / f"other.{name}").read_text("utf-8") for name in ("srt", "vtt", "txt")}
    assert original["vtt"].startswith("WEBVTT") and original["srt"].startswith("1\n")
    for file in original.values():
        words = " ".join(file.split())
        assert all(text.split()[0] in words for _, _, text in cues)

    assert save_other(ada, "Everything, ZIP", folder / "all.zip") == f"{NAME}.zip"
    with zipfile.ZipFile(folder / "all.zip") as archive:
        assert archive.testzip() is None
        inside = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert (folder / "video.mp4").read_bytes() in inside.values()
    assert original["vtt"].encode() in inside.values()
    assert len(inside) == len(RESULT_FILES)


def save_other(ada: Person, label: str, path: Path) -> str:
    """Take a file of the menu away and return the name it is saved by."""
    ada.page.get_by_role("button", name="Other files to download").click()
    return ada.save(ada.page.get_by_role("menuitem", name=re.compile(f"^{re.escape(label)}")), path).suggested_filename


def check_video(path: Path, result: dict[str, float], *, captions: bool) -> None:
    assert path.stat().st_size == result["size_bytes"]
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1000 == pytest.approx(result["duration_ms"], abs=60)
        assert len(container.streams.subtitles) == captions
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == result["frames"]


def rename(page: Page) -> None:
    choose(page, "Rename")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Title").fill(RENAMED)
    dialog.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name=RENAMED, exact=True)).to_be_visible(timeout=SOON_MS)
    page.reload()
    expect(page.get_by_role("heading", name=RENAMED, exact=True)).to_be_visible(timeout=SOON_MS)


def process_again(ada: Person, product: Product, first: str) -> str:
    """Make a version with burned captions from the same transcript; return its job's id."""
    page = ada.page
    heard, used = product.read_log().count(HEARD), read_used_ms(product)
    assert heard >= 1 and used > 0
    choose(page, "Process again")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Burned in", exact=True).click()
    dialog.get_by_role("button", name="Process again").click()
    expect(dialog).to_be_hidden(timeout=SOON_MS)
    ada.go("Videos")
    ada.expect_state(RENAMED, "ready", MADE_MS)
    page.get_by_role("link", name=RENAMED, exact=True).click()
    expect(page.get_by_role("heading", name=RENAMED, exact=True)).to_be_visible(timeout=SOON_MS)
    page.wait_for_function(
        "first => [...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelector('a.main')"
        "?.getAttribute('href') && !e.shadowRoot.querySelector('a.main').getAttribute('href').includes(first))",
        arg=first,
    )
    job = read_job_id(page)
    assert job != first
    assert product.read_log().count(HEARD) == heard, "the speech was written down once more"
    assert read_used_ms(product) == used, "minutes were charged twice"
    again, before = (read_json(page, one, "transcript.json") for one in (job, first))
    assert again["words"] == before["words"]
    report = read_json(page, job, "report.json")
    assert report["result"]["captions"] == "burned"
    return job


def read_json(page: Page, job: str, name: str) -> dict[str, dict[str, object]]:
    answer = page.request.get(f"/api/jobs/{job}/files/{name}")
    assert answer.status == 200, answer.text()
    found: dict[str, dict[str, object]] = json.loads(answer.text())
    return found


def read_used_ms(product: Product) -> int:
    with beside(product) as (services, ports):
        [user] = ports.database.users.list_all().items
        return services.videos.get_usage(user.id).used_ms


def list_stored(product: Product) -> list[str]:
    """Return the keys of all files that are kept."""
    with beside(product) as (services, _):
        return [file.key for file in services.storage.list_all()]


def list_links(page: Page, job: str) -> list[str]:
    video = re.search(r"[?&]id=([0-9a-f-]{36})", page.url)
    assert video, page.url
    files = [f"/api/jobs/{job}/files/{name}" for name in RESULT_FILES]
    return [*files, f"/api/jobs/{job}/archive", f"/api/videos/{video[1]}/original"]


def page_of(links: Sequence[str]) -> str:
    """Return the address of the video's page."""
    return f"/video?id={links[-1].split('/')[3]}"


def status(page: Page, link: str, headers: dict[str, str] | None = None) -> int:
    return page.request.get(link, headers=headers).status


def choose(page: Page, action: str) -> None:
    """Choose from the menu of a video's page."""
    page.locator(".st-key-more").get_by_role("button").click()
    page.get_by_text(action, exact=True).last.click()


def delete(page: Page) -> None:
    """Ask for it twice: keep it once, then delete it."""
    choose(page, "Delete")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=SOON_MS)
    expect(page.get_by_role("heading", name=RENAMED, exact=True)).to_be_visible()
    choose(page, "Delete")
    page.get_by_role("button", name="Delete video").click()
    expect(page.get_by_text("Your videos will be here")).to_be_visible(timeout=SOON_MS)
