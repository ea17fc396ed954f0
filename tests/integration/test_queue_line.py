"""Which entry of a real queue a worker takes: the first in line, whatever order the queue has them in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus

from adapters.rq_line import take_first
from adapters.rq_queue import QUEUE_NAME, RqQueue
from tests.database import MINUTE_MS, make_video
from tests.product.machine import Machine, running_machine, wait_for


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path / "data") as made:
        made.start_valkey()
        yield made


@pytest.fixture
def redis(machine: Machine) -> Redis:
    return Redis.from_url(machine.settings.redis_url)


@pytest.fixture
def queue(machine: Machine, redis: Redis) -> Queue:
    """Five entries: ``0-0`` to ``4-0``."""
    ours = RqQueue(machine.settings.redis_url)
    for number in range(5):
        ours.enqueue(str(number), 0, timeout_s=60)
    return Queue(QUEUE_NAME, connection=redis, serializer="json")


def dequeue(queue: Queue) -> Job:
    """Return the entry that a worker is handed."""
    found = Queue.dequeue_any(
        [queue, Queue("parts", connection=queue.connection)], 1, queue.connection, serializer="json"
    )
    assert found is not None
    return found[0]


def test_the_first_in_line_is_taken_and_the_other_put_back(queue: Queue) -> None:
    handed = dequeue(queue)
    chosen = take_first(handed, queue, ["3-0", "0-0", "1-0"])
    assert chosen is not None
    assert (chosen.id, chosen.args, chosen.timeout) == ("3-0", ["3"], 60)
    assert queue.job_ids == ["0-0", "1-0", "2-0", "4-0"]
    assert {job.get_status() for job in [*queue.jobs, chosen]} == {JobStatus.QUEUED}


def test_what_was_handed_out_is_taken_when_it_is_first_or_nothing_is_known(queue: Queue) -> None:
    handed = dequeue(queue)
    for first in (["0-0", "3-0"], [], ["unknown-0", "3-1"]):
        assert take_first(handed, queue, first) is handed
        assert queue.job_ids == ["1-0", "2-0", "3-0", "4-0"]


def test_what_somebody_else_took_is_passed_over(queue: Queue) -> None:
    handed, other = dequeue(queue), dequeue(queue)
    chosen = take_first(handed, queue, [other.id, "4-0", "2-0"])
    assert chosen is not None
    assert chosen.id == "4-0"
    assert queue.job_ids == ["0-0", "2-0", "3-0"]


def test_what_stands_in_line_without_its_entry_is_left_alone(queue: Queue, redis: Redis) -> None:
    handed = dequeue(queue)
    redis.delete(Job.key_for("3-0"))
    assert take_first(handed, queue, ["3-0"]) is handed


def test_an_entry_that_was_put_in_again_meanwhile_stands_there_once(machine: Machine, queue: Queue) -> None:
    handed = dequeue(queue)
    RqQueue(machine.settings.redis_url).enqueue("0", 0, timeout_s=60)  # it looked lost
    assert queue.job_ids == ["1-0", "2-0", "3-0", "4-0", "0-0"]
    chosen = take_first(handed, queue, ["3-0"])
    assert chosen is not None
    assert queue.job_ids == ["0-0", "1-0", "2-0", "4-0"]


def test_what_a_dying_worker_had_chosen_is_put_in_again(machine: Machine, queue: Queue) -> None:
    chosen = take_first(dequeue(queue), queue, ["3-0"])
    assert chosen is not None  # and here it died
    for number in range(5):
        RqQueue(machine.settings.redis_url).enqueue(str(number), 0, timeout_s=60)
    assert queue.job_ids == ["0-0", "1-0", "2-0", "4-0", "3-0"]


def test_two_people_are_served_in_turn(machine: Machine) -> None:
    """Their originals are missing, so that each of the jobs ends at once."""
    database = machine.ports.database
    ann, bob = machine.make_user("ann"), machine.make_user("bob")
    jobs = [make_video(database, user, duration_ms=20 * MINUTE_MS)[1] for user in [*[ann] * 6, *[bob] * 3]]
    short = make_video(database, bob, duration_ms=MINUTE_MS)[1]
    for job in [*jobs, short]:
        machine.enqueue(job)
    machine.start_worker()
    wait_for(lambda: database.jobs.list_all().total == 10 and not database.jobs.list_active_ids(), within_s=90)
    begun = sorted((machine.look(job) for job in [*jobs, short]), key=lambda job: job.started_at or job.created_at)
    assert begun[0].id == short.id
    assert ["ab"[job.user_id == bob.id] for job in begun] == list("babababaaa")
    assert [job.id for job in begun if job.user_id == ann.id] == [job.id for job in jobs[:6]]
    assert {job.error_code for job in begun} == {"source_gone"}
    assert Queue(QUEUE_NAME, connection=Redis.from_url(machine.settings.redis_url)).count == 0
    assert "Traceback" not in machine.read_log()
