"""Times as rows hold them: epoch milliseconds, the same in every database and archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(time: datetime) -> int:
    """Return an aware time in epoch milliseconds."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def from_ms(value: int) -> datetime:
    """Return epoch milliseconds as a time in UTC."""
    return _EPOCH + timedelta(milliseconds=value)
