"""Whether an entry of the queue is looked after: judged by our clock alone, whatever the worker's says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from rq.job import Job, JobStatus

from adapters.rq_entries import REMEMBERED, EntryWatch

STALE_S = 10.0
NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)


class SetClock:
    """Seconds that are set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def make_entry(last_heartbeat: datetime | None, name: str = "an-entry", status: JobStatus = JobStatus.STARTED) -> Job:
    entry = Job(name, connection=Redis())  # never asked
    entry._status = status
    entry.last_heartbeat = last_heartbeat
    return entry


@pytest.mark.parametrize("behind", [timedelta(), timedelta(seconds=15), timedelta(days=1), timedelta(hours=-5)])
def test_who_gives_new_signs_is_alive_whatever_its_clock_says(behind: timedelta) -> None:
    clock = SetClock()
    watch = EntryWatch(STALE_S, clock=clock)
    for _ in range(5):
        told = NOW - behind + timedelta(seconds=clock.seconds)
        assert watch.is_alive(make_entry(told))
        clock.seconds += 9
        assert watch.is_alive(make_entry(told)), "the next sign may be on its way"
        clock.seconds += 9


@pytest.mark.parametrize("last", [NOW, NOW + timedelta(hours=5), None])
def test_who_gives_no_new_sign_is_lost_and_stays_so(last: datetime | None) -> None:
    clock = SetClock()
    watch = EntryWatch(STALE_S, clock=clock)
    assert watch.is_alive(make_entry(last)), "nobody knows yet"
    clock.seconds += STALE_S
    for _ in range(3):
        assert not watch.is_alive(make_entry(last))
    assert watch.is_alive(make_entry(NOW + timedelta(hours=9))), "it was only slow"


def test_what_ended_is_not_alive_and_many_entries_take_no_more_room() -> None:
    watch = EntryWatch(STALE_S)
    assert not watch.is_alive(make_entry(NOW, status=JobStatus.FAILED))
    for number in range(REMEMBERED + 5):
        assert watch.is_alive(make_entry(NOW, f"entry-{number}"))
    assert len(watch._signs) == REMEMBERED
