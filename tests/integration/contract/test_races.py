"""Many at once, in threads and in processes: what may happen once happens once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import pytest

from jobs.models import JobStatus, User
from jobs.ports import Database
from tests.database import (
    LEASE_S,
    MINUTE_MS,
    SUCCESS,
    OpenDatabase,
    claim,
    make_charge,
    make_video,
    process,
    race,
    race_in_processes,
    reload,
    try_to_claim,
    try_to_reserve,
)
from tests.product import Clock

T = TypeVar("T")
Run = Callable[[Callable[[Database, Mapping[str, str]], T], Sequence[Mapping[str, str]]], list[T]]


@pytest.fixture(params=["threads", "processes"])
def run(request: pytest.FixtureRequest, database: Database, open_database: OpenDatabase) -> Run[object]:
    """Calls a function for each of many arguments at the same moment."""
    if request.param == "processes":
        return partial(race_in_processes, open_database)
    return lambda function, arguments: race([partial(function, database, argument) for argument in arguments])


def test_twenty_want_the_room_for_ten(database: Database, ann: User, run: Run[bool]) -> None:
    arguments = []
    for _ in range(20):
        video, job = make_video(database, ann, charge=make_charge(minutes=0))
        process(database, job)
        arguments.append({"user_id": ann.id, "video_id": video.id})
    assert Counter(run(try_to_reserve, arguments)) == {True: 10, False: 10}
    assert database.jobs.used_ms(ann.id) == 10 * MINUTE_MS
    assert len(database.jobs.list_queued()) == 10


def test_thirty_claim_eleven_jobs(database: Database, ann: User, run: Run[str | None]) -> None:
    ids = [make_video(database, ann)[1].id for _ in range(11)]
    arguments = [{"job_ids": " ".join(ids), "worker": f"worker-{number}"} for number in range(30)]
    claimed = [job_id for job_id in run(try_to_claim, arguments) if job_id]
    assert sorted(claimed) == sorted(ids)
    found = [database.jobs.get(ann.id, job_id) for job_id in ids]
    assert all(job and (job.status, job.attempt) == (JobStatus.RUNNING, 1) for job in found)
    assert len({job.worker_id for job in found if job}) == 11


def test_everybody_gives_expired_jobs_back_once(database: Database, ann: User, clock: Clock) -> None:
    jobs = [make_video(database, ann)[1] for _ in range(5)]
    for job in jobs:
        claim(database, job)
    clock.advance(seconds=LEASE_S + 1)
    back = [job.id for found in race([database.jobs.requeue_expired] * 6) for job in found]
    assert sorted(back) == sorted(job.id for job in jobs)


def test_cancelling_and_claiming_race_to_one_end(database: Database, ann: User) -> None:
    for _ in range(10):
        _, job = make_video(database, ann)
        race(
            [
                lambda job=job: database.jobs.request_cancel(ann.id, job.id),  # type: ignore[misc]
                lambda job=job: database.jobs.claim(job.id, "worker-1", lease_s=LEASE_S),  # type: ignore[misc]
            ]
        )
        now = reload(database, job)
        if now.status is JobStatus.RUNNING:
            assert now.cancel_requested
            assert database.jobs.release(job.id, "worker-1", reason="") is not None
        assert reload(database, job).status is JobStatus.CANCELLED
    assert database.jobs.used_ms(ann.id) == 0


def test_a_job_ends_for_one_of_many(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    ends = race([lambda: database.jobs.finish(job.id, "worker-1", SUCCESS)] * 8)
    assert sorted(ends) == [False] * 7 + [True]
