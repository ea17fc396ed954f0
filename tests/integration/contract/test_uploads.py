"""Files on their way in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.models import Upload, UploadState, User
from jobs.ports import Database
from tests.database import make_person, make_upload
from tests.product import Clock


def get(database: Database, upload: Upload) -> Upload:
    found = database.uploads.get(upload.user_id, upload.id)
    assert found is not None
    return found


def test_an_upload_knows_its_video_from_the_start(database: Database, ann: User) -> None:
    upload = database.uploads.create(
        ann.id, name="Tälk 😀.mov", size_bytes=10**13, fingerprint="f", options={"margin_ms": [1, 2]}
    )
    assert (upload.user_id, upload.name, upload.size_bytes) == (ann.id, "Tälk 😀.mov", 10**13)
    assert (upload.fingerprint, upload.options, upload.state) == ("f", {"margin_ms": [1, 2]}, UploadState.RECEIVING)
    assert (upload.job_id, upload.error_code, upload.error_message) == (None, "", "")
    assert upload.video_id not in ("", upload.id)
    assert get(database, upload) == upload
    assert not database.videos.exists(upload.video_id)
    assert database.uploads.get(ann.id, "none") is None


def test_the_newest_unfinished_upload_of_a_file_is_found_again(database: Database, ann: User) -> None:
    make_upload(database, ann)
    newest = make_upload(database, ann)
    make_upload(database, ann, size_bytes=7)
    found = database.uploads.find_open(ann.id, fingerprint=newest.fingerprint, size_bytes=newest.size_bytes)
    assert found == newest
    assert database.uploads.find_open(ann.id, fingerprint="other", size_bytes=newest.size_bytes) is None
    database.uploads.set_state(ann.id, newest.id, UploadState.CHECKING)
    found = database.uploads.find_open(ann.id, fingerprint=newest.fingerprint, size_bytes=newest.size_bytes)
    assert found is not None
    assert found.id != newest.id


def test_open_uploads_are_listed_newest_first(database: Database, ann: User) -> None:
    first, second, third = (make_upload(database, ann) for _ in range(3))
    database.uploads.set_state(ann.id, second.id, UploadState.REFUSED)
    database.uploads.set_state(ann.id, first.id, UploadState.CHECKING)
    assert [upload.id for upload in database.uploads.list_open(ann.id)] == [third.id, first.id]


def test_everybodys_unfinished_uploads_are_listed_longest_untouched_first(
    database: Database, ann: User, bob: User, clock: Clock
) -> None:
    first, second = make_upload(database, ann), make_upload(database, bob)
    clock.advance(minutes=1)
    database.uploads.touch(ann.id, first.id)
    assert [upload.id for upload in database.uploads.list_unfinished()] == [second.id, first.id]
    assert get(database, first).updated_at >= first.updated_at + timedelta(minutes=1)
    assert get(database, first).created_at == first.created_at


def test_options_can_change_while_it_arrives(database: Database, ann: User) -> None:
    upload = make_upload(database, ann)
    database.uploads.set_options(ann.id, upload.id, {"pace": "relaxed"})
    assert get(database, upload).options == {"pace": "relaxed"}


@pytest.mark.parametrize("end", [UploadState.REFUSED])
def test_an_end_is_an_end(database: Database, ann: User, end: UploadState) -> None:
    upload = make_upload(database, ann)
    assert database.uploads.set_state(ann.id, upload.id, UploadState.CHECKING)
    assert database.uploads.set_state(ann.id, upload.id, UploadState.RECEIVING)
    assert database.uploads.set_state(ann.id, upload.id, end, error_code="empty", error_message="It is empty.")
    ended = get(database, upload)
    assert (ended.state, ended.error_code, ended.error_message) == (end, "empty", "It is empty.")
    assert not database.uploads.set_state(ann.id, upload.id, UploadState.RECEIVING)
    database.uploads.set_options(ann.id, upload.id, {})
    assert get(database, upload) == ended
    assert not database.uploads.set_state(ann.id, "none", UploadState.CHECKING)


def test_an_upload_is_deleted_once(database: Database, ann: User) -> None:
    upload = make_upload(database, ann)
    assert database.uploads.delete(ann.id, upload.id)
    assert not database.uploads.delete(ann.id, upload.id)
    assert database.uploads.get(ann.id, upload.id) is None


def test_only_ended_uploads_are_purged(database: Database, clock: Clock) -> None:
    ann = make_person(database)
    open_one, refused = make_upload(database, ann), make_upload(database, ann)
    database.uploads.set_state(ann.id, refused.id, UploadState.REFUSED)
    assert database.uploads.purge(older_than_s=3600) == 0
    clock.advance(hours=2)
    late = make_upload(database, ann)
    database.uploads.set_state(ann.id, late.id, UploadState.REFUSED)
    assert database.uploads.purge(older_than_s=3600) == 1
    assert database.uploads.get(ann.id, refused.id) is None
    assert database.uploads.get(ann.id, open_one.id) is not None
    assert database.uploads.get(ann.id, late.id) is not None
