"""The folder that holds a whole installation: rows as JSON lines, files under their keys, and a manifest.

    manifest.json          format, id, time, and of everything the number and SHA-256; written last
    rows/{table}.jsonl     one row a line, in the order in which they were made
    files.jsonl            one file a line: key, bytes, SHA-256
    files/user/…           the files

It holds password hashes and everybody's videos: folders are 0700, what is written here 0600.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from io import BufferedWriter
from pathlib import Path

from jobs.errors import DomainError
from jobs.rows import TABLES, Row, Table
from jobs.storage import parse_key

FORMAT = 1
_KEY = re.compile(r"user(?:/[0-9A-Za-z_-][0-9A-Za-z._-]*)+")
"""No part of a key begins with a dot: what does is on its way, or leads elsewhere."""


class ArchiveRefused(DomainError):
    """The archive can't be written, read or put there; the message says why and what to do."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("archive_refused", message, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of JSON lines."""

    lines: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One file of the installation."""

    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive consists of."""

    format: int
    id: str
    """Of this archive alone."""
    program: str
    """Version of the program that wrote it."""
    made_at: str
    """When the rows were read, in ISO 8601."""
    rows: Mapping[str, Part]
    files: Part
    """The list of files."""
    bytes: int
    """Of all files."""
    missing: int
    """Files that rows count on and that the store did not have, or in another size."""
    left: Mapping[str, int]
    """Rows that were not carried, by table."""


