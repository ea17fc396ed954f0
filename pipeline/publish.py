"""Results appear whole or not at all: work beside the target, then rename into place."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import OutputUnwritable
from pipeline.media import writing
from pipeline.models import RESULT_FILES

_PREFIX = ".work-"


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Yield a private folder inside ``out`` (made when missing), removed on every way out.

    It lies there so that finished files can be renamed into place and a full disk shows early. What a killed run left
    behind is swept first: a living run holds a lock on its folder. An ``out`` that was made here and stayed empty goes
    too. Raises `OutputUnwritable` or `DiskFull`.
    """
    made = _make_folder(out)
    with writing(out), _locked(out):  # one run at a time looks after the folder
        _sweep(out)
        workdir = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out))
        life = _lock(workdir)
    try:
        yield workdir
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
        os.close(life)
        for folder in made:
            with suppress(OSError):  # not empty: the result is in it
                folder.rmdir()


def _make_folder(out: Path) -> list[Path]:
    """Create ``out`` and return the folders that were made for it, innermost first."""
    if out.exists() and not out.is_dir():
        raise OutputUnwritable(str(out), "exists and is no folder")
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    return made


def _sweep(out: Path) -> None:
    """Remove the scratch folders of runs that no longer live."""
    for folder in out.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, how: int = fcntl.LOCK_EX) -> int:
    """Return a descriptor of ``folder`` that holds its lock; the system lets go of it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    descriptor = _lock(folder, how)
    try:
        yield
    finally:
        os.close(descriptor)


def publish_files(files: Mapping[str, Path], out: Path) -> None:
    """Rename finished ``files`` to their names in ``out``.

    A whole result takes the old report away first and sets the new one last, so that a report never stands beside files
    of another run.
    """
    with writing(out):
        if set(files) == set(RESULT_FILES):
            (out / RESULT_FILES[-1]).unlink(missing_ok=True)
        for name in sorted(files, key=lambda name: name == RESULT_FILES[-1]):
            files[name].replace(out / name)
