"""What a command costs: wall time, processor time and memory, of itself and everything it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_S = 0.25
_TAIL_CHARS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one command used."""

    seconds: float
    """Wall time from its start to its end."""
    cpu_seconds: float
    """User and system time of the command and of every child that it waited for, from ``wait4``."""
    peak_bytes: int
    """The largest sum of proportional set sizes over its process tree, sampled four times a second.

    Not ``ru_maxrss``: that counts the forked copy of Python and knows one process only. Pages that several processes
    share are counted once.
    """


class CommandFailed(Exception):
    """A measured command did not end well; the message holds its last words."""


def measure(command: Sequence[str | Path], *, cwd: Path, log: Path, environ: Mapping[str, str] | None = None) -> Usage:
    """Run ``command`` to its end, its output going to ``log``. Raises `CommandFailed`."""
    with open(log, "wb") as output:
        begin = time.monotonic()
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=None if environ is None else {**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    watch = _MemoryWatch(child.pid)
    watch.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        child.kill()
        raise
    finally:
        watch.stop()
    if child.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARS:]
        raise CommandFailed(f"{Path(command[0]).name} ended with {child.returncode}:\n{tail}")
    return Usage(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=watch.peak_bytes)


class _MemoryWatch(threading.Thread):
    """Samples the memory of a process tree until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory-watch", daemon=True)
        self.peak_bytes = 0
        self._root = pid
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            self.peak_bytes = max(self.peak_bytes, _sum_pss(self._root))
            self._done.wait(_EVERY_S)

    def stop(self) -> None:
        """Take no more samples."""
        self._done.set()
        self.join()


def _sum_pss(root: int) -> int:
    total = 0
    try:
        parent = psutil.Process(root)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in tree:
        try:
            total += int(process.memory_full_info().pss)
        except psutil.Error:
            continue  # it ended meanwhile
    return total
