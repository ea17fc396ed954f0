"""What a person sees who is not signed in: the login, the first visit, sign-up, and a new password by a link."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import streamlit as st

from jobs import fields
from jobs.errors import DomainError, LoginUnavailable, StoreUnavailable
from jobs.models import LinkKind
from jobs.service import AuthManager, SignIn, SignUp
from ui.places import PRODUCT

logger = logging.getLogger(__name__)

_SIGNING_UP = "login_signs_up"
_NO_ACCOUNT = {
    SignUp.OPEN: "No account yet?",
    SignUp.INVITATION: "No account yet? Ask the administrator for an invitation.",
    SignUp.CLOSED: "No account yet? Ask the administrator for one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """What the login needs of the tab it stands in."""

    auth: AuthManager
    enter: Callable[[SignIn], NoReturn]
    """Signs the tab in and starts the page over."""
    address: str
    label: str
    """The browser, in words."""


def render_login(door: Doorway) -> None:
    """Draw the screen for whoever is not signed in. Starts the page over when somebody has signed in."""
    invitation, reset = (st.query_params.get(kind, "") for kind in (LinkKind.INVITATION, LinkKind.RESET))
    if not door.auth.has_users():
        _render_first_visit(door)
    elif reset:
        _render_new_password(door, reset)
    elif invitation or (st.session_state.get(_SIGNING_UP) and door.auth.sign_up is SignUp.OPEN):
        _render_sign_up(door, invitation)
    else:
        _render_login(door)


def _render_login(door: Doorway) -> None:
    from ui.authenticator import Forms

    def log_in(name: str, password: str) -> None:
        door.enter(door.auth.login(name, password, address=door.address, label=door.label))

    with _column(PRODUCT, "Log in to see your videos."):
        with _sentence_of_failure():
            Forms(door.auth.login_field, log_in=log_in).draw_login()
        with st.container(key="gate_foot", horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.caption(_NO_ACCOUNT[door.auth.sign_up], width="content")
            if door.auth.sign_up is SignUp.OPEN:
                st.button("Create one", type="tertiary", key="gate_sign_up", on_click=_switch_sign_up, args=(True,))


def _render_first_visit(door: Doorway) -> None:
    from ui.authenticator import Forms

    def register(name: str, password: str) -> None:
        door.enter(
            door.auth.create_administrator(
                username=name,
                full_name=_as_typed(door, name),
                password=password,
                address=door.address,
                label=door.label,
            )
        )

    with (
        _column(
            "Create the administrator",
            "This is the first visit. The account you create here invites the others and looks after the machine.",
        ),
        _sentence_of_failure(),
    ):
        Forms(door.auth.login_field, register=register).draw_registration()


def _render_sign_up(door: Doorway, invitation: str) -> None:
    from ui.authenticator import Forms

    def register(name: str, password: str) -> None:
        opened = door.auth.register(
            username=name,
            full_name=_as_typed(door, name),
            password=password,
            invitation=invitation,
            address=door.address,
            label=door.label,
        )
        _leave_link()
        door.enter(opened)

    if invitation and door.auth.find_link(LinkKind.INVITATION, invitation) is None:
        _render_dead_link("This invitation has been used or is too old. Ask the administrator for a new one.")
        return
    choose = door.auth.login_field.choose
    with _column("Create your account", f"You are invited. {choose}" if invitation else choose):
        with _sentence_of_failure():
            Forms(door.auth.login_field, register=register).draw_registration()
        st.button("I have an account", type="tertiary", key="gate_log_in", on_click=_switch_sign_up, args=(False,))


def _render_new_password(door: Doorway, token: str) -> None:
    link = door.auth.find_link(LinkKind.RESET, token)
    if link is None:
        _render_dead_link("This link has been used or is too old. Ask the administrator for a new one.")
        return
    with _column("Set a new password", "It logs out every device you are logged in on."):
        with st.form("new_password", border=False):
            chosen = st.text_input(fields.NEW_PASSWORD.caption, type="password", autocomplete="new-password")
            again = st.text_input(fields.PASSWORD_AGAIN.label, type="password", autocomplete="new-password")
            failure = st.container()
            is_sent = st.form_submit_button("Set password", type="primary", width="stretch", key="primary_set_password")
        if is_sent:
            with failure, _sentence_of_failure():
                fields.check_same(chosen, again)
                user = door.auth.reset_password(token, chosen)
                _leave_link()
                door.enter(door.auth.login(user.username, chosen, address=door.address, label=door.label))


def _render_dead_link(sentence: str) -> None:
    with _column(PRODUCT, ""):
        st.error(sentence, icon=":material/error:")
        st.button("Go to the login", key="gate_log_in", on_click=_leave_link, width="stretch")


@contextmanager
def _column(title: str, sentence: str) -> Iterator[None]:
    """Draw into the one column of 360 px, below mark, title and sentence."""
    with st.container(horizontal_alignment="center"), st.container(key="gate", width=360):
        st.html('<img src="/app/static/mark.svg" width="40" height="40" alt="">')
        st.title(title, anchor=False)
        if sentence:
            st.caption(sentence)
        yield


@contextmanager
def _sentence_of_failure() -> Iterator[None]:
    """Show what went wrong with a form, in one sentence."""
    try:
        yield
    except DomainError as error:
        if isinstance(error, StoreUnavailable) and not isinstance(error, LoginUnavailable):
            raise
        if error.detail:
            logger.warning("a form of the login: %s", error.detail)
        st.error(error.message, icon=":material/error:")


def _as_typed(door: Doorway, name: str) -> str:
    """Return what is shown for a name typed with capitals; empty when the name itself does."""
    is_name = door.auth.login_field is fields.USERNAME
    return name if is_name and name != fields.clean_username(name) else ""


def _switch_sign_up(is_signing_up: bool) -> None:
    st.session_state[_SIGNING_UP] = is_signing_up
    _leave_link()


def _leave_link() -> None:
    for kind in LinkKind:
        if kind in st.query_params:
            del st.query_params[kind]
