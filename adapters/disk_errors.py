"""What this machine's file system raises, as the domain's errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import StorageError


@contextmanager
def explaining_disk(place: Path) -> Iterator[None]:
    """Turn what the system raises about ``place`` into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                "disk_full", "The disk of this machine is full. Ask the administrator to make room, then go on.",
                f"{place}: {error}",
            ) from error  # fmt: skip
        raise StorageError(
            "files", "The files of this machine can't be read or written just now. Try again in a minute.",
            f"{place}: {error}",
        ) from error  # fmt: skip
