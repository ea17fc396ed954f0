"""The bar above every page: the mark, storage used, and the account menu."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from jobs.models import Usage, User
from ui import places, session
from ui.trouble import contained
from ui.words import escape_markdown, format_share_of

_LOGO = Path(__file__).parent / "static" / "logo.svg"


def render_topbar(user: User) -> None:
    """Draw the bar for a signed-in person."""
    st.logo(str(_LOGO), size="medium")
    with st.container(key="who", horizontal=True, vertical_alignment="center", gap="small"):
        with contained(user.id):
            if usage := build_usage(session.services().videos.get_usage(user.id)):
                st.html(usage)
        chosen = st.menu_button(
            escape_markdown(user.display_name),
            ["Account", "Log out"],
            key="account_menu",
            type="tertiary",
            icon=":material/account_circle:",
        )
    if chosen == "Account":
        st.switch_page(places.ACCOUNT)
    if chosen == "Log out":
        session.sign_out()


def build_usage(usage: Usage) -> str:
    """Return the storage used as HTML: ``18 of 50 GB`` with a bar, or the size alone where there is no limit."""
    text = format_share_of(usage.stored_bytes, usage.limit_bytes)
    if not usage.limit_bytes:
        return f'<div class="usage"><b>{text}</b></div>' if usage.stored_bytes else ""
    percent = min(100, round(100 * usage.stored_bytes / usage.limit_bytes))
    full = " full" if percent >= 95 else ""
    bar = f'<b>{text}</b><i style="--used:{percent}%"></i>'
    return f'<div class="usage{full}" title="Storage used: {percent} %">{bar}</div>'
