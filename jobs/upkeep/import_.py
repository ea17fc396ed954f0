"""``make import``: read an archive of `jobs.upkeep.export` into the stores that the settings name, which are empty.

Files go first, each whole or not at all; rows last, in one transaction. So what was interrupted can be started again,
and until the last step nobody sees anything of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

from config import Settings
from jobs.errors import Conflict
from jobs.models import JobStatus, Role, StoredFile
from jobs.outside import make_ports, read_machine_options
from jobs.ports import FileStore, Ports
from jobs.rows import SECRET_OF_IMPORT, TABLES, Rows
from jobs.storage import ORIGINALS_PREFIX
from jobs.upkeep.command import Command
from jobs.upkeep.export import describe_archive
from jobs.upkeep.folder import ArchivedFile, ArchiveFolder, ArchiveRefused, Manifest, hash_file, is_key
from jobs.upkeep.progress import Progress, in_units
from jobs.upkeep.stores import open_rows, require_same

AGREE, DIFFER, USAGE = 0, 1, 2
AT_ONCE = 4
_SPARE_BYTES = 100_000_000
_PIECE_BYTES = 8 << 20


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="an archive that make export wrote")
    parser.add_argument(
        "--keep", action="store_true", help="leave other files in the store alone: rows alone were lost"
    )
    parser.add_argument("--verify", action="store_true", help="read every file back from the store and compare it")


def _run(settings: Settings, arguments: Namespace) -> int:
    if arguments.folder is None:
        print("Say where the archive is: make import IN=folder")
        return USAGE
    folder = ArchiveFolder(arguments.folder)
    manifest = folder.read_manifest()
    ports = make_ports(settings, read_machine_options(settings))
    with closing(ports.database), _working_alone(settings.data_dir) as scratch:
        folder.check(manifest)
        require_login(folder, auth_backend=settings.auth_backend)
        return read_in(
            ports, open_rows(settings), folder, manifest, scratch, keep=arguments.keep, verify=arguments.verify
        )


def require_login(folder: ArchiveFolder, *, auth_backend: str) -> None:
    """Raise `ArchiveRefused` when no administrator of the archive could log in where passwords are kept so.

    Supabase Auth knows people by e-mail addresses and keeps their passwords; the table has names, and hashes beside.
    """
    with_hash = {
        row["user_id"]
        for row in folder.read_rows(TABLES["credentials"])
        if str(row["password_hash"]).startswith("$")
    }  # fmt: skip
    administrators = [
        row for row in folder.read_rows(TABLES["users"]) if row["role"] == Role.ADMIN and row["is_active"]
    ]  # fmt: skip
    if auth_backend == "supabase":
        may_enter, other = any("@" in str(row["username"]) for row in administrators), "table"
    else:
        may_enter, other = any(row["id"] in with_hash for row in administrators), "supabase"
    if administrators and not may_enter:
        raise ArchiveRefused(
            f"No administrator of the archive could log in with AUTH_BACKEND={auth_backend}: set AUTH_BACKEND={other}, "
            "as it was where the archive was written."
        )


def read_in(
    ports: Ports,
    rows: Rows,
    folder: ArchiveFolder,
    manifest: Manifest,
    scratch: Path,
    *,
    keep: bool = False,
    verify: bool = False,
) -> int:
    """Read an archive in and compare; return 0 when all of it is there, else 1. Raises `DomainError`.

    The archive was checked. ``scratch`` is an empty folder, best on the disk of the files. An archive that is in
    already is only compared.
    """
    require_same(ports.database, rows)
    describe_archive(folder, manifest)
    with rows.snapshot() as snapshot:
        is_in = snapshot.read_secret(SECRET_OF_IMPORT) == manifest.id
        if not is_in and snapshot.count("users"):
            raise ArchiveRefused(
                "The database has people already: an archive goes into an empty installation. Name another one, or "
                "empty this one."
            )
    if is_in:
        print("This archive was read in before; rows and files stay as they are.")
    else:
        if not keep:
            _require_only_ours(ports.files, folder)
        _store_files(ports.files, folder, scratch)
        rows.fill(folder.read_rows, mark=manifest.id)
    differences = [*_compare_rows(rows, manifest), *_compare_files(ports.files, folder, manifest, verify=verify)]
    _release_jobs(ports, folder)
    for difference in differences:
        print(difference)
    if differences and is_in:
        print("The installation differs from the archive: it has been used since, or lost something (make reconcile).")
    elif not differences:
        print("All of it is there: as many rows as in the archive, and every file in its size.")
    return DIFFER if differences else AGREE


# --- files ---


def _require_only_ours(files: FileStore, folder: ArchiveFolder) -> None:
    """Raise `ArchiveRefused` when the store has files that are not this archive's: somebody else's lie there."""
    for stored in files.list_files(ORIGINALS_PREFIX):
        if not _is_ours(folder, stored, in_its_size=False):
            raise ArchiveRefused(
                "The file store has files that are not of this archive: name an empty bucket or data folder. Where "
                "rows alone were lost, ARGS=--keep leaves these files alone.",
                stored.key,
            )


def _is_ours(folder: ArchiveFolder, stored: StoredFile, *, in_its_size: bool = True) -> bool:
    """Tell whether a file of the store is one of the archive."""
    if not is_key(stored.key):
        return False
    path = folder.path_of(stored.key)
    return path.is_file() and (not in_its_size or path.stat().st_size == stored.size_bytes)


def _store_files(files: FileStore, folder: ArchiveFolder, scratch: Path) -> None:
    lacking = sum(file.bytes for file in folder.list_files() if not _is_stored(files, file))
    free = files.free_bytes()
    if free is not None and lacking + _SPARE_BYTES > free:
        raise ArchiveRefused(
            f"There is no room: {in_units(lacking)} of files are to be stored, and {in_units(free)} are free."
        )
    progress = Progress("Stored", lacking)

    def store(file: ArchivedFile) -> None:
        if not _is_stored(files, file):
            _store(files, file, folder.path_of(file.key), scratch, progress)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="import") as pool:
        listed = folder.list_files()
        while some := list(islice(listed, 16 * AT_ONCE)):
            list(pool.map(store, some))


def _is_stored(files: FileStore, file: ArchivedFile) -> bool:
    stored = files.stat(file.key)
    return stored is not None and stored.size_bytes == file.bytes


def _store(files: FileStore, file: ArchivedFile, path: Path, scratch: Path, progress: Progress) -> None:
    """Store one file, whose bytes are those that were written into the archive."""
    if _hash(path) != file.sha256:
        raise ArchiveRefused(f"The archive is damaged: {file.key} is not what was written.")
    if files.local_path(file.key) is None:  # a store elsewhere only reads what it is given
        with suppress(Conflict):  # an import that was killed had sent it, and the store has just put it in its place
            files.put(file.key, path, on_progress=progress.follow(file.bytes))
    elif file.key.endswith("/original"):
        _send_original(files, file, path)
        progress.add(file.bytes)
    else:
        copy = scratch / hashlib.sha256(file.key.encode()).hexdigest()
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise ArchiveRefused(f"A file can't be copied: {error.strerror}.", repr(error)) from error
        files.put(file.key, copy)  # which moves it to its place
        progress.add(file.bytes)
    if not _is_stored(files, file):
        raise ArchiveRefused("The file store has another file in the place of one of the archive.", file.key)


def _send_original(files: FileStore, file: ArchivedFile, path: Path) -> None:
    """Store an original as an upload does, so that it is as safe from being changed as one."""
    files.discard_upload(file.key)
    offset = 0
    for block in _read_blocks(path):
        files.append(file.key, offset, block)
        offset += len(block)
    files.finish_upload(file.key)


def _read_blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while block := source.read(_PIECE_BYTES):
                yield block
    except OSError as error:
        raise ArchiveRefused("A file of the archive can't be read.", repr(error)) from error


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise ArchiveRefused("A file of the archive can't be read.", repr(error)) from error


# --- comparing ---


def _compare_rows(rows: Rows, manifest: Manifest) -> Iterator[str]:
    with rows.snapshot() as snapshot:
        for name, part in manifest.rows.items():
            found = snapshot.count(name)
            if found != part.lines:
                yield f"Rows of {name}: {part.lines:,} in the archive, {found:,} in the database."


def _compare_files(files: FileStore, folder: ArchiveFolder, manifest: Manifest, *, verify: bool) -> Iterator[str]:
    number, size_bytes = 0, 0
    for stored in files.list_files(ORIGINALS_PREFIX):
        if _is_ours(folder, stored):
            number, size_bytes = number + 1, size_bytes + stored.size_bytes
    if (number, size_bytes) != (manifest.files.lines, manifest.bytes):
        yield (
            f"Files: {manifest.files.lines:,} with {manifest.bytes:,} bytes in the archive, of them {number:,} with "
            f"{size_bytes:,} bytes in the store."
        )
    if not verify:
        return
    progress = Progress("Read back", manifest.bytes)
    for file in folder.list_files():
        digest = hashlib.sha256()
        if _is_stored(files, file):
            for block in files.read(file.key):
                digest.update(block)
        if digest.hexdigest() != file.sha256:
            yield f"Not as in the archive: {file.key}"
        progress.add(file.bytes)


def _release_jobs(ports: Ports, folder: ArchiveFolder) -> None:
    """Give the jobs back that were running when the rows were read: they wait again, or end if that was asked for."""
    released = 0
    for row in folder.read_rows(TABLES["jobs"]):
        if row["status"] == JobStatus.RUNNING:
            job = ports.database.jobs.release(str(row["id"]), str(row["worker_id"]), reason="moved", counts=False)
            released += job is not None
    if released:
        print(f"{released:,} {'job that was' if released == 1 else 'jobs that were'} running will be made anew.")


@contextmanager
def _working_alone(data_dir: Path) -> Iterator[Path]:
    """Give an empty folder to work in, to one import at a time. Raises `ArchiveRefused`."""
    scratch = data_dir / "import"
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ArchiveRefused(f"The data folder can't be written: {error.strerror}.", repr(error)) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveRefused("Another import runs here: wait for it to end.") from None
        for left in scratch.iterdir():  # by one that was killed
            left.unlink()
        yield scratch
    finally:
        os.close(held)


COMMAND = Command(
    summary="Read an archive into the empty stores that the settings name.", add_arguments=_add_arguments, run=_run
)
