"""Rows and files compared: what is missing, of another size, or known to nobody. It changes nothing.

Both stores change meanwhile, so what differs is looked at once more, and only what differs then, too, is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from jobs.inventory import (
    SETTLED,
    Shelf,
    is_transcript,
    list_arriving,
    list_results,
    list_rows,
    list_shelves,
    read_shelf,
    split_result_key,
)
from jobs.models import StoredFile, User
from jobs.ports import Ports
from jobs.storage import original_key

TRIES = 3
"""How often a person's storage is counted before it is said to never stand still."""


class DifferenceKind(StrEnum):
    """In what rows and files do not agree."""

    MISSING = "missing"
    """A row counts on a file that the store does not have."""
    SIZE = "size"
    UNKNOWN = "unknown"
    """A file that no row knows."""
    SUM = "sum"
    """What a person's storage is counted as is not what their rows add up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that rows and files do not agree on."""

    kind: DifferenceKind
    user_id: str
    """Empty for a file whose key is none of ours."""
    key: str
    """Empty for a sum."""
    row_bytes: int | None
    """By the row; None where no row knows it. Of a sum, what the rows add up to."""
    stored_bytes: int | None
    """In the store; None where there is nothing. Of a sum, what the person's storage is counted as."""


@dataclass(slots=True, kw_only=True)
class PersonTotal:
    """What one person has, by the rows and in the store."""

    user_id: str
    username: str
    """Empty when the database knows no such person."""
    videos: int = 0
    row_bytes: int = 0
    """What the person's storage is counted as: originals and results that are kept."""
    stored_bytes: int = 0
    """Of the files that those rows count on."""
    beside_bytes: int = 0
    """Of transcripts that are kept for later versions, and of what is being written: counted for nobody."""
    unknown_bytes: int = 0
    """Of files that no row knows."""
    differences: int = 0


def compare_stores(
    ports: Ports, *, person: User | None = None, tell: Callable[[Difference], None]
) -> Iterator[PersonTotal]:
    """Compare everybody's rows and files, or one person's; ``tell`` each difference, yield the totals of each person.

    Who has neither rows nor files is left out, unless asked for.
    """
    arriving = list_arriving(ports)
    shelves = list_shelves(ports, user_id=person.id if person else "")
    seen = False
    for user_id, group in groupby(shelves, key=lambda shelf: shelf.user_id):
        seen = True
        yield _compare_person(ports, user_id, group, arriving, tell)
    if person is not None and not seen:
        yield _compare_person(ports, person.id, iter(()), arriving, tell)


def compare_shelf(shelf: Shelf, *, arriving: frozenset[str], now: datetime) -> frozenset[Difference]:
    """Return what rows and files of one video do not agree on."""
    rows, there = list_counted(shelf), {file.key: file.size_bytes for file in shelf.files}

    def differ(kind: DifferenceKind, key: str) -> Difference:
        return Difference(
            kind=kind, user_id=shelf.user_id, key=key, row_bytes=rows.get(key), stored_bytes=there.get(key)
        )  # fmt: skip

    return frozenset(
        [
            *(differ(DifferenceKind.MISSING, key) for key in rows if key not in there),
            *(differ(DifferenceKind.SIZE, key) for key, size in rows.items() if there.get(key, size) != size),
            *(
                differ(DifferenceKind.UNKNOWN, file.key)
                for file in shelf.files
                if file.key not in rows and not _is_beside(shelf, file, arriving, now)
            ),
        ]
    )


def list_counted(shelf: Shelf) -> Mapping[str, int]:
    """Return the keys of the files that the rows of a video count on, with their sizes."""
    if shelf.video is None:
        return {}
    keys = {original_key(shelf.user_id, shelf.video_id): shelf.video.facts.size_bytes}
    for job in shelf.jobs:
        ids = shelf.user_id, shelf.video_id, job.id
        keys.update(list_results(ids, job.status, job.stored_attempt, job.result))
    return keys


def _compare_person(
    ports: Ports, user_id: str, shelves: Iterator[Shelf], arriving: frozenset[str], tell: Callable[[Difference], None]
) -> PersonTotal:
    user = ports.database.users.get(user_id) if user_id else None
    total = PersonTotal(user_id=user_id, username=user.username if user else "")
    rows_bytes = 0
    for shelf in shelves:
        differences = compare_shelf(shelf, arriving=arriving, now=ports.now())
        if differences and shelf.user_id:
            again = read_shelf(ports, shelf.user_id, shelf.video_id)
            differences &= compare_shelf(again, arriving=arriving, now=ports.now())
        _add(total, shelf, {difference.key for difference in differences})
        rows_bytes += _sum_rows(shelf)
        for difference in sorted(differences, key=lambda difference: difference.key):
            tell(difference)
    if user is not None:
        total.row_bytes = ports.database.videos.stored_bytes(user_id)
        if total.row_bytes != rows_bytes and (wrong := _compare_sum(ports, user_id)) is not None:
            total.differences += 1
            tell(wrong)
    return total


def _add(total: PersonTotal, shelf: Shelf, differing: Set[str]) -> None:
    counted = list_counted(shelf)
    total.videos += shelf.video is not None
    total.differences += len(differing)
    for file in shelf.files:
        if file.key in counted:
            total.stored_bytes += file.size_bytes
        elif file.key in differing:
            total.unknown_bytes += file.size_bytes
        else:
            total.beside_bytes += file.size_bytes


def _compare_sum(ports: Ports, user_id: str) -> Difference | None:
    """Return how a person's storage is counted wrong; None when that is right, or never stands still."""
    for _ in range(TRIES):
        before = ports.database.videos.stored_bytes(user_id)
        summed = sum(
            _sum_rows(Shelf(user_id=user_id, video_id=video.id, files=(), video=video, jobs=tuple(jobs)))
            for video, jobs in list_rows(ports, user_id=user_id)
        )
        if before == ports.database.videos.stored_bytes(user_id):
            if summed == before:
                return None
            return Difference(
                kind=DifferenceKind.SUM, user_id=user_id, key="", row_bytes=summed, stored_bytes=before
            )  # fmt: skip
    return None


def _sum_rows(shelf: Shelf) -> int:
    return sum(list_counted(shelf).values())


def _is_beside(shelf: Shelf, file: StoredFile, arriving: frozenset[str], now: datetime) -> bool:
    """Tell whether a file that no row counts on is where it belongs: kept for later, or just being written."""
    if not shelf.user_id:
        return False
    if now - file.modified_at <= SETTLED or shelf.video_id in arriving:
        return True
    if shelf.video is None:
        return False
    result = split_result_key(file.key)
    if result is None:
        return is_transcript(file.key)
    return any(job.id == result[0] and job.status.is_active for job in shelf.jobs)
