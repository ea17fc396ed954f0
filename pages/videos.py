"""The list of a person's videos: what is being made, what is ready, what went wrong."""

from __future__ import annotations

import streamlit as st

from jobs.models import JobStatus, VideoQuery
from ui import dialogs, places, session
from ui.gallery import render_gallery, start_over

STATES = {
    "All states": frozenset[JobStatus](),
    "Waiting": frozenset({JobStatus.QUEUED}),
    "Working": frozenset({JobStatus.RUNNING}),
    "Ready": frozenset({JobStatus.SUCCEEDED}),
    "Failed": frozenset({JobStatus.FAILED}),
    "Stopped": frozenset({JobStatus.CANCELLED}),
}
SORTS = {"Newest": "newest", "Oldest": "oldest", "Title": "title", "Longest": "longest"}
EMPTY = """<div class="empty"><img src="/app/static/empty.svg" width="460" height="206" alt="">
<h2>Your videos will be here</h2><p>Upload a recording. It comes back with the pauses cut and captions under it.</p>
</div>"""


def draw_head() -> VideoQuery:
    """Draw title, search, filters and the button; return what is to be listed."""
    with st.container(key="head", horizontal=True, vertical_alignment="center", gap="small"):
        st.title("Videos", anchor=False, width="content")
        st.space("stretch")
        search = st.text_input(
            "Search videos", key="search", type="search", placeholder="Search videos", icon=":material/search:",
            live="300ms", label_visibility="collapsed", width=220, bind="query-params", on_change=start_over,
        )  # fmt: skip
        state = st.selectbox(
            "State", list(STATES), key="state", label_visibility="collapsed", width=140, bind="query-params",
            required=True, on_change=start_over,
        )  # fmt: skip
        sort = st.selectbox(
            "Order", list(SORTS), key="sort", label_visibility="collapsed", width=120, bind="query-params",
            required=True, on_change=start_over,
        )  # fmt: skip
        if st.button("Upload", type="primary", icon=":material/add:", key="primary_upload"):
            st.switch_page(places.UPLOAD)
    return VideoQuery(search=(search or "").strip(), states=STATES[state], sort=SORTS[sort])


def draw_nothing() -> None:
    """Draw the page of somebody who has no video yet."""
    with st.container(key="head", horizontal=True, vertical_alignment="center"):
        st.title("Videos", anchor=False, width="content")
    with st.container(key="nothing", horizontal_alignment="center"):
        st.html(EMPTY)
        if st.button("Upload your first video", type="primary", key="primary_first"):
            st.switch_page(places.UPLOAD)


user = session.require_login()
dialogs.render_dialogs(user)
if session.services().videos.list_cards(user.id, VideoQuery(limit=1)).total:
    render_gallery(user, draw_head())
else:
    draw_nothing()
