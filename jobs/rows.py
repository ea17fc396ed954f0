"""A whole installation as rows of plain values: what is carried from one database to another, and into a back-up.

The values are the same whatever the database: times in epoch milliseconds, JSON as it is, ids as text. Rows come in the
order in which they were made, and that order is all that is carried of a database's own numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from jobs.errors import DomainError

Value = object
"""A string, whole number, float, bool, None, or a list or mapping of such."""
Row = Mapping[str, Value]


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "whole"
    REAL = "real"
    FLAG = "flag"
    TIME = "time"
    """Epoch milliseconds."""
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that is carried."""

    name: str
    columns: Mapping[str, Kind]


def _table(name: str, **kinds: str) -> Table:
    columns = {column: Kind(kind) for kind, columns in kinds.items() for column in columns.split()}
    return Table(name=name, columns=columns)


_TABLES = (
    _table(
        "users",
        text="id username full_name role",
        flag="is_active",
        whole="quota_minutes quota_bytes token_version",
        json="options",
        time="created_at",
    ),
    _table("credentials", text="user_id password_hash", time="changed_at"),
    _table(
        "links", text="id kind token_hash user_id role note created_by", time="created_at expires_at used_at"
    ),
    _table(
        "videos",
        text="id user_id title note recorded_on file_name fps video_codec sha256 newest_job_id current_job_id language",
        json="tags",
        whole="duration_ms width height audio_tracks size_bytes words cuts result_ms result_bytes",
        time="created_at updated_at",
    ),
    _table(
        "jobs",
        text="id user_id video_id idempotency_key charge_key status stage error_code error_message worker_id",
        real="progress",
        json="options result",
        whole="stored_bytes attempt max_attempts stored_attempt",
        time="lease_until created_at updated_at started_at finished_at",
        flag="cancel_requested",
    ),
    _table("job_events", text="job_id user_id event", time="at", json="data"),
    _table("charges", text="user_id key period job_id", whole="cost_ms", time="created_at"),
)  # fmt: skip
TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
"""By name, each after those it points to."""

LEFT: Mapping[str, str] = {
    "sessions": "people log in again",
    "throttles": "counters of wrong passwords begin anew",
    "uploads": "what is on its way in has to be sent again",
    "workers": "they report themselves",
    "tallies": "counters of the metrics begin anew",
    "secrets": "every installation makes its own",
}
"""Tables that are not carried, and what that means."""

SECRET_OF_IMPORT = "import"
"""Name of the secret that holds the id of the archive that a database was filled from."""


class RowsRefused(DomainError):
    """Rows can't be read or written; the message says why and what to do."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__("rows_refused", message, detail)


class Snapshot(Protocol):
    """All tables as they were at one moment."""

    def list_rows(self, table: Table) -> Iterator[Row]:
        """Yield the rows in the order in which they were made."""

    def count(self, name: str) -> int:
        """Return how many rows a table has, be it carried or left; of uploads, those that are on their way in."""

    def read_secret(self, name: str) -> str:
        """Return a secret of the installation; empty when there is none of that name."""


class Rows(Protocol):
    """A database below its rules. They raise `RowsRefused`, `StoreUnavailable`."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Give the tables as they are now, while others go on changing them."""

    def fill(self, read: Callable[[Table], Iterable[Row]], *, mark: str) -> None:
        """Write all rows into empty tables, and ``mark`` as `SECRET_OF_IMPORT`: all of it or nothing.

        Times, order and log stay as they are. Raises `RowsRefused` when there are people already.
        """


def order_values(table: Table, row: Row) -> list[Value]:
    """Return the values in the order of the table's columns. Raises `RowsRefused` for a row of another shape."""
    if row.keys() != table.columns.keys():
        raise RowsRefused(
            f"The rows of {table.name} have other columns than this version of the program knows: read the archive "
            "in with the version that wrote it."
        )
    return [row[name] for name in table.columns]
