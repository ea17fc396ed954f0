"""One video: the player, what was done to it, and how to get it; until then, how far it is."""

from __future__ import annotations

import streamlit as st

from jobs.errors import NotFound
from jobs.models import JobStatus, ProcessingJob, User, VideoCard
from ui import dialogs, places, session, words
from ui.details import render_details
from ui.making import render_making
from ui.player import render_download, render_player

RENAME, AGAIN, VERSIONS, DELETE = "Rename", "Process again", "Versions", "Delete"
QUESTIONS = {RENAME: "rename", AGAIN: "again", VERSIONS: "versions", DELETE: "delete"}


def find_card(user: User) -> VideoCard | None:
    """Return the video that the address names, None when it is not this person's."""
    try:
        return session.services().videos.get_card(user.id, st.query_params.get("id", ""))
    except NotFound:
        return None


def find_version(user: User, card: VideoCard) -> ProcessingJob | None:
    """Return the version that the address names, else the one that plays."""
    wanted = st.query_params.get("version")
    if wanted is None:
        return card.current
    versions = session.services().videos.list_versions(user.id, card.video.id)
    finished = (job for job in versions if job.id == wanted and job.status is JobStatus.SUCCEEDED)
    return next(finished, card.current)


def draw_head(card: VideoCard, version: ProcessingJob | None) -> None:
    """Draw the way back, the menu, the title and the download."""
    with st.container(key="wayback", horizontal=True, vertical_alignment="center"):
        st.page_link(places.VIDEOS, label="Videos", icon=":material/chevron_left:", width="content")
        st.space("stretch")
        options = [RENAME, *([] if card.job.status.is_active else [AGAIN]), VERSIONS, DELETE]
        if chosen := st.menu_button("More", options, key="more", type="tertiary"):
            dialogs.ask(QUESTIONS[chosen], card.video.id)
            st.rerun()
    with st.container(key="titlebar", horizontal=True, vertical_alignment="center"):
        st.title(words.escape_markdown(card.video.title), anchor=False, width="stretch")
        if version:
            with st.container(key="download_box", width="content"):
                render_download(card.video, version)


user = session.require_login()
card = find_card(user)
if card is None:
    st.title("Not here", anchor=False)
    st.write("This video is not here, or it is not yours.")
    st.page_link(places.VIDEOS, label="Videos", icon=":material/chevron_left:")
    st.stop()
st.set_page_config(page_title=f"{card.video.title} · {places.PRODUCT}")
dialogs.render_dialogs(user)
version = find_version(user, card)
draw_head(card, version)
render_making(user, card)
if version:
    with st.container(key="player_box"):
        render_player(card.video, version)
render_details(user, card.video, version or card.job)
