"""The administrator's side: who may, what is seen of others, and the health of every part."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.local_files import LocalFiles
from jobs import admin, health
from jobs.admin import AdminService
from jobs.errors import Forbidden, NotFound, StorageError, StoreUnavailable
from jobs.models import HealthPart, JobStatus, ProcessingJob, Role, User, VideoFacts, WorkerInfo
from jobs.ports import Charge, JobFinish
from tests.product import LIMITS, Product, RememberingQueue, make_product

INFO = {"ffmpeg": "ffmpeg 9.0", "missing": [], "model": "faster-whisper base", "weights": True}


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


def make_user(product: Product, username: str, role: Role) -> User:
    made = product.ports.database.users.create(username=username, full_name="", role=role, password_hash="none")
    assert made is not None
    return made


@pytest.fixture
def boss(product: Product) -> User:
    return make_user(product, "boss", Role.ADMIN)


@pytest.fixture
def ann(product: Product) -> User:
    return make_user(product, "ann", Role.USER)


def make_job(product: Product, user: User) -> ProcessingJob:
    upload = product.ports.database.uploads.create(
        user.id, name="secret plans.mp4", size_bytes=3, fingerprint=str(uuid.uuid4()), options={}
    )
    facts = VideoFacts(
        duration_ms=60_000, width=2, height=2, fps="25", video_codec="h264", audio_tracks=1, size_bytes=3,
        sha256="a" * 64,
    )  # fmt: skip
    charge = Charge(key="k", limit_ms=0)
    _, job = product.ports.database.videos.create_with_job(
        upload, title="secret plans", facts=facts, options={}, charge=charge, limit_bytes=0
    )
    return job


def sign_in_worker(product: Product, **info: object) -> None:
    now = product.clock()
    product.ports.database.workers.beat(
        WorkerInfo(id="w", host="studio", pid=1, started_at=now, seen_at=now, info={**INFO, **info})
    )


def by_id(parts: Sequence[HealthPart]) -> dict[str, HealthPart]:
    return {part.id: part for part in parts}


def test_only_an_active_administrator_may(product: Product, boss: User, ann: User) -> None:
    job = make_job(product, ann)
    service = product.services.admin
    for actor in (ann, replace(boss, is_active=False), replace(ann, username="boss")):
        for call in (
            lambda actor=actor: service.get_totals(actor),
            lambda actor=actor: service.list_jobs(actor),
            lambda actor=actor: service.list_workers(actor),
            lambda actor=actor: service.cancel_job(actor, job.id),
            lambda actor=actor: service.check_health(actor),
        ):
            with pytest.raises(Forbidden):
                call()
    found = product.ports.database.jobs.find(job.id)
    assert found is not None and found[0].status is JobStatus.QUEUED


def test_jobs_come_with_their_owner_and_without_a_title(product: Product, boss: User, ann: User) -> None:
    first, second = make_job(product, ann), make_job(product, boss)
    page = product.services.admin.list_jobs(boss)
    assert [(job.id, owner) for job, owner in page.items] == [(second.id, "boss"), (first.id, "ann")]
    assert page.total == 2
    assert "secret" not in repr(page)
    waiting = frozenset({JobStatus.QUEUED})
    assert product.services.admin.list_jobs(boss, states=waiting, offset=1, limit=1).items[0][0].id == first.id
    assert product.services.admin.list_jobs(boss, states=frozenset({JobStatus.FAILED})).total == 0


def test_totals_are_of_today(product: Product, boss: User, ann: User) -> None:
    job = make_job(product, ann)
    product.ports.database.jobs.claim(job.id, "w", lease_s=60)
    finish = JobFinish(status=JobStatus.FAILED, error_code="x", error_message="The file ends in the middle.")
    product.ports.database.jobs.finish(job.id, "w", finish)
    totals = product.services.admin.get_totals(boss)
    assert (totals.failed_today, totals.last_failure) == (1, "The file ends in the middle.")
    product.clock.advance(days=1)
    assert product.services.admin.get_totals(boss).failed_today == 0


def test_anybodys_job_can_be_stopped(product: Product, boss: User, ann: User) -> None:
    job = make_job(product, ann)
    product.ports.queue.enqueue(job.id, job.attempt, timeout_s=60)
    product.services.admin.cancel_job(boss, job.id)
    found = product.ports.database.jobs.find(job.id)
    assert found is not None and found[0].status is JobStatus.CANCELLED
    assert product.queue.waiting == []
    with pytest.raises(NotFound):
        product.services.admin.cancel_job(boss, str(uuid.uuid4()))


def test_a_healthy_product_is_green(product: Product, boss: User) -> None:
    sign_in_worker(product)
    parts = by_id(product.services.admin.check_health(boss))
    assert list(parts) == ["database", "files", "queue", "workers", "tools", "weights", "disk"]
    low = parts.pop("disk")
    assert all(part.ok for part in parts.values()), parts
    assert low.ok or "are free" in low.text
    assert parts["tools"].text == "ffmpeg 9.0."
    assert [worker.host for worker in product.services.admin.list_workers(boss)] == ["studio"]


def test_a_worker_that_fell_silent_is_missed(product: Product, boss: User) -> None:
    sign_in_worker(product)
    product.clock.advance(seconds=health.ALIVE_S + 1)
    parts = by_id(product.services.admin.check_health(boss))
    assert not parts["workers"].ok
    assert "`make worker`" in parts["workers"].text
    assert not parts["weights"].ok and not parts["tools"].ok
    assert parts["database"].ok
    assert product.services.admin.list_workers(boss) == ()


@pytest.mark.parametrize(
    ("info", "part", "words"),
    [
        ({"missing": ["ass", "zscale"]}, "tools", "The ffmpeg on studio lacks ass, zscale."),
        ({"weights": False}, "weights", "Run `make weights` there"),
    ],
)
def test_what_a_worker_lacks_is_told(
    product: Product, boss: User, info: dict[str, object], part: str, words: str
) -> None:
    sign_in_worker(product, **info)
    found = by_id(product.services.admin.check_health(boss))[part]
    assert not found.ok
    assert words in found.text


def test_a_full_disk_is_told(product: Product, boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOW_DISK_BYTES", 10**18)
    part = by_id(product.services.admin.check_health(boss))["disk"]
    assert not part.ok
    assert part.text.startswith("Only ")


class BrokenQueue(RememberingQueue):
    """A queue that does not answer, in one of two ways."""

    def __init__(self, breaks: Exception | None) -> None:
        super().__init__()
        self.breaks, self.hangs, self.looks = breaks, threading.Event(), 0

    def check(self) -> str:
        self.looks += 1
        if self.breaks is not None:
            raise self.breaks
        self.hangs.wait()
        return "At last."


@pytest.mark.parametrize("error", [StoreUnavailable("refused"), ZeroDivisionError(), None])
def test_a_part_that_breaks_or_hangs_has_its_sentence_and_hides_no_other(
    product: Product, boss: User, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.5)
    queue = BrokenQueue(error)
    service = AdminService(replace(product.ports, queue=queue), LIMITS)
    sign_in_worker(product)
    try:
        parts = by_id(service.check_health(boss))
    finally:
        queue.hangs.set()
    assert parts["queue"].text.startswith("The queue does not answer.")
    assert not parts["queue"].ok
    assert parts["database"].ok and parts["files"].ok


def test_a_part_that_hangs_is_waited_for_once(
    product: Product, boss: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "CHECK_S", 0.5)
    queue = BrokenQueue(None)
    service = AdminService(replace(product.ports, queue=queue), LIMITS)
    sign_in_worker(product)
    try:
        service.check_health(boss)
        before = threading.active_count()
        for _ in range(30):  # more often than there are threads
            parts = by_id(service.check_health(boss))
            assert not parts["queue"].ok
            assert parts["database"].ok and parts["files"].ok and parts["workers"].ok
        assert queue.looks == 1
        assert threading.active_count() <= before + len(health.NAMES)
        assert sum("no answer" in record.message for record in caplog.records) == 1
    finally:
        queue.hangs.set()
    deadline = time.monotonic() + 10
    while not by_id(service.check_health(boss))["queue"].ok:
        assert time.monotonic() < deadline, "a part that answers again is not looked at again"


def test_a_store_says_itself_what_mends_it(product: Product, boss: User) -> None:
    refused = StoreUnavailable("HTTP 401 for sb_secret_123 at db.example.com")
    refused.remedy = "The database refuses our key. Set SUPABASE_SECRET_KEY."
    queue = BrokenQueue(refused)
    service = AdminService(replace(product.ports, queue=queue), LIMITS)
    assert by_id(service.check_health(boss))["queue"].text == refused.remedy
    assert "sb_secret_123" not in repr(service.check_readiness())


class FilesElsewhere(LocalFiles):
    """Files that lie on no disk of ours; counts how often it is looked at."""

    looks = 0
    breaks = False

    def free_bytes(self) -> int | None:
        return None

    def check(self) -> str:
        self.looks += 1
        if self.breaks:
            raise StorageError("files", "The file store does not answer.")
        return "A bucket."


def test_with_files_elsewhere_the_disk_is_that_of_the_work_folders(product: Product, boss: User) -> None:
    service = AdminService(replace(product.ports, files=FilesElsewhere(product.root / "elsewhere")), LIMITS)
    assert by_id(service.check_health(boss))["disk"].text == "Nobody can tell while no worker is running."
    sign_in_worker(product, disk_free_bytes=90_000_000_000)
    part = by_id(service.check_health(boss))["disk"]
    assert (part.ok, part.text) == (True, "90 GB are free for work folders.")
    sign_in_worker(product, disk_free_bytes=1_200_000_000)
    part = by_id(service.check_health(boss))["disk"]
    assert (part.ok, part.text) == (False, "Only 1.2 GB are free for work folders on studio. Make room there.")


def test_files_elsewhere_are_looked_at_seldom_while_they_work(
    product: Product, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FilesElsewhere(product.root / "elsewhere")
    service = AdminService(replace(product.ports, files=files), LIMITS)
    assert [by_id(service.check_health(boss))["files"].ok for _ in range(3)] == [True] * 3
    assert files.looks == 1
    monkeypatch.setattr(health, "FILES_ELSEWHERE_S", 0.0)
    files.breaks = True
    assert not by_id(service.check_health(boss))["files"].ok
    monkeypatch.setattr(health, "FILES_ELSEWHERE_S", 3600.0)
    files.breaks = False
    assert by_id(service.check_health(boss))["files"].ok, "a failure serves nobody but who asked"


def test_an_outside_probe_sees_no_more_than_it_needs(product: Product) -> None:
    parts = by_id(product.services.admin.check_readiness())
    assert set(parts) == set(admin.READINESS)
    assert not parts["workers"].ok


def test_probes_share_an_answer(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "READINESS_S", 3600.0)
    service = AdminService(product.ports, LIMITS)
    first = service.check_readiness()
    sign_in_worker(product)
    assert service.check_readiness() is first
    monkeypatch.setattr(admin, "READINESS_S", 0.0)
    assert by_id(service.check_readiness())["workers"].ok
