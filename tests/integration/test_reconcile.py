"""Sweep and reconcile over the stores there are: what rows and files differ in is found, and nothing else goes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from adapters.local_files import LocalFiles
from adapters.s3_files import S3Files
from adapters.sqlite import SqliteDatabase
from adapters.supabase import SupabaseDatabase
from config import PROJECT_ROOT
from jobs import inventory
from jobs.errors import StorageError
from jobs.models import JobStatus, ProcessingJob, User, Video
from jobs.ports import Database, FileStore, JobFinish, Ports
from jobs.reconcile import Difference, DifferenceKind, PersonTotal, compare_stores
from jobs.recovery import MANY_ORIGINALS, Recovery, Sweep
from jobs.storage import StorageManager, original_key, result_key, transcript_key
from jobs.upkeep.reconcile import reconcile
from jobs.upkeep.sweep import sweep
from tests.database import FACTS, make_charge, make_person, make_upload
from tests.database.supabase import empty
from tests.product import LIMITS, Clock, make_product
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

NOTHING = Sweep(uploads=0, orphans=0, expired_videos=0)
ORIGINAL, RESULTS = b"an original", {"video.mp4": b"a video", "captions.vtt": b"WEBVTT"}
RESULT_BYTES = sum(map(len, RESULTS.values()))


@dataclass(frozen=True)
class Stores:
    """A database and a file store, and a clock that runs ahead of both."""

    ports: Ports
    clock: Clock
    folder: Path

    @property
    def recovery(self) -> Recovery:
        return Recovery(self.ports, StorageManager(self.ports.files), LIMITS)

    def put(self, key: str, data: bytes) -> str:
        path = self.folder / "to-store"
        path.write_bytes(data)
        self.ports.files.put(key, path)
        return key

    def make_video(self, user: User) -> tuple[Video, ProcessingJob]:
        """Make a video with its original, whose first job waits."""
        upload = make_upload(self.ports.database, user, size_bytes=len(ORIGINAL))
        self.put(original_key(user.id, upload.video_id), ORIGINAL)
        facts = replace(FACTS, size_bytes=len(ORIGINAL))
        return self.ports.database.videos.create_with_job(
            upload, title="Talk", facts=facts, options={}, charge=make_charge(), limit_bytes=0
        )

    def make_result(self, job: ProcessingJob) -> dict[str, str]:
        """Make a job's result and end it; return the keys by name."""
        self.ports.database.jobs.claim(job.id, "worker", lease_s=3600)
        keys = {
            name: self.put(result_key(job.user_id, job.video_id, job.id, 1, name), data)
            for name, data in RESULTS.items()
        }
        result = {"files": {name: len(data) for name, data in RESULTS.items()}}
        finish = JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=1)
        assert self.ports.database.jobs.finish(job.id, "worker", finish)
        return keys

    def begin_upload(self, key: str, data: bytes) -> None:
        """Send bytes as a browser does, without finishing the upload."""
        if self.ports.files.part_bytes(len(data)) is None:
            self.ports.files.append(key, 0, data)
        else:
            httpx.put(self.ports.files.sign_part(key, 1, len(data), expires_s=60), content=data).raise_for_status()

    def list_keys(self) -> list[str]:
        return sorted(file.key for file in self.ports.files.list_files("user/"))

    def compare(self, person: User | None = None) -> tuple[list[Difference], list[PersonTotal]]:
        """Return what differs, and everybody's totals."""
        told: list[Difference] = []
        totals = list(compare_stores(self.ports, person=person, tell=told.append))
        assert sum(total.differences for total in totals) == len(told)
        return told, totals


def open_files(request: pytest.FixtureRequest, kind: str, folder: Path) -> FileStore:
    if kind == "local":
        return LocalFiles(folder / "files")
    store: LocalS3 = request.getfixturevalue("local_s3")
    return S3Files(
        bucket=store.make_bucket("reconcile"),
        region=store.region,
        endpoint=store.endpoint,
        public_endpoint=store.endpoint,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
    )


def open_database(request: pytest.FixtureRequest, kind: str, folder: Path) -> Database:
    if kind == "sqlite":
        return SqliteDatabase(folder / "factory.sqlite3")
    project: LocalSupabase = request.getfixturevalue("project")
    empty(project.db_url)
    return SupabaseDatabase(project.url, secret_key=project.secret_key)


