"""What sits under "Details": the numbers of a file, notes of the work, the person's own words, the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, tzinfo
from html import escape

import streamlit as st

from jobs.errors import DomainError
from jobs.models import JobEvent, ProcessingJob, User, Video
from ui import session, words
from ui.dialogs import say
from ui.languages import name_language
from ui.zone import local_zone


def render_details(user: User, video: Video, job: ProcessingJob, *, is_open: bool = False) -> None:
    """Draw the closed box below the player; ``job`` is the version the numbers are of."""
    with st.expander("Details", key="details", expanded=is_open):
        left, right = st.columns(2, gap="medium")
        with left:
            st.html(build_list(describe_file(video, job)))
            for note in _read_notes(job):
                st.caption(words.escape_markdown(note))
        with right:
            _draw_own_words(user, video)
        events = session.services().videos.list_events(user.id, job.id)
        if events:
            st.markdown("**Log**")
            st.html(build_list(describe_events(events, local_zone())))


def describe_file(video: Video, job: ProcessingJob) -> list[tuple[str, str]]:
    """Return label and value of everything known of a video, in the order it is read."""
    facts, result = video.facts, job.result
    rows = [
        ("File", video.file_name),
        ("Recording", f"{facts.width} × {facts.height}, {_describe_rate(facts.fps)}, {facts.video_codec.upper()}"),
        ("Size", words.format_size(facts.size_bytes)),
        ("Length", words.format_clock(facts.duration_ms)),
        ("Sound tracks", str(facts.audio_tracks)),
    ]
    if result:
        size, language = words.read_number(result, "size_bytes"), str(result.get("language") or "")
        rows += [
            ("Result", f"{result.get('width')} × {result.get('height')}, {_describe_rate(str(result.get('fps')))}"),
            ("Size of the result", words.format_size(size) if size else ""),
            ("Language", name_language(language)),
            ("Words", f"{words.read_number(result, 'words'):,}".replace(",", " ")),
            ("Time removed", words.format_length(words.read_number(result, "removed_ms"))),
        ]
    rows.append(("Job", job.id))
    return [(label, value) for label, value in rows if value]


def describe_events(events: Iterable[JobEvent], zone: tzinfo | None) -> list[tuple[str, str]]:
    """Return time and words of a job's log."""
    rows = []
    for event in events:
        more = ", ".join(f"{name} {value}" for name, value in event.data.items() if value not in ("", None))
        text = event.event.replace("_", " ").capitalize()
        rows.append((f"{event.at.astimezone(zone):%H:%M:%S}", f"{text}: {more}" if more else text))
    return rows


def build_list(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of label and value as HTML."""
    items = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in rows)
    return f'<dl class="details">{items}</dl>'


def _describe_rate(fps: str) -> str:
    number, _, base = fps.partition("/")
    try:
        rate = float(number) / float(base or 1)
    except (ValueError, ZeroDivisionError):
        return ""
    return f"{rate:.2f}".rstrip("0").rstrip(".") + " frames a second"


def _read_notes(job: ProcessingJob) -> list[str]:
    notes = job.result.get("notes")
    found = notes if isinstance(notes, list | tuple) else ()
    return [str(note["text"]) for note in found if isinstance(note, Mapping) and note.get("text")]


def _draw_own_words(user: User, video: Video) -> None:
    with st.form(f"own_words_{video.id}", border=False):
        note = st.text_area("Note", video.note, height=96, max_chars=5000)
        tags = st.text_input("Tags, with commas between them", ", ".join(video.tags))
        recorded = st.date_input("Recorded on", _read_date(video.recorded_on), min_value=date(1970, 1, 1))
        problem = st.empty()
        if not st.form_submit_button("Save"):
            return
        try:
            session.services().videos.set_details(
                user.id,
                video.id,
                note=note or "",
                tags=[tag.strip() for tag in (tags or "").split(",") if tag.strip()],
                recorded_on=recorded.isoformat() if isinstance(recorded, date) else "",
            )
        except DomainError as error:
            problem.error(error.message)
        else:
            say("Saved")
            st.rerun()


def _read_date(text: str) -> date | None:
    return datetime.fromisoformat(text).date() if text else None
