"""Rows as PostgREST tells them, as the values of `jobs.models`: their fields have the columns' names."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.supabase.client import Row
from jobs.models import (
    JobEvent,
    JobStatus,
    Link,
    LinkKind,
    ProcessingJob,
    Role,
    Session,
    Throttle,
    Upload,
    UploadState,
    User,
    Video,
    VideoCard,
    VideoFacts,
    WorkerInfo,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
_TIMES = {"at", "created_at", "updated_at", "seen_at", "expires_at", "used_at", "locked_until", "last_failure_at"}
_TIMES |= {"lease_until", "started_at", "finished_at"}


def parse_time(text: str | None) -> datetime | None:
    """Return a time in UTC."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def format_time(time: datetime) -> str:
    """Return an aware time with whole milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _make(model: type[T], row: Row, **converted: Any) -> T:
    names = [item.name for item in fields(model) if item.name not in converted]
    return model(**{name: parse_time(row[name]) if name in _TIMES else row[name] for name in names}, **converted)


def make_user(row: Row) -> User:
    """Return a row of ``users``."""
    return _make(User, row, role=Role(row["role"]))


def make_session(row: Row) -> Session:
    """Return a row of ``sessions``."""
    return _make(Session, row)


def make_link(row: Row) -> Link:
    """Return a row of ``links``."""
    return _make(Link, row, kind=LinkKind(row["kind"]), role=Role(row["role"]))


def make_throttle(row: Row) -> Throttle:
    """Return a row of ``throttles``."""
    return _make(Throttle, row)


def make_upload(row: Row) -> Upload:
    """Return a row of ``uploads``."""
    return _make(Upload, row, state=UploadState(row["state"]))


def make_video(row: Row) -> Video:
    """Return a row of ``videos``."""
    return _make(Video, row, tags=tuple(row["tags"]), facts=_make(VideoFacts, row))


def make_job(row: Row) -> ProcessingJob:
    """Return a row of ``jobs``."""
    return _make(ProcessingJob, row, status=JobStatus(row["status"]), progress=float(row["progress"]))


def make_card(row: Row) -> VideoCard:
    """Return one of the cards that ``list_cards`` lists."""
    video, job = make_video(row["video"]), make_job(row["job"])
    other = make_job(row["current"]) if row["current"] else None
    current = job if video.current_job_id == job.id else other
    return VideoCard(video=video, job=job, current=current, position=row["position"])


def make_event(row: Row) -> JobEvent:
    """Return a row of ``job_events``."""
    return _make(JobEvent, row)


def make_worker(row: Row) -> WorkerInfo:
    """Return a row of ``workers``."""
    return _make(WorkerInfo, row)
