"""Recovery and sweep: what is lost comes back, what nobody needs goes, and what lives is left alone."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.errors import StorageError, StoreUnavailable
from jobs.models import JobStatus, LinkKind, ProcessingJob, Role, UploadState, User, Video, VideoFacts
from jobs.ports import Charge, JobFinish
from jobs.quota import timeout_s_of
from jobs.recovery import FILES_EVERY, MANY_ORIGINALS, Recovery, Sweep, Waste, WasteKind
from jobs.storage import StorageManager, original_key, result_key, transcript_key
from tests.database import race
from tests.product import LIMITS, Product, RememberingQueue, make_product

NOTHING = Sweep(uploads=0, orphans=0, expired_videos=0)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


def make_user(product: Product, username: str = "ann") -> User:
    made = product.ports.database.users.create(username=username, full_name="", role=Role.USER, password_hash="none")
    assert made is not None
    return made


@pytest.fixture
def user(product: Product) -> User:
    return make_user(product)


def make_job(product: Product, user: User, *, duration_ms: int = 60_000) -> tuple[Video, ProcessingJob]:
    upload = product.ports.database.uploads.create(
        user.id, name="talk.mp4", size_bytes=3, fingerprint=str(uuid.uuid4()), options={}
    )
    key = original_key(user.id, upload.video_id)
    product.ports.files.append(key, 0, b"abc")
    product.ports.files.finish_upload(key)
    facts = VideoFacts(
        duration_ms=duration_ms, width=2, height=2, fps="25", video_codec="h264", audio_tracks=1, size_bytes=3,
        sha256="a" * 64,
    )  # fmt: skip
    charge = Charge(key="k", limit_ms=0)
    return product.ports.database.videos.create_with_job(
        upload, title="Talk", facts=facts, options={}, charge=charge, limit_bytes=0
    )


def put(product: Product, key: str) -> str:
    path = product.root / "to-store"
    path.write_bytes(b"bytes")
    product.ports.files.put(key, path)
    return key


def keys(product: Product) -> set[str]:
    return {file.key for file in product.ports.files.list_files("user/")}


def age_files(product: Product, age: timedelta) -> None:
    """Make every file look as old as that."""
    then = product.clock().timestamp() - age.total_seconds()
    for path in (product.root / "files").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


# --- jobs ---


def test_waiting_jobs_are_handed_over_again(product: Product, user: User) -> None:
    jobs = [make_job(product, user)[1] for _ in range(3)]
    assert product.services.recovery.recover_jobs() == 3
    assert product.services.recovery.recover_jobs() == 3
    assert product.queue.waiting == [(job.id, 0) for job in jobs]


def test_waiting_jobs_are_handed_over_in_the_order_of_the_line_with_their_time(product: Product, user: User) -> None:
    jobs = [make_job(product, user, duration_ms=minutes * 60_000)[1] for minutes in (60, 120, 2)]
    told: list[tuple[str, int]] = []

    class TimingQueue(RememberingQueue):
        def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:  # noqa: ARG002
            told.append((job_id, timeout_s))

    ports = replace(product.ports, queue=TimingQueue())
    assert Recovery(ports, StorageManager(ports.files), LIMITS).recover_jobs() == 3
    assert told == [
        (jobs[number].id, timeout_s_of(minutes * 60_000)) for number, minutes in ((2, 2), (0, 60), (1, 120))
    ]
    assert told[1][1] != told[2][1]


def test_a_job_whose_worker_vanished_waits_again(product: Product, user: User) -> None:
    _, job = make_job(product, user)
    product.ports.database.jobs.claim(job.id, "gone", lease_s=60)
    assert product.services.recovery.recover_jobs() == 0
    product.clock.advance(seconds=61)
    assert product.services.recovery.recover_jobs() == 1
    assert product.queue.waiting == [(job.id, 1)]


def test_a_lease_that_ran_out_while_the_database_was_away_is_no_lost_worker(product: Product, user: User) -> None:
    _, job = make_job(product, user)
    database, recovery = product.ports.database, product.services.recovery
    database.jobs.claim(job.id, "one", lease_s=60)
    product.clock.advance(seconds=61)
    place = product.root / "factory.sqlite3"
    database.close()
    place.rename(product.root / "elsewhere")
    with pytest.raises(StoreUnavailable):
        recovery.recover_jobs()
    (product.root / "elsewhere").rename(place)
    recovery.recover_jobs()
    assert database.jobs.beat(job.id, "one", stage="render", progress=0.5, lease_s=60) is False, "its worker lives"
    product.clock.advance(seconds=61)
    recovery.recover_jobs()
    assert database.jobs.beat(job.id, "one", stage="render", progress=0.5, lease_s=60) is None


def test_a_cancelled_job_whose_worker_vanished_is_over(product: Product, user: User) -> None:
    _, job = make_job(product, user)
    product.ports.database.jobs.claim(job.id, "gone", lease_s=60)
    product.ports.database.jobs.request_cancel(user.id, job.id)
    product.clock.advance(seconds=61)
    product.services.recovery.recover_jobs()
    found = product.ports.database.jobs.find(job.id)
    assert found is not None and found[0].status is JobStatus.CANCELLED
    assert product.queue.waiting == []


def test_a_job_that_kills_its_workers_ends(product: Product, user: User) -> None:
    _, job = make_job(product, user)
    for _ in range(job.max_attempts):
        assert product.ports.database.jobs.claim(job.id, "gone", lease_s=60)
        product.clock.advance(seconds=61)
        product.services.recovery.recover_jobs()
    found = product.ports.database.jobs.find(job.id)
    assert found is not None
    assert (found[0].status, found[0].error_code) == (JobStatus.FAILED, "worker_lost")
    assert product.ports.database.jobs.used_ms(user.id) == 0


# --- uploads ---


def begin_upload(product: Product, user: User, data: bytes = b"part") -> str:
    upload = product.ports.database.uploads.create(
        user.id, name="talk.mp4", size_bytes=100, fingerprint="f", options={}
    )
    product.ports.files.append(original_key(user.id, upload.video_id), 0, data)
    return upload.id


def test_a_forgotten_upload_goes_after_a_day(product: Product, user: User) -> None:
    upload_id = begin_upload(product, user)
    product.clock.advance(hours=23)
    assert product.services.recovery.sweep() == NOTHING
    product.clock.advance(hours=2)
    assert product.services.recovery.sweep(dry_run=True).uploads == 1
    assert product.ports.database.uploads.get(user.id, upload_id) is not None, "a dry run removes nothing"
    assert product.services.recovery.sweep() == replace(NOTHING, uploads=1)
    assert product.ports.database.uploads.get(user.id, upload_id) is None
    assert list(product.ports.files.list_uploads()) == []


def test_an_upload_that_goes_on_is_kept(product: Product, user: User) -> None:
    upload_id = begin_upload(product, user)
    product.clock.advance(hours=25)
    product.ports.database.uploads.touch(user.id, upload_id)
    assert product.services.recovery.sweep() == NOTHING
    assert len(list(product.ports.files.list_uploads())) == 1


def test_bytes_without_a_row_go(product: Product, user: User) -> None:
    product.ports.files.append(original_key(user.id, str(uuid.uuid4())), 0, b"stray")
    assert product.services.recovery.sweep() == NOTHING, "its row may just be on its way"
    age_files(product, timedelta(hours=2))
    assert product.services.recovery.sweep() == replace(NOTHING, uploads=1)
    assert list(product.ports.files.list_uploads()) == []


def test_bytes_of_people_the_database_does_not_know_stay(product: Product) -> None:
    product.ports.files.append(original_key(str(uuid.uuid4()), str(uuid.uuid4())), 0, b"of another database")
    age_files(product, timedelta(days=30))
    assert product.services.recovery.sweep() == NOTHING
    assert len(list(product.ports.files.list_uploads())) == 1


def test_what_a_worker_stores_in_parts_is_no_upload_of_anybodys(product: Product, user: User) -> None:
    video, job = make_job(product, user)
    product.ports.database.jobs.claim(job.id, "worker", lease_s=7 * 24 * 3600)
    for key in (result_key(user.id, video.id, job.id, 1, "video.mp4"), transcript_key(user.id, video.id, "a" * 64)):
        product.ports.files.append(key, 0, b"part")  # as a store elsewhere does with a large file
    age_files(product, timedelta(hours=23))
    assert product.services.recovery.sweep() == NOTHING, "a slow line takes hours"
    age_files(product, timedelta(hours=25))
    assert product.services.recovery.sweep().uploads == 1, "the job still runs; the transcript nobody writes any more"
    product.ports.database.jobs.finish(job.id, "worker", JobFinish(status=JobStatus.FAILED))
    assert product.services.recovery.sweep().uploads == 1
    assert list(product.ports.files.list_uploads()) == []


def test_rows_of_refused_uploads_go_after_a_week(product: Product, user: User) -> None:
    upload_id = begin_upload(product, user)
    product.ports.database.uploads.set_state(user.id, upload_id, UploadState.REFUSED, error_message="No.")
    product.clock.advance(days=6)
    product.services.recovery.sweep()
    assert product.ports.database.uploads.get(user.id, upload_id) is not None
    product.clock.advance(days=2)
    product.services.recovery.sweep()
    assert product.ports.database.uploads.get(user.id, upload_id) is None


# --- files ---


def test_files_of_a_deleted_video_go(product: Product, user: User) -> None:
    video, _ = make_job(product, user)
    other, _ = make_job(product, user)
    product.ports.database.videos.delete(user.id, video.id)
    assert product.services.recovery.sweep() == NOTHING, "who deletes it may still be at it"
    age_files(product, timedelta(hours=2))
    assert product.services.recovery.sweep(dry_run=True).orphans == 1
    assert product.services.recovery.sweep() == replace(NOTHING, orphans=1)
    assert keys(product) == {original_key(user.id, other.id)}


def test_files_outlive_a_database_that_was_lost(product: Product, user: User) -> None:
    video, _ = make_job(product, user)
    age_files(product, timedelta(hours=2))
    product.ports.database.close()
    for path in product.root.glob("factory.sqlite3*"):
        path.unlink()
    after = make_product(product.root)
    make_user(after, "somebody-else")
    assert after.services.recovery.sweep() == NOTHING
    assert keys(after) == {original_key(user.id, video.id)}


def test_an_original_whose_video_is_just_made_is_kept(product: Product, user: User) -> None:
    upload = product.ports.database.uploads.create(user.id, name="t.mp4", size_bytes=3, fingerprint="f", options={})
    key = original_key(user.id, upload.video_id)
    product.ports.files.append(key, 0, b"abc")
    product.ports.files.finish_upload(key)  # and there the process died
    age_files(product, timedelta(hours=2))
    assert product.services.recovery.sweep() == NOTHING
    assert keys(product) == {key}


def test_only_the_attempt_that_counts_is_kept(product: Product, user: User) -> None:
    video, job = make_job(product, user)
    for attempt in (1, 2):
        product.ports.database.jobs.claim(job.id, f"worker-{attempt}", lease_s=60)
        put(product, result_key(user.id, video.id, job.id, attempt, "video.mp4"))
        if attempt == 1:
            product.ports.database.jobs.release(job.id, "worker-1", reason="test")
    age_files(product, timedelta(hours=2))
    assert product.services.recovery.sweep() == NOTHING, "the job runs"
    finish = JobFinish(status=JobStatus.SUCCEEDED, result={}, stored_attempt=2)
    assert product.ports.database.jobs.finish(job.id, "worker-2", finish)
    assert product.services.recovery.sweep() == replace(NOTHING, orphans=1)
    kept = {original_key(user.id, video.id), result_key(user.id, video.id, job.id, 2, "video.mp4")}
    assert keys(product) == kept


def test_a_failed_job_keeps_no_result(product: Product, user: User) -> None:
    video, job = make_job(product, user)
    product.ports.database.jobs.claim(job.id, "worker", lease_s=60)
    put(product, result_key(user.id, video.id, job.id, 1, "video.mp4"))
    product.ports.database.jobs.finish(job.id, "worker", JobFinish(status=JobStatus.FAILED))
    age_files(product, timedelta(hours=2))
    assert product.services.recovery.sweep().orphans == 1
    assert keys(product) == {original_key(user.id, video.id)}


def test_kept_transcripts_stay(product: Product, user: User) -> None:
    video, _ = make_job(product, user)
    key = put(product, f"user/{user.id}/video/{video.id}/transcript/{'a' * 64}.jsonl")
    age_files(product, timedelta(days=30))
    assert product.services.recovery.sweep() == NOTHING
    assert key in keys(product)


# --- how often, and by whom ---


def make_orphans(product: Product, user: User, count: int) -> list[str]:
    """Make videos and lose their rows; return the keys of their originals."""
    videos = [make_job(product, user)[0] for _ in range(count)]
    for video in videos:
        product.ports.database.videos.delete(user.id, video.id)
    age_files(product, timedelta(hours=2))
    return [original_key(user.id, video.id) for video in videos]


def test_files_are_looked_through_once_a_day(product: Product, user: User) -> None:
    recovery = product.services.recovery
    make_orphans(product, user, 1)
    assert recovery.sweep_regularly().orphans == 1
    make_orphans(product, user, 1)
    product.clock.advance(hours=23)
    assert recovery.sweep_regularly().orphans == 0
    product.clock.advance(hours=1)
    assert recovery.sweep_regularly().orphans == 1
    assert keys(product) == set()


def test_uploads_are_looked_through_each_time(product: Product, user: User) -> None:
    assert product.services.recovery.sweep_regularly() == NOTHING
    begin_upload(product, user)
    product.clock.advance(hours=23)
    assert product.services.recovery.sweep_regularly() == NOTHING
    product.clock.advance(hours=2)
    assert product.services.recovery.sweep_regularly().uploads == 1


@pytest.mark.parametrize("days_ago", [None, 1])
def test_one_of_all_processes_looks_through_the_files(product: Product, user: User, days_ago: int | None) -> None:
    if days_ago:
        product.services.recovery.sweep_regularly()
        product.clock.advance(days=days_ago, minutes=1)
    make_orphans(product, user, 3)
    others = [make_product(product.root, now=product.clock) for _ in range(8)]
    swept = race([other.services.recovery.sweep_regularly for other in others])
    assert sorted(one.orphans for one in swept) == [0] * 7 + [3]
    for other in others:
        other.ports.database.close()


def test_clocks_that_differ_keep_nobody_from_the_files(product: Product, user: User) -> None:
    product.services.recovery.sweep_regularly()
    fast = make_product(product.root, now=lambda: product.clock() + timedelta(minutes=30))
    ports = replace(fast.ports, database=product.ports.database)  # whose clock is the database's
    recovery = Recovery(ports, StorageManager(ports.files), LIMITS)
    for _ in range(3):
        make_orphans(product, user, 1)
        product.clock.advance(seconds=FILES_EVERY.total_seconds() - 600)
        assert recovery.sweep_regularly().orphans == 1
    fast.ports.database.close()


def test_files_that_can_not_be_had_are_tried_again_soon(
    product: Product, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_orphans(product, user, 1)

    def fail(_prefix: str) -> None:
        raise StorageError("files", "The files can't be read.")

    with monkeypatch.context() as patch:
        patch.setattr(product.ports.files, "list_files", fail)
        with pytest.raises(StorageError):
            product.services.recovery.sweep_regularly()
    assert product.services.recovery.sweep_regularly().orphans == 1


def test_an_older_database_that_is_put_back_costs_no_originals(
    product: Product, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    lost = make_orphans(product, user, MANY_ORIGINALS + 1)
    assert product.services.recovery.sweep_regularly() == NOTHING
    assert keys(product) == set(lost)
    assert "`make sweep`" in caplog.text
    assert product.services.recovery.sweep().orphans == len(lost), "who asks for it gets it"
    product.clock.advance(days=2)
    make_orphans(product, user, MANY_ORIGINALS)
    assert product.services.recovery.sweep_regularly().orphans == MANY_ORIGINALS


def test_what_would_go_is_told_one_by_one(tmp_path: Path) -> None:
    product = make_product(tmp_path, limits=replace(LIMITS, retention_days=30))
    user = make_user(product)
    old, job = make_job(product, user)
    product.ports.database.jobs.claim(job.id, "worker", lease_s=60)
    product.ports.database.jobs.finish(job.id, "worker", JobFinish(status=JobStatus.SUCCEEDED, result={}))
    product.clock.advance(days=31)
    upload_id = begin_upload(product, user, b"six by")
    upload = product.ports.database.uploads.get(user.id, upload_id)
    assert upload is not None
    product.clock.advance(hours=25)
    (orphan,) = make_orphans(product, user, 1)
    told: list[Waste] = []
    before = keys(product)
    swept = product.services.recovery.sweep(dry_run=True, tell=told.append)
    assert swept == Sweep(uploads=1, orphans=1, expired_videos=1)
    assert [(waste.kind, waste.key, waste.size_bytes) for waste in told] == [
        (WasteKind.UPLOAD, original_key(user.id, upload.video_id), 6),
        (WasteKind.ORPHAN, orphan, 3),
        (WasteKind.EXPIRED, f"user/{user.id}/video/{old.id}/", 3),
    ]
    assert keys(product) == before
    again: list[Waste] = []
    assert product.services.recovery.sweep(tell=again.append) == swept
    assert [waste.key for waste in again] == [waste.key for waste in told]
    assert keys(product) == set()


# --- time ---


def test_videos_go_after_their_time_and_no_sooner(tmp_path: Path) -> None:
    product = make_product(tmp_path, limits=replace(LIMITS, retention_days=30))
    user = make_user(product)
    old, old_job = make_job(product, user)
    running, running_job = make_job(product, user)
    for job in (old_job, running_job):
        product.ports.database.jobs.claim(job.id, "worker", lease_s=60)
    product.ports.database.jobs.finish(old_job.id, "worker", JobFinish(status=JobStatus.SUCCEEDED, result={}))
    product.clock.advance(days=29)
    assert product.services.recovery.sweep() == NOTHING
    product.clock.advance(days=2)
    young, _ = make_job(product, user)
    assert product.services.recovery.sweep(dry_run=True).expired_videos == 1
    assert product.services.recovery.sweep().expired_videos == 1
    assert keys(product) == {original_key(user.id, video.id) for video in (running, young)}
    assert product.ports.database.videos.get(user.id, old.id) is None


def test_without_a_limit_nothing_goes(product: Product, user: User) -> None:
    make_job(product, user)
    product.clock.advance(days=4000)
    age_files(product, timedelta(days=1))
    assert product.services.recovery.sweep().expired_videos == 0


def test_sessions_and_links_go_when_they_have_expired(product: Product, user: User) -> None:
    database, soon = product.ports.database, product.clock() + timedelta(hours=1)
    session = database.sessions.open(user.id, token_version=user.token_version, label="Firefox", expires_at=soon)
    database.links.create(
        LinkKind.INVITATION, token_hash="h", user_id=None, role=Role.USER, note="", created_by=user.id, expires_at=soon
    )
    database.throttles.add_failure("account:ann", forget_after_s=60)
    product.services.recovery.sweep()
    assert database.sessions.get(session.id) is not None
    product.clock.advance(days=2)
    product.services.recovery.sweep()
    assert database.links.find("h") is None
    assert database.throttles.get("account:ann") is None
