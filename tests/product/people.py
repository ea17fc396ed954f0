"""People in a product under test: signed up, with a browser of their own, with uploads and finished videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

import api
from api.guard import COOKIE
from api.headers import SecurityHeaders
from jobs.models import JobStatus, Json, ProcessingJob, Role, Upload
from jobs.ports import JobFinish
from pipeline.models import RESULT_FILES
from tests.product import Product

PASSWORD = "a password for tests"
_CHEAP_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
RESULTS: Mapping[str, bytes] = {
    "video.mp4": b"\0\0\0\x18ftypisom" + bytes(range(256)) * 40,
    "captions.vtt": b"WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nTom &amp; Ann\nat work\n",
    "captions.srt": b"1\n00:00:01,000 --> 00:00:02,500\nTom & Ann\nat work\n",
    "transcript.txt": b"Tom & Ann at work.\n",
    "transcript.json": b'{"version": 1}',
    "timeline.json": b'{"version": "1"}',
    "peaks.json": b'{"per_second": 10, "peaks": [0, 255]}',
    "poster.jpg": b"\xff\xd8\xff\xe0",
    "report.json": b'{"version": 1, "qa": []}',
}
"""What a worker may have stored; small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is signed in."""

    id: str
    token: str


def add_user(product: Product, name: str, *, password_hash: str = "!") -> str:
    """Return the id of a new user, the first one an administrator; without a hash it can't log in."""
    role = Role.USER if product.services.auth.has_users() else Role.ADMIN
    user = product.ports.database.users.create(
        username=name, full_name=name.title(), role=role, password_hash=password_hash
    )  # fmt: skip
    assert user is not None
    return user.id


def sign_up(product: Product, name: str) -> Person:
    """Return a new person who is logged in. Hashing is made cheap: it is tested elsewhere and takes a while."""
    user_id = add_user(product, name, password_hash=_CHEAP_HASH)
    return Person(id=user_id, token=product.services.auth.login(name, PASSWORD, address="192.0.2.1").token)


def open_browser(product: Product, person: Person | None) -> TestClient:
    """Return a client of the product's own routes, with the cookie of ``person`` and the header of our pages."""
    app = Starlette(routes=api.make_routes(lambda: product.services), middleware=[Middleware(SecurityHeaders)])
    return TestClient(
        app, headers={"X-App": "1"}, cookies={COOKIE: person.token} if person else None, raise_server_exceptions=False
    )


def receive_file(
    product: Product, user_id: str, path: Path, *, name: str = "", options: Json | None = None
) -> Upload:  # fmt: skip
    """Upload a file whole, and return its upload before it is completed."""
    data = path.read_bytes()
    begun = product.services.uploads.begin(
        user_id, name=name or path.name, size_bytes=len(data), fingerprint=f"{name or path.name}:{len(data)}",
        options=options or {},
    )  # fmt: skip
    product.services.uploads.append(user_id, begun.upload.id, offset=begun.received, data=data[begun.received :])
    return begun.upload


def make_video(product: Product, user_id: str, path: Path, *, name: str = "", options: Json | None = None) -> Upload:
    """Upload a file and complete it; return the upload with the ids of its video and job."""
    upload = receive_file(product, user_id, path, name=name, options=options)
    return product.services.uploads.complete(user_id, upload.id)


def finish_job(product: Product, job_id: str, files: Mapping[str, bytes] = RESULTS) -> ProcessingJob:
    """Do what a worker does at the end of a job, with made-up results; return the job as it then is."""
    jobs = product.ports.database.jobs
    claimed = jobs.claim(job_id, "worker-1", lease_s=60)
    assert claimed is not None
    folder = product.root / f"work-{job_id}"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sizes = product.services.storage.store_results(
        claimed.user_id, claimed.video_id, job_id, claimed.attempt, {name: folder / name for name in files}
    )
    assert set(sizes) <= set(RESULT_FILES)
    result = {"duration_ms": 2000, "size_bytes": sum(sizes.values()), "cuts": 1, "words": 4, "cues": 1, "files": sizes}
    assert jobs.finish(
        job_id,
        "worker-1",
        JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=claimed.attempt),
    )
    job = jobs.get(claimed.user_id, job_id)
    assert job is not None
    return job


def end_job(product: Product, job_id: str, status: JobStatus, code: str = "tool_failed") -> None:
    """End a job as a worker that could not make the video."""
    jobs = product.ports.database.jobs
    assert jobs.claim(job_id, "worker-1", lease_s=60) is not None
    assert jobs.finish(job_id, "worker-1", JobFinish(status=status, error_code=code, error_message="It went wrong."))
