"""Which entry of a real queue a worker takes: the first in line, whatever order the queue has them in; and what is
put into it again, which is only what is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus

from adapters.queue_errors import QueueNews
from adapters.rq_line import take_first
from adapters.rq_parts import PARTS_QUEUE
from adapters.rq_queue import QUEUE_NAME, TASK, RqQueue
from adapters.rq_worker import _Stop, _Worker
from jobs.recovery import Recovery
from tests.database import MINUTE_MS, make_video
from tests.product import LIMITS
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


@pytest.fixture
def worker(machine: Machine, redis: Redis) -> _Worker:
    """A worker between two jobs."""
    queues = [Queue(name, connection=redis, serializer="json") for name in (QUEUE_NAME, PARTS_QUEUE)]
    made = _Worker(queues, name="a-worker", connection=Redis.from_url(machine.settings.redis_url), serializer="json")
    made.stop, made.news = _Stop(0.0, lambda: None), QueueNews()
    made.on_tick, made.choose = lambda: None, lambda: ()
    return made


def test_a_job_is_not_taken_for_lost_between_the_queue_and_its_process(
    machine: Machine, queue: Queue, worker: _Worker
) -> None:
    ours = RqQueue(machine.settings.redis_url)
    worker.on_tick = lambda: ours.enqueue("0", 0, timeout_s=60)  # as recovery does
    assert worker.dequeue_job_and_maintain_ttl(1) is not None
    assert queue.job_ids == ["1-0", "2-0", "3-0", "4-0"]
    worker.heartbeat()
    assert queue.job_ids == ["1-0", "2-0", "3-0", "4-0", "0-0"], "by then its process would have it"


def test_what_stands_in_line_already_costs_recovery_nothing(machine: Machine, redis: Redis) -> None:
    user, recovery = machine.make_user(), Recovery(machine.ports, machine.storage, LIMITS)

    def count_commands() -> int:
        """Return what one recovery asks of the queue, beside the two questions for it here."""
        before = redis.info("stats")["total_commands_processed"]
        recovery.recover_jobs()
        return int(redis.info("stats")["total_commands_processed"]) - int(before)

    waiting, costs = 0, list[int]()
    for more in (1, 30):
        for _ in range(more):
            make_video(machine.ports.database, user)
        waiting += more
        assert count_commands() > more, "they are put in"
        costs.append(count_commands())
        assert redis.llen(f"rq:queue:{QUEUE_NAME}") == waiting
    assert costs[0] == costs[1]


@pytest.mark.parametrize("arguments", [[], {"a": 1}, "garbage"], ids=["no id", "no list", "unreadable"])
def test_an_entry_that_says_nothing_is_taken_out(
    redis: Redis, worker: _Worker, caplog: pytest.LogCaptureFixture, arguments: object
) -> None:
    queue = Queue(QUEUE_NAME, connection=redis, serializer="json")
    entry = queue.enqueue_call(TASK, args=("a-job",), job_id="an-entry")
    data = b"garbage" if arguments == "garbage" else json.dumps([TASK, None, arguments, {}]).encode()
    redis.hset(entry.key, "data", data)
    worker.execute_job(dequeue(queue), queue)
    assert "'an-entry' calls no function of ours" in caplog.text
    assert not redis.exists(entry.key)


def test_a_queue_that_goes_away_under_a_strange_entry_is_waited_for(
    machine: Machine, redis: Redis, worker: _Worker, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(QUEUE_NAME, connection=redis, serializer="json")
    queue.enqueue_call("os.getpid")
    entry = dequeue(queue)
    machine.kill("valkey")
    worker.execute_job(entry, queue)
    assert "the queue went away under a job: ConnectionError" in caplog.text


def test_two_people_are_served_in_turn(machine: Machine) -> None:
    """Their originals are missing, so that each of the jobs ends at once."""
    database = machine.ports.database
    ann, bob = machine.make_user("ann"), machine.make_user("bob")
    jobs = [make_video(database, user, duration_ms=20 * MINUTE_MS)[1] for user in [*[ann] * 6, *[bob] * 3]]
    short = make_video(database, bob, duration_ms=MINUTE_MS)[1]
    for job in [*jobs, short]:
        machine.enqueue(job)
    machine.start_worker()
    wait_for(lambda: database.jobs.list_all().total == 10 and not database.jobs.list_active_ids(), label="all ends")
    begun = sorted((machine.look(job) for job in [*jobs, short]), key=lambda job: job.started_at or job.created_at)
    assert begun[0].id == short.id
    assert ["ab"[job.user_id == bob.id] for job in begun] == list("babababaaa")
    assert [job.id for job in begun if job.user_id == ann.id] == [job.id for job in jobs[:6]]
    assert {job.error_code for job in begun} == {"source_gone"}
    assert Queue(QUEUE_NAME, connection=Redis.from_url(machine.settings.redis_url)).count == 0
    assert "Traceback" not in machine.read_log()
