"""What stands against a file before its first byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.errors import QuotaExceeded, Refused
from jobs.models import Upload, Usage
from jobs.quota import in_gigabytes

OPEN_UPLOADS_PER_PERSON = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What the next upload may be; 0 or None is no limit."""

    max_bytes: int
    max_duration_ms: int
    usage: Usage
    free_bytes: int | None
    """Largest original the disk still takes, with room for its result and for what must stay free."""


def require_fit(name: str, size_bytes: int, limits: UploadLimits, opened: Sequence[Upload]) -> None:
    """Raise `Refused` or `QuotaExceeded` when a file of that size can't be taken beside those that are ``opened``."""
    if size_bytes < 1:
        raise Refused("empty", "The file is empty: the copy did not even begin. Copy it again, then use that.")
    if limits.max_bytes and size_bytes > limits.max_bytes:
        raise Refused(
            "too_large",
            f"{name} has {in_gigabytes(size_bytes)}; at most {in_gigabytes(limits.max_bytes)} can be uploaded. "
            "Export it smaller, or split it.",
            status=413,
        )
    if len(opened) >= OPEN_UPLOADS_PER_PERSON:
        raise Refused("too_many", f"{len(opened)} uploads are unfinished. Finish or cancel some of them first.")
    left = limits.usage.left_bytes
    if left is not None and size_bytes > left - sum(upload.size_bytes for upload in opened):
        raise QuotaExceeded(
            "quota_bytes",
            f"Your storage of {in_gigabytes(limits.usage.limit_bytes)} has no room for this file of "
            f"{in_gigabytes(size_bytes)}. Delete videos you no longer need, then upload it.",
        )
    if limits.usage.left_ms == 0:
        raise QuotaExceeded(
            "quota_minutes",
            f"Your {limits.usage.limit_ms // 60_000} minutes of this month are used up. "
            f"There are new ones on {limits.usage.period_ends_at:%-d %B}.",
        )
    if limits.free_bytes is not None and size_bytes > limits.free_bytes:
        raise Refused(
            "disk_full",
            f"This machine has no room for {in_gigabytes(size_bytes)} now. "
            "Ask the administrator to make room, then upload it.",
            status=507,
        )
