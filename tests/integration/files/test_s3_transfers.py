"""Large files on a bad wire: cut, stopped, started again, cancelled, on a full disk, and in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from adapters import s3_transfer
from adapters.s3_transfer import PIECE_BYTES
from jobs.errors import Conflict, StorageError
from jobs.ports import FileStore, ignore_progress
from tests.integration.files.conftest import Corner, open_s3
from tests.servers.proxy import CuttingProxy
from tests.servers.weed import LocalS3

MIB = 1 << 20
BLOCK = os.urandom(MIB)


def write_large(path: Path, size_mib: int) -> None:
    """Write a file whose MiB all differ."""
    with path.open("wb") as file:
        for number in range(size_mib):
            file.write(number.to_bytes(8) + BLOCK[8:])


def is_large(path: Path, size_mib: int) -> bool:
    with path.open("rb") as file:
        for number in range(size_mib):
            if file.read(MIB) != number.to_bytes(8) + BLOCK[8:]:
                return False
        return not file.read(1)


@pytest.fixture
def through(local_s3: LocalS3, bucket: str) -> Callable[[CuttingProxy], FileStore]:
    """Open the store through a proxy."""
    return lambda proxy: open_s3(local_s3, bucket, endpoint=proxy.endpoint)


def test_a_file_of_several_pieces_comes_whole(s3_corner: Corner, tmp_path: Path) -> None:
    key = s3_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 40)
    s3_corner.files.put(key, tmp_path / "made")
    fractions: list[float] = []
    fetched = s3_corner.files.fetch(key, tmp_path / "target", on_progress=fractions.append)
    assert fetched == tmp_path / "target"
    assert is_large(fetched, 40)
    assert fetched.stat().st_mode & 0o777 == 0o400
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) >= 40
    assert set(tmp_path.iterdir()) == {tmp_path / "made", fetched}


def test_a_fetch_goes_on_where_it_was_cut(
    local_corner: Corner, through: Callable[[CuttingProxy], FileStore], local_s3: LocalS3, tmp_path: Path
) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 40)
    local_corner.files.put(key, tmp_path / "made")
    with CuttingProxy(local_s3.endpoint, cuts=6, after_bytes=5 * MIB) as proxy:
        fractions: list[float] = []
        fetched = through(proxy).fetch(key, tmp_path / "target", on_progress=fractions.append)
        assert proxy.was_cut == 6
    assert is_large(fetched, 40)
    assert max(fractions) == 1.0  # so no byte was counted twice


def test_reading_goes_on_where_it_was_cut(
    local_corner: Corner, through: Callable[[CuttingProxy], FileStore], local_s3: LocalS3, tmp_path: Path
) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 24)
    local_corner.files.put(key, tmp_path / "made")
    with CuttingProxy(local_s3.endpoint, cuts=3, after_bytes=5 * MIB) as proxy:
        (tmp_path / "read").write_bytes(b"".join(through(proxy).read(key)))
        assert proxy.was_cut == 3
    assert is_large(tmp_path / "read", 24)


def test_a_put_goes_on_when_it_was_cut(
    local_corner: Corner, through: Callable[[CuttingProxy], FileStore], local_s3: LocalS3, tmp_path: Path
) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 40)
    with CuttingProxy(local_s3.endpoint, cuts=4, after_bytes=5 * MIB) as proxy:
        through(proxy).put(key, tmp_path / "made")
        assert proxy.was_cut == 4
    assert is_large(local_corner.files.fetch(key, tmp_path / "target"), 40)
    assert not local_corner.list_uploads()


def test_a_fetch_outlives_a_store_that_crashes(local_corner: Corner, local_s3: LocalS3, tmp_path: Path) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 100)
    local_corner.files.put(key, tmp_path / "made")
    fractions = disturb(
        local_s3,
        local_s3.kill,
        lambda on_progress: local_corner.files.fetch(key, tmp_path / "target", on_progress=on_progress),
    )
    assert is_large(tmp_path / "target", 100)
    assert max(fractions) == 1.0


def test_a_put_outlives_a_store_that_starts_again(local_corner: Corner, local_s3: LocalS3, tmp_path: Path) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 150)
    disturb(
        local_s3,
        local_s3.stop,
        lambda on_progress: local_corner.files.put(key, tmp_path / "made", on_progress=on_progress),
    )
    assert is_large(local_corner.files.fetch(key, tmp_path / "target"), 150)
    assert not local_corner.list_uploads()


def disturb(
    store: LocalS3, end: Callable[[], None], transfer: Callable[[Callable[[float], None]], object]
) -> list[float]:
    """End the store in the middle of a transfer, and start it again a little later; return the progress."""
    fractions: list[float] = []
    starting = threading.Timer(1.0, store.start)

    def watch(fraction: float) -> None:
        fractions.append(fraction)
        if fraction > 0.2 and not starting.is_alive() and starting.ident is None:
            end()
            starting.start()

    try:
        transfer(watch)
    finally:
        if starting.ident is not None:
            starting.join()
        store.start()
    assert starting.ident is not None, "it was over before it was disturbed"
    return fractions


def test_a_store_that_stays_away_is_given_up(
    monkeypatch: pytest.MonkeyPatch, local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3_transfer, "_PATIENCE_S", 1.0)
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 40)
    local_corner.files.put(key, tmp_path / "made")
    with CuttingProxy(local_s3.endpoint) as proxy:
        files = open_s3(local_s3, bucket, endpoint=proxy.endpoint)
        with pytest.raises(StorageError) as caught:
            files.fetch(
                key, tmp_path / "target", on_progress=lambda fraction: proxy.close() if fraction > 0.2 else None
            )
    assert caught.value.code in ("files_unreachable", "files_cut")
    assert caught.value.status == 503
    with pytest.raises(StorageError):
        files.put(local_corner.key("job/1/1/video.mp4"), tmp_path / "made")
    assert set(tmp_path.iterdir()) == {tmp_path / "made"}


def test_a_cancelled_fetch_leaves_no_file(local_corner: Corner, tmp_path: Path) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 100)
    local_corner.files.put(key, tmp_path / "made")
    fractions: list[float] = []
    local_corner.files.fetch(
        key, tmp_path / "target", should_cancel=lambda: bool(fractions), on_progress=fractions.append
    )
    assert max(fractions) < 1.0
    assert set(tmp_path.iterdir()) == {tmp_path / "made"}


def test_a_fetch_is_cancelled_while_the_store_is_away(
    local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path
) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 20)
    local_corner.files.put(key, tmp_path / "made")
    gone = threading.Event()
    with CuttingProxy(local_s3.endpoint) as proxy:

        def cut(_fraction: float) -> None:
            proxy.close()
            gone.set()

        files = open_s3(local_s3, bucket, endpoint=proxy.endpoint)
        files.fetch(key, tmp_path / "target", should_cancel=gone.is_set, on_progress=cut)
    assert not (tmp_path / "target").exists()


def test_a_put_that_fails_leaves_no_parts(local_corner: Corner, tmp_path: Path) -> None:
    """As when somebody else works on the file that is sent."""
    key, made = local_corner.key("job/1/1/video.mp4"), tmp_path / "made"
    write_large(made, 100)
    with pytest.raises(StorageError):
        local_corner.files.put(key, made, on_progress=lambda _: os.truncate(made, 10))
    assert local_corner.files.stat(key) is None
    assert not local_corner.list_uploads()


@pytest.mark.parametrize("name", ["original", "job/1/1/video.mp4"])
def test_a_put_whose_last_answer_is_lost_is_done(
    local_s3: LocalS3, bucket: str, local_corner: Corner, tmp_path: Path, name: str
) -> None:
    """The second try hears that the upload is gone, or that the file is there already: it is its own."""
    key, files = local_corner.key(name), open_s3(local_s3, bucket)
    answers: list[object] = []

    def lose(parsed: object, **_: object) -> None:
        answers.append(parsed)
        if len(answers) == 1:
            raise ConnectionClosedError(endpoint_url=local_s3.endpoint)

    events: Any = files._clients.patient.meta.events
    events.register("after-call.s3.CompleteMultipartUpload", lose)
    write_large(tmp_path / "made", 20)
    files.put(key, tmp_path / "made")
    assert len(answers) == 2
    assert is_large(files.fetch(key, tmp_path / "target"), 20)
    assert not local_corner.list_uploads()


def put_new(store: LocalS3, bucket: str, key: str, made: Path) -> bool:
    """Put an original without looking first; return whether the store took it."""
    try:
        s3_transfer.send_file(
            store.client, bucket, key, made, media_type="video/mp4", only_new=True, on_progress=ignore_progress
        )
    except Conflict:
        return False
    return True


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10])
def test_the_store_itself_keeps_a_second_original_out(
    local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path, size: int
) -> None:
    key = local_corner.key()
    for letter, is_taken in ((b"a", True), (b"b", False)):
        (tmp_path / letter.decode()).write_bytes(letter * size)
        assert put_new(local_s3, bucket, key, tmp_path / letter.decode()) is is_taken
    assert b"".join(local_corner.files.read(key)) == b"a" * size
    assert not local_corner.list_uploads()


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10])
def test_of_two_originals_put_side_by_side_one_stays(
    local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path, size: int
) -> None:
    """Both have looked, and seen none. This server makes a file of parts after it has looked, so there both may win."""
    key, met = local_corner.key(), threading.Barrier(2)

    def put(letter: bytes) -> bool:
        made = tmp_path / letter.decode()
        made.write_bytes(letter * size)
        met.wait()
        return put_new(local_s3, bucket, key, made)

    letters = (b"a", b"b")
    with ThreadPoolExecutor(2) as pool:
        won = dict(zip(letters, pool.map(put, letters), strict=True))
    assert sum(won.values()) == 1 or (size > PIECE_BYTES and all(won.values()))
    stays = b"".join(local_corner.files.read(key))
    assert stays in [letter * size for letter in letters if won[letter]]
    assert not local_corner.list_uploads()


IN_CHILD = """
import re, sys, resource
from pathlib import Path
from adapters.s3_files import S3Files
from jobs.errors import StorageError
bucket, region, endpoint, key, source, target = sys.argv[1:7]
limit = int(sys.argv[7])
keys = sys.stdin.read().split()
files = S3Files(bucket=bucket, region=region, endpoint=endpoint, public_endpoint=endpoint,
                access_key_id=keys[0], secret_access_key=keys[1])
