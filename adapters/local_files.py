"""Files in a folder of this machine: finished ones under their key, uploads apart from them until they are whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from adapters.disk_errors import explaining_disk
from adapters.file_keys import check_folder, check_key
from jobs.errors import Conflict, NotFound
from jobs.models import RemoteFile, StoredFile
from jobs.ports import OnProgress, ignore_progress

BLOCK_BYTES = 1 << 20
_UPLOADS, _COPIES = ".uploads", ".copies"
_SYNC_BYTES = 64 << 20
"""An upload is written through to the disk this often, so that a power cut costs little and the end is quick."""
_COPY_AGE_S = 24 * 3600


class LocalFiles:
    """A file store in one folder. Safe to be used by several threads and processes."""

    def __init__(self, root: Path) -> None:
        """Make the folder. Raises `StorageError` when that can't be done."""
        self._root = root.absolute()
        with explaining_disk(self._root):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- receiving ---

    def received(self, key: str) -> int:
        with explaining_disk(self._root):
            try:
                return self._upload(key).stat().st_size
            except FileNotFoundError:
                return 0

    def append(self, key: str, offset: int, data: bytes) -> None:
        with explaining_disk(self._root), _locked(self._open_upload(self._upload(key), make=offset == 0)) as fd:
            if offset != (end := os.fstat(fd).st_size):
                raise _wrong_offset(end)
            try:
                _write_at(fd, offset, data)
            except OSError:
                os.ftruncate(fd, offset)
                raise
            if offset // _SYNC_BYTES != (offset + len(data)) // _SYNC_BYTES:
                os.fdatasync(fd)

    def part_bytes(self, size_bytes: int) -> int | None:  # noqa: ARG002
        return None

    def list_parts(self, key: str) -> Mapping[int, int]:  # noqa: ARG002
        return {}

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:  # noqa: ARG002
        raise NotFound

    def upload_path(self, key: str) -> Path | None:
        path = self._upload(key)
        return path if path.is_file() else None

    def finish_upload(self, key: str) -> None:
        source, target = self._upload(key), self._file(key)
        with explaining_disk(self._root):
            try:
                with _closing(os.open(source, os.O_RDONLY | os.O_NOFOLLOW)) as fd:
                    os.fsync(fd)
                    os.fchmod(fd, 0o400)
            except FileNotFoundError:
                if not target.exists():
                    raise NotFound from None
            with self._placing(target):
                if not target.exists():
                    os.rename(source, target)
            self._remove(source, self._root / _UPLOADS)

    def discard_upload(self, key: str) -> None:
        with explaining_disk(self._root):
            self._remove(self._upload(key), self._root / _UPLOADS)

    def list_uploads(self) -> Iterator[StoredFile]:
        yield from _walk(self._root / _UPLOADS, self._root / _UPLOADS)

    # --- finished files ---

    def stat(self, key: str) -> StoredFile | None:
        with explaining_disk(self._root):
            return _describe(self._file(key), key)

    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:  # noqa: ARG002
        target = self._file(key)
        with explaining_disk(self._root):
            if target.exists() and not target.stat().st_mode & 0o200:
                raise Conflict("An original is never replaced.", detail=key)
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            with _closing(fd):
                os.fsync(fd)
                os.fchmod(fd, 0o600)
            try:
                with self._placing(target):
                    os.replace(path, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._put_copy(path, target)

    def fetch(
        self,
        key: str,
        path: Path,  # noqa: ARG002
        *,
        should_cancel: Callable[[], bool] = lambda: False,  # noqa: ARG002
        on_progress: OnProgress = ignore_progress,  # noqa: ARG002
    ) -> Path:
        stored = self._file(key)
        if not stored.is_file():
            raise NotFound
        return stored

    def local_path(self, key: str) -> Path | None:
        return self._file(key)

    def open_remote(self, key: str) -> RemoteFile | None:  # noqa: ARG002
        return None

    def link(
        self, key: str, *, file_name: str, media_type: str, download: bool, expires_s: int  # noqa: ARG002
    ) -> str | None:  # fmt: skip
        return None

    def read(self, key: str) -> Iterator[bytes]:
        with explaining_disk(self._root):
            try:
                file = self._file(key).open("rb")
            except (FileNotFoundError, IsADirectoryError):
                raise NotFound from None
            with file:
                while block := file.read(BLOCK_BYTES):
                    yield block

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        folder = prefix.rpartition("/")[0]
        start = self._file(folder) if folder else self._root
        for file in _walk(start, self._root):
            if file.key.startswith(prefix) and not file.key.startswith("."):
                yield file

    def delete(self, keys: Iterable[str]) -> None:
        with explaining_disk(self._root):
            for key in keys:
                self._remove(self._file(key), self._root)

    def delete_all(self, prefix: str) -> int:
        keys = [file.key for file in self.list_files(check_folder(prefix))]
        self.delete(keys)
        folder = self._file(prefix.rstrip("/"))
        with explaining_disk(self._root), self._alone():
            for path in sorted(_folders(folder), reverse=True):  # also those that never held a file
                _prune(path, self._root)
        return len(keys)

    def free_bytes(self) -> int | None:
        with explaining_disk(self._root):
            return shutil.disk_usage(self._root).free

    def check(self) -> str:
        path, data = self._root / f".check-{uuid4().hex}", uuid4().bytes
        with explaining_disk(self._root):
            try:
                path.write_bytes(data)
                if path.read_bytes() != data:
                    raise OSError(errno.EIO, "what was written is not what is read")
            finally:
                path.unlink(missing_ok=True)
            return f"{shutil.disk_usage(self._root).free / 1e9:.1f} GB free."

    # --- places ---

    def _file(self, key: str) -> Path:
        return self._root / check_key(key)

    def _upload(self, key: str) -> Path:
        return self._root / _UPLOADS / check_key(key)

    def _open_upload(self, path: Path, *, make: bool) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        if make:
            with self._placing(path):
                return os.open(path, flags | os.O_CREAT, 0o600)
        try:
            return os.open(path, flags)
        except FileNotFoundError:  # no file is made for one that was cancelled meanwhile
            raise _wrong_offset(0) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep every other thread and process from making and removing folders."""
        with _locked(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)):
            yield

    @contextmanager
    def _placing(self, target: Path) -> Iterator[None]:
        """Make the folders of ``target``, which the caller then puts there, and write the new name to the disk."""
        with self._alone():
            folder, missing = target.parent, []
            while not folder.is_dir():
                missing.append(folder)
                folder = folder.parent
            for one in reversed(missing):
                one.mkdir(mode=0o700)
            yield
        with suppress(FileNotFoundError), _closing(os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)) as fd:
            os.fsync(fd)

    def _remove(self, path: Path, top: Path) -> None:
        """Remove a file, if it is there, and the folders below ``top`` that are empty then."""
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            path.unlink()
        with self._alone():
            _prune(path.parent, top)

    def _put_copy(self, path: Path, target: Path) -> None:
        """Copy a file of another disk beside its place, then move the copy there."""
        copies = self._root / _COPIES
        copies.mkdir(mode=0o700, exist_ok=True)
        self._forget_copies(copies)
        copy = copies / uuid4().hex
        try:
            with path.open("rb") as source, copy.open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                shutil.copyfileobj(source, file, BLOCK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            with self._placing(target):
                os.replace(copy, target)
        finally:
            copy.unlink(missing_ok=True)

    def _forget_copies(self, copies: Path) -> None:
        """Remove copies that a process left behind when it was killed."""
        for copy in copies.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - copy.stat().st_mtime > _COPY_AGE_S:
                    copy.unlink()


def _wrong_offset(end: int) -> Conflict:
    return Conflict(f"{end} bytes of this upload are here; it goes on from there.", code="wrong_offset")


def _prune(folder: Path, top: Path) -> None:
    """Remove empty folders from ``folder`` up to, and without, ``top``."""
    with suppress(OSError):  # one that is not empty ends it
        while top in folder.parents:
            with suppress(FileNotFoundError):
                folder.rmdir()
            folder = folder.parent


def _write_at(fd: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _describe(path: Path, key: str) -> StoredFile | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not S_ISREG(found.st_mode):
        return None
    return StoredFile(
        key=key, size_bytes=found.st_size, modified_at=datetime.fromtimestamp(found.st_mtime, UTC)
    )  # fmt: skip


def _walk(folder: Path, top: Path) -> Iterator[StoredFile]:
    """Yield the files below ``folder``, keys from ``top``; what vanishes meanwhile is left out."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if (file := _describe(path, path.relative_to(top).as_posix())) is not None:
                yield file


def _folders(folder: Path) -> list[Path]:
    return [Path(place) for place, _, _ in os.walk(folder)]


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _locked(fd: int) -> Iterator[int]:
    """Hold an opened file for this thread alone, among all processes, and close it."""
    with _closing(fd):
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
