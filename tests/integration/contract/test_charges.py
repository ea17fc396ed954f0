"""Minutes: taken once for a transcript, given back when nothing came of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.errors import QuotaExceeded
from jobs.models import JobStatus, User
from jobs.ports import Database, JobFinish
from tests.database import (
    FAILURE,
    LEASE_S,
    MINUTE_MS,
    claim,
    make_charge,
    make_job,
    make_video,
    process,
)
from tests.product import Clock


def used_minutes(database: Database, user: User) -> float:
    return database.jobs.used_ms(user.id) / MINUTE_MS


@pytest.fixture(autouse=True)
def mid_month(clock: Clock) -> None:
    """Start in the middle of a November, so that no test runs into the next month by itself."""
    clock.ahead = datetime(2030, 11, 15, 12, tzinfo=UTC) - datetime.now(UTC)


def test_a_job_is_charged_when_it_is_made(database: Database, ann: User, bob: User) -> None:
    make_video(database, ann, duration_ms=3 * MINUTE_MS, charge=make_charge("k"))
    assert used_minutes(database, ann) == 3
    assert database.jobs.has_charge(ann.id, "k")
    assert not database.jobs.has_charge(ann.id, "other")
    assert used_minutes(database, bob) == 0
    assert not database.jobs.has_charge(bob.id, "k")


def test_the_same_transcript_is_charged_once_for_each_person(database: Database, ann: User, bob: User) -> None:
    video, job = make_video(database, ann, charge=make_charge("k", limit_minutes=3))
    process(database, job)
    process(database, make_job(database, video, charge=make_charge("k", limit_minutes=3)))
    make_video(database, ann, charge=make_charge("k", limit_minutes=3))
    assert used_minutes(database, ann) == 2
    make_video(database, bob, charge=make_charge("k"))
    assert used_minutes(database, bob) == 2
    process(database, make_job(database, video, charge=make_charge("new")))
    assert used_minutes(database, ann) == 4


def test_the_limit_may_be_reached_and_not_passed(database: Database, ann: User) -> None:
    make_video(database, ann, duration_ms=6 * MINUTE_MS, charge=make_charge(limit_minutes=10))
    video, job = make_video(database, ann, duration_ms=4 * MINUTE_MS, charge=make_charge(limit_minutes=10))
    process(database, job)
    for act in (
        lambda: make_video(database, ann, duration_ms=MINUTE_MS, charge=make_charge("k", limit_minutes=10)),
        lambda: make_job(database, video, charge=make_charge("k", limit_minutes=10)),
    ):
        with pytest.raises(QuotaExceeded):
            act()
    assert used_minutes(database, ann) == 10
    assert not database.jobs.has_charge(ann.id, "k")
    assert len(database.jobs.list_of_video(ann.id, video.id)) == 1
    make_video(database, ann, duration_ms=100 * MINUTE_MS)
    assert used_minutes(database, ann) == 110, "without a limit it is still counted"


@pytest.mark.parametrize(
    ("used_ms", "needed_ms", "now", "sentence"),
    [
        (2 * MINUTE_MS, 12 * MINUTE_MS, datetime(2030, 11, 3, tzinfo=UTC),
         "12 minutes are needed, 8 are left until 1 December."),
        (1, 9 * MINUTE_MS + 59_999 + 1, datetime(2030, 12, 31, 23, 59, tzinfo=UTC),
         "10 minutes are needed, 9 are left until 1 January."),
        (9 * MINUTE_MS, MINUTE_MS + 1, datetime(2032, 2, 29, tzinfo=UTC),
         "2 minutes are needed, 1 is left until 1 March."),
        (10 * MINUTE_MS, 1, datetime(2030, 4, 1, tzinfo=UTC),
         "1 minute is needed, none is left until 1 May."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_is_needed_and_left(
    database: Database, ann: User, clock: Clock, used_ms: int, needed_ms: int, now: datetime, sentence: str
) -> None:
    clock.ahead = now - datetime.now(UTC)
    make_video(database, ann, duration_ms=used_ms)
    with pytest.raises(QuotaExceeded) as caught:
        make_video(database, ann, duration_ms=needed_ms, charge=make_charge(limit_minutes=10))
    assert caught.value.message.startswith(sentence)
    assert caught.value.code == "quota_minutes"


def test_a_new_month_has_new_minutes(database: Database, ann: User, clock: Clock) -> None:
    video, job = make_video(database, ann, duration_ms=10 * MINUTE_MS, charge=make_charge("k", limit_minutes=10))
    process(database, job)
    clock.advance(days=31)
    assert used_minutes(database, ann) == 0
    make_video(database, ann, duration_ms=10 * MINUTE_MS, charge=make_charge(limit_minutes=10))
    assert used_minutes(database, ann) == 10
    make_job(database, video, charge=make_charge("k", limit_minutes=10))
    assert used_minutes(database, ann) == 10, "it was paid for last month"


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_came_to_nothing_is_given_back(database: Database, ann: User, status: JobStatus) -> None:
    _, job = make_video(database, ann, charge=make_charge("k"))
    process(database, job, JobFinish(status=status))
    assert used_minutes(database, ann) == 0
    assert not database.jobs.has_charge(ann.id, "k")


def test_a_job_cancelled_while_it_waits_is_given_back(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    database.jobs.request_cancel(ann.id, job.id)
    database.jobs.request_cancel(ann.id, job.id)
    assert used_minutes(database, ann) == 0


def test_a_lost_worker_costs_nothing_and_gives_nothing_back_before_the_end(
    database: Database, ann: User, clock: Clock
) -> None:
    _, job = make_video(database, ann)
    for _ in range(job.max_attempts):
        assert used_minutes(database, ann) == 2
        claim(database, job)
        clock.advance(seconds=LEASE_S + 1)
        database.jobs.requeue_expired()
    assert used_minutes(database, ann) == 0


def test_a_cancelled_job_with_a_dead_worker_is_given_back(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    database.jobs.request_cancel(ann.id, job.id)
    assert used_minutes(database, ann) == 2, "it may still succeed"
    clock.advance(seconds=LEASE_S + 1)
    database.jobs.requeue_expired()
    assert used_minutes(database, ann) == 0


def test_a_late_failure_is_given_back_to_its_month(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann, charge=make_charge("k"))
    clock.advance(days=31)
    make_video(database, ann, duration_ms=5 * MINUTE_MS)
    process(database, job, FAILURE)
    assert used_minutes(database, ann) == 5
    clock.ahead -= timedelta(days=31)
    assert used_minutes(database, ann) == 0


def test_a_charge_moves_to_another_job_that_needs_it(database: Database, ann: User, bob: User) -> None:
    make_video(database, bob, charge=make_charge("k"))
    _, first = make_video(database, ann, charge=make_charge("k"))
    _, second = make_video(database, ann, charge=make_charge("k"))
    process(database, first, FAILURE)
    assert used_minutes(database, ann) == 2
    process(database, second, FAILURE)
    assert used_minutes(database, ann) == 0
    assert used_minutes(database, bob) == 2


def test_a_success_keeps_the_charge_whoever_took_it(database: Database, ann: User) -> None:
    _, first = make_video(database, ann, charge=make_charge("k"))
    _, second = make_video(database, ann, charge=make_charge("k"))
    process(database, second)
    process(database, first, FAILURE)
    assert used_minutes(database, ann) == 2


def test_a_success_pays_for_nobody_else(database: Database, ann: User, bob: User) -> None:
    _, hers = make_video(database, ann, charge=make_charge("k"))
    _, his = make_video(database, bob, charge=make_charge("k"))
    process(database, his)
    process(database, hers, FAILURE)
    assert used_minutes(database, ann) == 0
    assert used_minutes(database, bob) == 2


def test_work_that_was_done_stays_paid_whatever_becomes_of_its_video(database: Database, ann: User) -> None:
    _, first = make_video(database, ann, charge=make_charge("k"))
    video, second = make_video(database, ann, charge=make_charge("k"))
    process(database, second)
    database.videos.delete(ann.id, video.id)
    process(database, first, FAILURE)
    assert used_minutes(database, ann) == 2
    assert database.jobs.has_charge(ann.id, "k")


def test_a_second_try_that_fails_keeps_what_the_first_earned(database: Database, ann: User) -> None:
    video, first = make_video(database, ann, charge=make_charge("k"))
    process(database, first)
    process(database, make_job(database, video, charge=make_charge("k")), FAILURE)
    assert used_minutes(database, ann) == 2


def test_deleting_a_finished_video_keeps_the_charge(database: Database, ann: User) -> None:
    video, job = make_video(database, ann, charge=make_charge("k"))
    process(database, job)
    database.videos.delete(ann.id, video.id)
    assert used_minutes(database, ann) == 2
    assert database.jobs.has_charge(ann.id, "k")
    _, again = make_video(database, ann, charge=make_charge("k"))
    process(database, again, FAILURE)
    assert used_minutes(database, ann) == 2


@pytest.mark.parametrize("is_running", [False, True])
def test_deleting_an_unfinished_video_gives_the_charge_back(database: Database, ann: User, is_running: bool) -> None:
    video, job = make_video(database, ann, charge=make_charge("k"))
    if is_running:
        claim(database, job)
    database.videos.delete(ann.id, video.id)
    assert used_minutes(database, ann) == 0
    assert not database.jobs.finish(job.id, "worker-1", FAILURE)
    assert database.jobs.beat(job.id, "worker-1", stage="", progress=0, lease_s=LEASE_S) is None


def test_deleting_an_unfinished_video_leaves_the_charge_to_another(database: Database, ann: User) -> None:
    video, _ = make_video(database, ann, charge=make_charge("k"))
    _, other = make_video(database, ann, charge=make_charge("k"))
    database.videos.delete(ann.id, video.id)
    assert used_minutes(database, ann) == 2
    process(database, other, FAILURE)
    assert used_minutes(database, ann) == 0


def test_deleting_a_finished_video_while_a_new_version_is_made_keeps_its_charge(database: Database, ann: User) -> None:
    video, job = make_video(database, ann, charge=make_charge("k"))
    process(database, job)
    make_job(database, video, charge=make_charge("new"))
    assert used_minutes(database, ann) == 4
    database.videos.delete(ann.id, video.id)
    assert used_minutes(database, ann) == 2
    assert database.jobs.has_charge(ann.id, "k")
    assert not database.jobs.has_charge(ann.id, "new")
