"""What an administrator sees of the machine: today's numbers, the health of each part, everybody's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

import streamlit as st

from jobs.errors import DomainError, StoreUnavailable
from jobs.models import HealthPart, JobStatus, ProcessingJob, User
from ui.listing import Chip, Row, Tone, read_chosen, render_listing
from ui.session import recheck, services
from ui.trouble import contained
from ui.words import (
    FAILED,
    READY,
    STAGES,
    STOPPED,
    STOPPING,
    WAITING,
    WORKING,
    count,
    describe_failure,
    format_length,
    format_since,
    name_state,
)
from ui.workers import build_worker_rows
from ui.zone import local_zone

EVERY = "10s"
JOBS_PER_PAGE = 25

JOB_FILTERS: Mapping[str, frozenset[JobStatus]] = {
    "All": frozenset(),
    "Active": frozenset({JobStatus.QUEUED, JobStatus.RUNNING}),
    "Failed": frozenset({JobStatus.FAILED}),
    "Stopped": frozenset({JobStatus.CANCELLED}),
    "Ready": frozenset({JobStatus.SUCCEEDED}),
}
_TONES: Mapping[str, Tone] = {
    WAITING.id: "gray",
    WORKING.id: "blue",
    STOPPING.id: "gray",
    READY.id: "green",
    STOPPED.id: "gray",
    FAILED.id: "red",
}


# --- health ---


def describe_needs(number: int) -> str:
    """Return the head of the list of what does not work."""
    return f"{count(number, 'thing')} {'needs' if number == 1 else 'need'} you"


def build_health_rows(parts: Sequence[HealthPart]) -> tuple[list[Row], list[Row]]:
    """Return a row for each part: those that need the administrator, and those that work."""
    rows = [
        Row(
            id=part.id,
            name=part.name,
            text=part.text,
            mark="ok" if part.ok else "warning" if part.id == "disk" else "error",
            needs_reading=not part.ok,
            note="checked",
            at=part.checked_at,
        )
        for part in parts
    ]
    need = [row for row, part in zip(rows, parts, strict=True) if not part.ok]
    return need, [row for row in rows if row not in need]


@st.fragment(run_every=EVERY)
def render_health(user: User) -> None:
    """Draw today's numbers and the health of each part, and keep them up to date."""
    with contained(user.id):
        recheck(user)
        _draw_totals(user)
        need, work = build_health_rows(services().admin.check_health(user))
        if need:
            with st.container(key="section_needs"):
                st.markdown(f"**{describe_needs(len(need))}**")
                render_listing("health_needs", need, label="What needs you")
        if work:
            with st.container(key="section_works"):
                st.markdown("**Working**")
                render_listing("health_works", work, label="What works")
        _draw_workers(user)


def _draw_workers(user: User) -> None:
    try:
        workers = services().admin.list_workers(user)
    except StoreUnavailable:  # the list above says so
        return
    if workers:
        with st.container(key="section_workers"):
            st.markdown("**Workers**")
            rows = build_worker_rows(workers, now=datetime.now(UTC), zone=local_zone())
            render_listing("health_workers", rows, label="Workers")


def _draw_totals(user: User) -> None:
    totals = services().admin.get_totals(user)
    videos = count(totals.succeeded_today, "video")
    tiles = (
        ("waiting", "Waiting", str(totals.queued), f"{totals.running} running"),
        ("wait", "Longest wait today", _format_wait(totals.longest_wait_ms), "from upload to start"),
        ("processed", "Processed today", _format_wait(totals.processed_today_ms), videos),
        ("failed", "Failed today", str(totals.failed_today), totals.last_failure or "nothing went wrong"),
    )
    with st.container(key="tiles"):
        for column, (key, label, value, below) in zip(st.columns(len(tiles)), tiles, strict=True):
            with column, st.container(border=True, key=f"card_{key}", gap=None):
                st.metric(label, value)
                st.caption(below, width="stretch")


def _format_wait(ms: int) -> str:
    return format_length(ms) if ms >= 60_000 else f"{ms // 1000} s" if ms else "0 min"


# --- jobs ---


def build_job_row(job: ProcessingJob, owner: str, *, now: datetime, zone: tzinfo | None) -> Row:
    """Return a job as a row: whose, in which state, since when; never what it is about."""
    state = name_state(job)
    text = ""
    if job.status is JobStatus.RUNNING:
        text = f"{STAGES.get(job.stage, 'Getting ready')} {round(job.progress * 100)} %"
    elif job.status is JobStatus.FAILED:
        text = describe_failure(job)
    if job.attempt > 1:
        text = f"{text} (attempt {job.attempt} of {job.max_attempts})".strip()
    since = format_since(job.started_at or job.created_at, now, zone)
    if job.started_at and job.finished_at:
        note = f"{since}, took {_format_wait(round((job.finished_at - job.started_at).total_seconds() * 1000))}"
    else:
        note = f"{'started' if job.started_at else 'came'} {since}" if job.status.is_active else since
    return Row(
        id=job.id,
        name=owner or "Deleted account",
        below=f"Job {job.id[:4].upper()}",
        text=text,
        needs_reading=job.status is JobStatus.FAILED,
        chips=(Chip(text=state.chip, tone=_TONES[state.id]),),
        note=note,
        action="Stop" if job.status.is_active and not job.cancel_requested else "",
    )


def render_jobs(user: User) -> None:
    """Draw everybody's jobs without what they are about, by state and page, and keep them up to date."""
    chosen = st.segmented_control(
        "State",
        tuple(JOB_FILTERS),
        default="All",
        required=True,
        label_visibility="collapsed",
        key="jobs",
        bind="query-params",
        on_change=_first_page,
    )
    _draw_jobs(user, chosen or "All")


def _first_page() -> None:
    st.session_state.pop("jobs_page", None)


@st.fragment(run_every=EVERY)
def _draw_jobs(user: User, chosen: str) -> None:
    with contained(user.id):
        recheck(user)
        if stopped := read_chosen("jobs_list"):
            _stop(user, stopped)
        admin = services().admin
        now, zone = datetime.now(UTC), local_zone()
        number = max(1, int(st.session_state.get("jobs_page") or 1))
        states, offset = JOB_FILTERS[chosen], (number - 1) * JOBS_PER_PAGE
        page = admin.list_jobs(user, states=states, offset=offset, limit=JOBS_PER_PAGE)
        rows = [build_job_row(job, owner, now=now, zone=zone) for job, owner in page.items]
        if not rows:
            st.caption("No jobs here.")
        render_listing("jobs_list", rows, label="Jobs")
        if page.total > JOBS_PER_PAGE:
            st.pagination(-(-page.total // JOBS_PER_PAGE), key="jobs_page")


def _stop(user: User, job_id: str) -> None:
    try:
        services().admin.cancel_job(user, job_id)
    except DomainError as error:
        st.toast(error.message, duration=8)
    else:
        st.toast("Stopped", duration=5)