class ArchiveFolder:
    """An archive at ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._manifest = self.root / "manifest.json"
        self._unfinished = self.root / "unfinished"
        self._list = self.root / "files.jsonl"

    # --- writing ---

    def begin(self, archive_id: str) -> bool:
        """Make the folder; tell whether it goes on with one that was not finished. Raises `ArchiveRefused`."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._manifest.exists():
                raise ArchiveRefused(f"{self.root} holds a finished archive already: name another folder.")
            goes_on = self._unfinished.exists()
            if not goes_on and any(self.root.iterdir()):
                raise ArchiveRefused(f"{self.root} is not empty: name a new folder.")
            self.root.chmod(0o700)
            if not goes_on:
                with _writing(self._unfinished) as file:
                    file.write(archive_id.encode())
        except OSError as error:
            raise _explain(error, self.root) from error
        return goes_on

    def write_rows(self, table: Table, rows: Iterable[Row]) -> Part:
        """Write a table."""
        return self._write_lines(self._rows_path(table), rows)

    def write_list(self, files: Iterable[ArchivedFile]) -> Part:
        """Write the list of files."""
        return self._write_lines(self._list, map(asdict, files))

    def finish(self, make: Callable[[str], Manifest]) -> Manifest:
        """Write the manifest, which ``make`` returns for the archive's id: from now on it is whole."""
        try:
            manifest = make(self._unfinished.read_text("ascii"))
            with _writing(self._manifest) as file:
                file.write(json.dumps(asdict(manifest), indent=2).encode() + b"\n")
            self._unfinished.unlink()
        except OSError as error:
            raise _explain(error, self.root) from error
        return manifest

    # --- reading ---

    def read_manifest(self) -> Manifest:
        """Return what the archive consists of. Raises `ArchiveRefused` for what is no archive of this format."""
        try:
            text = self._manifest.read_text("utf-8")
        except OSError as error:
            why = "was not finished: run make export again" if self._unfinished.exists() else "is not there"
            raise ArchiveRefused(f"The archive {self.root} {why}.", str(error)) from error
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ArchiveRefused(
                    f"The archive is of format {found['format']}, and this program reads format {FORMAT}: read it in "
                    "with the version that wrote it."
                )
            parts = {name: Part(**part) for name, part in found["rows"].items()}
            if parts.keys() != TABLES.keys():
                raise ArchiveRefused(
                    "The archive has other tables than this version of the program knows: read it in with the version "
                    f"that wrote it ({found['program']}), then update."
                )
            return Manifest(**{**found, "rows": parts, "files": Part(**found["files"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArchiveRefused(f"The manifest of the archive {self.root} is damaged.", repr(error)) from error

    def check(self, manifest: Manifest) -> None:
        """Hold rows and list to the manifest, and see that every file is there in its size. Raises `ArchiveRefused`."""
        for table in TABLES.values():
            _hold(self._rows_path(table), manifest.rows[table.name])
        _hold(self._list, manifest.files)
        size_bytes = 0
        for file in self.list_files():
            size_bytes += file.bytes
            try:
                found = self.path_of(file.key).stat().st_size
            except OSError as error:
                raise ArchiveRefused(f"The archive lacks the file {file.key}.", str(error)) from error
            if found != file.bytes:
                raise ArchiveRefused(f"The archive is damaged: {file.key} has {found:,} bytes, not {file.bytes:,}.")
        if size_bytes != manifest.bytes:
            raise ArchiveRefused("The archive is damaged: its files add up to another size than its manifest says.")

    def read_rows(self, table: Table) -> Iterator[Row]:
        """Yield the rows of a table."""
        return _read_lines(self._rows_path(table))

    def list_files(self) -> Iterator[ArchivedFile]:
        """Yield what the list of files says, in the order of the keys."""
        for line in _read_lines(self._list):
            key, size_bytes, sha256 = line.get("key"), line.get("bytes"), line.get("sha256")
            if not (isinstance(key, str) and isinstance(size_bytes, int) and isinstance(sha256, str)):
                raise ArchiveRefused("The list of files in the archive is damaged.")
            yield ArchivedFile(key=key, bytes=size_bytes, sha256=sha256)

    def path_of(self, key: str) -> Path:
        """Return where a file lies. Raises `ArchiveRefused` for what is no key of a person's file."""
        if not is_key(key):
            raise ArchiveRefused(f"The archive names a file {key!r}, which is none of a person.")
        return self.root / "files" / key

    def make_place(self, key: str) -> Path:
        """Return where a file is to lie, with the folders above it. Raises `OSError`."""
        path = self.path_of(key)
        for folder in reversed([one for one in path.parents if self.root in one.parents]):
            folder.mkdir(mode=0o700, exist_ok=True)
        return path

    def list_keys(self) -> Iterator[str]:
        """Yield the keys of the files that lie here, sorted."""
        top = self.root / "files"
        for place, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                yield Path(place, name).relative_to(top).as_posix()

    # --- places ---

    def _rows_path(self, table: Table) -> Path:
        return self.root / "rows" / f"{table.name}.jsonl"

    def _write_lines(self, path: Path, rows: Iterable[Mapping[str, object]]) -> Part:
        digest, lines = hashlib.sha256(), 0
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with _writing(path) as file:
                for row in rows:
                    line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                    file.write(line)
                    digest.update(line)
                    lines += 1
        except OSError as error:
            raise _explain(error, self.root) from error
        return Part(lines=lines, sha256=digest.hexdigest())


def is_key(key: str) -> bool:
    """Tell whether a key is that of a person's file, and leads nowhere else."""
    return _KEY.fullmatch(key) is not None and parse_key(key) is not None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hold(path: Path, part: Part) -> None:
    try:
        found = hash_file(path)
    except OSError as error:
        raise ArchiveRefused(f"The archive lacks {path.name}.", str(error)) from error
    if found != part.sha256:
        raise ArchiveRefused(f"The archive is damaged: {path.name} is not what was written.")


def _read_lines(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as file:
            for line in file:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("a line is no row")
                yield row
    except (OSError, ValueError) as error:
        raise ArchiveRefused(f"The archive is damaged: {path.name} can't be read.", repr(error)) from error


@contextmanager
def _writing(path: Path) -> Iterator[BufferedWriter]:
    """Write a file whole or not at all."""
    beside = path.with_name(f"{path.name}.part")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def format_time(time: datetime) -> str:
    """Return a time as it stands in a manifest."""
    return time.isoformat(timespec="seconds")


def _explain(error: OSError, root: Path) -> ArchiveRefused:
    return ArchiveRefused(f"The folder {root} can't be written: {error.strerror or error}.", repr(error))
