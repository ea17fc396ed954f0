"""Jobs and videos as values, for tests of what is shown of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jobs.models import JobStatus, ProcessingJob, Video, VideoCard, VideoFacts

AT = datetime(2026, 11, 23, 9, 41, tzinfo=UTC)
VIDEO_ID, JOB_ID, USER_ID = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "7a1")

RESULT = {
    "duration_ms": 485_000, "source_ms": 760_000, "size_bytes": 184_200_000, "width": 1280, "height": 720,
    "fps": 29.97, "cuts": 58, "removed_ms": 275_000, "words": 1204, "cues": 140, "language": "en", "captions": "soft",
    "checks": [
        {"id": "av_sync", "ok": True, "text": "Sound and picture end together"},
        {"id": "captions_inside", "ok": True, "text": "Every caption lies inside the video, alone"},
        {"id": "reading_speed", "ok": True, "text": "Captions stay long enough to be read"},
        {"id": "loudness", "ok": True, "text": "The sound is neither very quiet nor very loud"},
    ],
    "notes": [], "files": {"video.mp4": 184_200_000, "captions.srt": 9_000},
}  # fmt: skip


def make_job(**changes: Any) -> ProcessingJob:
    """Return a job that has succeeded, with ``changes``."""
    status = changes.get("status", JobStatus.SUCCEEDED)
    values: dict[str, Any] = {
        "id": JOB_ID, "user_id": USER_ID, "video_id": VIDEO_ID, "status": status, "stage": "", "progress": 0.0,
        "options": {"version": 1}, "result": RESULT if status is JobStatus.SUCCEEDED else {}, "error_code": "",
        "error_message": "", "attempt": 1, "max_attempts": 3, "stored_attempt": 1, "worker_id": "", "lease_until": None,
        "cancel_requested": False, "created_at": AT, "started_at": AT, "finished_at": AT,
    }  # fmt: skip
    return ProcessingJob(**values | changes)


def make_video(**changes: Any) -> Video:
    """Return a recording of twelve minutes and forty seconds."""
    facts = VideoFacts(
        duration_ms=760_000, width=1920, height=1080, fps="30000/1001", video_codec="h264", audio_tracks=1,
        size_bytes=410_000_000, sha256="0" * 64,
    )  # fmt: skip
    values: dict[str, Any] = {
        "id": VIDEO_ID, "user_id": USER_ID, "title": "Lesson 4", "note": "", "tags": (), "recorded_on": "",
        "file_name": "lesson 4.mov", "facts": facts, "current_job_id": None, "created_at": AT, "updated_at": AT,
    }  # fmt: skip
    return Video(**values | changes)


def make_card(job: ProcessingJob | None = None, **changes: Any) -> VideoCard:
    """Return a card of that video; a job that succeeded is also the one that plays."""
    job = job or make_job()
    current = job if job.status is JobStatus.SUCCEEDED else None
    values: dict[str, Any] = {"video": make_video(), "job": job, "current": current}
    return VideoCard(**values | changes)
