"""What hands work to workers."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Protocol


class Queue(Protocol):
    """Tells workers that a job waits. Knows ids only; losing all of it loses nothing."""

    def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:
        """Hand a job to the workers; doing it again while it waits changes nothing."""

    def find_missing(self, jobs: Iterable[tuple[str, int]]) -> Set[tuple[str, int]]:
        """Return those of the jobs, given with their attempts, that do not wait here. Raises `StoreUnavailable`."""

    def forget(self, job_id: str, attempt: int) -> None: ...
    def check(self) -> str:
        """Return a sentence about the working queue. Raises `StoreUnavailable`."""


class Parts(Protocol):
    """Offers parts of a long video to workers that have nothing else to do. Knows ids only.

    Losing all of it loses nothing: who offered a part makes it, when nobody else does.
    """

    def offer(self, job_id: str, attempt: int, name: str, *, timeout_s: int) -> None:
        """Hand a part to the workers; doing it again changes nothing."""

    def take_back(self, job_id: str, attempt: int, name: str) -> bool:
        """Withdraw a part that nobody has begun; True for exactly one of all who try."""

    def is_alive(self, job_id: str, attempt: int, name: str) -> bool:
        """Tell whether a part that was offered still waits or is being made."""
