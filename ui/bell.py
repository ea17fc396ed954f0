"""Tells a person on any page that a video is finished: a toast, and the title of the tab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from jobs.errors import NotFound
from jobs.models import JobStatus, User, VideoCard, VideoQuery
from ui import session
from ui.trouble import contained
from ui.words import escape_markdown

EVERY = "3s"
_WATCHED, _TITLE = "bell_watched", "bell_title"
_ACTIVE = VideoQuery(states=frozenset({JobStatus.QUEUED, JobStatus.RUNNING}), limit=100)

_tab = st.components.v2.component(
    "factory.tab", html="<span></span>", js=(Path(__file__).parent / "bell.js").read_text("utf-8")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that was under way when we last looked."""

    title: str
    ready: bool

    @property
    def sentence(self) -> str:
        """What the person reads."""
        return f"{self.title} is ready" if self.ready else f"{self.title} could not be finished"


def render_bell(user: User) -> None:
    """Watch the person's videos, on a timer only while one is being made."""
    with contained(user.id):
        active = _remember(user.id)
        st.fragment(_ring, run_every=EVERY if active else None)(user)


def find_ended(before: Mapping[str, str], cards: Sequence[VideoCard]) -> list[Ended]:
    """Return what ended of the jobs in ``before`` (job to video); a stop is no news to the person who asked for it."""
    news = {JobStatus.SUCCEEDED: True, JobStatus.FAILED: False}
    return [
        Ended(title=card.video.title, ready=news[card.job.status])
        for card in cards
        if card.job.id in before and card.job.status in news
    ]


def _remember(user_id: str) -> dict[str, str]:
    """Watch what is active now too, and return all that is watched: job to video."""
    page = session.services().videos.list_cards(user_id, _ACTIVE)
    watched: dict[str, str] = st.session_state.setdefault(_WATCHED, {})
    watched.update({card.job.id: card.video.id for card in page.items})
    return watched


def _ring(user: User) -> None:
    with contained(user.id):
        session.recheck(user)
        watched = _remember(user.id)
        cards = [card for video_id in set(watched.values()) if (card := _find(user.id, video_id))]
        ended = find_ended(watched, cards)
        active = {card.job.id for card in cards if card.job.status.is_active}
        for job_id in set(watched) - active:
            del watched[job_id]
        for one in ended:
            icon = ":material/check_circle:" if one.ready else ":material/error:"
            st.toast(escape_markdown(one.sentence), icon=icon, duration=5)
            mark = "✓" if one.ready else "!"
            number = st.session_state.get(_TITLE, {}).get("n", 0) + 1
            st.session_state[_TITLE] = {"n": number, "text": f"{mark} {one.sentence}"}
        with st.container(key="unseen_bell"):
            _tab(key="bell", data=st.session_state.get(_TITLE, {"n": 0, "text": ""}), height=1)


def _find(user_id: str, video_id: str) -> VideoCard | None:
    try:
        return session.services().videos.get_card(user_id, video_id)
    except NotFound:
        return None
