"""A file on its way from or to S3: in pieces side by side, each again while the store is away."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from adapters.disk_errors import explaining_disk
from adapters.s3_errors import CUT, answered, get_code, is_missing, make_error, passes
from jobs.errors import Conflict, NotFound, StorageError
from jobs.ports import OnProgress

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

logger = logging.getLogger(__name__)

T = TypeVar("T")

PIECE_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20
MAX_PARTS = 9000
"""S3 takes 10 000."""
_THREADS = 4
_LOOK_S = 0.1
_PATIENCE_S = 120.0
"""How long a transfer waits for a store without a byte going through; the library's own tries take less than one."""
_MAX_PAUSE_S = 10.0

Open = Callable[[int, int], Iterator[bytes]]
"""Yields the bytes from one offset up to, and without, another."""


def measure_pieces(size_bytes: int) -> int:
    """Return how large the pieces of a file are, by its size alone: whole MiB, and no more than `MAX_PARTS` of them."""
    least = -(-size_bytes // MAX_PARTS)
    return max(PIECE_BYTES, -(-least // BLOCK_BYTES) * BLOCK_BYTES)


class Patience:
    """Waits between tries, longer each time; ends when nothing has gone through for too long, or on a stop."""

    def __init__(self, stop: threading.Event | None = None, *, lasts_s: float | None = None) -> None:
        self._stop, self._lasts_s = stop or threading.Event(), _PATIENCE_S if lasts_s is None else lasts_s
        self.renew()

    def renew(self) -> None:
        """Begin again, because something went through."""
        self._pause_s = 0.5
        self._since: float | None = None

    def wait(self, error: StorageError) -> None:
        """Wait for the next try. Raises ``error`` when there is to be none."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not passes(error) or now - self._since > self._lasts_s:
            raise error
        logger.info("the file store is away, to be tried again: %s", error.detail)
        if self._stop.wait(self._pause_s * random.uniform(0.5, 1.0)):
            raise error
        self._pause_s = min(self._pause_s * 2, _MAX_PAUSE_S)


def open_range(client: S3Client, bucket: str, key: str, etag: str) -> Open:
    """Return what opens ranges of one object, as it is now."""

    def read(start: int, end: int) -> Iterator[bytes]:
        with answered():
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=etag)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != end - start:
                    raise make_error(CUT, f"{answer['ContentLength']} bytes instead of {end - start}")
                while block := body.read(BLOCK_BYTES):
                    yield block

    return read


def read_on(read: Open, start: int, end: int, patience: Patience) -> Iterator[bytes]:
    """Yield a range; where the connection is cut, go on from there."""
    while start < end:
        try:
            for block in read(start, end):
                patience.renew()
                start += len(block)
                yield block
        except StorageError as error:
            patience.wait(error)


def fetch_file(
    read: Open, size_bytes: int, path: Path, *, should_cancel: Callable[[], bool], on_progress: OnProgress
) -> bool:
    """Fill ``path``, which is there only when it is whole and can't be written then; False when it was cancelled."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    tally = _Tally(size_bytes, on_progress)
    with explaining_disk(path.parent):
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with closing(os.fdopen(fd, "wb", buffering=0)):

            def fetch_piece(start: int, stop: threading.Event) -> None:
                end = min(start + PIECE_BYTES, size_bytes)
                position = start
                for block in read_on(read, start, end, Patience(stop)):
                    if stop.is_set():
                        return
                    with explaining_disk(path.parent):
                        _write_at(fd, position, block)
                    position += len(block)
                    tally.add(len(block))

            if not _run_side_by_side(range(0, size_bytes, PIECE_BYTES), fetch_piece, should_cancel):
                return False
            with explaining_disk(path.parent):
                os.fchmod(fd, 0o400)
                os.replace(part, path)
        return True
    finally:
        with suppress(OSError):
            part.unlink()


def send_file(
    client: S3Client, bucket: str, key: str, path: Path, *, media_type: str, only_new: bool, on_progress: OnProgress
) -> None:
    """Store a file whole or not at all. Raises `Conflict` when it was to be new and is there already."""
    with explaining_disk(path.parent):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with closing(os.fdopen(fd, "rb", buffering=0)):
        size_bytes = os.fstat(fd).st_size
        tally = _Tally(size_bytes, on_progress)

        def read_piece(start: int, piece_bytes: int) -> bytes:
            with explaining_disk(path.parent):
                return _read_at(fd, start, min(piece_bytes, size_bytes - start))

        if size_bytes > PIECE_BYTES:
            _send_parts(client, bucket, key, size_bytes, read_piece, tally, media_type=media_type, only_new=only_new)
            return
        data = read_piece(0, PIECE_BYTES)
        condition: _Condition = {"IfNoneMatch": "*"} if only_new else {}

        def put(condition: _Condition) -> None:
            client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type, **condition)

        _persist(lambda: _do_if(put, condition))
        tally.add(size_bytes)


def complete_upload(
    client: S3Client, bucket: str, key: str, upload_id: str, parts: Sequence[CompletedPartTypeDef], *, only_new: bool
) -> None:
    """Make an object of the parts of an upload.

    Raises `Conflict` when it was to be new and is there already, `NotFound` when the upload is gone.
    """
    condition: _Condition = {"IfNoneMatch": "*"} if only_new else {}

    def complete(condition: _Condition) -> None:
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
        )  # fmt: skip

    with answered():
        try:
            _do_if(complete, condition)
        except ClientError as error:
            if get_code(error) != "NoSuchUpload":
                raise
            raise NotFound(detail=str(error)) from error


def _send_parts(
    client: S3Client,
    bucket: str,
    key: str,
    size_bytes: int,
    read_piece: Callable[[int, int], bytes],
    tally: _Tally,
    *,
    media_type: str,
    only_new: bool,
) -> None:
    piece_bytes = measure_pieces(size_bytes)
    upload_id = _persist(
        lambda: client.create_multipart_upload(Bucket=bucket, Key=key, ContentType=media_type)["UploadId"]
    )
    etags: dict[int, str] = {}

    def send_piece(start: int, stop: threading.Event) -> None:
        number, data = start // piece_bytes + 1, read_piece(start, piece_bytes)
        answer = _persist(
            lambda: client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data), stop
        )
        etags[number] = answer["ETag"]
        tally.add(len(data))

    is_whole = False
    try:
        _run_side_by_side(range(0, size_bytes, piece_bytes), send_piece)
        parts: list[CompletedPartTypeDef] = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        try:
            _persist(lambda: complete_upload(client, bucket, key, upload_id, parts, only_new=only_new))
        except (NotFound, Conflict):
            # Also what a second try hears when the answer to the first was lost.
            if not _is_made_of(client, bucket, key, [part["ETag"] for part in parts]):
                raise
        is_whole = True
    finally:
        if not is_whole:
            with suppress(BotoCoreError, ClientError):  # what can't be reached is left to the sweep
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def _is_made_of(client: S3Client, bucket: str, key: str, etags: Sequence[str]) -> bool:
    """Tell by its tag whether an object has just these parts; False where tags are no MD5."""
    try:
        digests = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
    except ValueError:
        return False
    digest = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    with answered():
        try:
            return client.head_object(Bucket=bucket, Key=key)["ETag"] == f'"{digest}-{len(etags)}"'
        except ClientError as error:
            if not is_missing(error):
                raise
            return False


