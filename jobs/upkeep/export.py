"""``make export``: write a whole installation into a folder, to move it or to have it as a back-up.

The product may run meanwhile: the rows are those of one moment, and every file that they count on is there. What is
made or deleted later is not in the archive, or still in it.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from config import Settings
from jobs.errors import NotFound
from jobs.inventory import list_results
from jobs.models import StoredFile
from jobs.outside import describe_database, make_ports, read_machine_options
from jobs.ports import FileStore, Ports
from jobs.rows import LEFT, TABLES, Rows
from jobs.storage import ORIGINALS_PREFIX, original_key, parse_key
from jobs.upkeep.command import Command
from jobs.upkeep.folder import (
    FORMAT,
    ArchivedFile,
    ArchiveFolder,
    ArchiveRefused,
    Manifest,
    Part,
    format_time,
    hash_file,
    is_key,
)
from jobs.upkeep.progress import Progress, in_units
from jobs.upkeep.stores import open_rows, require_same
from jobs.version import VERSION

WHOLE, LACKING, NOBODY, USAGE = 0, 1, 1, 2
TRIES = 5
"""How often the rows are read anew when what they count on was deleted meanwhile."""
ALIVE_S = 60.0
_WORTH_SAYING = ("sessions", "uploads")
_SAME_TIME_S = 0.01
_SPARE_BYTES = 100_000_000


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="a new folder, or one whose export was interrupted")
    parser.add_argument("--copy", action="store_true", help="copy files also where a hard link would do")


def _run(settings: Settings, arguments: Namespace) -> int:
    if arguments.folder is None:
        print("Say where the archive goes: make export OUT=folder")
        return USAGE
    if settings.supabase is None and not settings.data_dir.exists():  # opening it would make it
        return _refuse(settings)
    ports = make_ports(settings, read_machine_options(settings))
    with closing(ports.database):
        rows = open_rows(settings)
        require_same(ports.database, rows)
        if not ports.database.users.count():
            return _refuse(settings)
        return export(ports, rows, ArchiveFolder(arguments.folder), copy=arguments.copy)


def _refuse(settings: Settings) -> int:
    print(f"There is nobody in {describe_database(settings)}, so nothing is exported.", file=sys.stderr)
    return NOBODY


def export(ports: Ports, rows: Rows, folder: ArchiveFolder, *, copy: bool = False) -> int:
    """Write the archive and say what is in it; return 0, or 1 when a file that rows count on is missing or differs.

    Raises `DomainError`.
    """
    if folder.begin(str(uuid.uuid4())):
        print("Going on with the archive that was begun here.")
    if ports.database.workers.list_alive(within_s=ALIVE_S):
        print("Workers run: what they make from now on may not be in the archive. To move, stop the product first.")
    _collect(ports.files, folder, copy=copy, checks_room=True)
    lacking: frozenset[str] = frozenset()
    for _ in range(TRIES):
        made_at = ports.now()
        parts, left = _write_rows(rows, folder)
        _collect(ports.files, folder, copy=copy)
        before, lacking = lacking, _find_lacking(folder)
        if lacking <= before:  # else something was deleted while the rows were read: read them again
            break
    size_bytes = 0

    def measure() -> Iterator[ArchivedFile]:
        nonlocal size_bytes
        for file in _hash_files(folder):
            size_bytes += file.bytes
            yield file

    files = folder.write_list(measure())

    def describe(archive_id: str) -> Manifest:
        return Manifest(
            format=FORMAT,
            id=archive_id,
            program=VERSION,
            made_at=format_time(made_at),
            rows=parts,
            files=files,
            bytes=size_bytes,
            missing=len(lacking),
            left=left,
        )

    manifest = folder.finish(describe)
    describe_archive(folder, manifest)
    for key in sorted(lacking):
        what = "Of another size in the store" if folder.path_of(key).is_file() else "Missing in the store"
        print(f"{what}: {key}")
    print(f"The archive is {folder.root}. It holds password hashes and everybody's videos: keep it as you keep those.")
    return LACKING if lacking else WHOLE


def describe_archive(folder: ArchiveFolder, manifest: Manifest) -> None:
    """Print what an archive holds, and what was left behind."""
    rows = ", ".join(f"{name.replace('_', ' ')} {part.lines:,}" for name, part in manifest.rows.items())
    print(f"Rows of {manifest.made_at}: {rows}.")
    print(f"Files: {manifest.files.lines:,} with {in_units(manifest.bytes)}.")
    for name in _WORTH_SAYING:
        if manifest.left.get(name):
            print(f"Left behind: {name} {manifest.left[name]:,}; {LEFT[name]}.")
    with_hash = sum(str(row["password_hash"]).startswith("$") for row in folder.read_rows(TABLES["credentials"]))
    if without := manifest.rows["users"].lines - with_hash:
        print(
            f"People without a password in these tables: {without:,}. Supabase Auth keeps it, or none was "
            "set. Where the same Auth is not used, they need a link to set one."
        )


def _write_rows(rows: Rows, folder: ArchiveFolder) -> tuple[Mapping[str, Part], Mapping[str, int]]:
    with rows.snapshot() as snapshot:
        parts = {name: folder.write_rows(table, snapshot.list_rows(table)) for name, table in TABLES.items()}
        return parts, {name: snapshot.count(name) for name in LEFT}


def _find_lacking(folder: ArchiveFolder) -> frozenset[str]:
    """Return the keys of the files that rows of the archive count on and that are not in it in that size."""
    return frozenset(
        key
        for key, size in _list_counted(folder)
        if not (path := folder.path_of(key)).is_file() or path.stat().st_size != size
    )


def _list_counted(folder: ArchiveFolder) -> Iterator[tuple[str, object]]:
    """Yield the keys of the files that rows of the archive count on, with their sizes in bytes."""
    for row in folder.read_rows(TABLES["videos"]):
        yield original_key(str(row["user_id"]), str(row["id"])), row["size_bytes"]
    for row in folder.read_rows(TABLES["jobs"]):
        ids = str(row["user_id"]), str(row["video_id"]), str(row["id"])
        yield from list_results(ids, row["status"], row["stored_attempt"], row["result"]).items()


def _collect(files: FileStore, folder: ArchiveFolder, *, copy: bool, checks_room: bool = False) -> None:
    """Bring every file of the store that the folder lacks into it."""
    lacking = 0
    for stored in _list_stored(files):
        if not _is_here(folder.path_of(stored.key), stored):
            lacking += stored.size_bytes
    links = not copy and _may_link(files, folder)
    if checks_room and not links and lacking + _SPARE_BYTES > (free := shutil.disk_usage(folder.root).free):
        raise ArchiveRefused(
            f"There is no room: {in_units(lacking)} of files are to go to {folder.root}, where {in_units(free)} are "
            "free."
        )
    progress = Progress("Collected", lacking)
    for stored in _list_stored(files):
        path = folder.path_of(stored.key)
        if not _is_here(path, stored):
            try:
                _bring(files, stored, folder.make_place(stored.key), links=links)
            except NotFound:  # deleted meanwhile; when rows count on it, they are read again
                continue
            except OSError as error:
                raise ArchiveRefused(f"A file can't be written: {error.strerror}.", repr(error)) from error
            progress.add(stored.size_bytes)


def _list_stored(files: FileStore) -> Iterator[StoredFile]:
    return (stored for stored in files.list_files(ORIGINALS_PREFIX) if is_key(stored.key))


def _is_here(path: Path, stored: StoredFile) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return (
        found.st_size == stored.size_bytes
        and abs(found.st_mtime - stored.modified_at.timestamp()) < _SAME_TIME_S
    )  # fmt: skip


def _may_link(files: FileStore, folder: ArchiveFolder) -> bool:
    """Tell whether files can be linked into the folder, by linking one: the same disk may be mounted twice."""
    for stored in _list_stored(files):
        source = files.local_path(stored.key)
        if source is None:
            return False
        try:
            beside = _clear_place(folder.make_place(stored.key))
            os.link(source, beside)
            beside.unlink()
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError:  # copying says what else may be wrong
            return False
        return True
    return False


def _clear_place(path: Path) -> Path:
    """Return where a file lies until it is whole: under a name that is no key's."""
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    return beside


