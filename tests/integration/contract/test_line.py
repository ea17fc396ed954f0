"""The order of the line: nobody's many jobs block another's one, short ones come first, and nobody waits forever."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from jobs.models import JobStatus, ProcessingJob, User, VideoQuery
from jobs.ports import Database
from tests.database import FAILURE, MINUTE_MS, claim, make_job, make_person, make_video, process
from tests.product import Clock

LATELY, OLD = timedelta(hours=1), timedelta(hours=6)
SHORT_MS = 5 * MINUTE_MS


def add(database: Database, user: User, *minutes: float) -> list[str]:
    """Make a waiting job of each length; return their ids."""
    return [make_video(database, user, duration_ms=round(length * MINUTE_MS))[1].id for length in minutes]


def line(database: Database) -> list[str]:
    return [job.id for job, _ in database.jobs.list_queued()]


def take(database: Database, job_id: str) -> None:
    """Claim a job and end it at once."""
    assert database.jobs.claim(job_id, "worker-1", lease_s=60) is not None
    assert database.jobs.finish(job_id, "worker-1", FAILURE)


def test_many_of_one_person_do_not_block_one_of_another(database: Database, ann: User, bob: User) -> None:
    many = add(database, ann, *[30] * 12)
    (one,) = add(database, bob, 30)
    assert line(database) == [many[0], one, *many[1:]], "his first is as good as hers, which came before"
    take(database, many[0])
    assert database.jobs.position(one) == 1
    take(database, one)
    more = add(database, bob, 30, 30)
    assert line(database)[:5] == [many[1], more[0], many[2], more[1], many[3]]


def test_a_short_one_passes_long_ones(database: Database, ann: User, bob: User) -> None:
    long = add(database, ann, 60, 60)
    his = add(database, bob, 20, 4)
    assert line(database) == [his[1], his[0], *long], "his own long one too"
    hers = add(database, ann, 4.9)
    assert line(database) == [his[1], *hers, his[0], *long]


def test_of_those_that_are_not_short_the_older_one_goes_first(database: Database, ann: User) -> None:
    made = add(database, ann, 60, 5, 4.99)
    assert line(database) == [made[2], made[0], made[1]]


def test_a_long_one_is_passed_only_until_the_others_had_as_much(database: Database, ann: User, bob: User) -> None:
    (long,) = add(database, ann, 35)
    his = add(database, bob, *[10] * 6)
    assert line(database) == [*his[:3], long, *his[3:]]
    for job_id in his[:2]:
        take(database, job_id)
    assert line(database) == [his[2], long, *his[3:]], "that some were taken changes nothing for the others"


@pytest.mark.parametrize("end", ["running", "ended"])
def test_what_somebody_had_lately_counts(database: Database, ann: User, bob: User, clock: Clock, end: str) -> None:
    (had,) = add(database, ann, 50)
    database.jobs.claim(had, "worker-1", lease_s=6 * 3600)
    if end == "ended":
        clock.advance(minutes=90)
        database.jobs.finish(had, "worker-1", FAILURE)
        clock.advance(minutes=59)
    (hers,) = add(database, ann, 10)
    (his,) = add(database, bob, 40)
    assert line(database) == [his, hers], "what runs counts, and what ended within an hour, however long it took"
    if end == "ended":
        clock.advance(minutes=2)
        assert line(database) == [hers, his], "an hour later it is forgotten"


def test_what_was_cancelled_before_it_began_is_nothing_anybody_had(database: Database, ann: User, bob: User) -> None:
    gone = add(database, ann, *[60] * 5)
    for job_id in gone:
        database.jobs.request_cancel(ann.id, job_id)
    (hers,) = add(database, ann, 30)
    (his,) = add(database, bob, 31)
    assert line(database) == [hers, his]


def test_a_long_one_does_not_wait_forever(database: Database, ann: User, clock: Clock) -> None:
    (long,) = add(database, ann, 60)
    passed = 0
    while True:
        (short,) = add(database, make_person(database, f"new-{passed}"), 2)
        if line(database)[0] == long:
            break
        take(database, short)
        passed += 1
        clock.advance(minutes=10)
    assert passed == 12, "each minute in which nothing of hers is worked on makes half a minute of its length good"


def test_a_long_one_comes_before_its_owners_short_ones_at_last(database: Database, ann: User, clock: Clock) -> None:
    (long,) = add(database, ann, 60)
    passed = 0
    while True:
        (short,) = add(database, ann, 1)
        if line(database)[0] == long:
            break
        take(database, short)
        passed += 1
        clock.advance(minutes=30)
    assert passed == 12, "six hours"


def test_whoever_is_served_gains_nothing_by_having_many_that_wait(
    database: Database, ann: User, bob: User, clock: Clock
) -> None:
    many = add(database, ann, *[20] * 8)
    for job_id in many[:4]:
        clock.advance(hours=2)
        take(database, job_id)
    clock.advance(minutes=1)
    (one,) = add(database, bob, 25)
    assert line(database)[0] == one, "hers have waited for eight hours, and she for one minute"


def test_what_was_lost_goes_first_again(database: Database, ann: User, bob: User, clock: Clock) -> None:
    (lost,) = add(database, ann, 20)
    clock.advance(minutes=1)
    (his,) = add(database, bob, 20)
    database.jobs.claim(lost, "worker-1", lease_s=60)
    assert line(database) == [his]
    database.jobs.release(lost, "worker-1", reason="killed")
    assert line(database) == [lost, his]


# --- the same for everybody who asks ---


def expect(jobs: Iterable[ProcessingJob], lengths: Mapping[str, int], now: datetime) -> list[str]:
    """Return the ids in the order that the rules say, told in another way than the databases do it."""
    waiting: dict[str, list[ProcessingJob]] = defaultdict(list)
    had: dict[str, int] = defaultdict(int)
    until: dict[str, datetime] = {}
    for job in jobs:
        if job.status is JobStatus.QUEUED:
            waiting[job.user_id].append(job)
        elif job.started_at is not None:
            ended = job.finished_at or now
            until[job.user_id] = max(ended, until.get(job.user_id, ended))
            had[job.user_id] += lengths[job.id] if ended > now - LATELY else 0
    tags: dict[str, tuple[float, datetime]] = {}
    for user_id, own in waiting.items():
        own.sort(key=lambda job: (lengths[job.id] >= SHORT_MS and job.created_at > now - OLD, job.created_at))
        needed = had[user_id]
        for job in own:
            needed += lengths[job.id]
            since = max(job.created_at, until.get(user_id, job.created_at))
            credit = (now - since) / timedelta(milliseconds=2) if job is own[0] else 0
            tags[job.id] = needed - credit, job.created_at
    return sorted(tags, key=lambda job_id: tags[job_id])


def make_load(database: Database, clock: Clock, seed: int) -> tuple[Sequence[User], dict[str, int]]:
    """Make a line with a past of seven hours; return who is in it, and the length of every job."""
    chance = random.Random(seed)
    users = [make_person(database, f"person-{number}") for number in range(6)]
    lengths: dict[str, int] = {}
    for _ in range(50):
        length_ms = chance.choice((chance.randrange(1000, SHORT_MS), chance.randrange(SHORT_MS, 120 * MINUTE_MS)))
        video, job = make_video(database, chance.choice(users[:5]), duration_ms=length_ms)
        lengths[job.id] = length_ms
        match chance.randrange(8):
            case 0:
                process(database, job, FAILURE)
            case 1:
                database.jobs.request_cancel(job.user_id, job.id)
            case 2:
                database.jobs.claim(job.id, "worker-1", lease_s=24 * 3600)
            case 3:
                process(database, job)
                lengths[make_job(database, video).id] = length_ms
        clock.advance(minutes=chance.uniform(0, 17))
    return users, lengths


def test_all_databases_keep_the_same_order(database: Database, clock: Clock) -> None:
    users, lengths = make_load(database, clock, seed=1)
    jobs = database.jobs.list_all(limit=1000).items
    expected = expect(jobs, lengths, clock())
    listed = database.jobs.list_queued()
    assert [job.id for job, _ in listed] == expected
    assert len(expected) > 15
    assert {job.id: length_ms for job, length_ms in listed}.items() <= lengths.items()
    assert [database.jobs.position(job_id) for job_id in expected[:4]] == [1, 2, 3, 4]
    places: dict[str, int | None] = {}
    for user in users:
        cards = database.videos.list_cards(user.id, VideoQuery(limit=100)).items
        places |= {card.job.id: card.position for card in cards}
        assert all((card.job.status is JobStatus.QUEUED) == (card.position is not None) for card in cards)
    assert {job_id: place for job_id, place in places.items() if place} == {
        job_id: place for place, job_id in enumerate(expected, 1)
    }

    taken = []
    while waiting := database.jobs.list_queued(limit=1):
        taken.append(claim(database, waiting[0][0]).id)
        if len(taken) % 3 == 0:
            assert database.jobs.finish(taken[-1], "worker-1", FAILURE)
    assert taken == expected, "jobs are taken in the order that people were told"
