"""Names, titles and times that a person reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.errors import Refused
from jobs.models import JobStatus, ProcessingJob
from jobs.names import clean_name, make_title
from jobs.quota import in_gigabytes, next_month, timeout_s_of
from jobs.videos import (
    check_date,
    check_note,
    check_tags,
    check_title,
    clean_file_name,
    estimate_remaining_s,
    name_result,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Lesson 4.mp4", "Lesson 4"),
        ("lesson_4__final.MOV", "lesson 4 final"),
        ("my-first-talk.mp4", "my first talk"),
        ("2026-11-23 10-30-00.mkv", "2026-11-23 10-30-00"),
        ("2026-11-23.mkv", "2026-11-23"),
        ("v1.2 of the plan", "v1.2 of the plan"),
        (".mp4", "mp4"),
        ("...", "Video"),
        ("日本語.mp4", "日本語"),
        ("no extension", "no extension"),
        ("x" * 250 + ".mp4", "x" * 200),
    ],
)
def test_a_title_is_made_of_the_file_name(name: str, title: str) -> None:
    assert make_title(name) == title


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("C:\\Users\\ann\\talk.mp4", "talk.mp4"),
        ("../../etc/talk.mp4", "talk.mp4"),
        ("a\0b\x1b[31m\n\u202e.mp4", "ab[31m.mp4"),
        ("e\u0301.mp4", "é.mp4"),
        ("", "Video"),
        ("folder/", "Video"),
        ("y" * 400 + ".mp4", "y" * 251 + ".mp4"),
    ],
)
def test_a_name_keeps_no_folder_and_no_control_characters(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize("name", ["notes.PDF", "a.jpg", "talk.mp4.zip", "song.mp3"])
def test_what_is_no_video_by_its_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="not a video"):
        clean_name(name)


@pytest.mark.parametrize(
    ("title", "name", "saved"),
    [
        ("Lesson 4", "video.mp4", "Lesson 4.mp4"),
        ("Lesson 4", "captions.srt", "Lesson 4.srt"),
        ("Lesson 4", "captions.vtt", "Lesson 4.vtt"),
        ("Lesson 4", "transcript.txt", "Lesson 4.txt"),
        ("Lesson 4", "transcript.json", "Lesson 4 transcript.json"),
        ("Lesson 4", "report.json", "Lesson 4 report.json"),
        ('a/b\\c: "d" <e>|f?*', "video.mp4", "a b c d e f.mp4"),
        ("..", "video.mp4", "Video.mp4"),
        ("Q: why?", "poster.jpg", "Q why poster.jpg"),
    ],
)
def test_a_result_is_saved_under_the_title(title: str, name: str, saved: str) -> None:
    assert name_result(title, name) == saved


@pytest.mark.parametrize("name", ["a" * 300 + ".mp4", "日" * 200 + ".mp4", "🎬" * 100 + ".mp4"])
def test_a_long_file_name_fits_and_keeps_its_ending(name: str) -> None:
    short = clean_file_name(name)
    assert len(short.encode()) <= 200
    assert short.endswith(".mp4")
    assert len(short) > 40


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1 MB"), (840_000_000, "840 MB"), (1_200_000_000, "1.2 GB"), (10_000_000_000, "10 GB")],
)
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert in_gigabytes(size) == text


def test_what_a_person_writes_is_tidied_or_refused() -> None:
    assert check_title("  a \n b\0 ") == "a b"
    assert check_note(" one\r\ntwo\x1b ") == "one\ntwo"
    assert check_tags(["a", " a ", "", "b\nc", "d,e"]) == ("a", "bc", "de")
    assert check_date("") == ""
    assert check_date("2026-01-31") == "2026-01-31"
    for refused in (
        lambda: check_title(" "),
        lambda: check_title("x" * 201),
        lambda: check_note("x" * 5001),
        lambda: check_tags([f"{number}" for number in range(21)]),
        lambda: check_tags(["x" * 41]),
        lambda: check_date("31.01.2026"),
    ):
        with pytest.raises(Refused):
            refused()


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_month_ends(now: datetime, then: datetime) -> None:
    assert next_month(now) == then


@pytest.mark.parametrize(("minutes", "timeout"), [(0, 1800), (1, 1800), (2, 2400), (180, 216_000)])
def test_a_job_may_take_twenty_times_its_length(minutes: int, timeout: int) -> None:
    assert timeout_s_of(minutes * 60_000) == timeout


RUNNING = ProcessingJob(
    id="j", user_id="u", video_id="v", status=JobStatus.RUNNING, stage="render", progress=0.5, options={}, result={},
    error_code="", error_message="", attempt=1, max_attempts=3, stored_attempt=0, worker_id="w", lease_until=None,
    cancel_requested=False, created_at=NOW, started_at=NOW, finished_at=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("elapsed_s", "progress", "speeds", "remaining"),
    [
        (19, 0.5, [1.0], None),  # too early to tell
        (60, 0.05, [], None),  # no history, and hardly begun
        (60, 0.5, [], 60),
        (60, 0.0, [0.5, 0.4, 9.0], 300),  # history alone: half of ten minutes; one odd job counts for nothing
        (60, 0.5, [0.5], 105),  # half history (150), half its own pace (60)
        (60, 1.0, [0.5], 0),
    ],
)
def test_the_time_left(elapsed_s: int, progress: float, speeds: list[float], remaining: int | None) -> None:
    job = replace(RUNNING, progress=progress)
    assert estimate_remaining_s(job, 600_000, speeds, NOW + timedelta(seconds=elapsed_s)) == remaining
