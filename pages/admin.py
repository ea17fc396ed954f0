"""Admin: people, everybody's jobs, and the health of the machine."""

from __future__ import annotations

import streamlit as st

from ui.admin import render_health, render_jobs
from ui.people import render_people
from ui.session import require_admin

VIEWS = {"Users": render_people, "Jobs": render_jobs, "Health": render_health}

user = require_admin()

with st.container(key="head", horizontal=True, vertical_alignment="center"):
    st.title("Admin", anchor=False, width="content")
    st.space("stretch")
    view = st.segmented_control(
        "View",
        tuple(VIEWS),
        default="Health",
        required=True,
        label_visibility="collapsed",
        key="view",
        bind="query-params",
    )
VIEWS[view or "Health"](user)
