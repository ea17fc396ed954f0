"""One attempt at a job, in this process: how it ends in the table, in the store and in its work folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from adapters.local_files import LocalFiles
from jobs import tasks, watch, workspace
from jobs.errors import StorageError
from jobs.machine import Machine, install
from jobs.models import JobStatus, Json, ProcessingJob, Role, User, Video, VideoFacts
from jobs.ports import Charge, JobFinish, OnProgress, Ports, ignore_progress
from jobs.storage import original_key
from jobs.tasks import clean_name, process_job
from jobs.watch import Watch
from jobs.workspace import SIGNATURE_FILE, hold_folder, tidy_folders
from pipeline.models import RESULT_FILES, Progress, Stage
from pipeline.options import PipelineOptions
from pipeline.transcribe import CHECKPOINT_FILE
from tests.media.talks import short_talk, write_video
from tests.product import Product, make_product
from tests.product.machine import wait_for

ME = "this-worker"
NO_CAPTIONS: Json = {"captions": "none"}


class WatchedFiles(LocalFiles):
    """The real store, with something happening at the moment a file is asked for or put."""

    on_fetch: Callable[[], None] = staticmethod(lambda: None)
    on_put: Callable[[str], None] = staticmethod(lambda _: None)

    def fetch(
        self,
        key: str,
        path: Path,
        *,
        should_cancel: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> Path:
        self.on_fetch()
        return super().fetch(key, path, should_cancel=should_cancel, on_progress=on_progress)

    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        self.on_put(key)
        super().put(key, path, on_progress=on_progress)


class FarFiles(WatchedFiles):
    """A store elsewhere, as a job sees one: its files have to be brought."""

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002
        return None

    def fetch(
        self,
        key: str,
        path: Path,
        *,
        should_cancel: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> Path:
        stored = super().fetch(key, path, should_cancel=should_cancel)
        for done in (0.0, 0.5):
            on_progress(done)
        shutil.copyfile(stored, path)
        on_progress(1.0)
        return path

    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        copy = path.with_name(f"{path.name}.copy")
        shutil.copyfile(path, copy)
        for done in (0.0, 0.5):
            on_progress(done)
        super().put(key, copy)
        on_progress(1.0)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "Lesson 4 (final).mp4", short_talk().samples)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    made = make_product(tmp_path)
    return replace(made, ports=replace(made.ports, files=WatchedFiles(tmp_path / "files")))


@pytest.fixture
def wait_until_told(monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    """What waits until the run in hand has heard that it has to stop."""
    begun: list[Watch] = []

    class Told(Watch):
        def __enter__(self) -> Self:
            begun.append(self)
            return super().__enter__()

    monkeypatch.setattr(tasks, "Watch", Told)
    monkeypatch.setattr(watch, "BEAT_S", 0.05)
    return lambda: wait_for(lambda: begun and begun[-1].should_stop(), label="the beat")


@pytest.fixture
def user(product: Product) -> User:
    made = product.ports.database.users.create(username="ann", full_name="", role=Role.USER, password_hash="none")
    assert made is not None
    return made


def files_of(product: Product) -> WatchedFiles:
    assert isinstance(product.ports.files, WatchedFiles)
    return product.ports.files


def make_job(
    product: Product, user: User, source: Path, options: Json = NO_CAPTIONS, *, said_bytes: int = 0
) -> tuple[Video, ProcessingJob]:
    """Return a video with its first job, queued; its row may say another size than it has."""
    size = said_bytes or source.stat().st_size
    upload = product.ports.database.uploads.create(
        user.id, name=source.name, size_bytes=size, fingerprint="", options=options
    )
    key = original_key(user.id, upload.video_id)
    product.ports.files.append(key, 0, source.read_bytes())
    product.ports.files.finish_upload(key)
    facts = VideoFacts(
        duration_ms=12_000, width=320, height=180, fps="30", video_codec="h264", audio_tracks=1, size_bytes=size,
        sha256="a" * 64,
    )  # fmt: skip
    return product.ports.database.videos.create_with_job(
        upload,
        title="Lesson",
        facts=facts,
        options=options,
        charge=Charge(key="k", limit_ms=0),
        limit_bytes=0,
    )


def work_on(product: Product, job: ProcessingJob) -> ProcessingJob:
    """Do what a worker's forked process does, and return the job as it then is."""
    install(machine_of(product))
    process_job(job.id)
    return look(product, job)


