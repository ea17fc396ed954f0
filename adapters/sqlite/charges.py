"""Minutes: taken once for a person and a key, given back when no job of theirs needs the key."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from adapters.sentences import describe_lack_of_minutes, describe_lack_of_room
from jobs.errors import QuotaExceeded
from jobs.ports import Charge


def get_period(now: datetime) -> str:
    """Return the calendar month (UTC) that counts now, such as ``2026-11``."""
    return f"{now.astimezone(UTC):%Y-%m}"


def sum_used(connection: sqlite3.Connection, user_id: str, now: datetime) -> int:
    """Return the milliseconds charged this month."""
    row = connection.execute(
        "SELECT coalesce(sum(cost_ms), 0) FROM charges WHERE user_id = ? AND period = ?", (user_id, get_period(now))
    ).fetchone()
    return int(row[0])


def sum_stored(connection: sqlite3.Connection, user_id: str) -> int:
    """Return the bytes of a person's originals and kept results."""
    row = connection.execute(
        """
        SELECT (SELECT coalesce(sum(size_bytes), 0) FROM videos WHERE user_id = :user)
             + (SELECT coalesce(sum(stored_bytes), 0) FROM jobs WHERE user_id = :user AND stored_bytes > 0)
        """,
        {"user": user_id},
    ).fetchone()
    return int(row[0])


def has_charge(connection: sqlite3.Connection, user_id: str, key: str) -> bool:
    """Tell whether the minutes of a key are paid for."""
    found = connection.execute("SELECT 1 FROM charges WHERE user_id = ? AND key = ?", (user_id, key)).fetchone()
    return found is not None


def check_room(connection: sqlite3.Connection, user_id: str, size_bytes: int, limit_bytes: int) -> None:
    """Raise `QuotaExceeded` unless so many more bytes may be stored; a limit of 0 is none."""
    if not limit_bytes:
        return
    left = max(0, limit_bytes - sum_stored(connection, user_id))
    if size_bytes > left:
        raise QuotaExceeded("quota_bytes", describe_lack_of_room(size_bytes, left))


def take(connection: sqlite3.Connection, user_id: str, job_id: str, charge: Charge, now: datetime, now_ms: int) -> None:
    """Charge the length of a new job's video, unless its key is paid for. Raises `QuotaExceeded`."""
    if has_charge(connection, user_id, charge.key):
        return
    row = connection.execute(
        "SELECT duration_ms FROM videos JOIN jobs ON jobs.video_id = videos.id WHERE jobs.id = ?", (job_id,)
    ).fetchone()
    cost_ms = int(row["duration_ms"])
    if charge.limit_ms:
        left = max(0, charge.limit_ms - sum_used(connection, user_id, now))
        if cost_ms > left:
            raise QuotaExceeded("quota_minutes", describe_lack_of_minutes(cost_ms, left, now))
    connection.execute(
        "INSERT INTO charges (user_id, key, period, cost_ms, job_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (user_id, charge.key, get_period(now), cost_ms, job_id, now_ms),
    )


def hold(connection: sqlite3.Connection, job_id: str) -> None:
    """Let a succeeded job hold the charge of its key, whoever took it: from now on nobody gives it back."""
    connection.execute(
        """
        UPDATE charges SET job_id = job.id FROM jobs AS job
        WHERE job.id = ? AND charges.user_id = job.user_id AND charges.key = job.charge_key
        """,
        (job_id,),
    )


def give_back(connection: sqlite3.Connection, job_id: str) -> None:
    """Move the charge of a job that came to nothing to another one that needs its key, or delete it."""
    held = connection.execute("SELECT user_id, key FROM charges WHERE job_id = ?", (job_id,)).fetchone()
    if held is None:
        return
    heir = connection.execute(
        """
        SELECT id FROM jobs
        WHERE user_id = ? AND charge_key = ? AND id <> ? AND status IN ('queued', 'running', 'succeeded')
        ORDER BY seq LIMIT 1
        """,
        (held["user_id"], held["key"], job_id),
    ).fetchone()
    if heir is None:
        connection.execute("DELETE FROM charges WHERE job_id = ?", (job_id,))
    else:
        connection.execute("UPDATE charges SET job_id = ? WHERE job_id = ?", (heir["id"], job_id))
