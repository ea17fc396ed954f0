"""What stands on the screens: real rows and real files of invented people, made through the ports."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.models import JobStatus, Json, ProcessingJob, Role, User, Video, VideoFacts, WorkerInfo
from jobs.ports import Charge, JobFinish
from jobs.storage import original_key
from jobs.version import VERSION
from pipeline.models import RESULT_FILES
from tests.product import Product

PASSWORD = "a good password for Mara"
OPTIONS: Json = {"version": 1, "pace": "natural", "language": "en", "captions": "soft", "style": "clean"}
MINUTE = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One card of the list."""

    title: str
    scene: str
    length_ms: int
    ago: timedelta
    """Since it was uploaded."""
    result_ms: int = 0
    cuts: int = 58


def add_administrator(product: Product) -> User:
    """Make the account the screens are seen with."""
    return product.services.auth.create_administrator(
        username="mara", full_name="Mara", password=PASSWORD, label="Chrome on Linux"
    ).user


def add_person(product: Product, username: str, full_name: str) -> User:
    """Make one more account; it can't log in."""
    user = product.ports.database.users.create(
        username=username, full_name=full_name, role=Role.USER, password_hash="none"
    )
    assert user is not None
    return user


def add_video(product: Product, user: User, recording: Recording, original: Path, facts: VideoFacts) -> ProcessingJob:
    """Make a video that waits to be processed; its original is a copy of ``original``."""
    with moved_back(product, recording.ago):
        uploads = product.ports.database.uploads
        upload = uploads.create(
            user.id, name=f"{recording.title}.mp4", size_bytes=facts.size_bytes, fingerprint=recording.title,
            options=OPTIONS,
        )  # fmt: skip
        copy = product.root / "incoming.mp4"
        shutil.copyfile(original, copy)
        product.ports.files.put(original_key(user.id, upload.video_id), copy)
        _, job = product.ports.database.videos.create_with_job(
            upload, title=recording.title, facts=facts, options=OPTIONS,
            charge=Charge(key=facts.sha256, limit_ms=0), limit_bytes=0,
        )  # fmt: skip
    return job


class moved_back:
    """Lets the product's clock go some time back while rows are made."""

    def __init__(self, product: Product, ago: timedelta) -> None:
        self._clock, self._ago = product.clock, ago

    def __enter__(self) -> None:
        self._clock.ahead -= self._ago

    def __exit__(self, *_: object) -> None:
        self._clock.ahead += self._ago


def begin(product: Product, job: ProcessingJob, *, stage: str, progress: float, for_s: int) -> None:
    """Let a worker be some way into a job."""
    jobs = product.ports.database.jobs
    with moved_back(product, timedelta(seconds=for_s)):
        assert jobs.claim(job.id, "studio-1", lease_s=86_400) is not None
    assert jobs.beat(job.id, "studio-1", stage=stage, progress=progress, lease_s=86_400) is False


def fail(product: Product, job: ProcessingJob, ago: timedelta, *, code: str, message: str) -> None:
    """Let a job fail."""
    with moved_back(product, ago):
        product.ports.database.jobs.claim(job.id, "studio-1", lease_s=60)
        finish = JobFinish(status=JobStatus.FAILED, error_code=code, error_message=message)
        assert product.ports.database.jobs.finish(job.id, "studio-1", finish)


def succeed(
    product: Product, job: ProcessingJob, ago: timedelta, out: Path, changes: Mapping[str, object], poster: Path | None
) -> None:
    """Let a job end well, with the files of ``out``, another poster, and ``changes`` to the numbers of its report."""
    folder = product.root / "outgoing"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(out, folder)
    if poster is not None:
        shutil.copyfile(poster, folder / "poster.jpg")
    with moved_back(product, ago):
        claimed = product.ports.database.jobs.claim(job.id, "studio-1", lease_s=60)
        assert claimed is not None
        files = {name: folder / name for name in RESULT_FILES}
        result = build_result(json.loads(files["report.json"].read_text("utf-8")))
        sizes = product.services.storage.store_results(job.user_id, job.video_id, job.id, claimed.attempt, files)
        result |= {"files": sizes, "size_bytes": sizes["video.mp4"], **changes}
        finish = JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=claimed.attempt)
        assert product.ports.database.jobs.finish(job.id, "studio-1", finish)


def build_result(report: Mapping[str, dict[str, object]]) -> dict[str, object]:
    """Return a job's result from the pipeline's report."""
    result, speech = report["result"], report["speech"]
    checks = report["qa"]
    assert isinstance(checks, list)
    return {
        **{name: result[name] for name in ("duration_ms", "width", "height", "fps", "captions")},
        "source_ms": report["source"]["duration_ms"],
        "cuts": report["cuts"]["count"],
        "removed_ms": report["cuts"]["removed_ms"],
        **{name: speech[name] for name in ("words", "cues", "language")},
        "checks": [{name: check[name] for name in ("id", "ok", "text")} for check in checks],
        "notes": report["notes"],
        "timings": {"seconds": 41.0},
    }


def make_facts(length_ms: int, size: tuple[int, int] = (1280, 720), *, size_bytes: int = 410_000_000) -> VideoFacts:
    """Return what a probe would have said of a recording."""
    return VideoFacts(
        duration_ms=length_ms, width=size[0], height=size[1], fps="30/1", video_codec="h264", audio_tracks=1,
        size_bytes=size_bytes, sha256=hashlib.sha256(uuid.uuid4().bytes).hexdigest(),
    )  # fmt: skip


def report_worker(product: Product) -> None:
    """Let a worker say that it is there."""
    now = datetime.now(UTC)
    common: Json = {
        "version": VERSION, "cores": 4, "gpus": [], "device": "cpu", "compute_type": "int8", "python": "3.11.2",
        "model": "faster-whisper base", "weights": True, "ffmpeg": "ffmpeg 9.0", "disk_free_bytes": 212 * 10**9,
    }  # fmt: skip
    product.ports.database.workers.beat(
        WorkerInfo(id="studio-1", host="studio", pid=4711, started_at=now - timedelta(hours=5), seen_at=now,
                   info={**common, "job_id": "7f3a0000-0000-0000-0000-000000000000"})
    )  # fmt: skip
    gpu = {"name": "NVIDIA L4", "memory_bytes": 24 << 30}
    product.ports.database.workers.beat(
        WorkerInfo(id="render-2", host="render-2.example.com", pid=17, started_at=now - timedelta(days=3), seen_at=now,
                   info={**common, "version": "0.0.9", "cores": 16, "gpus": [gpu], "device": "cuda",
                         "compute_type": "float16"})
    )  # fmt: skip


def find_video(product: Product, user: User, title: str) -> Video:
    """Return a video by its title."""
    from jobs.models import VideoQuery

    (card,) = product.services.videos.list_cards(user.id, VideoQuery(search=title)).items
    return card.video
