"""The main script: who is asking, the bar above every page, and the page.

Its folder must never hold a `pages` folder: Streamlit would then run those pages past this script on a cold deep link.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from jobs.models import Role
from ui import places, session
from ui.bell import render_bell
from ui.topbar import render_topbar
from ui.trouble import contained

STATIC = Path(__file__).parent / "static"

st.set_page_config(
    page_title=places.PRODUCT,
    page_icon=str(STATIC / "favicon.png"),
    layout="wide",
    initial_sidebar_state="collapsed",
)

with contained():
    identity = session.current_identity()
    is_admin = identity is not None and identity.user.role is Role.ADMIN
    # Every page is always known, so that a deep link outlives the login; a page itself decides who may see it.
    page = st.navigation(
        [
            st.Page(places.VIDEOS, title="Videos", default=True),
            st.Page(places.UPLOAD, title="Upload", url_path="upload"),
            st.Page(places.VIDEO, title="Video", url_path="video", visibility="hidden"),
            st.Page(places.ACCOUNT, title="Account", url_path="account", visibility="hidden"),
            st.Page(places.ADMIN, title="Admin", url_path="admin", visibility="visible" if is_admin else "hidden"),
        ],
        position="top" if identity else "hidden",
    )
    st.set_page_config(page_title=f"{page.title} · {places.PRODUCT}" if identity else places.PRODUCT)
    session.render_cookie_sync()
    if session.waits_for_cookie():
        st.stop()  # the browser's answer runs this again; pictures and videos would be refused until then
    if identity:
        render_topbar(identity.user)
    with contained(identity.user.id if identity else ""):
        page.run()
    if identity:
        render_bell(identity.user)
