"""A video that is not ready: how far it is, or what went wrong and the one thing to do."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from jobs.errors import DomainError
from jobs.models import JobStatus, User, VideoCard
from ui import places, session, words
from ui.cards import Seen, build_card
from ui.trouble import contained
from ui.zone import local_zone

EVERY = "2s"


def render_making(user: User, card: VideoCard) -> None:
    """Draw where the newest job stands, live while it is under way; nothing when it ended well."""
    if card.job.status.is_active:
        st.fragment(_draw_progress, run_every=EVERY)(user, card.video.id, card.job.id)
    elif card.job.status is not JobStatus.SUCCEEDED:
        _draw_end(user, card)


def _draw_progress(user: User, video_id: str, job_id: str) -> None:
    with contained(user.id):
        session.recheck(user)
        videos = session.services().videos
        card = videos.get_card(user.id, video_id)
        if card.job.id != job_id or card.job.status.is_final:
            st.rerun()
        has_worker = card.job.status is JobStatus.RUNNING or videos.has_worker()
        values = build_card(card, Seen(now=datetime.now(UTC), zone=local_zone(), has_worker=has_worker))
        percent = values["percent"] if isinstance(values["percent"], int) else 0
        with st.container(border=True, key="card_making"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{values['text']}**", width="stretch")
                st.caption(str(values["right"]), width="content")
            st.progress(percent)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(_describe_rest(card, str(values["when"])))
                is_stopping = card.job.cancel_requested
                if st.button("Stopping" if is_stopping else "Cancel", key="cancel_job", disabled=is_stopping):
                    videos.cancel(user.id, job_id)
                    st.rerun(scope="fragment")


def _describe_rest(card: VideoCard, when: str) -> str:
    if card.job.status is JobStatus.RUNNING:
        return when or "You can close this page; the video goes on being made."
    return f"Uploaded {when}. You can close this page; the video goes on being made."


def _draw_end(user: User, card: VideoCard) -> None:
    job = card.job
    with st.container(border=True, key="card_ended"):
        if job.status is JobStatus.CANCELLED:
            st.markdown("**You stopped it.** The original is kept.")
        else:
            st.markdown(f":red[**Failed.**] {words.escape_markdown(words.describe_failure(job))}")
            if job.error_code in words.BROKEN_FILE:
                st.caption("Your other videos are untouched.")
        action = words.find_action(job)
        if action is None or not st.button(action.label, type="primary", key="primary_act"):
            return
        if action.id == "upload":
            st.switch_page(places.UPLOAD)
        try:
            session.services().videos.retry(user.id, card.video.id)
        except DomainError as error:
            st.error(error.message)
        else:
            st.rerun()