def _bring(files: FileStore, stored: StoredFile, path: Path, *, links: bool) -> None:
    beside = _clear_place(path)
    source = files.local_path(stored.key)
    if source is None:
        files.fetch(stored.key, beside)
    else:
        try:
            if links:
                os.link(source, beside)
            else:
                shutil.copyfile(source, beside)
        except FileNotFoundError:
            raise NotFound(detail=stored.key) from None
    if not links:
        beside.chmod(0o600)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.utime(beside, (stored.modified_at.timestamp(),) * 2)
    beside.replace(path)


def _hash_files(folder: ArchiveFolder) -> Iterator[ArchivedFile]:
    """Yield the archive's files, and remove what was left half made and those of videos that have no row."""
    known = {str(row["id"]) for row in folder.read_rows(TABLES["videos"])}
    progress = Progress("Checked", sum((folder.root / "files" / key).stat().st_size for key in folder.list_keys()))
    for key in folder.list_keys():
        ids, path = parse_key(key), folder.root / "files" / key
        if ids is None or ids[1] not in known or not is_key(key):
            path.unlink()
            continue
        size_bytes = path.stat().st_size
        yield ArchivedFile(key=key, bytes=size_bytes, sha256=hash_file(path))
        progress.add(size_bytes)


COMMAND = Command(
    summary="Write everything, rows and files, into a folder: to move it, or as a back-up.",
    add_arguments=_add_arguments,
    run=_run,
)
