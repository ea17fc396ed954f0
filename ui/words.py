"""Numbers, times and states as a person reads them. Pure functions: now and the time zone are given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from jobs.models import JobStatus, ProcessingJob, VideoCard

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS = ("kB", "MB", "GB", "TB", "PB")

STAGES: Mapping[str, str] = {
    "probe": "Checking the file",
    "audio": "Listening to the speech",
    "transcribe": "Listening to the speech",
    "cut": "Finding the pauses",
    "captions": "Making captions",
    "render": "Putting it together",
    "qa": "Last check",
    "publish": "Last check",
}
"""What is done in a stage, by the name it has in a job."""


def format_clock(ms: int) -> str:
    """Return a place or a length in a recording: ``8:05``, ``1:02:03``; whole seconds, rounded down."""
    seconds = max(0, ms) // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def format_length(ms: int) -> str:
    """Return a length in words: ``16.8 s``, ``12 min``, ``3 h 20 min``."""
    if ms < 59_950:  # what is rounded to a minute is called one
        return f"{max(0, ms) / 1000:.1f} s"
    minutes = round(ms / 60_000)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def format_size(size_bytes: int) -> str:
    """Return a size in decimal units: ``640 kB``, ``184 MB``, ``1.2 GB``."""
    value, unit = size_bytes / 1000, 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 1 if unit >= 2 and value < 99.95 else 0
    text = f"{value:.{digits}f}".removesuffix(".0")
    return f"{text if size_bytes == 0 or value >= 0.5 else 1} {_UNITS[unit]}"


def format_share_of(used: int, limit: int) -> str:
    """Return ``18 of 50 GB``, in the unit of the limit; without a limit what is used alone."""
    if not limit:
        return format_size(used)
    text = format_size(limit)
    number, unit = text.split(" ")
    part = used / 1000 ** (_UNITS.index(unit) + 1)
    shown = f"{part:.1f}" if 0 < part < 9.95 else f"{part:.0f}"
    return f"{shown.removesuffix('.0')} of {number} {unit}"


def format_shorter(source_ms: int, result_ms: int) -> str:
    """Return ``36 % shorter``; empty when it is less than half a per cent."""
    share = 1 - result_ms / source_ms if source_ms > 0 else 0
    percent = min(99, round(share * 100))
    return f"{percent} % shorter" if percent > 0 else ""


_MARKDOWN = re.compile(r"([\\\\`*_{}\[\]()#+\-.!|<>~$:&])")


def escape_markdown(text: str) -> str:
    """Return ``text`` so that Streamlit shows it as it is: no emphasis, link, formula, colour or icon in it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def count(number: int, one: str, many: str = "") -> str:
    """Return ``1 cut``, ``58 cuts``, with a space in long numbers."""
    return f"{number:,} ".replace(",", " ") + (one if number == 1 else many or f"{one}s")


def format_place(position: int) -> str:
    """Return a place in line: ``Next in line``, ``2nd in line``."""
    if position <= 1:
        return "Next in line"
    last = "th" if 10 <= position % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(position % 10, "th")
    return f"{position}{last} in line"


def format_left(seconds: int) -> str:
    """Return the time that is left: ``about 2 min left``."""
    if seconds < 50:
        return "almost done"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {max(1, minutes)} min left"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"about {hours} h {rest} min left" if rest else f"about {hours} h left"


def format_when(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """Return when something happened: ``today, 10:41``, ``yesterday``, ``17 Nov``, ``17 Nov 2024``."""
    there, here = at.astimezone(zone), now.astimezone(zone)
    if there.date() == here.date():
        return f"today, {there:%H:%M}"
    if there.date() == (here - timedelta(days=1)).date():
        return "yesterday"
    return format_date(there, here)


def format_date(day: datetime, now: datetime) -> str:
    """Return ``17 Nov``, with the year when it is not this one."""
    text = f"{day.day} {_MONTHS[day.month - 1]}"
    return text if day.year == now.year else f"{text} {day.year}"


def format_since(at: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """Return how long ago something began: ``just now``, ``3 min ago``, ``2 h ago``, later the day."""
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if minutes < 6 * 60:
        return f"{minutes // 60} h ago"
    return format_when(at, now, zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a job's state is shown."""

    id: str
    """``waiting``, ``working``, ``stopping``, ``ready``, ``stopped`` or ``failed``."""
    chip: str


WAITING = State(id="waiting", chip="Waiting")
WORKING = State(id="working", chip="Working")
STOPPING = State(id="stopping", chip="Stopping")
READY = State(id="ready", chip="Ready")
STOPPED = State(id="stopped", chip="Stopped")
FAILED = State(id="failed", chip="Failed")

_STATES = {
    JobStatus.QUEUED: WAITING,
    JobStatus.RUNNING: WORKING,
    JobStatus.SUCCEEDED: READY,
    JobStatus.CANCELLED: STOPPED,
    JobStatus.FAILED: FAILED,
}


def name_state(job: ProcessingJob) -> State:
    """Return the state a person sees."""
    if job.cancel_requested and job.status.is_active:
        return STOPPING
    return _STATES[job.status]


BROKEN_FILE = frozenset({"not_media", "no_video", "empty", "truncated", "too_long", "too_large", "too_many_pixels"})
"""Codes of failures that another try can't mend: the file itself is the matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The one thing to do about a state."""

    id: str
    """``retry``, ``upload`` or ``cancel``."""
    label: str


def find_action(job: ProcessingJob) -> Action | None:
    """Return the action that a failed or stopped job calls for."""
    if job.status is JobStatus.CANCELLED:
        return Action(id="retry", label="Start again")
    if job.status is not JobStatus.FAILED:
        return None
    if job.error_code in BROKEN_FILE:
        return Action(id="upload", label="Upload again")
    return Action(id="retry", label="Try again")


def describe_failure(job: ProcessingJob) -> str:
    """Return the sentence of a failed job."""
    if job.error_message:
        return job.error_message
    return (
        "Something broke on our side. Your original is safe. "
        f"Try again; if it fails once more, tell the administrator: job {job.id[:4].upper()}."
    )


def describe_progress(card: VideoCard, *, has_worker: bool) -> str:
    """Return what happens to a video now: its place in line, or what is done with it."""
    job = card.job
    if job.cancel_requested:
        return "Stopping"
    if job.status is JobStatus.RUNNING:
        return STAGES.get(job.stage, "Getting ready")
    if not has_worker:
        return "Waiting: no worker is running"
    return format_place(card.position) if card.position else "Waiting"


def read_number(values: Mapping[str, object], name: str) -> int:
    """Return a whole number out of a job's result; 0 where there is none."""
    value = values.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