class _Condition(TypedDict, total=False):
    IfNoneMatch: str


def _do_if(write: Callable[[_Condition], None], condition: _Condition) -> None:
    """Write on a condition. Raises `Conflict` when it is not met."""
    try:
        write(condition)
    except ClientError as error:
        if get_code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
            raise Conflict("An original is never replaced.", detail=str(error)) from error
        if get_code(error) != "NotImplemented" or not condition:
            raise
        write({})  # a store that knows no conditions; whoever asked has looked before


def _persist(step: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Do a step of a transfer, again while the store is away."""
    patience = Patience(stop)
    while True:
        try:
            with answered():
                return step()
        except StorageError as error:
            patience.wait(error)


def _run_side_by_side(
    starts: Iterable[int],
    work: Callable[[int, threading.Event], None],
    should_cancel: Callable[[], bool] = lambda: False,
) -> bool:
    """Do all pieces, some at a time; the first that fails ends it. Return False when it was cancelled."""
    stop = threading.Event()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="s3") as pool:
        pending = {pool.submit(work, start, stop) for start in starts}
        try:
            while pending:
                done, pending = wait(pending, timeout=_LOOK_S, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                if should_cancel():
                    return False
        finally:
            stop.set()
            for future in pending:
                future.cancel()
    return True


class _Tally:
    """Adds up what several threads have done, and tells which part of the whole it is."""

    def __init__(self, size_bytes: int, on_progress: OnProgress) -> None:
        self._size_bytes = size_bytes
        self._on_progress = on_progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:  # also around the telling, so that it never goes back
            self._done += count
            self._on_progress(self._done / self._size_bytes if self._size_bytes else 1.0)


def _write_at(fd: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _read_at(fd: int, offset: int, count: int) -> bytes:
    blocks = []
    while count and (block := os.pread(fd, count, offset)):
        blocks.append(block)
        offset, count = offset + len(block), count - len(block)
    if count:
        raise OSError(errno.EIO, "the file has become shorter")
    return b"".join(blocks)
