"""What a person has used and may use, and what a job costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from jobs.errors import NotFound, QuotaExceeded, Refused
from jobs.models import Limits, Usage, User
from jobs.ports import Charge, Ports
from jobs.storage import hash_transcript
from pipeline.options import OptionError, PipelineOptions, parse_job_options

MINUTE_MS = 60_000
_SLOWEST = 20
_SHORTEST_TIMEOUT_S = 1800


def read_options(raw: Mapping[str, object], machine: PipelineOptions) -> PipelineOptions:
    """Return a job's options with the machine's speech engine and model. Raises `Refused` with the sentence."""
    try:
        job = parse_job_options(raw)
    except OptionError as error:
        raise Refused("bad_options", str(error)) from error
    return replace(job, speech_engine=machine.speech_engine, model=machine.model)


def find_user(ports: Ports, user_id: str) -> User:
    """Return the person. Raises `NotFound`."""
    user = ports.database.users.get(user_id)
    if user is None:
        raise NotFound
    return user


def limit_bytes_of(user: User, limits: Limits) -> int:
    """Return how many bytes a person may store; 0 is no limit."""
    return limits.quota_bytes if user.quota_bytes is None else user.quota_bytes


def limit_ms_of(user: User, limits: Limits) -> int:
    """Return how many milliseconds of recordings a person may have processed in a month; 0 is no limit."""
    return (limits.quota_minutes if user.quota_minutes is None else user.quota_minutes) * MINUTE_MS


def read_usage(ports: Ports, limits: Limits, user_id: str) -> Usage:
    """Return what a person has used this month (UTC) and may use. Raises `NotFound`."""
    user = find_user(ports, user_id)
    return Usage(
        used_ms=ports.database.jobs.used_ms(user_id),
        limit_ms=limit_ms_of(user, limits),
        stored_bytes=ports.database.videos.stored_bytes(user_id),
        limit_bytes=limit_bytes_of(user, limits),
        period_ends_at=next_month(ports.now()),
    )


def require_room(usage: Usage) -> None:
    """Raise `QuotaExceeded` when nothing more may be stored: another version of a video takes room too.

    Room is asked for before the work and never after it: a result that took its minutes is kept, so that the results of
    what was let in may fill more than the limit. Then nothing more gets in until something is deleted.
    """
    if usage.left_bytes == 0:
        raise QuotaExceeded(
            "quota_bytes",
            f"Your storage of {in_gigabytes(usage.limit_bytes)} is full. "
            "Delete videos you no longer need, then make another version.",
        )


def next_month(now: datetime) -> datetime:
    """Return the first instant of the month after ``now``."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + 1, month=1) if now.month == 12 else first.replace(month=now.month + 1)


def make_charge(sha256: str, options: PipelineOptions, *, limit_ms: int) -> Charge:
    """Return what making a video of that source costs: its length, once for each transcript."""
    return Charge(key=hash_transcript(sha256, options), limit_ms=limit_ms)


def timeout_s_of(duration_ms: int) -> int:
    """Return how long a job of a recording of that length may take before it counts as hanging."""
    return max(_SHORTEST_TIMEOUT_S, _SLOWEST * duration_ms // 1000)


def in_gigabytes(size_bytes: int) -> str:
    """Return a size as a person reads it: ``840 MB``, ``1.2 GB``, ``10 GB``."""
    if size_bytes < 1_000_000_000:
        return f"{max(1, round(size_bytes / 1_000_000))} MB"
    text = f"{size_bytes / 1_000_000_000:.1f}"
    return f"{text.removesuffix('.0')} GB"
