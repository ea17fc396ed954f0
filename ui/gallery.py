"""The list of cards, kept up to date while something is being made, and what is done from a card."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from jobs.errors import DomainError
from jobs.models import JobStatus, Page, User, VideoCard, VideoQuery
from ui import dialogs, places, session
from ui.cards import Choice, Seen, read_choice, render_cards
from ui.trouble import contained
from ui.zone import local_zone

EVERY = "2s"
PER_PAGE = 24
PAGE = "page"
"""Key of the page's number, also in the address."""


def render_gallery(user: User, query: VideoQuery) -> None:
    """Draw the videos of ``query``, whose offset and limit are set here."""
    is_live = _has_active(_list(user, query))
    st.fragment(_draw, run_every=EVERY if is_live else None)(user, query, is_live=is_live)


def start_over() -> None:
    """Go back to the first page: another search begins."""
    if PAGE in st.session_state:
        st.session_state[PAGE] = 1


def _draw(user: User, query: VideoQuery, *, is_live: bool) -> None:
    with contained(user.id):
        session.recheck(user)
        videos = session.services().videos
        if choice := read_choice():
            try:
                _follow(user, choice)
            except DomainError as error:
                st.toast(error.message, duration=8)
        page = _list(user, query)
        waits = any(card.job.status is JobStatus.QUEUED for card in page.items)
        seen = Seen(now=datetime.now(UTC), zone=local_zone(), has_worker=not waits or videos.has_worker())
        with st.container(key="list"):
            if not page.items:
                st.caption("Nothing found. Try fewer words, or another state.")
            render_cards(page.items, seen)
        if page.total > PER_PAGE:
            with st.container(horizontal=True, horizontal_alignment="center"):
                st.pagination(-(-page.total // PER_PAGE), key=PAGE, bind="query-params")
        if _has_active(page) is not is_live:
            st.rerun()


def _list(user: User, query: VideoQuery) -> Page[VideoCard]:
    number = max(1, _read_page())
    videos = session.services().videos
    page = videos.list_cards(user.id, replace(query, offset=(number - 1) * PER_PAGE, limit=PER_PAGE))
    if page.items or number == 1:
        return page
    return videos.list_cards(user.id, replace(query, offset=0, limit=PER_PAGE))


def _read_page() -> int:
    value = st.session_state.get(PAGE) or st.query_params.get(PAGE) or "1"
    return int(value) if str(value).isdecimal() else 1


def _has_active(page: Page[VideoCard]) -> bool:
    return any(card.job.status.is_active for card in page.items)


def _follow(user: User, choice: Choice) -> None:
    videos = session.services().videos
    match choice.what:
        case "open":
            st.switch_page(places.VIDEO, query_params={"id": choice.video_id})
        case "upload":
            st.switch_page(places.UPLOAD)
        case "cancel":
            videos.cancel(user.id, videos.get_card(user.id, choice.video_id).job.id)
        case "retry":
            videos.retry(user.id, choice.video_id)
        case question:
            dialogs.ask(question, choice.video_id)
            st.rerun()
