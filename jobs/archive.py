"""ZIP archives that are streamed: files stored as they are, so that the length is known before the first byte.

Written after the ZIP application note (APPNOTE.TXT 6.3.10). A file's checksum follows it in a data descriptor, because
it is only known once the file has been sent; sizes beyond 4 GiB use the 64-bit extensions.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

_FLAGS = 1 << 3 | 1 << 11
"""Sizes and checksum follow in a descriptor; names are UTF-8."""
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_DESCRIPTOR, _DESCRIPTOR_64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")
_END = struct.Struct("<4s4H2LH")
_END_64, _LOCATOR_64 = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_LIMIT = 0xFFFFFFFF
_VERSION, _VERSION_64 = 20, 45
_UNIX = 3
_FILE_MODE = 0o100644


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of an archive."""

    name: str
    size_bytes: int
    modified_at: datetime
    read: Callable[[], Iterable[bytes]]


class ArchiveError(Exception):
    """A file has another size than was announced; the archive can't be finished."""


def measure_archive(entries: Sequence[Entry]) -> int:
    """Return the exact length in bytes of what `stream_archive` yields."""
    length = 0
    central = 0
    for entry in entries:
        name = len(entry.name.encode())
        central += _CENTRAL.size + name + len(_central_extra(entry, length))
        length += _LOCAL.size + name + len(_local_extra(entry)) + entry.size_bytes + len(_describe(entry, 0))
    return length + central + len(_end(len(entries), length, central))


def stream_archive(entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield the archive. Raises `ArchiveError`, so that a connection breaks off rather than deliver a wrong file."""
    at, central = 0, bytearray()
    for entry in entries:
        header = _local_header(entry)
        yield header
        checksum = size = 0
        for block in entry.read():
            checksum, size = zlib.crc32(block, checksum), size + len(block)
            if size > entry.size_bytes:
                break
            yield block
        if size != entry.size_bytes:
            raise ArchiveError(f"{entry.name} has not the {entry.size_bytes} bytes it was said to have")
        descriptor = _describe(entry, checksum)
        yield descriptor
        central += _central_header(entry, checksum, at)
        at += len(header) + size + len(descriptor)
    yield bytes(central)
    yield _end(len(entries), at, len(central))


def _is_large(entry: Entry) -> bool:
    return entry.size_bytes >= _LIMIT


def _dos_time(at: datetime) -> tuple[int, int]:
    year = min(max(at.year, 1980), 2107)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (year - 1980) << 9 | at.month << 5 | at.day


def _local_extra(entry: Entry) -> bytes:
    return struct.pack("<2H2Q", 1, 16, 0, 0) if _is_large(entry) else b""


def _local_header(entry: Entry) -> bytes:
    name, extra = entry.name.encode(), _local_extra(entry)
    size = _LIMIT if extra else 0
    version = _VERSION_64 if extra else _VERSION
    time, date = _dos_time(entry.modified_at)
    return _LOCAL.pack(b"PK\3\4", version, _FLAGS, 0, time, date, 0, size, size, len(name), len(extra)) + name + extra


def _describe(entry: Entry, checksum: int) -> bytes:
    layout = _DESCRIPTOR_64 if _is_large(entry) else _DESCRIPTOR
    return layout.pack(b"PK\7\x08", checksum, entry.size_bytes, entry.size_bytes)


def _central_extra(entry: Entry, at: int) -> bytes:
    numbers = [entry.size_bytes, entry.size_bytes] if _is_large(entry) else []
    numbers += [at] if at >= _LIMIT else []
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""


def _central_header(entry: Entry, checksum: int, at: int) -> bytes:
    name, extra = entry.name.encode(), _central_extra(entry, at)
    version = _VERSION_64 if extra else _VERSION
    size = min(entry.size_bytes, _LIMIT)
    time, date = _dos_time(entry.modified_at)
    head = _CENTRAL.pack(
        b"PK\1\2", version, _UNIX, version, 0, _FLAGS, 0, time, date, checksum, size, size, len(name), len(extra),
        0, 0, 0, _FILE_MODE << 16, min(at, _LIMIT),
    )  # fmt: skip
    return head + name + extra


def _end(count: int, at: int, length: int) -> bytes:
    is_large = max(at, length) >= _LIMIT or count >= 0xFFFF
    large = b""
    if is_large:
        rest = _END_64.size - 12  # the record's size leaves out its first two fields
        large = _END_64.pack(b"PK\6\6", rest, _VERSION_64, _VERSION_64, 0, 0, count, count, length, at)
        large += _LOCATOR_64.pack(b"PK\6\7", 0, at + length, 1)
    shown = min(count, 0xFFFF)
    end = _END.pack(b"PK\5\6", 0, 0, shown, shown, min(length, _LIMIT), min(at, _LIMIT), 0)
    return large + end
