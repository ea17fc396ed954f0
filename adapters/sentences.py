"""What a person is told by a database, whichever it is."""

from __future__ import annotations

from datetime import UTC, datetime

BEING_MADE = "This video is being made already. Wait until it is done, or cancel it first."
UPLOAD_REFUSED = "This upload was refused. Choose the file again."
WORKER_LOST = "worker_lost"
"""Error code, and event, of a job whose worker is gone."""
LOST_WORKER = (
    "Something broke on our side. Your original is safe. "
    "Try again; if it fails once more, tell the administrator: job {job}."
)
"""``{job}`` is the job's short name."""

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def describe_lost_worker(job_id: str) -> str:
    """Return the sentence for a job that no worker brought to its end."""
    return LOST_WORKER.format(job=job_id[:4].upper())


def describe_lack_of_minutes(needed_ms: int, left_ms: int, now: datetime) -> str:
    """Return the sentence for somebody whose minutes of this month do not suffice."""
    needed, left = -(-needed_ms // 60_000), left_ms // 60_000
    now = now.astimezone(UTC)
    end = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    need = "1 minute is needed" if needed == 1 else f"{needed} minutes are needed"
    have = {0: "none is left", 1: "1 is left"}.get(left, f"{left} are left")
    return f"{need}, {have} until 1 {end:%B}. Wait until then, or ask the administrator for more."


def describe_lack_of_room(needed_bytes: int, left_bytes: int) -> str:
    """Return the sentence for somebody whose storage does not suffice."""
    need, have = _describe_size(needed_bytes, up=True), _describe_size(left_bytes, up=False)
    left = f"{have} is left" if left_bytes else "none is left"
    return f"{need} of storage is needed, {left}. Delete videos you no longer need, or ask the administrator for more."


def _describe_size(size: int, *, up: bool) -> str:
    name, unit = next((pair for pair in _UNITS if size >= pair[1]), ("bytes", 1))
    tenths = -(-size * 10 // unit) if up else size * 10 // unit
    return f"{tenths // 10}.{tenths % 10} {name}" if tenths % 10 else f"{tenths // 10} {name}"
