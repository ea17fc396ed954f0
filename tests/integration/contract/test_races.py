"""Many at once, in threads and in processes: what may happen once happens once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pytest

from jobs.errors import Conflict, QuotaExceeded
from jobs.models import JobStatus, User, VideoQuery
from jobs.ports import Database, JobFinish
from tests.database import (
    FACTS,
    FAILURE,
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
        video, job = make_video(database, ann, duration_ms=MINUTE_MS)
        process(database, job)
        arguments.append({"user_id": ann.id, "video_id": video.id, "limit_ms": str(30 * MINUTE_MS)})
    assert Counter(run(try_to_reserve, arguments)) == {True: 10, False: 10}
    assert database.jobs.used_ms(ann.id) == 30 * MINUTE_MS
    assert len(database.jobs.list_queued()) == 10


def test_twenty_uploads_want_the_room_for_ten(database: Database, ann: User) -> None:
    limit = 10 * FACTS.size_bytes

    def store(number: int) -> bool:
        try:
            make_video(database, ann, str(number), limit_bytes=limit)
        except QuotaExceeded:
            return False
        return True

    assert Counter(race([partial(store, number) for number in range(20)])) == {True: 10, False: 10}
    assert database.videos.stored_bytes(ann.id) == limit


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
    workers = [f"worker-{number}" for number in range(8)]
    ends = race([lambda name=name: database.jobs.finish(job.id, name, SUCCESS) for name in workers])  # type: ignore[misc]
    assert ends == [name == "worker-1" for name in workers]


def test_an_end_that_is_said_by_many_threads_happens_once(database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    assert race([lambda: database.jobs.finish(job.id, "worker-1", SUCCESS)] * 8) == [True] * 8
    assert [event.event for event in database.jobs.list_events(ann.id, job.id)] == ["queued", "running", "succeeded"]


def test_whatever_happens_at_once_minutes_stay_true(database: Database, ann: User) -> None:
    made = [make_video(database, ann, str(number), charge=make_charge(f"first-{number}")) for number in range(8)]
    keys = {job.id: f"first-{number}" for number, (_, job) in enumerate(made)}

    def cancel() -> None:
        for _, job in made:
            database.jobs.request_cancel(ann.id, job.id)

    def work(finish: JobFinish) -> None:
        for _, job in reversed(made):
            if database.jobs.claim(job.id, finish.status, lease_s=LEASE_S):
                database.jobs.finish(job.id, finish.status, finish)

    def remove() -> None:
        for video, _ in made[::3]:
            database.videos.delete(ann.id, video.id)

    def make() -> None:
        for number, (video, _) in enumerate(made):
            charge = make_charge(f"second-{number}")
            with suppress(Conflict):
                job = database.jobs.create(ann.id, video.id, options={}, charge=charge, idempotency_key=f"{number}")
                if job is not None:
                    keys[job.id] = charge.key

    def look() -> None:
        for _ in range(8):
            database.jobs.requeue_expired()
            database.videos.list_cards(ann.id, VideoQuery())

    tasks: list[Callable[[], None]] = [cancel, partial(work, SUCCESS), partial(work, FAILURE), remove, make, make, look]
    race(tasks)

    for job_id, key in keys.items():
        job = database.jobs.get(ann.id, job_id)
        if job is not None:
            needed = job.status.is_active or job.status is JobStatus.SUCCEEDED
            assert database.jobs.has_charge(ann.id, key) == needed, (job.status, key)
    charged = sum(database.jobs.has_charge(ann.id, key) for key in set(keys.values()))
    assert database.jobs.used_ms(ann.id) == charged * FACTS.duration_ms
