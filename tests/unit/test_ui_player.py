"""What the player and the download button are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from jobs.models import JobEvent
from tests.unit.jobs_made import AT, JOB_ID, RESULT, VIDEO_ID, make_job, make_video
from ui.details import build_list, describe_events, describe_file
from ui.player import build_checks, build_download, build_facts, build_player


def test_the_player_gets_addresses_of_our_own() -> None:
    told = build_player(make_video(), make_job())
    assert told["video"] == f"/api/jobs/{JOB_ID}/files/video.mp4"
    assert told["captions"] == f"/api/jobs/{JOB_ID}/files/captions.vtt"
    assert told["original"] == f"/api/videos/{VIDEO_ID}/original"
    assert (told["duration_ms"], told["source_ms"], told["fps"]) == (485_000, 760_000, 29.97)
    assert told["burned"] is False


@pytest.mark.parametrize(
    ("changes", "captions", "burned", "silent"),
    [
        ({"captions": "burned"}, True, True, "No speech was heard."),
        ({"captions": "both"}, True, True, "No speech was heard."),
        ({"captions": "none", "cues": 0}, False, False, "There are no captions in this version."),
        ({"cues": 0}, False, False, "No speech was heard."),
    ],
)
def test_captions_are_drawn_once(changes: dict[str, object], captions: bool, burned: bool, silent: str) -> None:
    told = build_player(make_video(), make_job(result=RESULT | changes))
    assert (bool(told["captions"]), told["burned"], told["silent"]) == (captions, burned, silent)


@pytest.mark.parametrize(("fps", "rate"), [("30000/1001", pytest.approx(29.97, abs=0.01)), (None, 0), ("1/0", 0)])
def test_the_rate_of_frames(fps: object, rate: object) -> None:
    assert build_player(make_video(), make_job(result=RESULT | {"fps": fps}))["fps"] == rate


def test_the_row_of_facts() -> None:
    first, *others = build_facts(make_video(), make_job())
    assert (first["before"], first["after"]) == ("12:40", "8:05")
    assert [fact["text"] for fact in others] == ["36 % shorter", "58 pauses cut", "English"]


def test_the_facts_of_a_video_that_needed_no_cut() -> None:
    result = RESULT | {"duration_ms": 760_000, "cuts": 0, "language": None}
    facts = build_facts(make_video(), make_job(result=result))
    assert [fact["text"] for fact in facts] == ["12:40", "Nothing to cut"]


def test_the_checks() -> None:
    assert [(tick["label"], tick["ok"]) for tick in build_checks(RESULT)] == [
        ("In sync", True), ("Captions readable", True), ("Sound level", True),
    ]  # fmt: skip


def test_a_check_that_failed_says_what() -> None:
    checks = [{"id": "captions_inside", "ok": True, "text": "a"}, {"id": "reading_speed", "ok": False, "text": "b"}]
    assert build_checks(RESULT | {"checks": checks}) == [{"label": "Captions are fast", "ok": False, "text": "b"}]


def test_without_captions_nobody_claims_they_are_readable() -> None:
    assert [tick["label"] for tick in build_checks(RESULT | {"cues": 0})] == ["In sync", "Sound level"]


def test_without_sound_nobody_claims_it_has_a_level() -> None:
    mute = RESULT | {"cues": 0, "notes": [{"code": "no_audio", "text": "There is no sound."}]}
    assert [tick["label"] for tick in build_checks(mute)] == ["In sync"]


@pytest.mark.parametrize("checks", [None, "x", [1, None], {}])
def test_a_strange_result_has_no_checks(checks: object) -> None:
    assert build_checks(RESULT | {"checks": checks}) == []


def test_the_download_names_its_size() -> None:
    told = build_download(make_video(), make_job())
    assert told["href"] == f"/api/jobs/{JOB_ID}/files/video.mp4?download=1"
    assert told["size"] == "184 MB"
    files = told["files"]
    assert isinstance(files, list)
    assert [one["label"] for one in files] == [
        "Captions, SRT", "Captions, WebVTT", "Text, TXT", "Cut list", "Everything, ZIP", "Original",
    ]  # fmt: skip
    assert [one["note"] for one in files] == ["9 kB", "", "", "", "184 MB", "410 MB"]


def test_without_words_there_are_no_files_of_them() -> None:
    files = build_download(make_video(), make_job(result=RESULT | {"cues": 0}))["files"]
    assert isinstance(files, list)
    assert [one["label"] for one in files] == ["Cut list", "Everything, ZIP", "Original"]


def test_details_name_everything() -> None:
    rows = dict(describe_file(make_video(), make_job()))
    assert rows["Recording"] == "1920 × 1080, 29.97 frames a second, H264"
    assert rows["Result"] == "1280 × 720, 29.97 frames a second"
    assert (rows["Words"], rows["Time removed"], rows["Language"]) == ("1 204", "5 min", "English")
    assert "Result" not in dict(describe_file(make_video(), make_job(result={})))


def test_a_file_name_is_never_taken_for_html() -> None:
    html = build_list(describe_file(replace(make_video(), file_name="<script>x</script>"), make_job()))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_log_of_a_job() -> None:
    event = JobEvent(id=1, job_id=JOB_ID, at=AT, event="job_claimed", data={"worker": "studio-1", "note": ""})
    assert describe_events([event], UTC) == [("09:41:00", "Job claimed: worker studio-1")]
