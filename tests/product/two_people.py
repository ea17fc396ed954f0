"""Ada who administers, Alice who has one of everything, and Ben who has nothing: for what Ben must never see."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.models import JobStatus, LinkKind, UploadState, VideoFacts
from jobs.ports import Charge, JobFinish
from jobs.service import Services, SignIn
from pipeline.models import RESULT_FILES
from tests.product import Product, make_product

PASSWORDS = {"ada": "ada keeps a password", "alice": "alice keeps a password", "ben": "ben keeps a password"}
MARK = "zebra"
"""Stands in everything Alice wrote; whatever carries it does not belong before Ben."""
FACTS = VideoFacts(
    duration_ms=60_000, width=320, height=180, fps="30/1", video_codec="h264", audio_tracks=1, size_bytes=1000,
    sha256="ab" * 32,
)  # fmt: skip
NO_CHARGE = Charge(key="free", limit_ms=0)
RECEIVED = b"0123456789"
FINGERPRINT = "the fingerprint of alice's file"


@dataclass(frozen=True)
class World:
    """The product with Ada (its administrator), Alice (who has everything) and Ben (who has nothing)."""

    product: Product
    ada: SignIn
    alice: SignIn
    ben: SignIn
    ids: Mapping[str, str]
    """Alice's ids by what they are of."""

    @property
    def services(self) -> Services:
        return self.product.services

    def copy(self, root: Path) -> World:
        """Return the same people over a copy of their data."""
        shutil.copytree(self.product.root, root)
        product = make_product(root)
        product.queue.waiting.extend(self.product.queue.waiting)
        return replace(self, product=product)

    def tells_of_alice(self, value: object) -> bool:
        """Tell whether a value carries her words or ids."""
        text = repr(value)
        return MARK in text or any(one in text for one in self.ids.values())

    def snapshot(self) -> dict[str, list[str]]:
        """Return every row that carries one of Alice's ids, every file of hers, and what waits for a worker."""
        connection = sqlite3.connect(f"file:{self.product.root / 'factory.sqlite3'}?mode=ro", uri=True)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {
            table: sorted(repr(row) for row in connection.execute(f'SELECT * FROM "{table}"') if self._is_hers(row))
            for table in tables
        }
        connection.close()
        root = self.product.root / "files"
        files = [
            f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in sorted(root.rglob("*"))
            if path.is_file() and self._is_hers(path.relative_to(root).as_posix())
        ]
        waiting = [repr(entry) for entry in self.product.queue.waiting if self._is_hers(entry)]
        return {**rows, "files": files, "waiting": waiting}

    def _is_hers(self, value: object) -> bool:
        return any(one in repr(value) for one in self.ids.values())


def make_world(root: Path) -> World:
    """Return the three of them, with the database closed: for `World.copy`."""
    product = make_product(root)
    auth = product.services.auth
    ada = auth.create_administrator(username="ada", full_name="Ada", password=PASSWORDS["ada"])
    alice, ben = (
        auth.register(username=name, full_name=shown, password=PASSWORDS[name], address="192.0.2.1")
        for name, shown in (("alice", f"Alice {MARK}"), ("ben", "Ben"))
    )
    ids = {"user": alice.user.id, "session": alice.session.id, **give_videos(product, alice)}
    auth.make_reset_link(ada.user, alice.user.id)
    [link] = product.ports.database.links.list_open(LinkKind.RESET)
    world = World(product=product, ada=ada, alice=alice, ben=ben, ids={**ids, "link": link.id})
    product.ports.database.close()
    return world


def give_videos(product: Product, owner: SignIn) -> dict[str, str]:
    """Give a person one video that is ready, one that failed, one that waits, and an upload half way."""
    ids: dict[str, str] = {}
    jobs_of = product.ports.database.jobs
    for state in ("ready", "failed", "waiting"):
        upload_id, video_id, job_id = add_video(product, owner.user.id, f"{MARK} {state}")
        ids |= {f"upload of {state}": upload_id, f"video {state}": video_id, f"job {state}": job_id}
        if state == "waiting":
            product.queue.enqueue(job_id, 0, timeout_s=60)
            continue
        assert jobs_of.claim(job_id, "a worker", lease_s=60)
        finish = JobFinish(status=JobStatus.FAILED, error_code="timeout", error_message=f"Too slow for a {MARK}.")
        if state == "ready":
            sizes = store_results(product, owner.user.id, video_id, job_id)
            result = {"duration_ms": 50_000, "size_bytes": 9, "words": 1, "cues": 1, "files": sizes}
            finish = JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=1)
        assert jobs_of.finish(job_id, "a worker", finish)
    uploads = product.services.uploads
    begun = uploads.begin(owner.user.id, name=f"{MARK}.mp4", size_bytes=1000, fingerprint=FINGERPRINT, options={})
    uploads.append(owner.user.id, begun.upload.id, offset=0, data=RECEIVED)
    return ids | {"upload half way": begun.upload.id, "video to come": begun.upload.video_id}


def add_video(product: Product, user_id: str, title: str) -> tuple[str, str, str]:
    """Return the ids of an upload, its video and its job; the original is stored."""
    database, files = product.ports.database, product.ports.files
    upload = database.uploads.create(
        user_id, name=f"{title}.mp4", size_bytes=len(RECEIVED), fingerprint=title, options={}
    )  # fmt: skip
    key = f"user/{user_id}/video/{upload.video_id}/original"
    files.append(key, 0, RECEIVED)
    files.finish_upload(key)
    assert database.uploads.set_state(user_id, upload.id, UploadState.CHECKING)
    video, job = database.videos.create_with_job(
        upload, title=title, facts=FACTS, options={}, charge=NO_CHARGE, limit_bytes=0
    )  # fmt: skip
    assert database.videos.set_details(user_id, video.id, note=MARK, tags=(MARK,), recorded_on="")
    return upload.id, video.id, job.id


def store_results(product: Product, user_id: str, video_id: str, job_id: str) -> dict[str, int]:
    folder = product.root / "made"
    folder.mkdir()
    contents = {
        "captions.vtt": f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{MARK}\n",
        "report.json": json.dumps({"version": 1, "source": {"name": MARK}}),
        "peaks.json": '{"per_second": 10, "peaks": []}',
    }
    paths = {name: folder / name for name in RESULT_FILES}
    for name, path in paths.items():
        path.write_text(contents.get(name, f"{name} of a {MARK}"), encoding="utf-8")
    return product.services.storage.store_results(user_id, video_id, job_id, 1, paths)
