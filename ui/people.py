"""The administrator's list of people: accounts, invitations, one-time links.

A dialog is kept in the tab's state until it is closed, so that a run of the whole page does not take a one-time link,
which is shown only once, out of sight.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

import streamlit as st

from jobs import fields
from jobs.errors import DomainError
from jobs.models import Link, LinkKind, Role, Usage, User
from jobs.service import SignUp
from ui.listing import Chip, Row, read_chosen, render_listing
from ui.session import base_url, recheck, services
from ui.words import count, escape_markdown, format_date, format_share_of
from ui.zone import local_zone

PEOPLE_PER_PAGE = 25
_OPEN, _LINK, _SAID = "people_open", "people_link", "people_said"
"""Which dialog is open, the one-time link it shows, and what is to be said once it is closed."""
_MINUTE_MS = 60_000
_ROLES = {Role.USER: "User", Role.ADMIN: "Administrator"}


def build_person_row(person: User, usage: Usage) -> Row:
    """Return an account as a row."""
    chips = []
    if not person.is_active:
        chips.append(Chip(text="Disabled", tone="red"))
    if person.role is Role.ADMIN:
        chips.append(Chip(text="Administrator", tone="blue"))
    used, limit = round(usage.used_ms / _MINUTE_MS), usage.limit_ms // _MINUTE_MS
    minutes = f"{used} of {count(limit, 'minute')}" if limit else count(used, "minute")
    return Row(
        id=person.id,
        name=person.display_name,
        below=person.username if person.full_name else "",
        text=f"{minutes} this month, {format_share_of(usage.stored_bytes, usage.limit_bytes)} stored",
        chips=tuple(chips),
        action="Manage",
    )


def build_invitation_row(link: Link, *, now: datetime, zone: tzinfo | None) -> Row:
    """Return an open invitation as a row."""
    expires = format_date(link.expires_at.astimezone(zone), now.astimezone(zone))
    chips = (Chip(text="Administrator", tone="blue"),) if link.role is Role.ADMIN else ()
    return Row(
        id=link.id, name=link.note or "No name", text="", chips=chips, note=f"until {expires}", action="Withdraw"
    )


def render_people(admin: User) -> None:
    """Draw accounts and open invitations, and the dialog that is open."""
    _follow(admin)
    may_invite = services().auth.sign_up is not SignUp.CLOSED
    with st.container(key="people_tools", horizontal=True, vertical_alignment="center"):
        search = st.text_input(
            "Search people",
            placeholder="Search people",
            label_visibility="collapsed",
            icon=":material/search:",
            width=260,
            key="people_search",
            on_change=_first_page,
        )
        st.space("stretch")
        if may_invite and st.button("Invite", icon=":material/link:", key="people_invite"):
            _open("invite")
        if st.button("Create account", type="primary", icon=":material/add:", key="primary_people_create"):
            _open("create")
    _draw_people(admin, (search or "").strip())
    _draw_invitations(admin)
    _draw_dialog(admin)


def _first_page() -> None:
    st.session_state.pop("people_page", None)


def _open(dialog: str) -> None:
    st.session_state[_OPEN] = dialog
    st.session_state.pop(_LINK, None)


def _close() -> None:
    for name in (_OPEN, _LINK):
        st.session_state.pop(name, None)


def _follow(admin: User) -> None:
    """Do what was pressed in the lists, and say what was done in a dialog."""
    if sentence := st.session_state.pop(_SAID, ""):
        st.toast(sentence, duration=5)
    if chosen := read_chosen("people_list"):
        _open(chosen)
    if withdrawn := read_chosen("invitations_list"):
        services().auth.withdraw_invitation(admin, withdrawn)
        st.toast("Withdrawn", duration=5)


def _draw_people(admin: User, search: str) -> None:
    number = max(1, int(st.session_state.get("people_page") or 1))
    page = services().auth.list_users(
        admin, search=search, offset=(number - 1) * PEOPLE_PER_PAGE, limit=PEOPLE_PER_PAGE
    )  # fmt: skip
    rows = [build_person_row(person, services().videos.get_usage(person.id)) for person in page.items]
    if not rows:
        st.caption("Nobody found.")
    render_listing("people_list", rows, label="People")
    if page.total > PEOPLE_PER_PAGE:
        st.pagination(-(-page.total // PEOPLE_PER_PAGE), key="people_page")


def _draw_invitations(admin: User) -> None:
    invitations = services().auth.list_invitations(admin)
    if not invitations:
        return
    now, zone = datetime.now(UTC), local_zone()
    rows = [build_invitation_row(link, now=now, zone=zone) for link in invitations]
    with st.container(key="section_invitations"):
        st.markdown(f"**{count(len(invitations), 'open invitation')}**")
        render_listing("invitations_list", rows, label="Open invitations")


# --- dialogs ---


def _draw_dialog(admin: User) -> None:
    match st.session_state.get(_OPEN):
        case "create":
            _ask_account(admin)
        case "invite":
            _ask_invitation(admin)
        case str(user_id):
            person = next((one for one in _list_all(admin) if one.id == user_id), None)
            if person is None:
                _close()
            else:
                _manage(admin, person)


def _list_all(admin: User) -> list[User]:
    people: list[User] = []
    while True:
        page = services().auth.list_users(admin, offset=len(people), limit=500)
        people += page.items
        if not page.items or len(people) >= page.total:
            return people


def _draw_link(what: str) -> bool:
    """Show the one-time link that was just made, if there is one."""
    if not (address := st.session_state.get(_LINK)):
        return False
    st.markdown(what)
    st.code(address, language=None, wrap_lines=True)
    st.caption("Copy it now: it works once and is not shown again.")
    return True


def _draw_done() -> None:
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Done", key="people_done"):
            _close()
            st.rerun()


def _ask_account(admin: User) -> None:
    @st.dialog("Create account", on_dismiss=_close)
    def create() -> None:
        recheck(admin)
        if _draw_link("Send this link. It sets the password, within a day."):
            _draw_done()
            return
        with st.form("people_create_form", border=False):
            login = services().auth.login_field
            username = st.text_input(login.caption, max_chars=login.max_chars, placeholder=login.hint)
            full_name = st.text_input(fields.FULL_NAME.caption, max_chars=fields.FULL_NAME.max_chars)
            role = _choose_role("people_create_role", Role.USER)
            problem = st.empty()
            if st.form_submit_button("Create account", type="primary", key="primary_create_account"):
                try:
                    token = services().auth.create_user(admin, username=username, full_name=full_name, role=role)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _show_link(LinkKind.RESET, token)

    create()


def _ask_invitation(admin: User) -> None:
    @st.dialog("Invite", on_dismiss=_close)
    def invite() -> None:
        recheck(admin)
        if _draw_link("Send this link. Whoever opens it can make an account, within seven days."):
            _draw_done()
            return
        with st.form("people_invite_form", border=False):
            note = st.text_input(
                fields.NOTE.caption, max_chars=fields.NOTE.max_chars, placeholder=fields.NOTE.hint
            )  # fmt: skip
            role = _choose_role("people_invite_role", Role.USER)
            problem = st.empty()
            if st.form_submit_button("Make link", type="primary", key="primary_make_invitation"):
                try:
                    token = services().auth.invite(admin, role=role, note=note)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _show_link(LinkKind.INVITATION, token)

    invite()


def _choose_role(key: str, role: Role) -> Role:
    chosen = st.segmented_control(
        "Role",
        tuple(_ROLES),
        default=role,
        format_func=lambda one: _ROLES[one],
        required=True,
        width="stretch",
        key=key,
    )
    return chosen or role


def _show_link(kind: LinkKind, token: str) -> None:
    st.session_state[_LINK] = kind.make_address(base_url(), token)
    st.rerun()


def _manage(admin: User, person: User) -> None:
    @st.dialog(escape_markdown(person.display_name), on_dismiss=_close)
    def manage() -> None:
        recheck(admin)
        if _draw_link(f"This link sets a new password for {escape_markdown(person.username)}, within a day."):
            _draw_done()
            return
        problem = st.empty()
        with st.form("people_form", border=False):
            role = _choose_role(f"people_role_{person.id}", person.role)
            with st.container(horizontal=True):
                minutes = st.number_input(
                    fields.MINUTES.label,
                    min_value=0,
                    max_value=fields.MAX_MINUTES,
                    value=person.quota_minutes,
                    step=10,
                    placeholder="Default",
                    key=f"people_minutes_{person.id}",
                )
                storage = st.number_input(
                    fields.STORAGE.label,
                    min_value=0,
                    max_value=fields.MAX_GIGABYTES,
                    value=None if person.quota_bytes is None else person.quota_bytes // fields.GIGABYTE,
                    placeholder="Default",
                    key=f"people_storage_{person.id}",
                )
            st.caption("Empty takes the limit that holds for everybody, 0 is without limit.")
            if st.form_submit_button("Save", type="primary", key="primary_save_person"):
                size_bytes = None if storage is None else storage * fields.GIGABYTE
                try:
                    if role is not person.role:
                        services().auth.set_role(admin, person.id, role)
                    if (minutes, size_bytes) != (person.quota_minutes, person.quota_bytes):
                        services().auth.set_quota(admin, person.id, minutes=minutes, size_bytes=size_bytes)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _finish("Saved")
        st.divider()
        with st.container(horizontal=True):
            if person.is_active and st.button("Make a link for a new password", key="people_reset"):
                try:
                    token = services().auth.make_reset_link(admin, person.id)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _show_link(LinkKind.RESET, token)
            label = "Disable account" if person.is_active else "Enable account"
            if st.button(label, key="people_switch", help="Ends every session at once." if person.is_active else None):
                try:
                    services().auth.set_active(admin, person.id, not person.is_active)
                except DomainError as error:
                    problem.error(error.message)
                else:
                    _finish("Disabled" if person.is_active else "Enabled")

    manage()


def _finish(sentence: str) -> None:
    _close()
    st.session_state[_SAID] = sentence  # a toast of a run that is broken off is not shown
    st.rerun()
