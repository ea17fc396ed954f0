"""The list and the player in a real browser, before the real server: what is on screen, by mouse and by keys."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright

from jobs.models import JobStatus, ProcessingJob, User
from jobs.ports import JobFinish
from jobs.storage import result_key
from tests.e2e.person import SOON_MS
from tests.product import Product
from tests.screens import data
from tests.screens.data import Recording
from tests.screens.server import serve
from tests.screens.studio import FAILED, LESSON, WAITING, WORKING, Studio, fill, open_studio
from tests.servers.guarded import find_free_port
from tests.vtt import Cue, parse_vtt

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
WIDE, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
MANY_LINES = 4000
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


@pytest.fixture(scope="module")
def browser(weights: Path) -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    assert weights.is_dir()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return open_studio(browser, tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def world(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, User, str]]:
    product, user = fill(tmp_path_factory.mktemp("world"), studio)
    with serve(product.root, find_free_port()) as url:
        yield product, user, url


@pytest.fixture
def context(browser: Browser, world: tuple[Product, User, str]) -> Iterator[BrowserContext]:
    product, _, url = world
    token = product.services.auth.login("mara", data.PASSWORD, address="").token
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.add_cookies([{"name": "mvf_session", "value": token, "url": url}])
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def read_result(world: tuple[Product, User, str], job: ProcessingJob, name: str) -> bytes:
    key = result_key(world[1].id, job.video_id, job.id, job.stored_attempt, name)
    return b"".join(world[0].ports.files.read(key))


def read_captions(world: tuple[Product, User, str], job: ProcessingJob) -> list[Cue]:
    return parse_vtt(read_result(world, job, "captions.vtt").decode())


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(SETTLED, timeout=SOON_MS)


def open_video(page: Page, world: tuple[Product, User, str], title: str = LESSON) -> ProcessingJob:
    product, user, url = world
    video = data.find_video(product, user, title)
    open_page(page, f"{url}/video?id={video.id}")
    page.locator(".lines button").first.wait_for()
    wait_video(page, "video.readyState >= 2")
    job = product.services.videos.get_card(user.id, video.id).current
    assert job is not None
    return job


def card(page: Page, title: str) -> Locator:
    return page.locator("article", has_text=title)


def wait_video(page: Page, condition: str) -> None:
    """Wait until ``condition`` holds of ``video``."""
    video = page.locator("video")
    for _ in range(SOON_MS // 100):
        if video.evaluate(f"video => Boolean({condition})"):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {condition}")


def seconds(page: Page) -> float:
    return float(page.locator("video").evaluate("video => video.currentTime"))


def note_where_it_plays(page: Page) -> None:
    """Have the page note where the video begins to play: whoever looks later finds it elsewhere."""
    page.locator("video").evaluate(
        "video => video.addEventListener('playing', () => { video.playedFrom = video.currentTime }, { once: true })"
    )


def played_from(page: Page) -> float:
    return float(page.locator("video").evaluate("video => video.playedFrom"))


def focused(page: Page) -> str:
    """Return the name of what has the focus, inside components too."""
    return str(
        page.evaluate(
            """() => { let at = document.activeElement
                while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
                return at?.getAttribute("aria-label") ?? at?.textContent ?? "" }"""
        )
    )


# --- the list ---


def test_the_list_shows_every_state(page: Page, world: tuple[Product, User, str]) -> None:
    open_page(page, world[2])
    expect(card(page, WORKING.title).get_by_role("progressbar")).to_have_attribute("aria-valuenow", "62")
    expect(card(page, WAITING.title)).to_contain_text("2nd in line")
    expect(card(page, FAILED.title)).to_contain_text("The file ends in the middle.")
    expect(card(page, LESSON)).to_contain_text("Ready")
    assert page.title() == "Videos · Mini Video Factory"


def test_nothing_is_asked_of_other_hosts(page: Page, world: tuple[Product, User, str]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_page(page, world[2])
    card(page, LESSON).wait_for()
    foreign = [url for url in asked if not url.startswith((world[2], "data:", "blob:"))]
    assert asked
    assert not foreign


def test_the_menu_works_by_keys(page: Page, world: tuple[Product, User, str]) -> None:
    open_page(page, world[2])
    more = card(page, LESSON).get_by_role("button", name=f"More for {LESSON}")
    more.focus()
    page.keyboard.press("Enter")
    expect(more).to_have_attribute("aria-expanded", "true")
    assert focused(page) == "Open"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "Rename"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert focused(page) == "Delete"
    page.keyboard.press("p")
    assert focused(page) == "Process again"
    page.keyboard.press("Escape")
    expect(more).to_have_attribute("aria-expanded", "false")
    assert focused(page) == f"More for {LESSON}"
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()


def test_a_live_update_keeps_menu_focus_and_nodes(page: Page, world: tuple[Product, User, str]) -> None:
    product, user, url = world
    open_page(page, url)
    working = card(page, WORKING.title)
    working.evaluate("node => { node.marked = true }")
    card(page, LESSON).evaluate("node => { node.marked = true }")
    card(page, LESSON).get_by_role("button", name=f"More for {LESSON}").click()
    page.keyboard.press("ArrowDown")
    job = product.services.videos.get_card(user.id, data.find_video(product, user, WORKING.title).id).job
    product.ports.database.jobs.beat(job.id, "studio-1", stage="render", progress=0.71, lease_s=86_400)
    expect(working.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "71")
    expect(working).to_contain_text("Putting it together")
    assert focused(page) == "Rename"
    assert page.get_by_role("menu").is_visible()
    for title in (WORKING.title, LESSON):
        assert card(page, title).evaluate("node => node.marked") is True


def test_a_finished_job_is_told(page: Page, world: tuple[Product, User, str], studio: Studio) -> None:
    product, user, url = world
    recording = Recording(title="Just done", scene="lesson", length_ms=95_000, ago=timedelta())
    job = data.add_video(product, user, recording, studio.talk, data.make_facts(recording.length_ms))
    open_page(page, url)
    expect(card(page, "Just done")).to_contain_text("in line")
    data.succeed(product, job, timedelta(), studio.out, {}, None)
    expect(card(page, "Just done")).to_contain_text("Ready")
    expect(page.get_by_test_id("stToast")).to_contain_text("Just done is ready")
    expect(page).to_have_title(re.compile("✓ Just done is ready"))


def test_renaming_and_deleting_from_a_card(page: Page, world: tuple[Product, User, str], studio: Studio) -> None:
    product, user, url = world
    recording = Recording(title="A draft", scene="lesson", length_ms=95_000, ago=timedelta(days=2))
    job = data.add_video(product, user, recording, studio.talk, data.make_facts(recording.length_ms))
    data.fail(product, job, timedelta(), code="timeout", message="It stood still. Start again.")
    open_page(page, url)
    card(page, "A draft").get_by_role("button", name="More for A draft").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Title").fill("A better name")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.get_by_test_id("stToast")).to_contain_text("Renamed")
    expect(card(page, "A better name")).to_be_visible()
    card(page, "A better name").get_by_role("button", name="More for A better name").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete video").click()
    expect(card(page, "A better name")).to_have_count(0)
    expect(page.get_by_test_id("stDialog")).to_have_count(0)


def test_a_card_opens_its_video_and_back_returns(page: Page, world: tuple[Product, User, str]) -> None:
    open_page(page, world[2])
    card(page, LESSON).get_by_role("link", name=LESSON).click()
    expect(page.get_by_role("heading", name=LESSON, level=1)).to_be_visible()
    assert "/video?id=" in page.url
    page.go_back()
    expect(card(page, LESSON)).to_be_visible()


# --- the player ---


def test_it_plays_and_the_caption_is_the_one_that_is_spoken(page: Page, world: tuple[Product, User, str]) -> None:
    job = open_video(page, world)
    page.get_by_role("button", name="Play", exact=True).click()
    wait_video(page, "video.currentTime > 1")
    page.get_by_role("button", name="Pause").click()
    for start_ms, end_ms, text in read_captions(world, job)[:6]:
        middle = (start_ms + end_ms) / 2000
        page.locator("video").evaluate("(video, at) => { video.currentTime = at }", middle)
        expect(page.locator(".caption span")).to_have_text(text)
        current = page.locator(".lines [aria-current]")
        expect(current).to_have_count(1)
        expect(current).to_contain_text(text.replace("\n", " "))
        expect(current).to_be_in_viewport()


def test_a_line_of_the_transcript_jumps(page: Page, world: tuple[Product, User, str]) -> None:
    job = open_video(page, world)
    start_ms, _, text = read_captions(world, job)[5]
    note_where_it_plays(page)
    page.locator(".lines button", has_text=text.replace("\n", " ")).click()
    wait_video(page, "video.playedFrom !== undefined")
    assert -0.1 < played_from(page) - start_ms / 1000 < 5


def test_the_keys(page: Page, world: tuple[Product, User, str]) -> None:
    open_video(page, world)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert seconds(page) == pytest.approx(10, abs=0.1)
    page.keyboard.press("ArrowLeft")
    assert seconds(page) == pytest.approx(5, abs=0.1)
    page.keyboard.press(".")
    assert seconds(page) == pytest.approx(5 + 1 / 30, abs=0.01)
    page.keyboard.press(",")
    assert seconds(page) == pytest.approx(5, abs=0.01)
    expect(page.locator(".caption")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator(".caption")).to_be_hidden()
    page.keyboard.press("k")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_searching_the_transcript(page: Page, world: tuple[Product, User, str]) -> None:
    open_video(page, world)
    all_lines = page.locator(".lines button:visible").count()
    page.keyboard.press("/")
    assert focused(page) == "Search the transcript"
    page.keyboard.type("rule")
    expect(page.locator(".lines mark").first).to_have_text("rule")
    assert 0 < page.locator(".lines button:visible").count() < all_lines
    page.keyboard.press("Escape")
    expect(page.locator(".lines mark")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    expect(page.get_by_text("No line has these words.")).to_be_visible()


def test_the_waveform_plays_a_seam(page: Page, world: tuple[Product, User, str]) -> None:
    job = open_video(page, world)
    report = json.loads(read_result(world, job, "report.json"))
    removed = report["cuts"]["removed"]
    longest = max(removed, key=lambda part: part["end_ms"] - part["start_ms"])
    before = sum(
        min(part["end_ms"], longest["start_ms"]) - part["start_ms"]
        for part in removed
        if part["start_ms"] < longest["start_ms"]
    )
    seam = (longest["start_ms"] - before) / 1000
    note_where_it_plays(page)
    page.locator(".longest button").first.click()
    wait_video(page, "video.playedFrom !== undefined")
    assert played_from(page) == pytest.approx(seam - 1.5, abs=1)
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert seconds(page) == pytest.approx(seam + 1.5, abs=0.4)
    strip = page.get_by_role("slider", name="Place in the original recording")
    assert "removed" in str(strip.get_attribute("aria-valuetext")) or "kept" in str(
        strip.get_attribute("aria-valuetext")
    )


def test_the_original_plays_at_the_same_place(page: Page, world: tuple[Product, User, str]) -> None:
    job = open_video(page, world)
    start_ms, end_ms, text = read_captions(world, job)[8]
    page.locator("video").evaluate("(video, at) => { video.currentTime = at }", (start_ms + end_ms) / 2000)
    expect(page.locator(".caption span")).to_have_text(text)
    page.get_by_role("radio", name="Original").click()
    wait_video(page, "video.currentSrc.includes('/original')")
    expect(page.locator(".caption span")).to_have_text(text)
    wait_video(page, f"video.currentTime > {end_ms / 1000}")


def test_one_click_downloads(page: Page, world: tuple[Product, User, str]) -> None:
    job = open_video(page, world)
    with page.expect_download() as one:
        page.get_by_role("link", name=re.compile("Download MP4")).click()
    assert one.value.suggested_filename == f"{LESSON}.mp4"
    sizes = job.result["files"]
    assert isinstance(sizes, dict)
    assert one.value.path().stat().st_size == sizes["video.mp4"]
    page.get_by_role("button", name="Other files to download").click()
    with page.expect_download() as other:
        page.get_by_role("menuitem", name=re.compile("SRT")).click()
    assert other.value.suggested_filename == f"{LESSON}.srt"


def test_on_a_phone_all_is_in_one_column(page: Page, world: tuple[Product, User, str]) -> None:
    page.set_viewport_size(PHONE)
    open_video(page, world)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    player, transcript = page.locator(".screen").bounding_box(), page.locator(".transcript").bounding_box()
    assert player is not None
    assert transcript is not None
    assert transcript["y"] > player["y"] + player["height"]
    for button in page.locator(".row button:visible, .switch button, .longest button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 40, button.get_attribute("aria-label")


def test_a_transcript_of_three_hours_stays_quick(page: Page, world: tuple[Product, User, str], studio: Studio) -> None:
    product, user, _ = world
    recording = Recording(title="Three hours", scene="lesson", length_ms=3 * 3_600_000, ago=timedelta(days=30))
    job = data.add_video(product, user, recording, studio.talk, data.make_facts(recording.length_ms))
    out = product.root / "long"
    shutil.copytree(studio.out, out)
    (out / "captions.vtt").write_text(make_captions(MANY_LINES))
    data.succeed(product, job, timedelta(days=30), out, {"cues": MANY_LINES}, None)
    open_video(page, world, "Three hours")
    expect(page.locator(".lines button")).to_have_count(MANY_LINES)
    laid_out = page.locator(".lines").evaluate(
        """list => [...list.querySelectorAll("span")]
            .filter(one => one.checkVisibility({ contentVisibilityAuto: true })).length"""
    )
    assert 0 < laid_out < 200, "only what is in view is laid out"
    touched = page.locator(".lines").evaluate(
        """async list => { let count = 0
            const watch = new MutationObserver(all => { count += all.length })
            watch.observe(list, { attributes: true, childList: true, subtree: true })
            const video = list.getRootNode().querySelector("video")
            for (const at of [1, 9, 30]) { video.currentTime = at; await new Promise(done => setTimeout(done, 300)) }
            watch.disconnect(); return count }"""
    )
    assert 0 < touched <= 12, "a moment of playing touches the line before and the line now"
    page.keyboard.press("/")
    page.keyboard.type("number 3999")
    expect(page.locator(".lines button:visible")).to_have_count(1)


def make_captions(count: int) -> str:
    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"

    cues = (f"{stamp(i * 2700)} --> {stamp(i * 2700 + 2500)}\nThis is line number {i}." for i in range(count))
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


def test_a_video_under_way_shows_its_progress(page: Page, world: tuple[Product, User, str]) -> None:
    product, user, url = world
    video = data.find_video(product, user, WORKING.title)
    open_page(page, f"{url}/video?id={video.id}")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("video")).to_have_count(0)
    job = product.services.videos.get_card(user.id, video.id).job
    finish = JobFinish(status=JobStatus.FAILED, error_code="tool_failed", error_message="It broke. Try again.")
    assert product.ports.database.jobs.finish(job.id, "studio-1", finish)
    expect(page.get_by_text("It broke. Try again.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_lost_connection_is_one_sentence_until_it_is_back(browser: Browser, studio: Studio, tmp_path: Path) -> None:
    product, _ = fill(tmp_path, studio)
    token = product.services.auth.login("mara", data.PASSWORD, address="").token
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    sentence = """() => { const style = getComputedStyle(document.body, "::after")
        return style.opacity === "1" && style.content.includes("Connection lost. Your videos go on being made") }"""
    port = find_free_port()
    with serve(tmp_path, port) as url:
        context.add_cookies([{"name": "mvf_session", "value": token, "url": url}])
        open_page(page, url)
        card(page, LESSON).wait_for()
        assert page.evaluate(sentence) is False
    page.wait_for_function(sentence, timeout=SOON_MS)
    expect(page.get_by_text("Streamlit", exact=False).locator("visible=true")).to_have_count(0)
    with serve(tmp_path, port):
        page.wait_for_function(f"() => !({sentence})()", timeout=SOON_MS)
        page.wait_for_selector(SETTLED)
        expect(card(page, LESSON)).to_be_visible()
    context.close()
