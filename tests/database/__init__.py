"""Rows for the tests of a database, and races on it. Everything goes through `jobs.ports`."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from jobs.errors import QuotaExceeded
from jobs.models import JobStatus, ProcessingJob, Role, Upload, User, Video, VideoFacts
from jobs.ports import Charge, Database, JobFinish

T = TypeVar("T")
OpenDatabase = Callable[..., Database]
"""Opens the test's database, here or in another process; takes ``now``."""
MINUTE_MS = 60_000
FACTS = VideoFacts(
    duration_ms=2 * MINUTE_MS,
    width=1920,
    height=1080,
    fps="30000/1001",
    video_codec="h264",
    audio_tracks=1,
    size_bytes=1_000_000,
    sha256="5" * 64,
)
RESULT = {
    "duration_ms": 90_000,
    "size_bytes": 400_000,
    "cuts": 7,
    "words": 210,
    "language": "en",
    "files": {"video.mp4": 400_000, "captions.vtt": 2_000},
}
SUCCESS = JobFinish(status=JobStatus.SUCCEEDED, result=RESULT, stored_attempt=1)
FAILURE = JobFinish(status=JobStatus.FAILED, error_code="tool_failed", error_message="It broke.")
LEASE_S = 60.0
_numbers = count(1)


def make_person(database: Database, username: str = "ann", *, role: Role = Role.USER) -> User:
    """Return a new account."""
    user = database.users.create(username=username, full_name=username.title(), role=role, password_hash="hash")
    assert user is not None
    return user


def make_upload(database: Database, user: User, *, name: str = "talk.mov", size_bytes: int = 1_000_000) -> Upload:
    """Return a new upload."""
    return database.uploads.create(
        user.id, name=name, size_bytes=size_bytes, fingerprint=f"{name}-1", options={"pace": "tight"}
    )


def make_charge(key: str = "", *, limit_minutes: int = 0) -> Charge:
    """Return a charge; every one of them has its own key unless one is given."""
    return Charge(key=key or f"key-{next(_numbers)}", limit_ms=limit_minutes * MINUTE_MS)


def make_video(
    database: Database,
    user: User,
    title: str = "Talk",
    *,
    name: str = "talk.mov",
    charge: Charge | None = None,
    limit_bytes: int = 0,
    duration_ms: int = FACTS.duration_ms,
) -> tuple[Video, ProcessingJob]:
    """Return a new video and its first job, which waits."""
    return database.videos.create_with_job(
        make_upload(database, user, name=name),
        title=title,
        facts=replace(FACTS, duration_ms=duration_ms),
        options={"pace": "tight"},
        charge=charge or make_charge(),
        limit_bytes=limit_bytes,
    )


def make_job(database: Database, video: Video, *, charge: Charge | None = None, key: str = "") -> ProcessingJob:
    """Return one more job of a video."""
    job = database.jobs.create(
        video.user_id, video.id, options={"pace": "relaxed"}, charge=charge or make_charge(), idempotency_key=key
    )
    assert job is not None
    return job


def claim(database: Database, job: ProcessingJob, worker: str = "worker-1") -> ProcessingJob:
    """Return the job, claimed."""
    claimed = database.jobs.claim(job.id, worker, lease_s=LEASE_S)
    assert claimed is not None
    return claimed


def process(database: Database, job: ProcessingJob, finish: JobFinish = SUCCESS) -> ProcessingJob:
    """Claim and end a job; return it as it then is."""
    claim(database, job)
    assert database.jobs.finish(job.id, "worker-1", finish)
    return reload(database, job)


def reload(database: Database, job: ProcessingJob) -> ProcessingJob:
    """Return the job as it is now."""
    found = database.jobs.get(job.user_id, job.id)
    assert found is not None
    return found


# --- races ---


def race(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run all tasks at the same moment, each in a thread of its own; return what each returned."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], T]) -> T:
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def race_in_processes(
    open_database: OpenDatabase,
    function: Callable[[Database, Mapping[str, str]], T],
    arguments: Sequence[Mapping[str, str]],
    *,
    processes: int = 4,
) -> list[T]:
    """Call the function once for each argument, from several processes that begin at the same moment."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(open_database, barrier)
    ) as pool:
        return list(pool.map(_run, [function] * len(arguments), arguments))


_opened: list[Database] = []


def _begin(open_database: OpenDatabase, barrier: Barrier) -> None:
    barrier.wait(60)
    _opened.append(open_database())


def _run(function: Callable[[Database, Mapping[str, str]], T], argument: Mapping[str, str]) -> T:
    return function(_opened[0], argument)


def try_to_reserve(database: Database, argument: Mapping[str, str]) -> bool:
    """Make one more job of a video within the limit; tell whether there was room."""
    charge = Charge(key=f"race-{argument['video_id']}", limit_ms=int(argument["limit_ms"]))
    try:
        job = database.jobs.create(
            argument["user_id"], argument["video_id"], options={}, charge=charge, idempotency_key=""
        )
    except QuotaExceeded:
        return False
    return job is not None


def try_to_claim(database: Database, argument: Mapping[str, str]) -> str | None:
    """Claim the first of the waiting jobs that can be had; return its id."""
    for job_id in argument["job_ids"].split():
        if job := database.jobs.claim(job_id, argument["worker"], lease_s=LEASE_S):
            return job.id
    return None


def try_to_be_first(database: Database, argument: Mapping[str, str]) -> bool:
    """Make the first account; tell whether it is this one."""
    user = database.users.create(
        username=argument["username"], full_name="", role=Role.ADMIN, password_hash="hash", only_if_first=True
    )
    return user is not None


def get_secret(database: Database, argument: Mapping[str, str]) -> str:
    """Return the installation's secret, or make it the given one."""
    return database.get_secret("key", lambda: argument["value"])
