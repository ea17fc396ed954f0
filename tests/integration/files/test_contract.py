"""What holds for every file store, here and elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.errors import Conflict, DomainError, NotFound, StorageError
from tests.integration.files.conftest import IS_LIVE, LIVE, OPENERS, Corner

DAY = timedelta(days=1)


def read(corner: Corner, key: str) -> bytes:
    return b"".join(corner.files.read(key))


def put(corner: Corner, key: str, data: bytes, folder: Path) -> None:
    made = folder / "made"
    made.unlink(missing_ok=True)
    made.write_bytes(data)
    corner.files.put(key, made)


def side_by_side(count: int, step: Callable[[], None]) -> list[Exception]:
    """Do a step many times at once; return what was raised."""

    def attempt() -> Exception | None:
        try:
            step()
        except DomainError as error:
            return error
        return None

    with ThreadPoolExecutor(count) as pool:
        answers = [pool.submit(attempt) for _ in range(count)]
    return [error for answer in answers if (error := answer.result()) is not None]


# --- receiving ---


def test_an_upload_is_apart_until_it_is_finished(corner: Corner) -> None:
    key, files = corner.key(), corner.files
    assert files.received(key) == 0
    corner.send(key, b"one two")
    assert files.received(key) == 7
    assert files.stat(key) is None
    assert corner.list_uploads() == {key: 7}
    assert not list(files.list_files(corner.prefix))

    files.finish_upload(key)

    assert read(corner, key) == b"one two"
    assert files.received(key) == 0
    assert not corner.list_uploads()
    assert [file.key for file in files.list_files(corner.prefix)] == [key]


def test_an_upload_tells_when_it_last_grew(corner: Corner) -> None:
    corner.send(corner.key(), b"one")
    (upload,) = (file for file in corner.files.list_uploads() if file.key.startswith(corner.prefix))
    assert upload.modified_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - upload.modified_at) < DAY


def test_finishing_what_is_not_there_is_an_error(corner: Corner) -> None:
    with pytest.raises(NotFound):
        corner.files.finish_upload(corner.key())


def test_finishing_again_changes_nothing(corner: Corner) -> None:
    key = corner.key()
    corner.send(key, b"whole")
    corner.files.finish_upload(key)
    corner.files.finish_upload(key)
    assert read(corner, key) == b"whole"


def test_many_finish_the_same_upload_side_by_side(corner: Corner) -> None:
    key = corner.key()
    corner.send(key, b"whole")
    assert not side_by_side(12, lambda: corner.files.finish_upload(key))
    assert read(corner, key) == b"whole"
    assert not corner.list_uploads()


def test_a_discarded_upload_leaves_nothing(corner: Corner) -> None:
    key = corner.key()
    corner.send(key, b"half")
    corner.files.discard_upload(key)
    corner.files.discard_upload(key)
    assert corner.files.received(key) == 0
    assert not corner.list_uploads()
    with pytest.raises(NotFound):
        corner.files.finish_upload(key)


def test_a_discarded_upload_may_begin_again(corner: Corner) -> None:
    key = corner.key()
    corner.send(key, b"half")
    corner.files.discard_upload(key)
    corner.send(key, b"all of it")
    corner.files.finish_upload(key)
    assert read(corner, key) == b"all of it"


def test_an_original_is_never_replaced(corner: Corner, tmp_path: Path) -> None:
    key = corner.key()
    corner.send(key, b"first")
    corner.files.finish_upload(key)
    with pytest.raises(Conflict):
        put(corner, key, b"second", tmp_path)
    assert read(corner, key) == b"first"


def test_uploads_beside_each_other_do_not_mix(corner: Corner) -> None:
    """One key may be the beginning of another."""
    short, long = f"{corner.prefix}video/1/original", f"{corner.prefix}video/1/original2"
    corner.send(long, b"long")
    assert corner.files.received(short) == 0
    corner.send(short, b"short")
    corner.files.discard_upload(short)
    corner.files.finish_upload(long)
    assert read(corner, long) == b"long"


# --- finished files ---


def test_a_file_is_put_whole_and_may_be_put_again(corner: Corner, tmp_path: Path) -> None:
    key = corner.key("job/1/1/video.mp4")
    for data in (b"one", b"two, longer", b""):
        put(corner, key, data, tmp_path)
        assert read(corner, key) == data
        stored = corner.files.stat(key)
        assert stored is not None
        assert (stored.key, stored.size_bytes) == (key, len(data))
        assert stored.modified_at.tzinfo is UTC
        assert abs(datetime.now(UTC) - stored.modified_at) < DAY


def test_a_link_is_not_followed_into_the_store(corner: Corner, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "made").symlink_to(tmp_path / "secret")
    key = corner.key("job/1/1/video.mp4")
    with pytest.raises(StorageError):
        corner.files.put(key, tmp_path / "made")
    assert corner.files.stat(key) is None


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1])
def test_a_fetched_file_is_the_same(corner: Corner, tmp_path: Path, size: int) -> None:
    key, data = corner.key("preview.mp4"), os.urandom(size)
    put(corner, key, data, tmp_path)
    fractions: list[float] = []
    fetched = corner.files.fetch(key, tmp_path / "target", on_progress=fractions.append)
    assert fetched.read_bytes() == data
    assert fractions == sorted(fractions)
    assert set(tmp_path.iterdir()) - {tmp_path / "data"} <= {tmp_path / "made", fetched}


def test_what_is_not_there(corner: Corner, tmp_path: Path) -> None:
    corner.send(corner.key(), b"x")
    for key in (corner.key(), f"{corner.prefix}video", corner.prefix.rstrip("/")):
        assert corner.files.stat(key) is None
        with pytest.raises(NotFound):
            list(corner.files.read(key))
        with pytest.raises(NotFound):
            corner.files.fetch(key, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    corner.files.delete([corner.key()])


def test_a_file_is_reached_in_exactly_one_way(corner: Corner, tmp_path: Path) -> None:
    key, files = corner.key("preview.mp4"), corner.files
    put(corner, key, b"data", tmp_path)
    link = files.link(key, file_name="a.mp4", media_type="video/mp4", download=True, expires_s=60)
    path, remote = files.local_path(key), files.open_remote(key)
    assert (path is None) == (link is not None) == (remote is not None)
    assert (files.part_bytes(1) is None) == (files.free_bytes() is not None) == (path is not None)
    assert files.upload_path(key) is None


def test_deleting_takes_what_it_was_told(corner: Corner, tmp_path: Path) -> None:
    names = ("video/1/original", "video/1/job/j/1/x", "video/10/original", "video/2/original")
    for name in names:
        put(corner, f"{corner.prefix}{name}", b"1", tmp_path)

    def left() -> list[str]:
        return sorted(file.key.removeprefix(corner.prefix) for file in corner.files.list_files(corner.prefix))

    assert left() == sorted(names)
    assert corner.files.delete_all(f"{corner.prefix}video/1/") == 2
    assert left() == ["video/10/original", "video/2/original"]
    corner.files.delete([f"{corner.prefix}video/2/original", f"{corner.prefix}video/3/original"])
    assert left() == ["video/10/original"]
    corner.files.delete([])
    assert corner.files.delete_all(f"{corner.prefix}nothing/") == 0
    with pytest.raises(ValueError, match="slash"):
        corner.files.delete_all(corner.prefix.rstrip("/"))
    assert left() == ["video/10/original"]


@pytest.mark.parametrize(
    "key",
    ["", "/etc/x", "user/../../x", "user/./x", "user//x", "a/..", ".uploads/user/a", "user/a\0b", "a\\b", "user/a/"],
)
def test_a_key_that_leaves_its_place_is_refused(corner: Corner, tmp_path: Path, key: str) -> None:
    (tmp_path / "made").write_bytes(b"1")
    files = corner.files
    for attempt in (
        lambda: corner.send(key, b"x"),
        lambda: files.put(key, tmp_path / "made"),
        lambda: files.stat(key),
        lambda: files.delete([key]),
        lambda: files.local_path(key),
        lambda: files.upload_path(key),
        lambda: files.finish_upload(key),
        lambda: files.discard_upload(key),
        lambda: files.fetch(key, tmp_path / "target"),
        lambda: list(files.read(key)),
    ):
        with pytest.raises(ValueError, match="is no key"):
            attempt()


def test_many_threads_share_a_store(corner: Corner, tmp_path: Path) -> None:
    def carry(number: int) -> None:
        key, made = corner.key(f"job/1/{number}/x"), tmp_path / str(number)
        made.write_bytes(bytes([number]) * 1000)
        corner.files.put(key, made)
        assert read(corner, key) == bytes([number]) * 1000

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(carry, range(32)))
    assert len(list(corner.files.list_files(corner.prefix))) == 32


def test_a_check_says_a_sentence(corner: Corner) -> None:
    told = corner.files.check()
    assert told.endswith(".")
    assert "/" not in told


@pytest.mark.skipif(not IS_LIVE, reason=f"no live bucket was tried: set WASABI_* and {LIVE}=1 for that")
def test_a_live_bucket_was_tried() -> None:
    assert "live" in OPENERS
