"""Streamed ZIP archives: the announced length is exact, and everybody's tools can open them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.archive import ArchiveError, Entry, measure_archive, stream_archive

AT = datetime(2026, 11, 23, 7, 30, 42, tzinfo=UTC)
GIB = 1 << 30


def entry(name: str, *blocks: bytes, size: int | None = None, at: datetime = AT) -> Entry:
    length = sum(map(len, blocks)) if size is None else size
    return Entry(name=name, size_bytes=length, modified_at=at, read=lambda: iter(blocks))


def read_back(entries: list[Entry]) -> dict[str, bytes]:
    data = b"".join(stream_archive(entries))
    assert len(data) == measure_archive(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_files_come_back_as_they_were() -> None:
    noise = random.Random(1).randbytes(300_000)
    given = {"Lesson 4.mp4": noise, "Lesson 4.vtt": b"", "Übung – 日本 🎬.txt": b"x"}
    entries = [entry(name, data[:1000], data[1000:]) for name, data in given.items()]
    assert read_back(entries) == given


def test_no_files_are_an_empty_archive() -> None:
    assert read_back([]) == {}


@pytest.mark.parametrize("at", [AT, datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)])
def test_times_that_zip_can_not_say_are_moved_to_what_it_can(at: datetime) -> None:
    data = b"".join(stream_archive([entry("a", b"1", at=at)]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].date_time[0] == min(max(at.year, 1980), 2107)


def test_a_file_of_another_size_breaks_the_stream_off() -> None:
    for size in (2, 4):
        with pytest.raises(ArchiveError):
            b"".join(stream_archive([entry("a", b"abc", size=size)]))


def test_many_files_get_the_large_directory() -> None:
    entries = [entry(f"{number}", b"") for number in range(65_536)]
    data = b"".join(stream_archive(entries))
    assert len(data) == measure_archive(entries)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 65_536


def test_files_beyond_4_gib_use_64_bits(tmp_path: Path) -> None:
    """The zeros become holes on the disk, so that this writes a few kilobytes."""
    zeros = bytes(16 << 20)

    def blocks(size: int) -> Iterator[bytes]:
        for _ in range(size // len(zeros)):
            yield zeros

    large = Entry(name="large.mp4", size_bytes=4 * GIB, modified_at=AT, read=lambda: blocks(4 * GIB))
    entries = [entry("first.txt", b"first"), large, entry("last.txt", b"last")]
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for block in stream_archive(entries):
            file.seek(len(block), io.SEEK_CUR) if block is zeros else file.write(block)
    assert path.stat().st_size == measure_archive(entries)
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("large.mp4").file_size == 4 * GIB
        assert archive.read("first.txt") == b"first"
        assert archive.read("last.txt") == b"last"
        assert archive.open("large.mp4").read(10) == bytes(10)


def test_the_length_of_anything_is_known() -> None:
    """Against the real thing around the limits of each field, without making the bytes."""
    for size in (0, 1, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 40):
        one = measure_archive([entry("a", size=size)])
        assert one - size - measure_archive([]) >= 30 + 46 + 16 + 2
        assert one - size < 300
