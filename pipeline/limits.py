"""What this process may still use of the machine: set before a stranger's file is opened, and never undone."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG


def limit_process(*, cpu_s: int, memory_bytes: int) -> None:
    """Allow this process so many more seconds of processor time and bytes of memory; no files, no core dump.

    Running out of time ends the process (SIGXCPU), running out of memory raises `MemoryError`. What the system knows
    no limit for stays as it is. Output that goes to a file may still be written.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, round(used.ru_utime + used.ru_stime) + cpu_s)
    _limit(resource.RLIMIT_AS, _address_space() + memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    if not any(_is_file(fd) for fd in (1, 2)):
        _limit(resource.RLIMIT_FSIZE, 0)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with suppress(ValueError, OSError):  # macOS refuses some kinds
        resource.setrlimit(kind, (most, most))


def _address_space() -> int:
    """Return the bytes of addresses in use, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _is_file(fd: int) -> bool:
    try:
        return S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # closed
        return False
