"""An installation with some of everything, and all that the product tells about one: for moving it elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.models import JobEvent, JobStatus, ProcessingJob, Role, User, VideoCard, VideoQuery
from jobs.ports import Charge, Ports
from jobs.rows import TABLES, Row, Rows
from jobs.storage import original_key, transcript_key, video_prefix
from tests.database import FACTS
from tests.product import Product, make_product
from tests.product.people import add_user, end_job, finish_job, sign_up

PEOPLE = {"ada": Role.ADMIN, "bea": Role.USER, "ßara": Role.USER}
KEY = "c" * 64
"""Of a transcript that is charged for."""


def furnish(root: Path, *, large: bytes = b"large") -> Product:
    """Return a product with people, links and videos in every state; ``large`` is the original of one of them."""
    product = make_product(root)
    auth, database = product.services.auth, product.ports.database
    ada, bea = sign_up(product, "ada"), sign_up(product, "bea")
    add_user(product, "ßara")
    actor = database.users.get(ada.id)
    assert actor is not None
    auth.set_name(bea.id, "Bea Émile ẞ")
    auth.set_quota(actor, bea.id, minutes=90, size_bytes=10**12)
    auth.set_options(bea.id, {"pace": "relaxed", "captions": "both"})
    auth.invite(actor, role=Role.ADMIN, note="for the new colleague")
    auth.make_reset_link(actor, bea.id)

    first = add_video(product, bea.id, "Talk: one 😀", b"an original", key=KEY)
    finish_job(product, first.id)
    database.videos.set_details(
        bea.id, first.video_id, note="A note\nof two lines \\ \t", tags=["Straße", "b"], recorded_on="2026-03-01"
    )
    _put(product, transcript_key(bea.id, first.video_id, KEY), b'{"words": []}\n')
    _put(product, f"{video_prefix(bea.id, first.video_id)}preview.mp4", b"a preview")
    again = database.jobs.create(
        bea.id, first.video_id, options={"pace": "tight"}, charge=Charge(key=KEY, limit_ms=0), idempotency_key="again"
    )
    assert again is not None
    end_job(product, again.id, JobStatus.FAILED)

    waits = add_video(product, bea.id, "Waits", b"waiting")
    cancelled = add_video(product, bea.id, "Cancelled", b"cancelled")
    database.jobs.request_cancel(bea.id, cancelled.id)
    large_one = add_video(product, ada.id, "Large", large)
    database.jobs.log(large_one.id, "stage", {"z": 1.5, "a": [None, True]})
    gone = add_video(product, ada.id, "Gone", b"gone", key="d" * 64)
    finish_job(product, gone.id)
    database.videos.delete(ada.id, gone.video_id)  # what it cost stays; its files wait for the sweep
    upload = database.uploads.create(ada.id, name="on its way.mov", size_bytes=9, fingerprint="f", options={})
    product.ports.files.append(original_key(ada.id, upload.video_id), 0, b"half")
    assert waits.status is JobStatus.QUEUED
    return product


def add_video(product: Product, user_id: str, title: str, data: bytes, *, key: str = "") -> ProcessingJob:
    """Return the first job of a new video, whose original is ``data``."""
    database, files = product.ports.database, product.ports.files
    upload = database.uploads.create(
        user_id, name=f"{title}.mov", size_bytes=len(data), fingerprint=title, options={}
    )  # fmt: skip
    stored = original_key(user_id, upload.video_id)
    files.append(stored, 0, data)
    files.finish_upload(stored)
    _, job = database.videos.create_with_job(
        upload, title=title, facts=replace(FACTS, size_bytes=len(data)),
        options={"pace": "tight", "margin": [0.2, 0.3]},
        charge=Charge(key=key or hashlib.sha256(title.encode()).hexdigest(), limit_ms=0), limit_bytes=0,
    )  # fmt: skip
    return job


def _put(product: Product, key: str, data: bytes) -> None:
    path = product.root / "to-store"
    path.write_bytes(data)
    product.ports.files.put(key, path)


@dataclass(frozen=True)
class Told:
    """What pages and workers see of one person."""

    user: User
    password_hash: str | None
    cards: Sequence[VideoCard]
    found: Sequence[str]
    """Ids of the videos that a search for other letters finds."""
    jobs: Mapping[str, Sequence[ProcessingJob]]
    events: Mapping[str, Sequence[JobEvent]]
    used: tuple[int, int]
    charged: Sequence[bool]


def tell_all(ports: Ports) -> Mapping[str, Told]:
    """Return what there is of everybody, by name."""
    database, told = ports.database, {}
    for user in database.users.list_all().items:
        cards = database.videos.list_cards(user.id, VideoQuery()).items
        jobs = {card.video.id: list(database.jobs.list_of_video(user.id, card.video.id)) for card in cards}
        told[user.username] = Told(
            user=user,
            password_hash=database.users.password_hash(user.id),
            cards=cards,
            found=[
                card.video.id for card in database.videos.list_cards(user.id, VideoQuery(search="STRASSE note")).items
            ],
            jobs=jobs,
            events={job.id: list(database.jobs.list_events(user.id, job.id)) for some in jobs.values() for job in some},
            used=(database.jobs.used_ms(user.id), database.videos.stored_bytes(user.id)),
            charged=[database.jobs.has_charge(user.id, key) for key in (KEY, "d" * 64, "e" * 64)],
        )
    return told


def hash_files(ports: Ports) -> Mapping[str, str]:
    """Return the hash of every file of a video that is there."""
    known = {video.id for video, _ in ports.database.videos.list_with_jobs()}
    return {
        file.key: hashlib.sha256(b"".join(ports.files.read(file.key))).hexdigest()
        for file in ports.files.list_files("user/")
        if file.key.split("/")[3] in known
    }


def read_rows(rows: Rows) -> Mapping[str, list[Row]]:
    """Return every row that is carried."""
    with rows.snapshot() as snapshot:
        return {table.name: list(snapshot.list_rows(table)) for table in TABLES.values()}
