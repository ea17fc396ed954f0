"""Two people side by side: whatever one does with the other's ids is answered like an unknown id, and changes nothing.

The table is held against the ports: a method that takes ``user_id`` and something's id must be in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from jobs.models import Session, Upload, UploadState, User, Video, VideoQuery
from jobs.ports import Database, Jobs, Sessions, Uploads, Users, Videos
from tests.database import claim, make_charge, make_upload, make_video, process
from tests.product import Clock


@dataclass(frozen=True)
class Things:
    """What somebody has."""

    user: User
    session: Session
    upload: Upload
    done: Video
    done_job: str
    waiting: Video
    waiting_job: str
    running_job: str
    key: str


Call = Callable[[Database, str, Things], object]

OWNED: Mapping[str, Call] = {
    "sessions.close": lambda db, me, it: db.sessions.close(me, it.session.id),
    "uploads.get": lambda db, me, it: db.uploads.get(me, it.upload.id),
    "uploads.find_open": lambda db, me, it: db.uploads.find_open(
        me, fingerprint=it.upload.fingerprint, size_bytes=it.upload.size_bytes
    ),
    "uploads.touch": lambda db, me, it: db.uploads.touch(me, it.upload.id),
    "uploads.set_options": lambda db, me, it: db.uploads.set_options(me, it.upload.id, {"pace": "x"}),
    "uploads.set_state": lambda db, me, it: db.uploads.set_state(me, it.upload.id, UploadState.REFUSED),
    "uploads.delete": lambda db, me, it: db.uploads.delete(me, it.upload.id),
    "videos.get": lambda db, me, it: db.videos.get(me, it.done.id),
    "videos.get_card": lambda db, me, it: db.videos.get_card(me, it.done.id),
    "videos.set_title": lambda db, me, it: db.videos.set_title(me, it.done.id, "mine"),
    "videos.set_details": lambda db, me, it: db.videos.set_details(
        me, it.done.id, note="mine", tags=["mine"], recorded_on="2026-01-01"
    ),
    "videos.delete": lambda db, me, it: db.videos.delete(me, it.done.id),
    "jobs.create": lambda db, me, it: db.jobs.create(
        me, it.done.id, options={}, charge=make_charge(), idempotency_key=it.upload.id
    ),
    "jobs.get": lambda db, me, it: db.jobs.get(me, it.done_job),
    "jobs.list_of_video": lambda db, me, it: db.jobs.list_of_video(me, it.done.id),
    "jobs.list_events": lambda db, me, it: db.jobs.list_events(me, it.done_job),
    "jobs.request_cancel": lambda db, me, it: (
        db.jobs.request_cancel(me, it.waiting_job),
        db.jobs.request_cancel(me, it.running_job),
    ),
    "jobs.has_charge": lambda db, me, it: db.jobs.has_charge(me, it.key),
}
"""Methods that take a person and the id, or the mark, of something of theirs."""

ABOUT_ONESELF: Mapping[str, Call] = {
    "sessions.list_open": lambda db, me, _: db.sessions.list_open(me),
    "uploads.list_open": lambda db, me, _: db.uploads.list_open(me),
    "videos.list_cards": lambda db, me, _: db.videos.list_cards(me, VideoQuery()).items,
    "videos.stored_bytes": lambda db, me, _: db.videos.stored_bytes(me),
    "jobs.used_ms": lambda db, me, _: db.jobs.used_ms(me),
}
"""Methods that take the person alone."""

ABOUT_AN_ACCOUNT = {"sessions.open", "sessions.close_all", "uploads.create"}
"""Methods that make or end something of that person; `jobs.ports.Users` is about accounts as a whole."""


def list_methods() -> Iterator[str]:
    for port in (Sessions, Uploads, Videos, Jobs):
        for name, method in inspect.getmembers(port, inspect.isfunction):
            if not name.startswith("_") and "user_id" in inspect.signature(method).parameters:
                yield f"{port.__name__.lower()}.{name}"


def test_the_table_is_complete() -> None:
    assert {*OWNED, *ABOUT_ONESELF, *ABOUT_AN_ACCOUNT} == set(list_methods())
    assert {name for name, _ in inspect.getmembers(Users, inspect.isfunction)} >= {"get", "delete"}


def make_things(database: Database, user: User, clock: Clock) -> Things:
    session = database.sessions.open(
        user.id, token_version=user.token_version, label="", expires_at=clock().replace(year=2999)
    )
    upload = make_upload(database, user, name=f"{user.username}.mov")
    key = f"key of {user.username}"
    done, job = make_video(database, user, "Done", charge=make_charge(key))
    process(database, job)
    waiting, waiting_job = make_video(database, user, "Waiting")
    _, running_job = make_video(database, user, "Running")
    claim(database, running_job)
    return Things(
        user=user, session=session, upload=upload, done=done, done_job=job.id, waiting=waiting,
        waiting_job=waiting_job.id, running_job=running_job.id, key=key,
    )  # fmt: skip


def look(database: Database, it: Things) -> list[object]:
    """Return everything the person can see."""
    me = it.user.id
    jobs = [job for video in (it.done, it.waiting) for job in database.jobs.list_of_video(me, video.id)]
    return [
        database.sessions.list_open(me),
        database.uploads.list_open(me),
        database.videos.list_cards(me, VideoQuery()),
        jobs,
        [database.jobs.list_events(me, job.id) for job in jobs],
        database.jobs.get(me, it.running_job),
        database.jobs.used_ms(me),
        database.videos.stored_bytes(me),
    ]


@pytest.mark.parametrize("name", OWNED)
def test_a_foreign_id_is_an_unknown_id(database: Database, ann: User, bob: User, clock: Clock, name: str) -> None:
    hers, his = make_things(database, ann, clock), make_things(database, bob, clock)
    nothing = "00000000-0000-4000-8000-000000000000"
    unknown = replace(
        hers,
        session=replace(hers.session, id=nothing),
        upload=replace(hers.upload, id=nothing, fingerprint=nothing),
        done=replace(hers.done, id=nothing),
        done_job=nothing,
        waiting_job=nothing,
        running_job=nothing,
        key=nothing,
    )
    before = look(database, hers), look(database, his)
    assert OWNED[name](database, bob.id, hers) == OWNED[name](database, bob.id, unknown)
    assert (look(database, hers), look(database, his)) == before
    # and the owner is answered otherwise, or sees the change
    answer = OWNED[name](database, ann.id, hers)
    assert answer != OWNED[name](database, bob.id, unknown) or look(database, hers) != before[0]


@pytest.mark.parametrize("name", ABOUT_ONESELF)
def test_lists_and_sums_hold_ones_own(database: Database, ann: User, bob: User, clock: Clock, name: str) -> None:
    hers = make_things(database, ann, clock)
    assert not ABOUT_ONESELF[name](database, bob.id, hers)
    assert ABOUT_ONESELF[name](database, ann.id, hers)


def test_what_one_makes_and_ends_is_ones_own(database: Database, ann: User, bob: User, clock: Clock) -> None:
    hers = make_things(database, ann, clock)
    before = look(database, hers)
    make_things(database, bob, clock)
    database.sessions.close_all(bob.id)
    database.users.raise_token_version(bob.id)
    assert database.users.delete(bob.id)
    assert look(database, hers) == before
