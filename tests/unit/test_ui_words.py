"""Numbers, times and states in a person's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.models import JobStatus
from pipeline.models import Stage
from tests.unit.jobs_made import make_card, make_job
from ui import words

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0:00"), (999, "0:00"), (65_000, "1:05"), (3_599_999, "59:59"), (3_600_000, "1:00:00"), (-5, "0:00")],
)
def test_a_clock_counts_whole_seconds(ms: int, text: str) -> None:
    assert words.format_clock(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (16_840, "16.8 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min"),
        (60_000, "1 min"),
        (3_570_000, "1 h"),
        (12_000_000, "3 h 20 min"),
    ],
)
def test_a_length_takes_the_unit_that_reads_best(ms: int, text: str) -> None:
    assert words.format_length(ms) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 kB"),
        (1, "1 kB"),
        (640_000, "640 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (184_200_000, "184 MB"),
        (1_240_000_000, "1.2 GB"),
        (18_000_000_000, "18 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_a_size_is_decimal(size: int, text: str) -> None:
    assert words.format_size(size) == text


@pytest.mark.parametrize(
    ("used", "limit", "text"),
    [
        (18_200_000_000, 50_000_000_000, "18 of 50 GB"),
        (1_240_000_000, 50_000_000_000, "1.2 of 50 GB"),
        (0, 50_000_000_000, "0 of 50 GB"),
        (400_000_000, 1_500_000_000, "0.4 of 1.5 GB"),
        (18_200_000_000, 0, "18.2 GB"),
    ],
)
def test_use_is_told_in_the_unit_of_the_limit(used: int, limit: int, text: str) -> None:
    assert words.format_share_of(used, limit) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (760_000, 485_000, "36 % shorter"),
        (100_000, 99_600, ""),
        (100, 120, ""),
        (0, 0, ""),
        (10_000, 1, "99 % shorter"),
    ],
)
def test_how_much_shorter(before: int, after: int, text: str) -> None:
    assert words.format_shorter(before, after) == text


@pytest.mark.parametrize(
    ("place", "text"),
    [(1, "Next in line"), (2, "2nd in line"), (3, "3rd in line"), (4, "4th in line"), (11, "11th in line"),
     (12, "12th in line"), (21, "21st in line"), (112, "112th in line")],
)  # fmt: skip
def test_a_place_in_line(place: int, text: str) -> None:
    assert words.format_place(place) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "almost done"),
        (50, "about 1 min left"),
        (125, "about 2 min left"),
        (3_600, "about 1 h left"),
        (4_700, "about 1 h 20 min left"),
    ],
)
def test_the_time_that_is_left(seconds: int, text: str) -> None:
    assert words.format_left(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(minutes=79), "today, 10:41"),
        (timedelta(hours=20), "yesterday"),
        (timedelta(days=6), "17 Nov"),
        (timedelta(days=700), "23 Dec 2024"),
    ],
)
def test_a_day_is_named_as_it_is_remembered(ago: timedelta, text: str) -> None:
    assert words.format_when(NOON - ago, NOON, UTC) == text


def test_a_day_is_the_persons_own() -> None:
    evening_there = timezone(timedelta(hours=14))
    assert words.format_when(NOON - timedelta(hours=3), NOON, evening_there) == "yesterday"


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-4), "just now"),
        (timedelta(seconds=50), "just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(hours=7), "today, 05:00"),
    ],
)
def test_how_long_ago(ago: timedelta, text: str) -> None:
    assert words.format_since(NOON - ago, NOON, UTC) == text


def test_every_stage_has_words() -> None:
    assert set(words.STAGES) == {stage.value for stage in Stage}


def test_every_state_has_a_chip() -> None:
    chips = [words.name_state(make_job(status=status)).chip for status in JobStatus]
    assert chips == ["Waiting", "Working", "Ready", "Failed", "Stopped"]


def test_a_job_that_is_to_stop_says_so() -> None:
    assert words.name_state(make_job(status=JobStatus.RUNNING, cancel_requested=True)).chip == "Stopping"
    assert words.name_state(make_job(status=JobStatus.SUCCEEDED, cancel_requested=True)).chip == "Ready"


@pytest.mark.parametrize(
    ("status", "code", "action"),
    [
        (JobStatus.FAILED, "truncated", "upload"),
        (JobStatus.FAILED, "worker_lost", "retry"),
        (JobStatus.CANCELLED, "", "retry"),
    ],
)
def test_a_state_calls_for_one_action(status: JobStatus, code: str, action: str) -> None:
    found = words.find_action(make_job(status=status, error_code=code))
    assert found is not None
    assert found.id == action


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED])
def test_where_all_is_well_there_is_nothing_to_do(status: JobStatus) -> None:
    assert words.find_action(make_job(status=status)) is None


def test_our_own_fault_names_the_job() -> None:
    job = make_job(status=JobStatus.FAILED, error_code="timeout")
    assert f"job {job.id[:4].upper()}." in words.describe_failure(job)


def test_what_happens_now() -> None:
    waiting = make_card(make_job(status=JobStatus.QUEUED), position=2)
    working = make_card(make_job(status=JobStatus.RUNNING, stage="captions"))
    assert words.describe_progress(waiting, has_worker=True) == "2nd in line"
    assert words.describe_progress(waiting, has_worker=False) == "Waiting: no worker is running"
    assert words.describe_progress(working, has_worker=True) == "Making captions"
    starting = make_card(make_job(status=JobStatus.RUNNING, stage=""))
    assert words.describe_progress(starting, has_worker=True) == "Getting ready"


@pytest.mark.parametrize(("number", "text"), [(1, "1 pause"), (0, "0 pauses"), (12_345, "12 345 pauses")])
def test_counting(number: int, text: str) -> None:
    assert words.count(number, "pause") == text


def test_a_title_is_never_taken_for_markdown() -> None:
    assert words.escape_markdown("**a** [b](c) :red[d] $e$ <f>") == (r"\*\*a\*\* \[b\]\(c\) \:red\[d\] \$e\$ \<f\>")
    assert words.escape_markdown("one\n\n# two") == r"one \# two"


@pytest.mark.parametrize(("value", "number"), [(3, 3), (3.9, 3), ("3", 0), (None, 0), (True, 0)])
def test_a_number_out_of_a_result(value: object, number: int) -> None:
    assert words.read_number({"cuts": value}, "cuts") == number
    assert words.read_number({}, "cuts") == 0
