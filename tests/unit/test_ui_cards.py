"""What stands on a card, and what a person chose on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from jobs.models import JobStatus
from tests.unit.jobs_made import AT, JOB_ID, RESULT, VIDEO_ID, make_card, make_job, make_video
from ui.cards import ACTIONS, Seen, build_card, build_menu

SEEN = Seen(now=AT + timedelta(minutes=3), zone=UTC, has_worker=True)


def labels(entries: list[dict[str, object]]) -> list[object]:
    return [entry["label"] for entry in entries]


def test_a_ready_card() -> None:
    card = build_card(make_card(), SEEN)
    assert card["href"] == f"/video?id={VIDEO_ID}"
    assert card["poster"] == f"/api/jobs/{JOB_ID}/files/poster.jpg"
    assert (card["before"], card["after"], card["right"]) == ("12:40", "8:05", "36 % shorter")
    assert (card["chip"], card["when"], card["length"]) == ("Ready", "today, 09:41", "8:05")
    assert card["percent"] is None
    assert card["action"] is None


@pytest.mark.parametrize(("cues", "text"), [(140, "Nothing to cut, captions added"), (0, "Nothing to cut")])
def test_a_card_without_cuts(cues: int, text: str) -> None:
    result = RESULT | {"duration_ms": 760_000, "cuts": 0, "cues": cues}
    card = build_card(make_card(make_job(result=result)), SEEN)
    assert (card["text"], card["before"], card["right"]) == (text, "", "")


def test_a_working_card_tells_stage_share_and_the_rest() -> None:
    job = make_job(status=JobStatus.RUNNING, stage="transcribe", progress=0.629)
    card = build_card(make_card(job, remaining_s=118), SEEN)
    assert (card["text"], card["right"], card["percent"]) == ("Listening to the speech", "62 %", 62)
    assert (card["chip"], card["when"], card["length"]) == ("Working", "about 2 min left", "12:40")
    assert card["poster"] == ""
    assert card["original"] == f"/api/videos/{VIDEO_ID}/original"


def test_nothing_is_said_about_the_rest_at_first() -> None:
    job = make_job(status=JobStatus.RUNNING, stage="probe", started_at=SEEN.now - timedelta(seconds=19))
    assert build_card(make_card(job, remaining_s=300), SEEN)["when"] == ""


def test_a_working_card_is_never_whole() -> None:
    job = make_job(status=JobStatus.RUNNING, stage="publish", progress=1.0)
    assert build_card(make_card(job), SEEN)["percent"] == 99


def test_a_waiting_card() -> None:
    job = make_job(status=JobStatus.QUEUED, started_at=None, finished_at=None)
    card = build_card(make_card(job, position=2), SEEN)
    assert (card["text"], card["chip"], card["when"]) == ("2nd in line", "Waiting", "3 min ago")
    alone = build_card(make_card(job, position=2), replace(SEEN, has_worker=False))
    assert alone["text"] == "Waiting: no worker is running"


def test_a_failed_card_says_why_and_what_to_do() -> None:
    job = make_job(status=JobStatus.FAILED, error_code="truncated", error_message="The file ends in the middle.")
    card = build_card(make_card(job), SEEN)
    assert (card["text"], card["sentence"], card["chip"]) == ("The file ends in the middle.", True, "Failed")
    assert card["action"] == {"id": "upload", "label": "Upload again"}


def test_a_stopped_card() -> None:
    card = build_card(make_card(make_job(status=JobStatus.CANCELLED)), SEEN)
    assert (card["text"], card["chip"]) == ("You stopped it", "Stopped")
    assert card["action"] == {"id": "retry", "label": "Start again"}


def test_an_older_version_still_shows_while_another_is_made() -> None:
    older = make_job()
    newer = make_job(id="b" + JOB_ID[1:], status=JobStatus.RUNNING, progress=0.2)
    card = build_card(make_card(newer, current=older), SEEN)
    assert card["poster"] == f"/api/jobs/{JOB_ID}/files/poster.jpg"
    assert card["length"] == "8:05"
    assert "Download" in labels(build_menu(make_card(newer, current=older)))


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        ({}, ["Open", "Rename", "Process again", "Download", "Delete"]),
        ({"status": JobStatus.RUNNING}, ["Open", "Rename", "Cancel", "Delete"]),
        ({"status": JobStatus.RUNNING, "cancel_requested": True}, ["Open", "Rename", "Delete"]),
        ({"status": JobStatus.FAILED, "error_code": "timeout"},
         ["Open", "Rename", "Try again", "Process again", "Delete"]),
        ({"status": JobStatus.FAILED, "error_code": "truncated"}, ["Open", "Rename", "Process again", "Delete"]),
        ({"status": JobStatus.CANCELLED}, ["Open", "Rename", "Start again", "Process again", "Delete"]),
    ],
)  # fmt: skip
def test_a_menu_offers_what_can_be_done(changes: dict[str, object], entries: list[str]) -> None:
    menu = build_menu(make_card(make_job(**changes)))
    assert labels(menu) == entries
    assert {str(entry["id"]) for entry in menu if "href" not in entry} <= ACTIONS


def test_equal_cards_have_equal_values() -> None:
    assert build_card(make_card(), SEEN) == build_card(make_card(video=make_video()), SEEN)
