"""The pages of the list and of a video, run by Streamlit itself over a real database and real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from config import PROJECT_ROOT
from jobs.errors import NotFound
from jobs.models import JobStatus, ProcessingJob, User, VideoQuery
from pipeline.models import RESULT_FILES
from tests.product import Product, make_product
from tests.screens.data import (
    Recording,
    add_administrator,
    add_person,
    add_video,
    begin,
    fail,
    make_facts,
    report_worker,
    succeed,
)
from ui import session

ROUTER = str(PROJECT_ROOT / "ui" / "router.py")
LESSON = Recording(title="Lesson *4* :red[x]", scene="", length_ms=95_000, ago=timedelta(hours=1))
REPORT = {
    "source": {"duration_ms": 95_000},
    "result": {"duration_ms": 61_000, "width": 1280, "height": 720, "fps": 30.0, "captions": "soft"},
    "cuts": {"count": 19, "removed_ms": 34_000, "removed": []},
    "speech": {"language": "en", "words": 120, "cues": 18},
    "qa": [{"id": "av_sync", "ok": True, "text": "Sound and picture end together"}],
    "notes": [{"code": "no_music", "text": "A note of the work."}],
}


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    made = make_product(tmp_path)
    session.install(made.services, base_url="http://localhost")
    report_worker(made)
    yield made
    made.ports.database.close()


@pytest.fixture
def user(product: Product) -> User:
    return add_administrator(product)


def sign_in(product: Product, path: str = "", **params: str) -> AppTest:
    opened = product.services.auth.login("mara", "a good password for Mara", address="")
    app = AppTest.from_file(ROUTER, default_timeout=30)
    app.session_state["session_token"] = opened.token
    for name, value in params.items():
        app.query_params[name] = value
    if path:
        app.switch_page(f"../pages/{path}.py")
    return app.run()


def add(product: Product, user: User, recording: Recording = LESSON) -> ProcessingJob:
    original = product.root / "original.mp4"
    original.write_bytes(b"not really a film" * 100)
    return add_video(product, user, recording, original, make_facts(recording.length_ms))


def make_ready(product: Product, job: ProcessingJob) -> None:
    out = product.root / "out"
    out.mkdir(exist_ok=True)
    for name in RESULT_FILES:
        (out / name).write_bytes(b"x" * 1000)
    (out / "report.json").write_text(json.dumps(REPORT))
    succeed(product, job, timedelta(minutes=1), out, {}, None)


def cards(app: AppTest) -> list[dict[str, object]]:
    return _told(app, "cards")["cards"]  # type: ignore[return-value]


def _told(app: AppTest, key: str) -> dict[str, object]:
    found = [one.proto for one in app.get("bidi_component") if f"-{key}" in one.proto.id or one.proto.id.endswith(key)]
    assert found, f"there is no component {key!r} among {[one.proto.id for one in app.get('bidi_component')]}"
    told = json.loads(found[0].json)
    assert isinstance(told, dict)
    return told


def has(app: AppTest, key: str) -> bool:
    return any(f"-{key}" in one.proto.id or one.proto.id.endswith(key) for one in app.get("bidi_component"))


def texts(app: AppTest) -> str:
    kinds = (app.title, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


@pytest.mark.usefixtures("user")
def test_without_videos_there_is_one_thing_to_do(product: Product) -> None:
    app = sign_in(product)
    assert not app.exception
    assert not has(app, "cards")
    assert app.button(key="primary_first").label == "Upload your first video"


def test_the_list_shows_own_videos_only(product: Product, user: User) -> None:
    add(product, user)
    add(
        product,
        add_person(product, "jonas", "Jonas"),
        Recording(title="His", scene="", length_ms=9_000, ago=timedelta()),
    )
    app = sign_in(product)
    assert not app.exception
    assert [card["title"] for card in cards(app)] == [LESSON.title]


def test_search_and_filter_are_in_the_address(product: Product, user: User) -> None:
    make_ready(product, add(product, user))
    add(product, user, Recording(title="Team update", scene="", length_ms=9_000, ago=timedelta()))
    assert [card["title"] for card in cards(sign_in(product, search="team"))] == ["Team update"]
    assert [card["title"] for card in cards(sign_in(product, state="Ready"))] == [LESSON.title]
    nothing = sign_in(product, search="zebra")
    assert cards(nothing) == []
    assert "Nothing found" in texts(nothing)


def test_the_list_is_split_into_pages(product: Product, user: User) -> None:
    for number in range(25):
        add(product, user, Recording(title=f"Talk {number:02}", scene="", length_ms=9_000, ago=timedelta(hours=1)))
    assert len(cards(sign_in(product))) == 24
    assert len(cards(sign_in(product, page="2"))) == 1
    assert len(cards(sign_in(product, page="7"))) == 24


def test_a_choice_on_a_card_asks_first(product: Product, user: User) -> None:
    job = add(product, user)
    make_ready(product, job)
    app = sign_in(product)
    app.session_state["dialog_asked"] = ("delete", job.video_id)
    app.run()
    assert not app.exception
    assert "This cannot be undone." in texts(app)
    app.button(key="primary_danger_delete").click().run()
    assert product.services.videos.list_cards(user.id, VideoQuery()).total == 0


def test_a_video_is_renamed(product: Product, user: User) -> None:
    job = add(product, user)
    app = sign_in(product)
    app.session_state["dialog_asked"] = ("rename", job.video_id)
    app.run()
    app.text_input(key=f"title_{job.video_id}").set_value("Lesson 5")
    app.button(key="primary_rename").click().run()
    assert product.services.videos.get_card(user.id, job.video_id).video.title == "Lesson 5"
    assert "dialog_asked" not in app.session_state


def test_the_page_of_a_ready_video(product: Product, user: User) -> None:
    job = add(product, user)
    make_ready(product, job)
    app = sign_in(product, "video", id=job.video_id)
    assert not app.exception
    assert _told(app, "player")["video"] == f"/api/jobs/{job.id}/files/video.mp4"
    assert _told(app, "download")["size"] == "1 kB"
    assert app.title[0].value == r"Lesson \*4\* \:red\[x\]"
    assert "A note of the work" in texts(app)


def test_details_are_kept(product: Product, user: User) -> None:
    job = add(product, user)
    make_ready(product, job)
    app = sign_in(product, "video", id=job.video_id)
    app.text_area[0].set_value("For the new people")
    app.text_input[0].set_value("course, talks, ")
    next(button for button in app.button if button.label == "Save").click().run()
    video = product.services.videos.get_card(user.id, job.video_id).video
    assert (video.note, video.tags) == ("For the new people", ("course", "talks"))


@pytest.mark.parametrize("video_id", ["", "nonsense", "00000000-0000-4000-8000-000000000000"])
@pytest.mark.usefixtures("user")
def test_an_unknown_video_is_not_here(product: Product, video_id: str) -> None:
    app = sign_in(product, "video", id=video_id)
    assert not app.exception
    assert "This video is not here, or it is not yours." in texts(app)


def test_another_persons_video_is_not_here(product: Product, user: User) -> None:
    job = add(product, add_person(product, "jonas", "Jonas"))
    app = sign_in(product, "video", id=job.video_id)
    assert "This video is not here, or it is not yours." in texts(app)
    assert LESSON.title not in texts(app)
    with pytest.raises(NotFound):
        product.services.videos.get_card(user.id, job.video_id)


def test_the_page_of_a_video_that_is_being_made(product: Product, user: User) -> None:
    job = add(product, user)
    begin(product, job, stage="cut", progress=0.41, for_s=5)
    app = sign_in(product, "video", id=job.video_id)
    assert not app.exception
    assert not has(app, "player")
    assert "Finding the pauses" in texts(app)
    app.button(key="cancel_job").click().run()
    assert product.services.videos.get_card(user.id, job.video_id).job.cancel_requested


def test_the_page_of_a_failed_video_has_one_action(product: Product, user: User) -> None:
    job = add(product, user)
    fail(product, job, timedelta(), code="timeout", message="It made no progress. Start again.")
    app = sign_in(product, "video", id=job.video_id)
    assert "It made no progress" in texts(app)
    app.button(key="primary_act").click().run()
    assert product.services.videos.get_card(user.id, job.video_id).job.status is JobStatus.QUEUED


def test_signed_out_there_is_no_page(product: Product, user: User) -> None:
    job = add(product, user)
    app = AppTest.from_file(ROUTER, default_timeout=30)
    app.query_params["id"] = job.video_id
    app.switch_page("../pages/video.py").run()
    assert not app.exception
    assert not has(app, "player")
    assert LESSON.title not in texts(app)


def test_a_database_that_is_gone_is_one_sentence(product: Product, user: User) -> None:
    add(product, user)
    app = sign_in(product)
    for file in product.root.glob("factory.sqlite3*"):
        file.unlink()
    (product.root / "factory.sqlite3").mkdir()
    product.ports.database.close()
    app.run()
    assert not app.exception
    assert "Connection lost. Your videos go on being made; this page catches up by itself." in texts(app)
