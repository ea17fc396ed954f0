"""Files in a folder: receiving in order, originals that never change, nothing left behind on the disk.

What holds for every file store is in `tests/integration/files`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.local_files import LocalFiles
from jobs.errors import Conflict, NotFound, StorageError

KEY = "user/a/video/b/original"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "data" / "files")


def list_tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


# --- receiving ---


def test_an_upload_grows_in_order_and_becomes_the_file(files: LocalFiles, tmp_path: Path) -> None:
    assert files.received(KEY) == 0
    assert files.upload_path(KEY) is None
    files.append(KEY, 0, b"one ")
    files.append(KEY, 4, b"two")
    assert files.received(KEY) == 7
    assert files.stat(KEY) is None
    assert [(file.key, file.size_bytes) for file in files.list_uploads()] == [(KEY, 7)]
    assert not list(files.list_files("user/"))

    files.finish_upload(KEY)

    assert b"".join(files.read(KEY)) == b"one two"
    assert files.received(KEY) == 0
    assert not list(files.list_uploads())
    assert [file.key for file in files.list_files("")] == [KEY]
    assert list_tree(tmp_path / "data" / "files" / ".uploads") == set()


@pytest.mark.parametrize("offset", [0, 2, 4, 100])
def test_bytes_that_do_not_follow_the_end_change_nothing(files: LocalFiles, offset: int) -> None:
    files.append(KEY, 0, b"abc")
    with pytest.raises(Conflict):
        files.append(KEY, offset, b"x")
    assert files.received(KEY) == 3


def test_a_late_block_of_a_cancelled_upload_makes_no_file(files: LocalFiles) -> None:
    files.append(KEY, 0, b"abc")
    files.discard_upload(KEY)
    with pytest.raises(Conflict):
        files.append(KEY, 3, b"def")
    assert not list(files.list_uploads())
    files.discard_upload(KEY)


def test_of_many_writers_at_one_offset_one_succeeds(files: LocalFiles) -> None:
    done: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            files.append(KEY, 0, data)
            done.append(data)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(bytes([number]) * 100_000,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    files.finish_upload(KEY)
    assert b"".join(files.read(KEY)) == done[0]


def test_an_original_is_finished_once_and_never_replaced(files: LocalFiles, tmp_path: Path) -> None:
    files.append(KEY, 0, b"first")
    files.finish_upload(KEY)
    files.finish_upload(KEY)
    files.append(KEY, 0, b"second")
    files.finish_upload(KEY)
    assert b"".join(files.read(KEY)) == b"first"
    assert not list(files.list_uploads())
    (tmp_path / "other").write_bytes(b"third")
    with pytest.raises(Conflict):
        files.put(KEY, tmp_path / "other")
    assert b"".join(files.read(KEY)) == b"first"
    path = files.local_path(KEY)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o400


# --- finished files ---


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second disk to move files from")
def test_a_file_of_another_disk_is_copied(tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"{tmp_path.name}-{os.getpid()}"
    other.mkdir()
    try:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is on the disk of the tests")
        made = other / "made"
        made.write_bytes(b"far away" * 1000)
        files = LocalFiles(tmp_path)
        files.put("user/a/x", made)
        assert b"".join(files.read("user/a/x")) == b"far away" * 1000
        assert list_tree(tmp_path) == {"user", "user/a", "user/a/x", ".copies"}
    finally:
        (other / "made").unlink(missing_ok=True)
        other.rmdir()


def test_fetching_copies_nothing(files: LocalFiles, tmp_path: Path) -> None:
    files.append(KEY, 0, b"data")
    files.finish_upload(KEY)
    assert files.fetch(KEY, tmp_path / "target") == files.local_path(KEY)
    assert not (tmp_path / "target").exists()
    with pytest.raises(NotFound):
        files.fetch("user/a/nothing", tmp_path / "target")
    assert files.link(KEY, file_name="a", media_type="b", download=True, expires_s=1) is None


def test_deleting_takes_empty_folders_along_and_nothing_else(files: LocalFiles, tmp_path: Path) -> None:
    for key in ("user/a/video/1/original", "user/a/video/1/job/j/1/x", "user/a/video/2/original", "user/b/y"):
        (tmp_path / "made").write_bytes(b"1")
        files.put(key, tmp_path / "made")
    assert files.delete_all("user/a/video/1/") == 2
    assert list_tree(tmp_path / "data" / "files") == {
        *("user", "user/a", "user/a/video", "user/a/video/2", "user/a/video/2/original", "user/b", "user/b/y"),
    }
    files.delete(["user/a/video/2/original", "user/a/unknown"])
    assert {path for path in list_tree(tmp_path / "data" / "files") if "/a" in path} == set()
    assert files.delete_all("user/nobody/") == 0
    with pytest.raises(ValueError, match="slash"):
        files.delete_all("user/b")
    assert [file.key for file in files.list_files("user/")] == ["user/b/y"]


def test_storing_and_deleting_side_by_side_loses_nothing(files: LocalFiles, tmp_path: Path) -> None:
    """Whoever removes an empty folder must not pull it away from whoever moves a file into it."""
    stop = threading.Event()

    def prune() -> None:
        while not stop.is_set():
            files.delete(["user/a/video/1/job/gone"])

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        for number in range(60):
            (tmp_path / "made").write_bytes(b"1")
            files.put(f"user/a/video/1/job/{number}", tmp_path / "made")
            files.delete([f"user/a/video/1/job/{number}"])
    finally:
        stop.set()
        thread.join()


def test_a_link_is_never_followed(files: LocalFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(secret)
    with pytest.raises(StorageError):
        files.put("user/a/x", link)
    planted = tmp_path / "data" / "files" / "user" / "a"
    planted.mkdir(parents=True)
    (planted / "x").symlink_to(secret)
    assert files.stat("user/a/x") is None
    assert not list(files.list_files("user/"))
    assert secret.read_bytes() == b"secret"


def test_folders_and_files_are_for_nobody_else(files: LocalFiles, tmp_path: Path) -> None:
    files.append(KEY, 0, b"x")
    (tmp_path / "made").write_bytes(b"1")
    (tmp_path / "made").chmod(0o644)
    files.put("user/a/video/b/job/c/1/video.mp4", tmp_path / "made")
    root = tmp_path / "data" / "files"
    modes = {path: path.stat().st_mode & 0o077 for path in (root, *root.rglob("*"))}
    assert set(modes.values()) == {0}, modes


def test_the_check_leaves_nothing(files: LocalFiles, tmp_path: Path) -> None:
    assert "free" in files.check()
    assert list_tree(tmp_path / "data" / "files") == set()
    assert (files.free_bytes() or 0) > 0


# --- when the disk does not play along ---


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Make this process unable to write files past ``limit``: what a full disk looks like to a program."""
    import resource
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_block_that_does_not_fit_is_taken_back(files: LocalFiles) -> None:
    files.append(KEY, 0, b"a" * 1000)
    with small_files(1500), pytest.raises(StorageError) as caught:
        files.append(KEY, 1000, b"b" * 1000)
    assert caught.value.status == 503
    assert files.received(KEY) == 1000
    files.append(KEY, 1000, b"b" * 1000)
    assert files.received(KEY) == 2000


def test_a_folder_that_can_not_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="can't be read or written") as caught:
        LocalFiles(tmp_path / "file" / "files")
    assert str(tmp_path) not in caught.value.message
    assert str(tmp_path) in caught.value.detail
