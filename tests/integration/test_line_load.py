"""Two hundred jobs of twelve people, two workers: what each job waits, beside first come, first served.

The line is the database's own. Only time is made: the clock is set from one event to the next.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDatabase
from jobs.ports import Database
from tests.database import FAILURE, MINUTE_MS, make_person, make_video

WORKERS = 2
SPEED = 4
"""Minutes of original that a worker makes in one minute."""
BEGIN = datetime(2026, 11, 2, 8, tzinfo=UTC)
LEASE_S = 24 * 3600.0


@dataclass(frozen=True, order=True)
class Arrival:
    """Somebody's upload."""

    minute: float
    person: str
    length: float
    """In minutes."""


@dataclass(frozen=True)
class Service:
    """What became of it."""

    arrival: Arrival
    begin: float
    passed_by: int
    """How many were begun while it waited."""

    @property
    def end(self) -> float:
        return self.begin + self.arrival.length / SPEED

    @property
    def wait(self) -> float:
        return self.begin - self.arrival.minute


def spread(person: str, count: int, length: float, *, since: float, every: float = 0.0) -> list[Arrival]:
    return [Arrival(minute=since + every * number, person=person, length=length) for number in range(count)]


LOAD = sorted(
    [
        *spread("many", 50, 45, since=0),
        *spread("one short", 1, 3, since=30),
        *spread("one long", 1, 170, since=40),
        *spread("short, always", 30, 2, since=5, every=12),
        *spread("a series", 20, 20, since=60),
        *spread("hours", 10, 60, since=120),
        *spread("late", 20, 25, since=200),
        *spread("mixed", 15, 4, since=10, every=30),
        *spread("mixed", 5, 40, since=95, every=60),
        *(arrival for n in range(4) for arrival in spread(f"daily {n + 1}", 12, 10, since=15 + 9 * n, every=40)),
    ]
)


@dataclass
class SetClock:
    """Tells the minute that it is set to."""

    minute: float = 0.0

    def __call__(self) -> datetime:
        return BEGIN + timedelta(minutes=self.minute)


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: list[Arrival] = []

    def add(self, arrival: Arrival) -> None:
        self._waiting.append(arrival)

    def take(self) -> Arrival | None:
        return self._waiting.pop(0) if self._waiting else None

    def end(self, arrival: Arrival) -> None:
        """Nothing is to be done."""


class Line:
    """The line in a database, at the time of ``clock``; what people are told of it is held against what is taken."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users = {person: make_person(database, person) for person in {arrival.person for arrival in LOAD}}
        self._arrivals: dict[str, Arrival] = {}
        self._ids: dict[int, str] = {}
        self._told: list[str] = []

    def add(self, arrival: Arrival) -> None:
        user = self._users[arrival.person]
        _, job = make_video(self._database, user, duration_ms=round(arrival.length * MINUTE_MS))
        self._arrivals[job.id] = arrival
        self._ids[id(arrival)] = job.id

    def take(self) -> Arrival | None:
        waiting = self._database.jobs.list_queued()
        if not waiting:
            return None
        first = waiting[0][0]
        assert self._database.jobs.position(first.id) == 1
        assert self._database.jobs.claim(first.id, "worker-1", lease_s=LEASE_S) is not None
        rest = [job.id for job, _ in waiting[1:]]
        assert [job.id for job, _ in self._database.jobs.list_queued()] == rest, "who waits on keeps the order"
        return self._arrivals[first.id]

    def end(self, arrival: Arrival) -> None:
        assert self._database.jobs.finish(self._ids[id(arrival)], "worker-1", FAILURE)


def simulate(line: Fifo | Line, clock: SetClock) -> list[Service]:
    """Let the load come and be worked on; return every job in the order in which they were begun."""
    coming, busy, services = list(LOAD), list[tuple[float, Arrival]](), list[Service]()
    while coming or busy:
        times = [arrival.minute for arrival in coming[:1]] + [ends for ends, _ in busy]
        clock.minute = min(times)
        for done in [item for item in busy if item[0] <= clock.minute]:
            busy.remove(done)
            line.end(done[1])
        while coming and coming[0].minute <= clock.minute:
            line.add(coming.pop(0))
        while len(busy) < WORKERS and (arrival := line.take()) is not None:
            busy.append((clock.minute + arrival.length / SPEED, arrival))
            passed_by = sum(service.begin >= arrival.minute for service in services)
            services.append(Service(arrival=arrival, begin=clock.minute, passed_by=passed_by))
    return services


def by_person(services: Sequence[Service]) -> Mapping[str, list[Service]]:
    found: dict[str, list[Service]] = defaultdict(list)
    for service in sorted(services, key=lambda service: service.arrival.minute):
        found[service.arrival.person].append(service)
    return found


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def database(tmp_path: Path, clock: SetClock) -> Iterator[Database]:
    opened = SqliteDatabase(tmp_path / "factory.sqlite3", now=clock)
    yield opened
    opened.close()


def describe(services: Sequence[Service]) -> str:
    waits = [service.wait for service in services]
    each = " ".join(f"{wait:.0f}" for wait in waits)
    return f"mean {statistics.mean(waits):4.0f}, longest {max(waits):4.0f}: {each}"


def test_what_two_hundred_jobs_wait(database: Database, clock: SetClock, show: Callable[[str], None]) -> None:
    assert len(LOAD) == 200
    fair, fifo = simulate(Line(database), clock), simulate(Fifo(), SetClock())
    mine, before = by_person(fair), by_person(fifo)
    show(f"waits of {len(LOAD)} jobs in minutes, {WORKERS} workers, each {SPEED} minutes of original a minute")
    for person, services in mine.items():
        lengths = sorted({service.arrival.length for service in services})
        show(f"  {person}: {len(services)} of {' and '.join(f'{length:g}' for length in lengths)} min")
        show(f"    fair line         {describe(services)}")
        show(f"    in order of time  {describe(before[person])}")

    assert sorted(service.arrival for service in fair) == LOAD
    slowest = max(arrival.length for arrival in LOAD) / SPEED
    assert max(s.end for s in fair) <= max(s.end for s in fifo) + slowest, "no worker is idle while somebody waits"
    passed = {person: max(service.passed_by for service in services) for person, services in mine.items()}
    assert passed["one short"] == 0, "whichever worker is free first takes it"
    assert passed["short, always"] <= WORKERS
    assert all(passed[person] <= len(mine) for person in passed if person.startswith(("daily", "mixed", "one long")))
    for person in mine.keys() - {"many"}:
        waits, others = ([service.wait for service in services[person]] for services in (mine, before))
        assert max(waits) < max(others)
        assert statistics.mean(waits) < statistics.mean(others) / 1.5, person
    turns = [service.begin for service in mine["many"]]
    gaps = [later - earlier for earlier, later in pairwise(turns)]
    assert max(gaps) < 60 + slowest, "who has much gets on as well: what one had is forgotten within an hour"
