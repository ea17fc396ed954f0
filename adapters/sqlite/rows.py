"""Values of the tables: times, JSON, and rows as the values of `jobs.models`."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import datetime

from adapters.times import from_ms
from jobs.models import (
    JobEvent,
    JobStatus,
    Json,
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
    VideoFacts,
    WorkerInfo,
)


def make_id() -> str:
    """Return a new random id."""
    return str(uuid.uuid4())


def maybe_from_ms(value: int | None) -> datetime | None:
    """Return epoch milliseconds as a time, None as None."""
    return None if value is None else from_ms(value)


def dump_json(value: Json | Sequence[str]) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, default=dict)  # a mapping of another kind is no dict to the encoder


def parse_json(text: str) -> Json:
    """Return a JSON object."""
    value: Json = json.loads(text)
    return value


def make_pattern(text: str) -> str:
    """Return the LIKE pattern, with ``\\`` as its escape, for folded text that contains ``text``."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def make_user(row: sqlite3.Row) -> User:
    """Return a row of ``users``."""
    return User(
        id=row["id"],
        username=row["username"],
        full_name=row["full_name"],
        role=Role(row["role"]),
        is_active=bool(row["is_active"]),
        quota_minutes=row["quota_minutes"],
        quota_bytes=row["quota_bytes"],
        options=parse_json(row["options"]),
        token_version=row["token_version"],
        created_at=from_ms(row["created_at"]),
    )


def make_session(row: sqlite3.Row) -> Session:
    """Return a row of ``sessions``."""
    return Session(
        id=row["id"],
        user_id=row["user_id"],
        token_version=row["token_version"],
        label=row["label"],
        created_at=from_ms(row["created_at"]),
        seen_at=from_ms(row["seen_at"]),
        expires_at=from_ms(row["expires_at"]),
        tokens=row["tokens"],
    )


def make_link(row: sqlite3.Row) -> Link:
    """Return a row of ``links``."""
    return Link(
        id=row["id"],
        kind=LinkKind(row["kind"]),
        token_hash=row["token_hash"],
        user_id=row["user_id"],
        role=Role(row["role"]),
        note=row["note"],
        created_by=row["created_by"],
        created_at=from_ms(row["created_at"]),
        expires_at=from_ms(row["expires_at"]),
        used_at=maybe_from_ms(row["used_at"]),
    )


def make_throttle(row: sqlite3.Row) -> Throttle:
    """Return a row of ``throttles``."""
    return Throttle(
        key=row["key"],
        failures=row["failures"],
        locked_until=maybe_from_ms(row["locked_until"]),
        last_failure_at=from_ms(row["last_failure_at"]),
    )


def make_upload(row: sqlite3.Row) -> Upload:
    """Return a row of ``uploads``."""
    return Upload(
        id=row["id"],
        user_id=row["user_id"],
        video_id=row["video_id"],
        name=row["name"],
        size_bytes=row["size_bytes"],
        fingerprint=row["fingerprint"],
        options=parse_json(row["options"]),
        state=UploadState(row["state"]),
        job_id=row["job_id"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        created_at=from_ms(row["created_at"]),
        updated_at=from_ms(row["updated_at"]),
    )


def make_video(row: sqlite3.Row) -> Video:
    """Return a row of ``videos``."""
    return Video(
        id=row["id"],
        user_id=row["user_id"],
        title=row["title"],
        note=row["note"],
        tags=tuple(json.loads(row["tags"])),
        recorded_on=row["recorded_on"],
        file_name=row["file_name"],
        facts=VideoFacts(
            duration_ms=row["duration_ms"],
            width=row["width"],
            height=row["height"],
            fps=row["fps"],
            video_codec=row["video_codec"],
            audio_tracks=row["audio_tracks"],
            size_bytes=row["size_bytes"],
            sha256=row["sha256"],
        ),
        current_job_id=row["current_job_id"],
        created_at=from_ms(row["created_at"]),
        updated_at=from_ms(row["updated_at"]),
    )


def make_job(row: sqlite3.Row) -> ProcessingJob:
    """Return a row of ``jobs``."""
    return ProcessingJob(
        id=row["id"],
        user_id=row["user_id"],
        video_id=row["video_id"],
        status=JobStatus(row["status"]),
        stage=row["stage"],
        progress=row["progress"],
        options=parse_json(row["options"]),
        result=parse_json(row["result"]),
        error_code=row["error_code"],
        error_message=row["error_message"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        stored_attempt=row["stored_attempt"],
        worker_id=row["worker_id"],
        lease_until=maybe_from_ms(row["lease_until"]),
        cancel_requested=bool(row["cancel_requested"]),
        created_at=from_ms(row["created_at"]),
        started_at=maybe_from_ms(row["started_at"]),
        finished_at=maybe_from_ms(row["finished_at"]),
    )


def make_event(row: sqlite3.Row) -> JobEvent:
    """Return a row of ``job_events``."""
    return JobEvent(
        id=row["id"], job_id=row["job_id"], at=from_ms(row["at"]), event=row["event"], data=parse_json(row["data"])
    )


def make_worker(row: sqlite3.Row) -> WorkerInfo:
    """Return a row of ``workers``."""
    return WorkerInfo(
        id=row["id"],
        host=row["host"],
        pid=row["pid"],
        started_at=from_ms(row["started_at"]),
        seen_at=from_ms(row["seen_at"]),
        info=parse_json(row["info"]),
    )
