"""A file in a store elsewhere, read over HTTP by ranges: as seekable as one on a disk, in bounded memory.

Media libraries get this in place of an address, so that nothing but what is asked for here ever crosses the network.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase, UnsupportedOperation
from types import TracebackType
from typing import TYPE_CHECKING

import httpx

from pipeline.errors import InputRefused, PipelineError, SourceGone

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)

BLOCK_BYTES = 16 << 10
"""Small, because a file in fragments is read a little here and a little there."""
MAX_BLOCKS = 4096
"""Are kept, those used last: 64 MiB."""
FIRST_BLOCKS, _FASTER, MAX_AHEAD = 2, 4, 512
"""Blocks of one request; so many times more with each of them, up to so many, while a reader goes on and on."""
_NEAR_BLOCKS = 8
"""Who leaves out so few goes on: sound and picture that lie side by side may be read apart."""
_MAX_TRAILS = 8
"""Places at which a file is read onwards at the same time: sound and picture may lie apart."""
_SLACK_BYTES, _MAX_ROUNDS = 64 << 20, 4
"""No more is fetched than so many times the file, and this; else it makes us run to and fro."""
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Before each try of a request that gets nowhere."""
_FOR_LATER = frozenset({408, 429, 500, 502, 503, 504})


class RangedFile:
    """The file behind an address. Use it in ``with``: at the end it raises what kept it from being read, if anything.

    That comes before any other failure: a reader that was cut off takes a whole file for a broken one.
    """

    def __init__(self, name: str, url: str, size_bytes: int) -> None:
        """``url`` is secret; it is asked for nothing but ranges, and not followed elsewhere."""
        self.name, self.size_bytes = name, size_bytes
        self.fetched_bytes, self.requests = 0, 0
        self._url, self._etag = url, ""
        self._failure: PipelineError | None = None
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, headers={"Accept-Encoding": "identity"})
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._trails: OrderedDict[int, int] = OrderedDict()
        """Blocks that would come next, and how many were fetched before them at once."""
        self._holes: Sequence[tuple[int, int]] = ()

    def __enter__(self) -> RangedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._http.close()
        if self._failure is not None and (error is None or isinstance(error, Exception)):
            raise self._failure from error

    def open(self, mode: str = "rb") -> RangedReader:
        """Return a reader that stands at the beginning."""
        if mode != "rb":
            raise UnsupportedOperation(f"mode {mode!r}")
        return RangedReader(self)

    @contextmanager
    def passing_over(self, holes: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Meanwhile read zeros between these places (first byte, end; in order) without fetching anything."""
        self._holes = holes
        try:
            yield
        finally:
            self._holes = ()

    def read_at(self, at: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``at``; fewer at the end, or before a block that is not there yet.

        Raises `OSError` when they can't be had; the reason is raised at the end.
        """
        size = min(size, self.size_bytes - at)
        if size <= 0:
            return b""
        for start, end in self._holes:
            if start <= at < end:
                return bytes(min(size, end - at))
            if at < start < at + size:
                size = start - at
        block, inside = divmod(at, BLOCK_BYTES)
        if block not in self._blocks:
            self._load(block)
        self._blocks.move_to_end(block)
        return self._blocks[block][inside : inside + size]

    # --- blocks ---

    def _load(self, block: int) -> None:
        """Fetch a block, and the more after it the longer somebody has been reading on there."""
        trail = next((one for one in self._trails if one <= block <= one + _NEAR_BLOCKS), None)
        before = self._trails.pop(trail) if trail is not None else 0
        count = min(_FASTER * before, MAX_AHEAD) if before else FIRST_BLOCKS
        last = -(-self.size_bytes // BLOCK_BYTES)
        end = next((one for one in range(block + 1, block + count) if one in self._blocks), block + count)
        end = min(end, last)
        data = self._fetch(block * BLOCK_BYTES, min(end * BLOCK_BYTES, self.size_bytes))
        for number in range(block, end):
            start = (number - block) * BLOCK_BYTES
            self._blocks[number] = data[start : start + BLOCK_BYTES]
        self._trails[end] = count
        while len(self._blocks) > MAX_BLOCKS:
            self._blocks.popitem(last=False)
        while len(self._trails) > _MAX_TRAILS:
            self._trails.popitem(last=False)

    def _fetch(self, start: int, end: int) -> bytes:
        if self._failure is not None:
            raise OSError("it could not be read before")
        if self.fetched_bytes > _MAX_ROUNDS * self.size_bytes + _SLACK_BYTES:
            raise self._fail(
                InputRefused(
                    "not_media",
                    "The parts of this video are scattered over the whole file. Export it as MP4 and use that.",
                    f"{self.fetched_bytes} bytes were read in {self.requests} requests",
                )
            )
        data, why = bytearray(), ""
        for wait_s in _WAITS_S:
            time.sleep(wait_s * random.uniform(0.8, 1.2))
            got = len(data)
            try:
                self._receive(start, end, data)
            except httpx.TransportError as error:
                why = repr(error)
            except _NotNow as error:
                why = str(error)
            if len(data) == end - start:
                return bytes(data)
            logger.info("cut off after %d of %d bytes: %s", len(data) - got, end - start - got, why)
        raise self._fail(SourceGone(detail=f"the store does not send bytes {start} to {end}: {why}"))

    def _receive(self, start: int, end: int, data: bytearray) -> None:
        """Add to ``data``, which begins at ``start``, what is missing up to ``end``."""
        at = start + len(data)
        self.requests += 1
        with self._http.stream("GET", self._url, headers={"Range": f"bytes={at}-{end - 1}"}) as answer:
            if answer.status_code in _FOR_LATER:
                raise _NotNow(f"it answers {answer.status_code}")
            told, etag = answer.headers.get("content-range", ""), answer.headers.get("etag", "")
            wanted = f"bytes {at}-{end - 1}/{self.size_bytes}"
            if answer.status_code != 206 or told != wanted or (self._etag or etag) != etag:
                raise self._fail(SourceGone(detail=f"{wanted} was wanted, and answered {answer.status_code} {told}"))
            self._etag = etag
            for piece in answer.iter_raw():
                self.fetched_bytes += len(piece)
                data += piece
                if start + len(data) > end:
                    raise self._fail(SourceGone(detail="the store sends more than it was asked for"))

    def _fail(self, failure: PipelineError) -> OSError:
        self._failure = failure
        return OSError(failure.detail)


class _NotNow(Exception):
    """The store may answer when it is asked again."""


class RangedReader(RawIOBase):
    """One way through a `RangedFile`."""

    def __init__(self, file: RangedFile) -> None:
        super().__init__()
        self._file, self._at = file, 0
        self.name = file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        at = offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._file.size_bytes}[whence]
        if at < 0:
            raise OSError(22, "before the beginning")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, or as many as there are up to the end."""
        left = max(0, self._file.size_bytes - self._at)
        left = left if size < 0 else min(size, left)
        parts: list[bytes] = []
        while left > 0:
            parts.append(self._file.read_at(self._at, left))
            self._at += len(parts[-1])
            left -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def parse_address(text: str, name: str) -> RangedFile:
    """Return the file that a line of JSON tells of, ``{"url", "size_bytes"}``. Raises `ValueError`."""
    match json.loads(text):
        case {"url": str(url), "size_bytes": int(size)} if url.startswith(("https://", "http://")) and size >= 0:
            return RangedFile(name, url, size)
    raise ValueError("no address")
