"""Work folders: one for each job on this machine, kept until the job is over, locked while a process has the job.

A worker that makes parts of a job has a folder of its own for them, beside that of the job itself.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.models import JobStatus, ProcessingJob
from jobs.ports import Jobs
from pipeline.errors import DiskFull

ROOM_FACTOR = 2
"""An original and its result, on the disk at the same time."""
PATIENCE_S = 2.0
"""How long a folder is waited for: a look at it (`tidy_folders`) takes less, a job takes longer."""
SIGNATURE_FILE = "worker"
"""In a work folder: the id of the worker whose process has the job."""


def name_folder(job_id: str, worker_id: str) -> str:
    """Return the name of the folder in which a worker makes parts of somebody's job."""
    return f"{job_id}+{worker_id}"


@contextmanager
def hold_folder(root: Path, name: str) -> Iterator[Path | None]:
    """Yield a work folder, named by its job or by `name_folder`, made when missing; None when a process keeps it."""
    folder = root / name
    deadline = time.monotonic() + PATIENCE_S
    while (descriptor := _lock_made(folder)) is None:
        if time.monotonic() > deadline:
            yield None
            return
        time.sleep(0.05)
    try:
        yield folder
    finally:
        os.close(descriptor)


def _lock_made(folder: Path) -> int | None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _lock(folder)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that holds the lock of ``folder``; None when another process does, or there is no folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, there = os.fstat(descriptor), os.stat(folder)
        if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def require_room(folder: Path, source_bytes: int) -> None:
    """Raise `DiskFull` when an original of so many bytes and its result do not fit on this machine's disk."""
    needed, free = ROOM_FACTOR * source_bytes, shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(str(folder), needed, free)


def tidy_folders(root: Path, jobs: Jobs) -> list[ProcessingJob]:
    """Give back the jobs whose process died here, and remove the work folders of jobs that are over.

    Nobody holds the lock of a dead process's folder, so it is known at once, before any lease runs out. Returns the
    jobs that wait again.
    """
    waiting: list[ProcessingJob] = []
    for folder in list(root.iterdir()) if root.is_dir() else []:
        descriptor = _lock(folder)
        if descriptor is None:
            continue
        try:
            signature = folder / SIGNATURE_FILE
            if signature.is_file():
                job = jobs.release(folder.name, signature.read_text(encoding="utf-8"), reason="worker_lost")
                signature.unlink()
                if job is not None and job.status is JobStatus.QUEUED:
                    waiting.append(job)
            found = jobs.find(folder.name.partition("+")[0])
            if found is None or found[0].status.is_final:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
    return waiting
