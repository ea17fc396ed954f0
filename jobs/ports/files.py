"""Where files lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from jobs.models import RemoteFile, StoredFile

OnProgress = Callable[[float], None]
"""Is told which part of a transfer is done, 0–1; may be called from several threads."""


def ignore_progress(_fraction: float) -> None:
    """Be told, and do nothing."""


class FileStore(Protocol):
    """Files by key. Keys are made by `jobs.storage` only; an original is never overwritten."""

    # receiving: bytes are kept apart from finished files until `finish_upload`. A store on this machine takes them in
    # order by `append`; one elsewhere takes parts straight from the browser, at addresses that are signed here.
    def received(self, key: str) -> int:
        """Return how many bytes of an upload are there."""

    def part_bytes(self, size_bytes: int) -> int | None:
        """Return how large the parts of such an upload are (the last may be smaller), always the same for a size; None
        where bytes are taken by `append`."""

    def list_parts(self, key: str) -> Mapping[int, int]:
        """Return the bytes of each part that is there, by its number from 1."""

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:
        """Return the address to which a browser PUTs one part of exactly so many bytes. Raises `NotFound` where there
        are no parts."""

    def append(self, key: str, offset: int, data: bytes) -> None:
        """Add bytes at the end of an upload. Raises `Conflict` when ``offset`` is not its end."""

    def upload_path(self, key: str) -> Path | None:
        """Return where the received bytes lie on this machine, for the probe; None when they lie elsewhere."""

    def finish_upload(self, key: str) -> None:
        """Turn the received bytes into the file ``key``; once it is there, doing it again changes nothing.

        Raises `NotFound` when there is neither.
        """

    def discard_upload(self, key: str) -> None: ...
    def list_uploads(self) -> Iterator[StoredFile]:
        """Yield uploads that were begun and not finished."""

    # finished files
    def stat(self, key: str) -> StoredFile | None: ...
    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        """Store a local file whole or not at all; the local file may be moved away. Raises `Conflict` for an original
        that is there."""

    def fetch(
        self,
        key: str,
        path: Path,
        *,
        should_cancel: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> Path:
        """Return a local path with the file's bytes, read-only: ``path``, filled, or where they already lie.

        Stops early, with part of them, when it is to cancel. Raises `NotFound`.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the path of a file that lies on this machine, for sending it; None when a link must serve."""

    def open_remote(self, key: str) -> RemoteFile | None:
        """Return how a process on this machine reads parts of a file that lies elsewhere; None when it lies here.

        Raises `NotFound`.
        """

    def link(self, key: str, *, file_name: str, media_type: str, download: bool, expires_s: int) -> str | None:
        """Return a short-lived address of the file; None when it lies on this machine."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the file in blocks. Raises `NotFound`."""

    def list_files(self, prefix: str) -> Iterator[StoredFile]: ...
    def delete(self, keys: Iterable[str]) -> None: ...
    def delete_all(self, prefix: str) -> int:
        """Delete everything below ``prefix`` (which ends in ``/``); return how many."""

    def free_bytes(self) -> int | None:
        """Return the room that is left; None when there is no end to it."""

    def check(self) -> str:
        """Write, read and delete a file; return a sentence about it. Raises `StorageError`."""
