"""The cards of the account page: what is used, name, password, defaults, logins, and the end of the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from jobs import fields
from jobs.errors import DomainError
from jobs.models import Json, Session, Usage, User
from jobs.service import Services
from ui import session
from ui.options import CAPTION_NAMES, PACE_NAMES, read_options
from ui.words import escape_markdown, format_share_of

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SAID = "account_said"
_GOES_WITH_PACE = ("threshold", "margin_ms", "min_pause_ms")
"""Numbers that beat the pace: whoever chooses another pace wants its own."""


def render_usage(usage: Usage) -> None:
    """Draw what is used this month and stored, against what is allowed."""
    with _card("usage", "Used so far", f"The month starts again on {format_day(usage.period_ends_at)}."):
        st.html(build_usage_bars(usage))


def build_usage_bars(usage: Usage) -> str:
    """Return minutes and storage as HTML with a bar each, or the number alone where there is no limit."""
    used_min, limit_min = round(usage.used_ms / 60_000), usage.limit_ms // 60_000
    minutes = f"{used_min} of {limit_min} min" if limit_min else f"{used_min} min"
    return _build_bar("Minutes processed", minutes, usage.used_ms, usage.limit_ms) + _build_bar(
        "Storage", format_share_of(usage.stored_bytes, usage.limit_bytes), usage.stored_bytes, usage.limit_bytes
    )


def format_day(day: datetime) -> str:
    """Return a day as it is said: ``1 December``."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def render_name(services: Services, user: User) -> None:
    """Draw the name that is shown."""
    with _card("name", "Name", f"What you are called here. You log in as {escape_markdown(user.username)}."):
        with st.form("account_name", border=False):
            name = st.text_input(
                fields.FULL_NAME.label, user.full_name, max_chars=fields.FULL_NAME.max_chars, placeholder=user.username
            )
            failure = st.container()
            is_sent = st.form_submit_button("Save name")
        if is_sent:
            with failure, _sentence_of_failure():
                services.auth.set_name(user.id, name)
                _say("Saved")
                st.rerun()


def render_password(services: Services, user: User) -> None:
    """Draw the change of the password, which keeps this browser logged in."""
    from ui.authenticator import Forms

    def change(current: str, new: str) -> None:
        identity = session.current_identity()
        if identity is not None and identity.user.id == user.id:
            opened = services.auth.change_password(identity, current, new, address=session.client_address())
            session.sign_in(opened)
            _say("Password changed")
        st.rerun()

    rule = f"{fields.PASSWORD.rule.capitalize()}. Changing it logs out your other devices."
    with _card("password", "Password", rule), _sentence_of_failure():
        Forms(services.auth.login_field, change=change).draw_password_change(user.username)


def render_defaults(services: Services, user: User) -> None:
    """Draw the options the upload page starts with; a choice is kept at once."""
    start = read_options(user.options)

    def keep(name: str, key: str) -> None:
        if key in st.session_state:  # a page that was left meanwhile has taken its fields along
            services.auth.set_options(user.id, change_options(user.options, name, st.session_state[key]))
            _say("Saved")

    with _card("defaults", "Defaults for new videos", "What the upload page starts with."):
        st.segmented_control(
            "Pace",
            tuple(PACE_NAMES),
            default=start.pace,
            format_func=lambda value: PACE_NAMES[value],
            required=True,
            width="stretch",
            key="account_pace",
            on_change=keep,
            args=("pace", "account_pace"),
        )
        st.segmented_control(
            "Captions",
            tuple(CAPTION_NAMES),
            default=start.captions,
            format_func=lambda value: CAPTION_NAMES[value],
            required=True,
            width="stretch",
            key="account_captions",
            on_change=keep,
            args=("captions", "account_captions"),
        )


def change_options(options: Json, name: str, value: object) -> dict[str, object]:
    """Return remembered job options with another choice in them."""
    changed = {**options, name: str(value)}
    if name == "pace":
        changed = {key: one for key, one in changed.items() if key not in _GOES_WITH_PACE}
    return changed


def render_sessions(services: Services, user: User, here: Session) -> None:
    """Draw where the person is logged in."""
    others = [one for one in services.auth.list_sessions(user.id) if one.id != here.id]
    with _card("sessions", "Where you are logged in", describe_sessions(others)):
        if st.button("Log out everywhere", key="log_out_everywhere"):
            services.auth.logout_everywhere(user.id)
            session.leave()


def describe_sessions(others: Sequence[Session]) -> str:
    """Return how many other browsers are logged in, and the newest of them by name."""
    if not others:
        return "This browser only."
    labels = list(dict.fromkeys(one.label for one in others if one.label))[:3]
    names = f": {escape_markdown(', '.join(labels))}" if labels else ""
    return f"This browser and {len(others)} {'other' if len(others) == 1 else 'others'}{names}."


def render_deletion(services: Services, user: User) -> None:
    """Draw the way out."""

    @st.dialog("Delete your account?")
    def ask() -> None:
        st.markdown("Your videos, the originals and the captions go. This cannot be undone.")
        with st.form("delete_account", border=False):
            password = st.text_input(fields.PASSWORD.label, type="password", autocomplete="current-password")
            failure = st.container()
            with st.container(horizontal=True, horizontal_alignment="right"):
                is_kept = st.form_submit_button("Keep", key="keep_account")
                is_sent = st.form_submit_button("Delete account", type="primary", key="primary_danger_account")
        if is_kept:
            st.rerun()
        if is_sent:
            with failure, _sentence_of_failure():
                session.recheck(user)
                delete_account(services, user, password, session.client_address())
                session.leave()

    with _card("deletion", "Delete account", "Removes your videos, originals and captions. Cannot be undone."):
        if st.button("Delete account…", key="danger_delete_account"):
            ask()


def delete_account(services: Services, user: User, password: str, address: str) -> None:
    """Delete everything a person has, once nothing stands against it. Raises `Refused`, `TooManyTries`, `Conflict`."""
    services.auth.confirm_deletion(user.id, password, address=address)
    services.videos.delete_all(user.id)
    services.auth.delete_account(user.id, password, address=address)


def render_said() -> None:
    """Show the toast of what was done in the run before."""
    if sentence := st.session_state.pop(_SAID, ""):
        st.toast(sentence, duration=5)


def _say(sentence: str) -> None:
    st.session_state[_SAID] = sentence


def _build_bar(name: str, text: str, used: int, limit: int) -> str:
    head = f'<div class="meter_head"><b>{name}</b><span>{text}</span></div>'
    if not limit:
        return f'<div class="meter">{head}</div>'
    percent = min(100, round(100 * used / limit))
    full = " full" if percent >= 95 else ""
    return (
        f'<div class="meter{full}">{head}<div class="meter_bar" role="progressbar" aria-label="{name}" '
        f'aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100"><i style="width:{percent}%"></i></div></div>'
    )


@contextmanager
def _card(key: str, title: str, sentence: str) -> Iterator[None]:
    """Draw into the right side of a card that is named on its left."""
    with st.container(border=True, key=f"card_{key}"):
        left, right = st.columns([1, 1.6], gap="medium")
        with left, st.container(gap=None):
            st.markdown(f"**{title}**")
            st.caption(sentence)
        with right, st.container(key=f"form_{key}"):
            yield


@contextmanager
def _sentence_of_failure() -> Iterator[None]:
    try:
        yield
    except DomainError as error:
        st.error(error.message, icon=":material/error:")
