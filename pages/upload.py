"""Upload: files go in, and how they should come back."""

from __future__ import annotations

import streamlit as st

from jobs.models import JobStatus, VideoQuery
from ui import places
from ui.options import read_options, render_options
from ui.session import require_login, services
from ui.uploader import render_uploader
from ui.words import escape_markdown


def find_poster(user_id: str) -> str | None:
    """Return the address of the person's newest poster, to show caption styles on."""
    ready = VideoQuery(states=frozenset({JobStatus.SUCCEEDED}), limit=1)
    for card in services().videos.list_cards(user_id, ready).items:
        return f"/api/jobs/{card.current.id}/files/poster.jpg" if card.current else None
    return None


user = require_login()

with st.container(key="head", horizontal=True, vertical_alignment="center"):
    st.title("Upload", anchor=False, width="content")
above = st.container(key="uploader_place")
with st.container(border=True, key="card_options"):
    with st.container(gap=None):
        st.markdown("**How it should come back**")
        st.caption("Applies to the files above. You can change it later without uploading again.")
    options = render_options("upload", user.options, poster=find_poster(user.id))

if read_options(options) != read_options(user.options):
    services().auth.set_options(user.id, options)

with above:
    happened = render_uploader("uploader", services(), user.id, options)

if happened.completed:
    st.toast(f"Uploaded {escape_markdown(happened.completed.name)}")
if happened.opened and happened.opened.page == "video":
    st.switch_page(places.VIDEO, query_params={"id": happened.opened.video_id})
if happened.opened:
    st.switch_page(places.ACCOUNT)
