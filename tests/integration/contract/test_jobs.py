"""Jobs: their owner's, the worker's, and the administrator's side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.errors import Conflict
from jobs.models import TRANSITIONS, JobStatus, ProcessingJob, User
from jobs.ports import Database, JobFinish
from tests.database import (
    FAILURE,
    LEASE_S,
    RESULT,
    SUCCESS,
    claim,
    make_charge,
    make_job,
    make_video,
    process,
    reload,
)
from tests.product import Clock

CANCELLED = JobFinish(status=JobStatus.CANCELLED)


def events(database: Database, job: ProcessingJob) -> list[str]:
    return [event.event for event in database.jobs.list_events(job.user_id, job.id)]


# --- the owner's side ---


def test_a_video_has_one_active_job(database: Database, ann: User) -> None:
    video, first = make_video(database, ann)
    with pytest.raises(Conflict):
        make_job(database, video)
    claim(database, first)
    with pytest.raises(Conflict):
        make_job(database, video)
    database.jobs.finish(first.id, "worker-1", SUCCESS)
    second = make_job(database, video)
    assert (second.video_id, second.status, second.options) == (video.id, JobStatus.QUEUED, {"pace": "relaxed"})
    assert [job.id for job in database.jobs.list_of_video(ann.id, video.id)] == [second.id, first.id]


def test_a_key_makes_one_job(database: Database, ann: User) -> None:
    video, first = make_video(database, ann)
    process(database, first)
    made = make_job(database, video, key="again")
    assert make_job(database, video, key="again") == made
    done = process(database, made)
    assert make_job(database, video, key="again") == done
    plain = process(database, make_job(database, video))
    assert make_job(database, video).id not in (made.id, plain.id), "no key is no key"


def test_keys_belong_to_a_video(database: Database, ann: User) -> None:
    ids = set()
    for _ in range(2):
        video, job = make_video(database, ann)
        process(database, job)
        ids.add(make_job(database, video, key="same").id)
    assert len(ids) == 2


def test_no_job_without_its_video(database: Database, ann: User) -> None:
    charge = make_charge()
    assert database.jobs.create(ann.id, "none", options={}, charge=charge, idempotency_key="k") is None
    assert not database.jobs.has_charge(ann.id, charge.key)
    assert database.jobs.get(ann.id, "none") is None
    assert not database.jobs.list_of_video(ann.id, "none")
    assert not database.jobs.list_events(ann.id, "none")
    assert database.jobs.request_cancel(ann.id, "none") is None
    assert database.jobs.find("none") is None
    assert database.jobs.position("none") is None


def test_a_waiting_job_is_cancelled_at_once(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    cancelled = database.jobs.request_cancel(ann.id, job.id)
    assert cancelled is not None
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.finished_at is not None
    assert reload(database, job) == cancelled
    assert database.jobs.claim(job.id, "w", lease_s=LEASE_S) is None
    assert database.jobs.request_cancel(ann.id, job.id) == cancelled
    assert events(database, job) == ["queued", "cancelled"]


def test_a_running_job_is_told_to_stop(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    asked = database.jobs.request_cancel(ann.id, job.id)
    assert asked is not None
    assert (asked.status, asked.cancel_requested) == (JobStatus.RUNNING, True)
    assert database.jobs.beat(job.id, "worker-1", stage="cut", progress=0.5, lease_s=LEASE_S) is True
    assert database.jobs.finish(job.id, "worker-1", CANCELLED)
    assert reload(database, job).status is JobStatus.CANCELLED
    assert events(database, job) == ["queued", "running", "cancel_requested", "cancelled"]


def test_what_is_done_stays_done(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    done = process(database, job)
    assert database.jobs.request_cancel(ann.id, job.id) == done
    assert reload(database, job) == done
    assert events(database, job) == ["queued", "running", "succeeded"]


# --- the worker's side ---


def test_a_claim_is_a_lease(database: Database, ann: User) -> None:
    video, job = make_video(database, ann)
    assert database.jobs.find(job.id) == (job, video)
    claimed = claim(database, job)
    assert (claimed.status, claimed.worker_id, claimed.attempt) == (JobStatus.RUNNING, "worker-1", 1)
    assert claimed.started_at is not None
    assert claimed.lease_until is not None
    assert claimed.lease_until - claimed.started_at == timedelta(seconds=LEASE_S)
    assert database.jobs.claim(job.id, "worker-2", lease_s=LEASE_S) is None
    assert database.jobs.claim(job.id, "worker-1", lease_s=LEASE_S) is None
    assert database.jobs.claim("none", "worker-1", lease_s=LEASE_S) is None
    assert reload(database, job) == claimed


def test_beats_prolong_the_lease_and_tell_the_progress(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    claimed = claim(database, job)
    for _ in range(3):
        clock.advance(seconds=40)
        assert database.jobs.beat(job.id, "worker-1", stage="transcribe", progress=0.25, lease_s=LEASE_S) is False
    beaten = reload(database, job)
    assert (beaten.stage, beaten.progress) == ("transcribe", 0.25)
    assert beaten.lease_until is not None
    assert claimed.lease_until is not None
    assert beaten.lease_until >= claimed.lease_until + timedelta(seconds=120)
    assert not database.jobs.requeue_expired()
    assert database.jobs.beat(job.id, "worker-1", stage="", progress=7, lease_s=LEASE_S) is False
    assert reload(database, job).progress == 1
    assert database.jobs.beat(job.id, "worker-2", stage="", progress=0, lease_s=LEASE_S) is None
    assert database.jobs.beat("none", "worker-1", stage="", progress=0, lease_s=LEASE_S) is None


def test_a_success_is_kept_with_its_numbers(database: Database, ann: User) -> None:
    video, job = make_video(database, ann)
    done = process(database, job, replace(SUCCESS, stored_attempt=1))
    assert (done.status, done.result, done.progress, done.stored_attempt) == (JobStatus.SUCCEEDED, RESULT, 1, 1)
    assert (done.lease_until, done.error_code, done.error_message) == (None, "", "")
    assert done.finished_at is not None
    found = database.videos.get(ann.id, video.id)
    assert found is not None
    assert found.current_job_id == job.id


def test_a_failure_is_kept_with_its_sentence(database: Database, ann: User) -> None:
    video, job = make_video(database, ann)
    failed = process(database, job, FAILURE)
    assert (failed.status, failed.error_code, failed.error_message) == (JobStatus.FAILED, "tool_failed", "It broke.")
    assert (failed.result, failed.stored_attempt) == ({}, 0)
    assert failed.finished_at is not None
    found = database.videos.get(ann.id, video.id)
    assert found is not None
    assert found.current_job_id is None


@pytest.mark.parametrize("finish", [SUCCESS, FAILURE, CANCELLED], ids=lambda finish: finish.status)
def test_a_job_ends_once(database: Database, ann: User, finish: JobFinish) -> None:
    _, job = make_video(database, ann)
    assert not database.jobs.finish(job.id, "worker-1", finish), "it was never claimed"
    claim(database, job)
    assert not database.jobs.finish(job.id, "worker-2", finish)
    assert database.jobs.finish(job.id, "worker-1", finish)
    ended = reload(database, job)
    assert database.jobs.finish(job.id, "worker-1", finish), "the answer may have got lost"
    assert not database.jobs.finish(job.id, "worker-2", finish)
    for other in (SUCCESS, FAILURE, CANCELLED):
        assert other == finish or not database.jobs.finish(job.id, "worker-1", other)
    assert not database.jobs.finish(job.id, "worker-1", replace(finish, stored_attempt=7))
    assert not database.jobs.finish(job.id, "worker-1", replace(finish, error_code="other"))
    assert database.jobs.release(job.id, "worker-1", reason="") is None
    assert database.jobs.beat(job.id, "worker-1", stage="", progress=0, lease_s=LEASE_S) is None
    assert database.jobs.claim(job.id, "worker-2", lease_s=LEASE_S) is None
    assert reload(database, job) == ended
    assert not TRANSITIONS[ended.status]


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_an_end_that_is_none_is_a_mistake(database: Database, ann: User, status: JobStatus) -> None:
    _, job = make_video(database, ann)
    claimed = claim(database, job)
    with pytest.raises(ValueError, match=status):
        database.jobs.finish(job.id, "worker-1", JobFinish(status=status))
    assert reload(database, job) == claimed


def test_a_lost_worker_loses_its_job(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    clock.advance(seconds=LEASE_S + 1)
    assert [back.id for back in database.jobs.requeue_expired()] == [job.id]
    waiting = reload(database, job)
    assert (waiting.status, waiting.attempt, waiting.worker_id) == (JobStatus.QUEUED, 1, "")
    assert (waiting.started_at, waiting.lease_until, waiting.progress, waiting.stage) == (None, None, 0, "")
    assert not database.jobs.requeue_expired()
    # the worker was only slow
    assert database.jobs.beat(job.id, "worker-1", stage="cut", progress=0.5, lease_s=LEASE_S) is None
    assert not database.jobs.finish(job.id, "worker-1", SUCCESS)
    assert database.jobs.release(job.id, "worker-1", reason="") is None
    assert reload(database, job) == waiting
    assert claim(database, job, "worker-2").attempt == 2
    assert not database.jobs.finish(job.id, "worker-1", SUCCESS)
    assert database.jobs.finish(job.id, "worker-2", SUCCESS)
    assert events(database, job) == ["queued", "running", "worker_lost", "queued", "running", "succeeded"]


def test_an_expired_lease_can_be_taken_over(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    assert database.jobs.beat(job.id, "worker-1", stage="cut", progress=0.5, lease_s=LEASE_S) is False
    clock.advance(seconds=LEASE_S + 1)
    taken = claim(database, job, "worker-2")
    assert (taken.attempt, taken.worker_id, taken.progress, taken.stage) == (2, "worker-2", 0, "")
    assert database.jobs.beat(job.id, "worker-1", stage="cut", progress=0.5, lease_s=LEASE_S) is None
    assert not database.jobs.finish(job.id, "worker-1", SUCCESS)
    assert reload(database, job) == taken
    assert events(database, job) == ["queued", "running", "running"]


def test_nobody_takes_over_what_is_to_be_cancelled(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    database.jobs.request_cancel(ann.id, job.id)
    clock.advance(seconds=LEASE_S + 1)
    assert database.jobs.claim(job.id, "worker-2", lease_s=LEASE_S) is None
    assert [back.status for back in database.jobs.requeue_expired()] == [JobStatus.CANCELLED]
    assert reload(database, job).status is JobStatus.CANCELLED


def test_a_job_whose_workers_all_die_fails(database: Database, ann: User, clock: Clock) -> None:
    _, job = make_video(database, ann)
    for attempt in range(1, job.max_attempts + 1):
        assert claim(database, job).attempt == attempt
        clock.advance(seconds=LEASE_S + 1)
        if attempt == job.max_attempts:
            assert database.jobs.claim(job.id, "worker-2", lease_s=LEASE_S) is None
        database.jobs.requeue_expired()
    failed = reload(database, job)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, "worker_lost")
    assert failed.error_message == (
        "Something broke on our side. Your original is safe. Try again; if it fails once more, "
        f"tell the administrator: job {job.id[:4].upper()}."
    )


def test_a_dead_worker_gives_its_job_back_before_the_lease_ends(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    assert database.jobs.release(job.id, "worker-1", reason="killed") is None
    claim(database, job)
    assert database.jobs.release(job.id, "worker-2", reason="killed") is None
    back = database.jobs.release(job.id, "worker-1", reason="killed")
    assert back is not None
    assert back.status is JobStatus.QUEUED
    assert reload(database, job) == back
    lost = [event for event in database.jobs.list_events(ann.id, job.id) if event.event == "worker_lost"]
    assert [(event.data["reason"], event.data["worker"], event.data["attempt"]) for event in lost] == [
        ("killed", "worker-1", 1)
    ]


def test_a_cancelled_job_that_ends_with_its_process_lost_no_worker(database: Database, ann: User, clock: Clock) -> None:
    for given_back in (True, False):
        _, job = make_video(database, ann)
        claim(database, job)
        database.jobs.request_cancel(ann.id, job.id)
        if given_back:
            database.jobs.release(job.id, "worker-1", reason="process_died")
        else:
            clock.advance(seconds=LEASE_S + 1)
            database.jobs.requeue_expired()
        assert reload(database, job).status is JobStatus.CANCELLED
        assert events(database, job) == ["queued", "running", "cancel_requested", "cancelled"]
    assert "given_back" not in {tally.name for tally in database.read_figures().tallies}


def test_released_too_often_is_failed(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    for _ in range(job.max_attempts):
        claim(database, job)
        database.jobs.release(job.id, "worker-1", reason="killed")
    assert reload(database, job).error_code == "worker_lost"


def test_what_was_stopped_on_purpose_is_not_counted(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    for _ in range(2 * job.max_attempts):
        claim(database, job)
        assert database.jobs.release(job.id, "worker-2", reason="stopped", counts=False) is None
        back = database.jobs.release(job.id, "worker-1", reason="stopped", counts=False)
        assert back is not None
        assert back.status is JobStatus.QUEUED
    for _ in range(job.max_attempts):
        claim(database, job)
        database.jobs.release(job.id, "worker-1", reason="killed")
    assert reload(database, job).error_code == "worker_lost"


def test_the_line_is_in_order_of_creation(database: Database, ann: User, bob: User, clock: Clock) -> None:
    jobs = []
    for user in (ann, bob, ann):
        jobs.append(make_video(database, user)[1])
        clock.advance(seconds=1)
    ids = [job.id for job in jobs]
    assert [job.id for job, _ in database.jobs.list_queued()] == ids
    assert [job.id for job, _ in database.jobs.list_queued(limit=2)] == ids[:2]
    assert [database.jobs.position(job_id) for job_id in ids] == [1, 2, 3]
    claim(database, jobs[0])
    assert [database.jobs.position(job_id) for job_id in ids] == [None, 1, 2]
    assert database.jobs.list_active_ids() == set(ids)
    database.jobs.release(ids[0], "worker-1", reason="")
    assert [database.jobs.position(job_id) for job_id in ids] == [1, 2, 3], "what was lost goes first again"
    process(database, jobs[1])
    assert database.jobs.list_active_ids() == {ids[0], ids[2]}


def test_a_log_is_written_for_every_change_and_by_hand(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    database.jobs.log(job.id, "note", {"text": "Nö", "code": "no_speech"})
    database.jobs.log("none", "note", {})
    database.jobs.finish(job.id, "worker-1", FAILURE)
    found = database.jobs.list_events(ann.id, job.id)
    assert [event.event for event in found] == ["queued", "running", "note", "failed"]
    assert list(found[2].data.items()) == [("text", "Nö"), ("code", "no_speech")], "in the order it was said"
    assert list(found[1].data) == ["attempt", "worker", "error_code"]
    assert (found[1].data["attempt"], found[1].data["worker"]) == (1, "worker-1")
    assert found[3].data["error_code"] == "tool_failed"
    assert [event.id for event in found] == sorted(event.id for event in found)
    assert {event.job_id for event in found} == {job.id}


def test_speeds_are_seconds_of_work_for_each_second(database: Database, ann: User, clock: Clock) -> None:
    assert not database.jobs.list_speeds()
    for seconds, finish in ((60, SUCCESS), (30, FAILURE), (240, SUCCESS)):
        _, job = make_video(database, ann, duration_ms=120_000)
        claim(database, job)
        clock.advance(seconds=seconds)
        database.jobs.finish(job.id, "worker-1", finish)
    assert list(database.jobs.list_speeds()) == pytest.approx([2.0, 0.5], abs=0.1)
    assert list(database.jobs.list_speeds(limit=1)) == pytest.approx([2.0], abs=0.1)


# --- the administrator's side ---


def test_everybodys_jobs_are_listed_newest_first(database: Database, ann: User, bob: User) -> None:
    jobs = [make_video(database, user)[1] for user in (ann, bob, ann)]
    process(database, jobs[1])
    page = database.jobs.list_all()
    assert ([job.id for job in page.items], page.total) == ([job.id for job in reversed(jobs)], 3)
    page = database.jobs.list_all(offset=1, limit=1)
    assert ([job.id for job in page.items], page.total) == ([jobs[1].id], 3)
    page = database.jobs.list_all(states=frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED}))
    assert ([job.id for job in page.items], page.total) == ([jobs[1].id], 1)


def test_totals_are_todays(database: Database, ann: User, bob: User, clock: Clock) -> None:
    _, old = make_video(database, ann)
    process(database, old)
    process(database, make_video(database, ann)[1], FAILURE)
    clock.advance(days=2)
    today = clock()
    empty = database.jobs.totals(today)
    assert (empty.queued, empty.running, empty.longest_wait_ms, empty.last_failure) == (0, 0, 0, "")
    assert (empty.succeeded_today, empty.processed_today_ms, empty.failed_today) == (0, 0, 0)

    _, waited = make_video(database, ann)
    clock.advance(minutes=10)
    claim(database, waited)
    process(database, make_video(database, bob, duration_ms=60_000)[1])
    process(database, make_video(database, bob, duration_ms=30_000)[1])
    process(database, make_video(database, bob)[1], replace(FAILURE, error_message="First."))
    clock.advance(minutes=1)
    process(database, make_video(database, bob)[1], replace(FAILURE, error_message="Second."))
    make_video(database, ann)
    totals = database.jobs.totals(today)
    assert (totals.queued, totals.running) == (1, 1)
    assert (totals.succeeded_today, totals.processed_today_ms) == (2, 90_000)
    assert (totals.failed_today, totals.last_failure) == (2, "Second.")
    assert totals.longest_wait_ms == pytest.approx(600_000, abs=30_000)
    clock.advance(hours=1)
    assert database.jobs.totals(today).longest_wait_ms == pytest.approx(3_600_000, abs=30_000)


def test_work_that_was_lost_is_no_waiting(database: Database, ann: User, clock: Clock) -> None:
    today = clock()
    _, job = make_video(database, ann)
    clock.advance(minutes=10)
    claim(database, job)
    clock.advance(hours=1)
    database.jobs.requeue_expired()
    clock.advance(minutes=2)
    assert database.jobs.totals(today).longest_wait_ms == pytest.approx(120_000, abs=30_000)
    claim(database, job)
    assert database.jobs.totals(today).longest_wait_ms < 600_000