def machine_of(product: Product) -> Machine:
    def make_ports() -> Ports:
        return product.ports

    return Machine(
        worker_id=ME,
        make_ports=make_ports,
        options=PipelineOptions(),
        work_root=product.root / "work",
        parent_pid=None,
    )


def look(product: Product, job: ProcessingJob) -> ProcessingJob:
    found = product.ports.database.jobs.find(job.id)
    assert found is not None
    return found[0]


def results(product: Product, job: ProcessingJob) -> list[str]:
    prefix = f"user/{job.user_id}/video/{job.video_id}/job/{job.id}/"
    return sorted(file.key.removeprefix(prefix) for file in product.ports.files.list_files(prefix))


def folders(product: Product) -> list[str]:
    root = product.root / "work"
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def test_a_job_is_made(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)
    done = work_on(product, job)
    assert (done.status, done.attempt, done.stored_attempt) == (JobStatus.SUCCEEDED, 1, 1)
    assert results(product, job) == sorted(f"1/{name}" for name in RESULT_FILES)
    assert set(done.result) == {
        "duration_ms", "source_ms", "size_bytes", "width", "height", "fps", "cuts", "removed_ms", "words", "cues",
        "language", "captions", "checks", "notes", "files", "timings",
    }  # fmt: skip
    sizes = {name: product.ports.files.stat(tasks_key(video, job, name)) for name in RESULT_FILES}
    assert done.result["files"] == {name: stored.size_bytes for name, stored in sizes.items() if stored}
    assert done.result["cuts"], "a talk with long pauses is cut"
    found = product.ports.database.jobs.find(job.id)
    assert found is not None and found[1].current_job_id == job.id
    assert folders(product) == []
    assert product.ports.database.jobs.used_ms(user.id) == 12_000


def tasks_key(video: Video, job: ProcessingJob, name: str) -> str:
    return f"user/{video.user_id}/video/{video.id}/job/{job.id}/1/{name}"


def test_the_result_carries_the_name_its_owner_gave(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)
    work_on(product, job)
    for name, part in (("report.json", "source"), ("timeline.json", None)):
        document = json.loads(b"".join(product.ports.files.read(tasks_key(video, job, name))))
        shown = document[part]["name"] if part else document["source"]
        assert shown == "Lesson 4 (final).mp4"


