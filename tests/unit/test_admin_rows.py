"""What the administrator's lists say about parts, jobs, people and invitations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.models import HealthPart, JobStatus, Link, LinkKind, ProcessingJob, Role, Usage, User
from ui.admin import build_health_rows, build_job_row, describe_needs
from ui.listing import Chip, build_row
from ui.people import build_invitation_row, build_person_row
from ui.words import STAGES

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_part(name: str, *, ok: bool) -> HealthPart:
    return HealthPart(id=name.lower(), name=name, ok=ok, text=f"{name} says so.", checked_at=NOW)


def make_job(status: JobStatus, **values: object) -> ProcessingJob:
    fields: dict[str, object] = {
        "id": "b5f60000-0000-0000-0000-000000000000", "user_id": "u", "video_id": "v", "status": status, "stage": "",
        "progress": 0.0, "options": {}, "result": {}, "error_code": "", "error_message": "", "attempt": 1,
        "max_attempts": 3, "stored_attempt": 0, "worker_id": "", "lease_until": None, "cancel_requested": False,
        "created_at": NOW - 30 * MINUTE, "started_at": None, "finished_at": None,
    }  # fmt: skip
    return ProcessingJob(**(fields | values))  # type: ignore[arg-type]


def test_parts_that_fail_come_first_and_in_full_contrast() -> None:
    parts = [make_part("Database", ok=True), make_part("Disk", ok=False), make_part("Queue", ok=False)]
    need, work = build_health_rows(parts)
    assert [(row.name, row.mark, row.needs_reading) for row in need] == [
        ("Disk", "warning", True),
        ("Queue", "error", True),
    ]
    assert [(row.name, row.mark, row.needs_reading) for row in work] == [("Database", "ok", False)]
    assert build_row(work[0])["at"] == NOW.timestamp() * 1000


@pytest.mark.parametrize(("number", "text"), [(1, "1 thing needs you"), (2, "2 things need you")])
def test_how_many_things_need_the_administrator(number: int, text: str) -> None:
    assert describe_needs(number) == text


def test_a_running_job_tells_its_stage_and_can_be_stopped() -> None:
    job = make_job(JobStatus.RUNNING, stage="render", progress=0.617, started_at=NOW - 3 * MINUTE)
    row = build_job_row(job, "ben", now=NOW, zone=UTC)
    assert (row.name, row.below, row.text, row.note) == (
        "ben",
        "Job B5F6",
        f"{STAGES['render']} 62 %",
        "started 3 min ago",
    )
    assert (row.chips, row.action) == ((Chip(text="Working", tone="blue"),), "Stop")


def test_a_failed_job_tells_its_sentence_and_its_tries() -> None:
    job = make_job(
        JobStatus.FAILED, error_message="The file ends in the middle.", attempt=3,
        started_at=NOW - 9 * MINUTE, finished_at=NOW - 5 * MINUTE,
    )  # fmt: skip
    row = build_job_row(job, "", now=NOW, zone=UTC)
    assert (row.name, row.text) == ("Deleted account", "The file ends in the middle. (attempt 3 of 3)")
    assert (row.note, row.action, row.needs_reading) == ("9 min ago, took 4 min", "", True)


def test_a_job_that_is_stopping_cannot_be_stopped_again() -> None:
    job = make_job(JobStatus.RUNNING, cancel_requested=True, started_at=NOW)
    assert not build_job_row(job, "ben", now=NOW, zone=UTC).action
    assert build_job_row(make_job(JobStatus.QUEUED), "ben", now=NOW, zone=UTC).note == "came 30 min ago"


def test_an_account_tells_role_state_and_use() -> None:
    person = User(
        id="u", username="ben", full_name="Ben Okafor", role=Role.ADMIN, is_active=False, quota_minutes=None,
        quota_bytes=None, options={}, token_version=1, created_at=NOW,
    )  # fmt: skip
    usage = Usage(
        used_ms=19 * 60_000 + 59_999, limit_ms=3_600_000, stored_bytes=18 * 10**9, limit_bytes=50 * 10**9,
        period_ends_at=NOW,
    )  # fmt: skip
    row = build_person_row(person, usage)
    assert (row.name, row.below, row.action) == ("Ben Okafor", "ben", "Manage")
    assert row.text == "20 of 60 minutes this month, 18 of 50 GB stored"
    assert [chip.text for chip in row.chips] == ["Disabled", "Administrator"]


def test_an_invitation_tells_for_whom_and_until_when() -> None:
    link = Link(
        id="l", kind=LinkKind.INVITATION, token_hash="0", user_id=None, role=Role.USER, note="", created_by="u",
        created_at=NOW, expires_at=NOW + timedelta(days=7), used_at=None,
    )  # fmt: skip
    row = build_invitation_row(link, now=NOW, zone=UTC)
    assert (row.name, row.note, row.action) == ("No name", "until 30 Nov", "Withdraw")


def test_one_time_links() -> None:
    assert LinkKind.INVITATION.make_address("https://v.example", "abc") == "https://v.example/?invitation=abc"
    assert LinkKind.RESET.make_address("https://v.example", "abc") == "https://v.example/?reset=abc"
