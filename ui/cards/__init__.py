"""All cards of the list, as one component: what stands on each is made here, how it looks is `cards.js` and `.css`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

import streamlit as st

from jobs.models import JobStatus, VideoCard
from ui import words
from ui.parts import read_texts
from ui.places import link_video

_HERE = Path(__file__).parent
_MENU = _HERE.parent / "menu"
_MIN_WORK_S = 20
"""Before this much work, no time left is worth saying."""

_cards = st.components.v2.component(
    "factory.cards",
    html=(_HERE / "cards.html").read_text("utf-8"),
    css=read_texts(_HERE / "cards.css", _MENU.with_suffix(".css")),
    js=read_texts(_MENU.with_name("nodes.js"), _MENU.with_suffix(".js"), _HERE / "cards.js"),
)

KEY = "cards"
ACTIONS = frozenset({"open", "rename", "again", "cancel", "retry", "upload", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the list looks like from here and now."""

    now: datetime
    zone: tzinfo | None
    has_worker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person chose on a card."""

    video_id: str
    what: str
    """One of `ACTIONS`."""


def render_cards(cards: Sequence[VideoCard], seen: Seen) -> None:
    """Draw the list. What a person chooses on it runs the page, and `read_choice` tells what it was."""
    _cards(key=KEY, data={"cards": [build_card(card, seen) for card in cards]}, on_act_change=_wait)


def _wait() -> None:
    """Do nothing yet: a component keeps only values that have a listener."""


def read_choice() -> Choice | None:
    """Return what was chosen just now."""
    match (st.session_state.get(KEY) or {}).get("act"):
        case {"id": str(video_id), "what": str(what)} if what in ACTIONS:
            return Choice(video_id=video_id, what=what)
    return None


def build_card(card: VideoCard, seen: Seen) -> dict[str, object]:
    """Return everything a card shows, in words: equal values mean that nothing on it has to be touched."""
    job, video = card.job, card.video
    state = words.name_state(job)
    action = words.find_action(job)
    values: dict[str, object] = {
        "id": video.id,
        "title": video.title,
        "href": link_video(video.id),
        "poster": f"/api/jobs/{card.current.id}/files/poster.jpg" if card.current else "",
        "original": "" if card.current else f"/api/videos/{video.id}/original",
        "length": words.format_clock(_shown_length(card)),
        "state": state.id,
        "chip": state.chip,
        "when": _describe_when(card, seen),
        "percent": None,
        "sentence": False,
        "before": "",
        "after": "",
        "text": "",
        "right": "",
        "action": {"id": action.id, "label": action.label} if action else None,
        "menu": build_menu(card),
    }
    match job.status:
        case JobStatus.QUEUED:
            values["text"] = words.describe_progress(card, has_worker=seen.has_worker)
        case JobStatus.RUNNING:
            percent = min(99, int(job.progress * 100))
            values |= {"text": words.describe_progress(card, has_worker=True), "percent": percent}
            values["right"] = f"{percent} %"
        case JobStatus.FAILED:
            values |= {"text": words.describe_failure(job), "sentence": True}
        case JobStatus.CANCELLED:
            values["text"] = "You stopped it"
        case JobStatus.SUCCEEDED:
            values |= _describe_cut(card)
    return values


def build_menu(card: VideoCard) -> list[dict[str, object]]:
    """Return what can be done with a video now."""
    job = card.job
    entries: list[dict[str, object]] = [{"id": "open", "label": "Open"}, {"id": "rename", "label": "Rename"}]
    if job.status.is_active:
        if not job.cancel_requested:
            entries.append({"id": "cancel", "label": "Cancel"})
    else:
        if job.status is not JobStatus.SUCCEEDED and job.error_code not in words.BROKEN_FILE:
            label = "Start again" if job.status is JobStatus.CANCELLED else "Try again"
            entries.append({"id": "retry", "label": label})
        entries.append({"id": "again", "label": "Process again"})
    if card.current:
        href = f"/api/jobs/{card.current.id}/files/video.mp4?download=1"
        entries.append({"id": "download", "label": "Download", "href": href})
    entries.append({"id": "delete", "label": "Delete", "danger": True})
    return entries


def _shown_length(card: VideoCard) -> int:
    made = words.read_number(card.current.result, "duration_ms") if card.current else 0
    return made or card.video.facts.duration_ms


def _describe_cut(card: VideoCard) -> dict[str, object]:
    result = card.job.result
    before = words.read_number(result, "source_ms") or card.video.facts.duration_ms
    after = words.read_number(result, "duration_ms")
    shorter = words.format_shorter(before, after)
    if not shorter:
        has_words = words.read_number(result, "cues") > 0
        return {"text": "Nothing to cut, captions added" if has_words else "Nothing to cut"}
    return {"before": words.format_clock(before), "after": words.format_clock(after), "right": shorter}


def _describe_when(card: VideoCard, seen: Seen) -> str:
    job = card.job
    if job.status is JobStatus.RUNNING and not job.cancel_requested:
        worked_s = (seen.now - job.started_at).total_seconds() if job.started_at else 0
        return words.format_left(card.remaining_s) if card.remaining_s and worked_s >= _MIN_WORK_S else ""
    if job.status.is_active:
        return words.format_since(job.created_at, seen.now, seen.zone)
    return words.format_when(job.finished_at or job.created_at, seen.now, seen.zone)