def test_a_job_of_somebody_else_is_left_alone(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    assert product.ports.database.jobs.claim(job.id, "another-worker", lease_s=60)
    assert work_on(product, job).worker_id == "another-worker"
    assert folders(product) == []


def test_a_broken_file_fails_with_the_sentence_of_the_pipeline(product: Product, user: User, tmp_path: Path) -> None:
    text = tmp_path / "talk.mp4"
    text.write_text("no video at all")
    _, job = make_job(product, user, text)
    done = work_on(product, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "not_media")
    assert "talk.mp4" in done.error_message or "video" in done.error_message
    assert str(tmp_path) not in done.error_message
    assert results(product, job) == folders(product) == []
    assert product.ports.database.jobs.used_ms(user.id) == 0


def test_a_missing_original_is_told(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.files.delete([original_key(user.id, job.video_id)])
    done = work_on(product, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "source_gone")


def test_whatever_else_breaks_has_a_sentence_and_a_number(
    product: Product, user: User, talk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, job = make_job(product, user, talk)
    files_of(product).on_fetch = lambda: 1 // 0  # type: ignore[assignment]
    done = work_on(product, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "internal")
    assert done.error_message.endswith(f"tell the administrator: job {job.id[:4].upper()}.")
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in done.error_message
    assert folders(product) == []


def test_a_store_that_is_away_costs_an_attempt_and_not_the_job(product: Product, user: User, talk: Path) -> None:
    def refuse() -> None:
        raise StorageError("files", "Not now.")

    _, job = make_job(product, user, talk)
    made = product.root / "made"
    for name in (part := f"picture-{'a' * 64}.mp4", "poster.jpg"):
        made.write_bytes(b"made before the store was gone")
        product.ports.files.put(f"user/{user.id}/video/{job.video_id}/job/{job.id}/1/{name}", made)
    files_of(product).on_fetch = refuse
    waiting = work_on(product, job)
    assert (waiting.status, waiting.attempt) == (JobStatus.QUEUED, 1)
    assert results(product, job) == [f"1/{part}"], "a part that others made is of use to the next attempt"
    files_of(product).on_fetch = lambda: None
    done = work_on(product, job)
    assert (done.status, done.stored_attempt) == (JobStatus.SUCCEEDED, 2)
    assert results(product, job) == sorted(f"2/{name}" for name in RESULT_FILES)


@pytest.fixture
def far(product: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    monkeypatch.setattr(tasks, "STORE_PAUSE_S", 0)
    return replace(product, ports=replace(product.ports, files=FarFiles(product.root / "files")))


def test_the_ways_from_and_to_a_store_elsewhere_are_parts_of_the_whole(
    far: Product, user: User, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Progress] = []
    monkeypatch.setattr(Watch, "follow", lambda _, progress: followed.append(progress))
    _, job = make_job(far, user, talk)
    assert work_on(far, job).status is JobStatus.SUCCEEDED
    overall = [progress.overall for progress in followed]
    assert overall == sorted(overall)
    assert (overall[0], overall[-1]) == (0.0, 1.0)
    assert [round(one.overall, 3) for one in followed[:3]] == [0.0, tasks.FETCH_SHARE / 2, tasks.FETCH_SHARE]
    stored = [progress for progress in followed if progress.stage is Stage.PUBLISH]
    assert len({progress.fraction for progress in stored}) > len(RESULT_FILES)
    assert stored[0].overall == pytest.approx(1 - tasks.STORE_SHARE)


def test_a_store_elsewhere_that_is_away_costs_no_attempt(far: Product, user: User, talk: Path) -> None:
    def refuse() -> None:
        raise StorageError("files_unreachable", "Not now.")

    _, job = make_job(far, user, talk)
    files_of(far).on_fetch = refuse
    for _ in range(2 * job.max_attempts):
        assert work_on(far, job).status is JobStatus.QUEUED
    files_of(far).on_fetch = lambda: None
    assert work_on(far, job).status is JobStatus.SUCCEEDED


def test_a_result_waits_for_a_store_elsewhere(far: Product, user: User, talk: Path) -> None:
    _, job = make_job(far, user, talk)
    tries: list[str] = []

    def refuse(key: str) -> None:
        tries.append(key)
        if len(tries) in (2, 3):
            raise StorageError("files_cut", "Not now.")

    files_of(far).on_put = refuse
    done = work_on(far, job)
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 1)
    assert results(far, job) == sorted(f"1/{name}" for name in RESULT_FILES)


def test_a_result_no_store_takes_does_not_wait_for_ever(
    far: Product, user: User, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise StorageError("files_denied", "Not allowed.")

    monkeypatch.setattr(tasks, "STORE_PATIENCE_S", 0.0)
    _, job = make_job(far, user, talk)
    files_of(far).on_put = refuse
    for _ in range(job.max_attempts):
        last = work_on(far, job)
    assert last.status is JobStatus.FAILED
    assert results(far, job) == folders(far) == []


def test_a_full_store_is_told_as_such(far: Product, user: User, talk: Path) -> None:
    def refuse(_: str) -> None:
        raise StorageError("files_full", "Full.")

    _, job = make_job(far, user, talk)
    files_of(far).on_put = refuse
    done = work_on(far, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "files_full")
    assert done.error_message.startswith("The file store is full. Your original is safe.")


def test_what_does_not_fit_on_the_disk_is_not_even_brought(far: Product, user: User, talk: Path) -> None:
    asked: list[bool] = []
    files_of(far).on_fetch = lambda: asked.append(True)
    _, job = make_job(far, user, talk, said_bytes=10**15)
    done = work_on(far, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "disk_full")
    assert not asked and not folders(far)


def test_a_cancel_ends_the_way_to_the_store(
    far: Product, user: User, talk: Path, wait_until_told: Callable[[], object]
) -> None:
    _, job = make_job(far, user, talk)

    def cancel(_: str) -> None:
        far.ports.database.jobs.request_cancel(user.id, job.id)
        wait_until_told()

    files_of(far).on_put = cancel
    assert work_on(far, job).status is JobStatus.CANCELLED
    assert results(far, job) == folders(far) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("is_store", [True, False])
def test_a_full_disk_is_told_as_such(product: Product, user: User, talk: Path, code: int, is_store: bool) -> None:
    def refuse() -> None:
        raise StorageError("disk_full", "Full.") if is_store else OSError(code, os.strerror(code))

    _, job = make_job(product, user, talk)
    files_of(product).on_fetch = refuse
    done = work_on(product, job)
    assert (done.status, done.error_code) == (JobStatus.FAILED, "disk_full")
    assert done.error_message.startswith("The disk of this machine is full. Your original is safe.")
    assert folders(product) == []


def test_room_is_made_before_the_end_is_written_down(
    product: Product, user: User, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, job = make_job(product, user, talk)
    folder, jobs = product.root / "work" / job.id, product.ports.database.jobs
    finish, left = jobs.finish, []

    def fill() -> None:
        (folder / "cut").mkdir()
        (folder / "cut" / "sound.wav").write_bytes(b"all the room there is")
        (folder / CHECKPOINT_FILE).write_text("{}\n")
        raise OSError(errno.ENOSPC, "full")

    def look_and_finish(job_id: str, worker_id: str, how: JobFinish) -> bool:
        left.extend(sorted(path.name for path in folder.rglob("*")))
        return finish(job_id, worker_id, how)

    files_of(product).on_fetch = fill
    monkeypatch.setattr(jobs, "finish", look_and_finish)
    assert work_on(product, job).error_code == "disk_full"
    assert left == sorted([CHECKPOINT_FILE, SIGNATURE_FILE])
    assert folders(product) == []


def test_a_cancelled_job_stores_nothing(
    product: Product, user: User, talk: Path, wait_until_told: Callable[[], object]
) -> None:
    _, job = make_job(product, user, talk)

    def cancel() -> None:
        product.ports.database.jobs.request_cancel(user.id, job.id)
        wait_until_told()

    files_of(product).on_fetch = cancel
    done = work_on(product, job)
    assert done.status is JobStatus.CANCELLED
    assert results(product, job) == folders(product) == []
    assert product.ports.database.jobs.used_ms(user.id) == 0


def test_who_lost_the_lease_stops_and_leaves_the_job_alone(
    product: Product, user: User, talk: Path, wait_until_told: Callable[[], object]
) -> None:
    _, job = make_job(product, user, talk)

    def lose() -> None:
        product.ports.database.jobs.release(job.id, ME, reason="test")
        assert product.ports.database.jobs.claim(job.id, "another-worker", lease_s=60)
        wait_until_told()

    files_of(product).on_fetch = lose
    after = work_on(product, job)
    assert (after.status, after.worker_id, after.attempt) == (JobStatus.RUNNING, "another-worker", 2)
    assert results(product, job) == []


def test_who_comes_too_late_takes_its_files_back(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)

    def lose(key: str) -> None:
        if key.endswith("report.json"):
            product.ports.database.jobs.release(job.id, ME, reason="test")

    files_of(product).on_put = lose
    after = work_on(product, job)
    assert (after.status, after.stored_attempt) == (JobStatus.QUEUED, 0)
    assert results(product, job) == []


def test_a_deleted_video_leaves_nothing(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)

    def delete(key: str) -> None:
        if key.endswith("video.mp4"):
            product.ports.database.videos.delete(user.id, video.id)
            product.ports.files.delete_all(f"user/{user.id}/video/{video.id}/")

    files_of(product).on_put = delete
    install(machine_of(product))
    process_job(job.id)
    assert [file.key for file in product.ports.files.list_files(f"user/{user.id}/")] == []
    assert folders(product) == []


def test_files_of_earlier_attempts_go(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.database.jobs.claim(job.id, "dead-worker", lease_s=60)
    product.ports.database.jobs.release(job.id, "dead-worker", reason="test")
    torn = product.root / "torn"
    torn.write_bytes(b"half a video")
    product.ports.files.put(f"user/{user.id}/video/{job.video_id}/job/{job.id}/1/video.mp4", torn)
    work_on(product, job)
    assert results(product, job) == sorted(f"2/{name}" for name in RESULT_FILES)


@pytest.mark.parametrize("is_claimed", [True, False])
def test_nobody_waits_for_a_job_that_another_has(
    product: Product, user: User, talk: Path, is_claimed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "PATIENCE_S", 0.1)
    _, job = make_job(product, user, talk)
    if is_claimed:  # else that process was only a moment ahead
        product.ports.database.jobs.claim(job.id, "another-worker", lease_s=60)
    before = look(product, job)
    install(machine_of(product))
    with hold_folder(product.root / "work", job.id):
        thread = threading.Thread(target=process_job, args=(job.id,), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), "it would stand there until the other process has ended"
    assert look(product, job) == before


# --- work folders ---


def test_a_work_folder_has_one_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "PATIENCE_S", 0.1)
    with hold_folder(tmp_path, "job") as folder:
        assert folder == tmp_path / "job"
        with hold_folder(tmp_path, "job") as again:
            assert again is None
    with hold_folder(tmp_path, "job") as after:
        assert after == folder


def test_a_removed_folder_is_made_again_for_the_one_who_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "PATIENCE_S", 60.0)
    with hold_folder(tmp_path, "job") as folder:
        assert folder is not None
        there: list[bool] = []

        def second() -> None:
            with hold_folder(tmp_path, "job") as again:
                there.append(again is not None and again.is_dir())

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        folder.rmdir()
    thread.join()
    assert there == [True]


def leave_behind(product: Product, job: ProcessingJob, worker_id: str) -> Path:
    """Leave a work folder as a killed process does."""
    folder = product.root / "work" / job.id
    folder.mkdir(parents=True)
    (folder / SIGNATURE_FILE).write_text(worker_id)
    (folder / CHECKPOINT_FILE).write_text("{}\n")
    return folder


def test_the_job_of_a_dead_process_waits_again_at_once(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.database.jobs.claim(job.id, "dead-worker", lease_s=60)
    folder = leave_behind(product, job, "dead-worker")
    (again,) = tidy_folders(product.root / "work", product.ports.database.jobs)
    assert (again.id, again.status) == (job.id, JobStatus.QUEUED)
    assert (folder / CHECKPOINT_FILE).is_file(), "the transcript is needed again"
    assert tidy_folders(product.root / "work", product.ports.database.jobs) == []


def test_a_living_process_keeps_job_and_folder(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.database.jobs.claim(job.id, "living-worker", lease_s=60)
    leave_behind(product, job, "living-worker")
    with hold_folder(product.root / "work", job.id):
        assert tidy_folders(product.root / "work", product.ports.database.jobs) == []
    assert look(product, job).status is JobStatus.RUNNING
    assert folders(product) == [job.id]


def test_who_has_the_job_now_is_not_mistaken_for_the_dead_one(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.database.jobs.claim(job.id, "worker-elsewhere", lease_s=60)
    leave_behind(product, job, "dead-worker")
    assert tidy_folders(product.root / "work", product.ports.database.jobs) == []
    assert look(product, job).worker_id == "worker-elsewhere"


def test_folders_of_jobs_that_are_over_go(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    product.ports.database.jobs.request_cancel(user.id, job.id)
    leave_behind(product, job, "dead-worker")
    (product.root / "work" / "00000000-0000-4000-8000-000000000000").mkdir()
    stray = product.root / "work" / ".DS_Store"  # a file manager's, which is none of our business
    stray.write_bytes(b"")
    tidy_folders(product.root / "work", product.ports.database.jobs)
    assert folders(product) == [stray.name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("talk.mp4", "talk.mp4"),
        ("Größe & Maß.MOV", "Größe & Maß.MOV"),
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\talk.avi", "talk.avi"),
        ("two\nlines\x00.mp4", "twolines.mp4"),
        ("..", "video"),
        ("", "video"),
        (".hidden", "hidden"),
        ("é" * 300 + ".mp4", "é" * 98 + ".mp4"),
        ("x" * 300, "x" * 200),
    ],
)
def test_names_of_people_become_names_of_files(name: str, expected: str) -> None:
    assert clean_name(name) == expected
    assert len(os.fsencode(clean_name(name))) <= 200
