"""Says how far something long has come, at most every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY_S = 5.0


class Progress:
    """Counts bytes, from several threads, and prints a line now and then. ``verb`` begins it: ``Stored``."""

    def __init__(self, verb: str, total_bytes: int) -> None:
        self._verb, self._total, self._done = verb, total_bytes, 0
        self._told_at = time.monotonic()
        self._lock = threading.Lock()

    def add(self, size_bytes: int) -> None:
        """Count what is done."""
        with self._lock:
            self._done += size_bytes
            now = time.monotonic()
            if now - self._told_at >= EVERY_S:
                self._told_at = now
                print(f"{self._verb} {in_units(self._done)} of {in_units(self._total)}.", flush=True)

    def follow(self, size_bytes: int) -> Callable[[float], None]:
        """Return what is told the part of a file that is done, and counts it."""
        told = 0

        def tell(fraction: float) -> None:
            nonlocal told
            done = round(fraction * size_bytes)
            self.add(done - told)
            told = done

        return tell


def in_units(size_bytes: int) -> str:
    """Return a size in the largest unit that fits: ``12 bytes``, ``3.4 MB``."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size, units = size_bytes / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}"