files.stat(key)
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
if source:
    files.put(key, Path(source))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    if target:
        files.fetch(key, Path(target))
    print(before, peak())
except StorageError as error:
    print(type(error).__name__, error.code)
"""


def run_in_child(store: LocalS3, bucket: str, key: str, *, source: str = "", target: str = "", limit: int = 0) -> str:
    command = [sys.executable, "-c", IN_CHILD, bucket, store.region, store.endpoint, key, source, target, str(limit)]
    keys = f"{store.access_key_id} {store.secret_access_key}"
    return subprocess.run(command, input=keys, check=True, capture_output=True, text=True, timeout=300).stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's peak memory")
def test_300_mb_go_through_bounded_memory(
    local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path, show: Callable[[str], None]
) -> None:
    key, made, target = local_corner.key("job/1/1/video.mp4"), tmp_path / "made", tmp_path / "target"
    write_large(made, 300)
    before, after_put = map(int, run_in_child(local_s3, bucket, key, source=str(made)).split())
    put_mb = after_put - before
    before, after_fetch = map(int, run_in_child(local_s3, bucket, key, target=str(target)).split())
    fetch_mb = after_fetch - before
    show(f"S3: memory on top for 300 MB: put {put_mb} MB, fetch {fetch_mb} MB")
    assert is_large(target, 300)
    assert put_mb < 160
    assert fetch_mb < 60


def test_a_full_disk_is_a_sentence(local_corner: Corner, local_s3: LocalS3, bucket: str, tmp_path: Path) -> None:
    """A small file is what a full disk looks like to a program, but for its number."""
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 20)
    local_corner.files.put(key, tmp_path / "made")
    told = run_in_child(local_s3, bucket, key, target=str(tmp_path / "target"), limit=5 * MIB)
    assert told == "StorageError files"
    assert set(tmp_path.iterdir()) == {tmp_path / "made"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_without_room_is_told_from_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, local_corner: Corner, tmp_path: Path
) -> None:
    key = local_corner.key("job/1/1/video.mp4")
    write_large(tmp_path / "made", 20)
    local_corner.files.put(key, tmp_path / "made")
    really = os.open

    def open_full(path: str, flags: int, mode: int = 0o777) -> int:
        return really("/dev/full", os.O_WRONLY) if "target" in str(path) else really(path, flags, mode)

    monkeypatch.setattr(os, "open", open_full)
    with pytest.raises(StorageError) as caught:
        local_corner.files.fetch(key, tmp_path / "target")
    assert caught.value.code == "disk_full"
    assert not (tmp_path / "target").exists()