@pytest.fixture(scope="session")
def project(local_supabase: LocalSupabase) -> LocalSupabase:
    return local_supabase.make_project("reconcile")


@pytest.fixture(params=["sqlite-local", "sqlite-s3", "supabase-local", "supabase-s3"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    database, files = request.param.split("-")
    clock, product = Clock(), make_product(tmp_path / "product")
    ports = replace(
        product.ports,
        database=open_database(request, database, tmp_path),
        files=open_files(request, files, tmp_path),
        now=clock,
    )
    yield Stores(ports=ports, clock=clock, folder=tmp_path)
    ports.database.close()
    product.ports.database.close()


@pytest.fixture
def ann(stores: Stores) -> User:
    return make_person(stores.ports.database, "ann")


# --- reconcile ---


def test_rows_and_files_that_agree(stores: Stores, ann: User, capsys: pytest.CaptureFixture[str]) -> None:
    bob = make_person(stores.ports.database, "bob")
    for user in (ann, ann, bob):
        video, job = stores.make_video(user)
        stores.make_result(job)
    key = transcript_key(bob.id, video.id, "a" * 64)
    stores.put(key, b"window")
    stores.clock.advance(days=1)
    assert reconcile(stores.ports) == 0
    each = len(ORIGINAL) + RESULT_BYTES
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sorted(line for line in table if line[0] in ("ann", "bob", "All")) == [
        ["All", "3", str(3 * each), str(3 * each), "6", "0"],
        ["ann", "2", str(2 * each), str(2 * each), "0", "0"],
        ["bob", "1", str(each), str(each), "6", "0"],
    ]
    assert table[-1] == ["Rows", "and", "files", "agree."]


def test_every_difference_is_told_and_nothing_is_changed(stores: Stores, ann: User) -> None:
    files = stores.ports.files
    whole, _ = stores.make_video(ann)
    lost, lost_job = stores.make_video(ann)
    results = stores.make_result(lost_job)
    files.delete([original_key(ann.id, lost.id), results["captions.vtt"]])
    files.delete([results["video.mp4"]])
    stores.put(results["video.mp4"], b"cut off")
    stores.put(results["video.mp4"], b"cut")
    gone, _ = stores.make_video(ann)
    stores.ports.database.videos.delete(ann.id, gone.id)
    failed = stores.put(result_key(ann.id, whole.id, str(uuid.uuid4()), 1, "video.mp4"), b"lost")
    stranger = stores.put(original_key(str(uuid.uuid4()), str(uuid.uuid4())), b"stranger")
    odd = stores.put(f"user/{ann.id}/odd", b"odd")
    stores.clock.advance(hours=2)
    before = stores.list_keys()
    told, _ = stores.compare()
    found = {
        difference.key: (difference.kind.value, difference.row_bytes, difference.stored_bytes) for difference in told
    }
    assert found == {
        original_key(ann.id, lost.id): ("missing", len(ORIGINAL), None),
        results["captions.vtt"]: ("missing", 6, None),
        results["video.mp4"]: ("size", 7, 3),
        original_key(ann.id, gone.id): ("unknown", None, len(ORIGINAL)),
        failed: ("unknown", None, 4),
        stranger: ("unknown", None, 8),
        odd: ("unknown", None, 3),
    }
    assert len(told) == len(found)
    assert {difference.user_id for difference in told if difference.key not in (stranger, odd)} == {ann.id}
    assert stores.list_keys() == before
    assert stores.compare(ann)[0] == [one for one in told if one.key not in (stranger,)]


def test_what_is_on_its_way_is_no_difference(stores: Stores, ann: User) -> None:
    database = stores.ports.database
    video, job = stores.make_video(ann)
    database.jobs.claim(job.id, "worker", lease_s=24 * 3600)
    stores.put(result_key(ann.id, video.id, job.id, 1, "video.mp4"), b"just made")
    upload = make_upload(database, ann, size_bytes=len(ORIGINAL))
    stores.put(original_key(ann.id, upload.video_id), ORIGINAL)  # and its row is not there yet
    young, _ = stores.make_video(ann)
    database.videos.delete(ann.id, young.id)
    stores.clock.advance(minutes=50)
    assert stores.compare()[0] == []
    stores.clock.advance(minutes=20)
    assert [one.key for one in stores.compare()[0]] == [original_key(ann.id, young.id)]


def test_what_differs_only_for_a_moment_is_not_told(stores: Stores, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    _, job = stores.make_video(ann)
    stores.clock.advance(hours=2)
    list_files = stores.ports.files.list_files

    def change_meanwhile(prefix: str) -> Iterator[object]:
        monkeypatch.undo()
        listed = list(list_files(prefix))
        stores.make_result(job)  # the listing does not have it, the row counts on it
        return iter(listed)

    monkeypatch.setattr(stores.ports.files, "list_files", change_meanwhile)
    told, (total,) = stores.compare()
    assert told == []
    assert total.row_bytes == len(ORIGINAL) + RESULT_BYTES


def test_rows_and_files_are_merged_page_by_page(
    stores: Stores, ann: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inventory, "ROWS_AT_ONCE", 2)
    people = [ann, *(make_person(stores.ports.database, name) for name in ("bob", "cid"))]
    without_file, without_row = set(), set()
    for number in range(13):
        user = people[number % 3]
        video, _ = stores.make_video(user)
        key = original_key(user.id, video.id)
        if number % 4 == 1:
            stores.ports.files.delete([key])
            without_file.add(key)
        elif number % 4 == 2:
            stores.ports.database.videos.delete(user.id, video.id)
            without_row.add(key)
    stores.clock.advance(hours=2)
    assert reconcile(stores.ports, as_json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [line for line in lines if line["event"] == "difference"]
    assert {line["key"] for line in told if line["kind"] == "missing"} == without_file
    assert {line["key"] for line in told if line["kind"] == "unknown"} == without_row
    assert {line["username"] for line in lines if line["event"] == "person"} == {"ann", "bob", "cid"}
    assert lines[-1] == {"event": "done", "agree": False, "differences": len(without_file | without_row)}


def test_one_person_alone(stores: Stores, ann: User) -> None:
    bob = make_person(stores.ports.database, "bob")
    for user in (ann, bob):
        video, _ = stores.make_video(user)
        stores.ports.files.delete([original_key(user.id, video.id)])
    for user in (ann, bob):
        told, (total,) = stores.compare(user)
        assert [difference.user_id for difference in told] == [user.id]
        assert (total.username, total.videos) == (user.username, 1)
    cid = make_person(stores.ports.database, "cid")
    told, (total,) = stores.compare(cid)
    assert (told, total) == ([], PersonTotal(user_id=cid.id, username="cid"))


def test_storage_that_is_counted_wrong_is_told(tmp_path: Path) -> None:
    """With one writer for rows and count this can't come about, so the row is changed by hand."""
    product = make_product(tmp_path)
    stores = Stores(ports=product.ports, clock=product.clock, folder=tmp_path)
    ann = make_person(product.ports.database, "ann")
    _, job = stores.make_video(ann)
    stores.make_result(job)
    with sqlite3.connect(tmp_path / "factory.sqlite3") as connection:
        connection.execute("UPDATE jobs SET stored_bytes = stored_bytes + 5")
    connection.close()
    ((difference,), _) = stores.compare()
    right = len(ORIGINAL) + RESULT_BYTES
    assert (difference.kind, difference.row_bytes, difference.stored_bytes) == (DifferenceKind.SUM, right, right + 5)
    product.ports.database.close()


def test_a_store_that_can_not_be_read_is_not_taken_for_empty(stores: Stores, ann: User, local_s3: LocalS3) -> None:
    stores.make_video(ann)
    nowhere = S3Files(
        bucket="not-there",
        region=local_s3.region,
        endpoint=local_s3.endpoint,
        public_endpoint=local_s3.endpoint,
        access_key_id=local_s3.access_key_id,
        secret_access_key=local_s3.secret_access_key,
    )
    told: list[Difference] = []
    with pytest.raises(StorageError):
        list(compare_stores(replace(stores.ports, files=nowhere), tell=told.append))
    assert told == []


# --- sweep ---


def test_a_sweep_removes_what_nobody_needs_and_says_so_before(
    stores: Stores, ann: User, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, job = stores.make_video(ann)
    results = stores.make_result(job)
    zombie = stores.put(result_key(ann.id, kept.id, job.id, 2, "video.mp4"), b"zombie")
    gone, _ = stores.make_video(ann)
    stores.ports.database.videos.delete(ann.id, gone.id)
    stray = original_key(ann.id, str(uuid.uuid4()))
    stores.begin_upload(stray, b"stray bytes")
    assert stores.recovery.sweep() == NOTHING, "all of it is young"
    stores.clock.advance(hours=3)
    sweep(stores.ports, stores.recovery, dry_run=True)
    said = capsys.readouterr().out
    for key in (zombie, stray, original_key(ann.id, gone.id)):
        assert key in said
    assert said.count("3 hours") == 3
    assert said.splitlines()[-1] == (
        "Would remove 1 unfinished upload, 2 files that no row needs, 0 videos past their time: 28 bytes."
    )
    assert zombie in stores.list_keys()
    sweep(stores.ports, stores.recovery, dry_run=False)
    assert capsys.readouterr().out.splitlines()[-1] == said.splitlines()[-1].replace("Would remove", "Removed")
    assert stores.list_keys() == sorted([original_key(ann.id, kept.id), *results.values()])
    assert list(stores.ports.files.list_uploads()) == []
    sweep(stores.ports, stores.recovery, dry_run=False)
    assert capsys.readouterr().out == "There is nothing to remove.\n"


def test_an_upload_that_goes_on_is_kept(stores: Stores, ann: User) -> None:
    upload = make_upload(stores.ports.database, ann, size_bytes=len(ORIGINAL))
    key = original_key(ann.id, upload.video_id)
    stores.begin_upload(key, ORIGINAL)
    stores.clock.advance(hours=23)
    assert stores.recovery.sweep_regularly() == NOTHING
    assert stores.ports.files.received(key) == len(ORIGINAL)
    stores.clock.advance(hours=2)
    assert stores.recovery.sweep_regularly().uploads == 1
    assert stores.ports.files.received(key) == 0


def test_a_lost_database_empties_no_store(stores: Stores, ann: User, tmp_path: Path) -> None:
    """The files stay where the database knows none of their people; and where it is an older one of the same."""
    videos = [stores.make_video(ann)[0] for _ in range(MANY_ORIGINALS + 1)]
    stores.begin_upload(original_key(ann.id, str(uuid.uuid4())), b"under way")
    stores.clock.advance(days=3)
    before = stores.list_keys()
    lost = SqliteDatabase(tmp_path / "lost" / "factory.sqlite3")
    make_person(lost, "somebody")
    other = Recovery(replace(stores.ports, database=lost), StorageManager(stores.ports.files), LIMITS)
    for _ in range(2):
        assert (other.sweep(), other.sweep_regularly()) == (NOTHING, NOTHING)
        stores.clock.advance(days=2)
    assert stores.list_keys() == before
    assert len(list(stores.ports.files.list_uploads())) == 1
    lost.close()
    for video in videos:
        stores.ports.database.videos.delete(ann.id, video.id)
    assert stores.recovery.sweep_regularly().orphans == 0
    assert stores.list_keys() == before


# --- the commands ---


def run(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m jobs.upkeep`` over the embedded stores in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "jobs.upkeep", *words],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATA_DIR": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_exit_status_says_whether_they_agree(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    stores = Stores(ports=product.ports, clock=product.clock, folder=tmp_path)
    ann = make_person(product.ports.database, "ann")
    video, _ = stores.make_video(ann)
    agreed = run(tmp_path, "reconcile")
    assert (agreed.returncode, agreed.stdout.splitlines()[-1]) == (0, "Rows and files agree.")
    product.ports.files.delete([original_key(ann.id, video.id)])
    differing = run(tmp_path, "reconcile", "--person", "Ann")
    assert differing.returncode == 1
    assert f"missing  ann              {original_key(ann.id, video.id)}: 11 bytes by its row" in differing.stdout
    assert differing.stdout.splitlines()[-1] == "Rows and files differ in 1 thing, listed above."
    nobody = run(tmp_path, "reconcile", "--person", "zoe")
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (2, "", "There is nobody called 'zoe'.\n")
    assert run(tmp_path, "reconcile", PORT="none").returncode == 78
    swept = run(tmp_path, "sweep", "--dry-run")
    assert (swept.returncode, swept.stdout) == (0, "There is nothing to remove.\n")
    product.ports.database.close()
