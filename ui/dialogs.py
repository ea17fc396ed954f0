"""What is asked before a video is renamed, made again or deleted.

A question is kept in the tab's state until it is answered or waved away, so that a run of the whole page, such as the
one when a job ends, does not close it under a person's hands.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

import streamlit as st

from jobs.errors import DomainError, NotFound
from jobs.models import JobStatus, ProcessingJob, User, VideoCard
from ui import places, session
from ui.options import CAPTION_NAMES, PACE_NAMES, read_options, render_options
from ui.words import escape_markdown, format_clock, format_when, name_state, read_number
from ui.zone import local_zone

_ASKED, _SAID = "dialog_asked", "dialog_said"
QUESTIONS = frozenset({"rename", "again", "versions", "delete"})
MAX_TITLE_CHARS = 200
_LONG_TITLE = 60


def ask(question: str, video_id: str) -> None:
    """Put a question, one of `QUESTIONS`, about a video when the page is drawn next."""
    st.session_state[_ASKED] = (question, video_id)


def say(sentence: str) -> None:
    """Show a toast when the page is drawn next."""
    st.session_state[_SAID] = sentence


def render_dialogs(user: User) -> None:
    """Say what is to be said and put the question that is open, if any."""
    if sentence := st.session_state.pop(_SAID, ""):
        st.toast(sentence, duration=5)
    if _ASKED not in st.session_state:
        return
    question, video_id = st.session_state[_ASKED]
    try:
        card = session.services().videos.get_card(user.id, video_id)
    except NotFound:
        _forget()
        return
    draw = {"rename": _ask_name, "again": _ask_options, "versions": _show_versions, "delete": _ask_delete}
    draw[question](user, card)


def _name(card: VideoCard) -> str:
    """Return the title as a dialog's head has room for it, as Markdown."""
    title = card.video.title
    return escape_markdown(title if len(title) <= _LONG_TITLE else f"{title[: _LONG_TITLE - 1].rstrip()}…")


def _forget() -> None:
    st.session_state.pop(_ASKED, None)


def _ask_name(user: User, card: VideoCard) -> None:
    @st.dialog("Rename", on_dismiss=_forget)
    def rename() -> None:
        with st.form("rename_form", border=False):
            title = st.text_input("Title", card.video.title, max_chars=MAX_TITLE_CHARS, key=f"title_{card.video.id}")
            problem = st.empty()
            if _draw_buttons("Rename", "primary_rename"):
                try:
                    session.recheck(user)
                    session.services().videos.rename(user.id, card.video.id, title)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _finish("Renamed")

    rename()


def _ask_delete(user: User, card: VideoCard) -> None:
    @st.dialog(f"Delete {_name(card)}?", on_dismiss=_forget)
    def delete() -> None:
        st.markdown("The result, the captions and the original go. This cannot be undone.")
        problem = st.empty()
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Keep", key="keep_video"):
                _forget()
                st.rerun()
            if st.button("Delete video", type="primary", key="primary_danger_delete"):
                try:
                    session.recheck(user)
                    session.services().videos.delete(user.id, card.video.id)
                except NotFound:
                    _finish_deletion(card.video.id)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _finish_deletion(card.video.id)

    delete()


def _ask_options(user: User, card: VideoCard) -> None:
    @st.dialog(f"Process {_name(card)} again", width="medium", on_dismiss=_forget)
    def again() -> None:
        st.caption("Makes another version. What was heard is used again where it can be.")
        options = render_options(f"again_{card.job.id}", card.job.options, compact=True)
        problem = st.empty()
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button("Process again", type="primary", key="primary_again"):
                try:
                    session.recheck(user)
                    session.services().videos.process_again(user.id, card.video.id, options)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _finish("Waiting in line")

    again()


def _show_versions(user: User, card: VideoCard) -> None:
    @st.dialog("Versions", width="medium", on_dismiss=_forget)
    def versions() -> None:
        zone, now = local_zone(), datetime.now(UTC)
        for job in session.services().videos.list_versions(user.id, card.video.id):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(describe_version(job, now, zone), width="stretch")
                if job.status is JobStatus.SUCCEEDED and st.button("Watch", key=f"watch_{job.id}"):
                    _forget()
                    st.switch_page(places.VIDEO, query_params={"id": card.video.id, "version": job.id})

    versions()


def describe_version(job: ProcessingJob, now: datetime, zone: tzinfo | None) -> str:
    """Return when a version was made, how, and what came of it, as Markdown."""
    options = read_options(job.options)
    captions = CAPTION_NAMES[options.captions].lower()
    parts = [f"{PACE_NAMES[options.pace]}, captions {captions}"]
    if job.status is JobStatus.SUCCEEDED:
        parts.append(format_clock(read_number(job.result, "duration_ms")))
    parts.append(name_state(job).chip)
    return f"**{format_when(job.created_at, now, zone)}**  \n{' · '.join(parts)}"


def _draw_buttons(label: str, key: str) -> bool:
    with st.container(horizontal=True, horizontal_alignment="right"):
        return st.form_submit_button(label, type="primary", key=key)


def _finish_deletion(video_id: str) -> None:
    if st.query_params.get("id") == video_id:  # the video's own page, where there is nothing any more
        _forget()
        say("Deleted")
        st.switch_page(places.VIDEOS)
    _finish("Deleted")


def _finish(sentence: str) -> None:
    _forget()
    say(sentence)
    st.rerun()
