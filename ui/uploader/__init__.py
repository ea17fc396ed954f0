"""The uploader: a drop zone and a row for each file. The browser sends the files by itself.

They go to ``/api/uploads``, or straight to a store elsewhere, at addresses it is given there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from jobs.models import Json, Usage
from jobs.service import Services
from ui.words import count, format_length, format_size

_HERE = Path(__file__).parent
_SCRIPTS = ("words.js", "transfer.js", "parts.js", "uploader.js")
_FORMATS = "MP4, MOV, MKV, AVI, WebM and others"
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """An upload that became a video while the page was open."""

    name: str
    video_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A page that a row leads to."""

    page: str
    """``video`` or ``account``."""
    video_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What the uploader told since the last run."""

    completed: Completed | None
    opened: Opened | None


_component = st.components.v2.component(
    "mvf.uploader",
    html=(_HERE / "uploader.html").read_text("utf-8"),
    css=(_HERE / "uploader.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS),
)


def describe_limits(*, max_bytes: int, max_duration_ms: int, usage: Usage, free_bytes: int | None) -> str:
    """Return what may be uploaded, in words. 0 and None are no limit."""
    most = [format_size(max_bytes)] if max_bytes else []
    if max_duration_ms:
        hours = max_duration_ms / 3_600_000
        most.append(count(int(hours), "hour") if hours == int(hours) else format_length(max_duration_ms))
    sentence = f"{_FORMATS}, up to {' or '.join(most)}." if most else f"{_FORMATS}."
    if usage.left_ms is not None:
        sentence += f" {count(usage.left_ms // _MINUTE_MS, 'minute')} left this month."
    room = [left for left in (usage.left_bytes, free_bytes) if left is not None]
    if room and (not max_bytes or min(room) < max_bytes):
        sentence += f" Room for {format_size(min(room))}."
    return sentence


def build_data(services: Services, user_id: str, options: Json) -> dict[str, Any]:
    """Return what the uploader is drawn from: limits, unfinished uploads, and the options new uploads take."""
    limits = services.uploads.get_limits(user_id)
    usage = limits.usage
    return {
        "user": user_id,
        "options": dict(options),
        "sentence": describe_limits(
            max_bytes=limits.max_bytes,
            max_duration_ms=limits.max_duration_ms,
            usage=usage,
            free_bytes=limits.free_bytes,
        ),
        "limits": {
            "max_bytes": limits.max_bytes,
            "max_duration_ms": limits.max_duration_ms,
            "left_ms": usage.left_ms,
            "left_bytes": usage.left_bytes,
            "free_bytes": limits.free_bytes,
            "renews": f"{usage.period_ends_at.day} {usage.period_ends_at:%B}",
        },
        "open": [
            {
                "id": one.upload.id,
                "name": one.upload.name,
                "size": one.upload.size_bytes,
                "fingerprint": one.upload.fingerprint,
                "received": one.received,
            }
            for one in services.uploads.list_open(user_id)
        ],
    }


def render_uploader(key: str, services: Services, user_id: str, options: Json) -> Happened:
    """Draw the uploader and return what it told. Raises what `Services.uploads` raises."""
    result = _component(
        key=key,
        data=build_data(services, user_id, options),
        on_completed_change=lambda: None,
        on_opened_change=lambda: None,
    )
    return Happened(completed=_read_completed(result.get("completed")), opened=_read_opened(result.get("opened")))


def _read_completed(value: object) -> Completed | None:
    match value:
        case {"name": str(name), "video_id": str(video_id)}:
            return Completed(name=name, video_id=video_id)
    return None


def _read_opened(value: object) -> Opened | None:
    match value:
        case {"page": "video" | "account" as page, "id": str(video_id)}:
            return Opened(page=page, video_id=video_id)
    return None
