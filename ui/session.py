"""Who is signed in to this tab, and the gate every page begins with.

A page knows a person by a token: in the tab's own state right after the login, in the cookie from the next load on. It
is checked against the database on every run. Only the server can set the cookie, and only in answer to a request, so a
tiny component sends the browser there with a ticket.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import NoReturn

import streamlit as st

from jobs.errors import AuthError
from jobs.models import Role, User
from jobs.service import Identity, Services, SignIn
from ui.login import Doorway, render_login

logger = logging.getLogger(__name__)

COOKIE = "mvf_session"
FOR_ADMINS = "Only an administrator may see this page."

_TOKEN, _ERRAND, _ANSWERED = "session_token", "session_errand", "session_errand_answered"
_MAX_ERRANDS = 3

_send = st.components.v2.component(
    "factory.session", html="<span></span>", js=(Path(__file__).parent / "session.js").read_text("utf-8")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    services: Services
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    """What the browser is to tell ``/auth/session`` until that has answered."""

    n: str
    sign_in: SignIn | None
    """None removes the cookie."""
    ticket: str
    tries: int = 1


_product: _Product | None = None


def install(services: Services, *, base_url: str) -> None:
    """Make the product known to the pages of this process; ``base_url`` is where people reach it, without a slash."""
    global _product
    _product = _Product(services=services, base_url=base_url)


def services() -> Services:
    """Return the product."""
    return _installed().services


def base_url() -> str:
    """Return where people reach the product, without a slash at the end."""
    return _installed().base_url


def _installed() -> _Product:
    if _product is None:
        raise RuntimeError("ui.session.install has not been called")
    return _product


def current_identity() -> Identity | None:
    """Return who is signed in, looked up in the database now. Raises `StoreUnavailable`."""
    auth = services().auth
    token = st.session_state.get(_TOKEN)
    if token is not None:
        if identity := auth.identify(token):
            return identity
        _forget_everything()
    return auth.identify(st.context.cookies.get(COOKIE))


def require_login() -> User:
    """Return who is signed in; everybody else sees the login instead of the page."""
    identity = current_identity()
    if identity is None:
        render_login(Doorway(auth=services().auth, enter=_enter, address=client_address(), label=browser_label()))
        st.stop()
    return identity.user


def require_admin() -> User:
    """Return the administrator who is signed in; another person sees one sentence instead of the page."""
    user = require_login()
    if user.role is not Role.ADMIN:
        st.info(FOR_ADMINS)
        st.stop()
    return user


def recheck(user: User) -> None:
    """Start the page over unless ``user`` is still signed in, as what it was: fragments run without their page."""
    identity = current_identity()
    if identity is None or (identity.user.id, identity.user.role) != (user.id, user.role):
        st.rerun()


def sign_in(opened: SignIn) -> None:
    """Sign this tab in at once, and the browser as soon as it has traded its ticket."""
    st.session_state[_TOKEN] = opened.token
    ticket = services().auth.make_ticket(opened)
    st.session_state[_ERRAND] = _Errand(n=token_hex(8), sign_in=opened, ticket=ticket)


def sign_out() -> NoReturn:
    """End this session, here and in every other tab of this browser, and show the login."""
    auth = services().auth
    for token in (st.session_state.get(_TOKEN), st.context.cookies.get(COOKIE)):
        if identity := auth.identify(token):
            auth.logout(identity)
    leave()


def leave() -> NoReturn:
    """Forget the session, which has ended, and show the login."""
    _forget_everything()
    st.session_state[_ERRAND] = _Errand(n=token_hex(8), sign_in=None, ticket="")
    st.rerun()


@st.fragment
def render_cookie_sync() -> None:
    """Send the browser to ``/auth/session`` until it has been there; otherwise draw nothing. Call it on every run."""
    errand: _Errand | None = st.session_state.get(_ERRAND)
    if errand is not None:
        _send(
            key="session_errand_of_browser",
            data={"n": errand.n, "ticket": errand.ticket},
            height=1,
            on_answer_change=_finish_errand,
        )
    elif st.session_state.pop(_ANSWERED, False):
        st.rerun()


def waits_for_cookie() -> bool:
    """Tell whether the browser still fetches the cookie of a login, without which a page's own requests are refused."""
    errand: _Errand | None = st.session_state.get(_ERRAND)
    return errand is not None and errand.sign_in is not None


def client_address() -> str:
    """Return the address the browser connects from; empty on this machine itself."""
    return st.context.ip_address or ""


def browser_label() -> str:
    """Return the browser and system in words."""
    return describe_browser(st.context.headers.get("User-Agent", ""))


_BROWSERS = (
    ("Edge", r"Edg"), ("Opera", r"OPR/"), ("Samsung Internet", r"SamsungBrowser"), ("Firefox", r"Firefox|FxiOS"),
    ("Chrome", r"Chrome|Chromium|CriOS"), ("Safari", r"Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", r"iPhone"), ("iPad", r"iPad"), ("Android", r"Android"), ("Windows", r"Windows"), ("Mac", r"Mac OS"),
    ("ChromeOS", r"CrOS"), ("Linux", r"Linux"),
)  # fmt: skip


def describe_browser(user_agent: str) -> str:
    """Return ``Firefox on Windows`` from what a browser says of itself; empty when it says nothing we know."""
    browser = next((name for name, sign in _BROWSERS if re.search(sign, user_agent)), "")
    system = next((name for name, sign in _SYSTEMS if re.search(sign, user_agent)), "")
    return " on ".join(part for part in (browser, system) if part)


def _enter(opened: SignIn) -> NoReturn:
    sign_in(opened)
    st.rerun()


def _finish_errand() -> None:
    errand: _Errand | None = st.session_state.get(_ERRAND)
    answer = (st.session_state.get("session_errand_of_browser") or {}).get("answer") or {}
    if errand is None or answer.get("n") != errand.n:
        return
    del st.session_state[_ERRAND]
    st.session_state[_ANSWERED] = errand.sign_in is not None
    if answer.get("status") == 200:
        return
    if errand.sign_in is None or errand.tries >= _MAX_ERRANDS:
        logger.warning("a browser could not store its login: status %s", answer.get("status"))
        return
    try:
        ticket = services().auth.make_ticket(errand.sign_in)
    except AuthError:
        return
    st.session_state[_ERRAND] = replace(errand, n=token_hex(8), ticket=ticket, tries=errand.tries + 1)


def _forget_everything() -> None:
    for key in list(st.session_state):
        del st.session_state[key]
