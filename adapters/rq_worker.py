"""A worker of RQ's: the loop around its jobs, each of which has a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import DeserializationError, StopRequested
from rq.executions import Execution
from rq.job import Job

from adapters.queue_errors import QueueNews, describe_error
from adapters.rq_entries import ANSWER_S, SERIALIZER
from adapters.rq_line import take_first
from adapters.rq_parts import PART_TASK, PARTS_QUEUE
from adapters.rq_queue import QUEUE_NAME, TASK

logger = logging.getLogger(__name__)

TASKS = (TASK, PART_TASK)
"""What a worker calls for us, whatever else somebody writes into the queue."""

_DEQUEUE_S = 1
"""Longest wait for a job at a time: a stop or a tick comes no later."""
_MONITOR_S = 2
"""Between two looks at a running job, and whether its grace is over; the end of its process is noticed at once."""
_MAINTENANCE_S = 10
_WORKER_TTL_S = 25
_SAME_STOP_S = 1.0
"""Two signals to stop within this time are one: who stops a group of processes, and make too, send it twice."""


def run_worker(
    url: str,
    name: str,
    *,
    on_tick: Callable[[], None],
    on_begin: Callable[[str], None],
    on_end: Callable[[str, bool], None],
    choose: Callable[[], Sequence[tuple[str, int]]] = lambda: (),
    drain_s: float = 0.0,
    on_drain: Callable[[], None] = lambda: None,
) -> None:
    """Work until SIGTERM or SIGINT, one job at a time, each in a process forked off this one.

    ``on_tick`` is called every few seconds, whether a job runs or not; ``on_begin`` with a job's id when a process
    for it was forked, ``on_end`` as soon as that is dead and its children killed, with whether a stop was why. All run
    in the one thread there is: a fork must find no lock held by another. A queue that is away is waited for.

    Whenever the queue hands out a job, ``choose`` says which come first in line, as ids with their attempts: the first
    of these that waits in the queue is taken, or the one handed out where it says nothing.

    After a stop no job is begun. On the first SIGTERM a job that runs may still end within ``drain_s`` seconds, of
    which ``on_drain`` is told once; after that time, on SIGINT and on a second signal its process is killed.
    """
    for name_in_rq in ("rq.worker", "rq.job", "rq.queue"):
        logging.getLogger(name_in_rq).setLevel(logging.WARNING)
    stop, news = _Stop(drain_s, on_drain), QueueNews()
    stop.install()
    logging.getLogger("rq.worker").addFilter(news)
    turn = 0
    while not stop.requested:
        turn += 1
        try:
            worker = _Worker(
                [QUEUE_NAME, PARTS_QUEUE],  # whole videos come first
                name=f"{name}.{turn}",  # RQ takes no name twice, and a queue that went away keeps the old one
                connection=Redis.from_url(url, socket_connect_timeout=ANSWER_S),
                worker_ttl=_WORKER_TTL_S,
                maintenance_interval=_MAINTENANCE_S,
                job_monitoring_interval=_MONITOR_S,
                serializer=SERIALIZER,
            )
            worker.stop, worker.on_tick, worker.on_begin, worker.on_end = stop, on_tick, on_begin, on_end
            worker.choose = choose
            worker.news = news
            worker.work(logging_level=None)
        except RedisError as error:
            news.fails(error)
        if not stop.requested:
            on_tick()
            time.sleep(_DEQUEUE_S)


class _Stop:
    """Whether somebody asked this process to end, and how long its job may still go on."""

    def __init__(self, drain_s: float, on_drain: Callable[[], None]) -> None:
        self.requested = False
        """No job is begun any more."""
        self.at_once = False
        """Nor does one go on."""
        self.then: Callable[[], None] = lambda: None
        """Ends the job, when it may not go on."""
        self._drain_s, self._on_drain = drain_s, on_drain
        self._requested_at = 0.0
        self._is_told = False

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def look(self) -> None:
        """Tell once that the job has its grace, and end it when that is over; called while it runs."""
        if not self.requested or self.at_once:
            return
        if not self._is_told:
            self._is_told = True
            self._on_drain()
        if time.monotonic() - self._requested_at >= self._drain_s:
            self._end()

    def _request(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        is_first = not self.requested
        if is_first:
            self.requested, self._requested_at = True, now
        is_another = not is_first and now - self._requested_at > _SAME_STOP_S
        if number == signal.SIGINT or self._drain_s <= 0 or is_another:
            self._end()

    def _end(self) -> None:
        self.at_once = True
        self.then()


class _Worker(Worker):
    """RQ's worker, which outlives its queue, kills what a job leaves behind and stops as told."""

    max_connection_wait_time = 2.0
    log_result_lifespan = False

    stop: _Stop
    news: QueueNews
    on_tick: Callable[[], None]
    on_begin: Callable[[str], None]
    on_end: Callable[[str, bool], None]
    choose: Callable[[], Sequence[tuple[str, int]]]

    _was_handed = False
    """An entry just left the queue, and is nowhere yet: it would look lost to a tick."""

    @property
    def dequeue_timeout(self) -> int:
        return _DEQUEUE_S

    def subscribe(self) -> None:
        """Take no commands from the queue: it would be a thread beside every fork."""

    def check_for_suspension(self, burst: bool) -> None:
        """Know of no suspension: it would be one more question to a queue that may be away."""

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        except RedisError as error:
            logger.debug("no maintenance: %s", describe_error(error))

    def _install_signal_handlers(self) -> None:
        self.stop.then = self.kill_horse
        self.stop.install()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        try:
            super().heartbeat(timeout, pipeline)
            if pipeline is None:
                self.news.works()
        except RedisError as error:
            self.news.fails(error)
        if pipeline is None and not self.is_horse:
            if not self._was_handed:
                self.on_tick()
            self._was_handed = False
            if self.stop.requested and not self.horse_pid:
                raise StopRequested

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        try:
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        except RedisError as error:  # such as no right to, or no memory; else RQ itself tries again
            self.news.fails(error)
            raise StopRequested from error

    def reorder_queues(self, reference_queue: Queue) -> None:
        """Take note that an entry was handed out: RQ calls this first, and then gives a sign of life."""
        super().reorder_queues(reference_queue)
        self._was_handed = True

    def set_state(self, state: str, pipeline: Any = None) -> None:
        try:
            super().set_state(state, pipeline)
        except RedisError as error:
            logger.debug("no state: %s", describe_error(error))

    def register_death(self) -> None:
        try:
            super().register_death()  # type: ignore[no-untyped-call]
        except RedisError as error:
            logger.debug("no death registered: %s", describe_error(error))

    def execute_job(self, job: Job, queue: Queue) -> None:
        try:
            if _find_task(job) is None:
                logger.error("the queue's entry %r calls no function of ours with an id; it is not run", job.id)
                job.delete()
                return
            if self.stop.requested:  # it came too late for this worker; recovery puts the job in line again
                return
            chosen = self._choose(job, queue) if job.func_name == TASK else job
            if chosen is not None:
                super().execute_job(chosen, queue)
        except RedisError as error:  # the job's process is dead by then, and the jobs table knows how it ended
            logger.warning("the queue went away under a job: %s", describe_error(error))

    def _choose(self, job: Job, queue: Queue) -> Job | None:
        chosen = take_first(job, queue, [f"{job_id}-{attempt}" for job_id, attempt in self.choose()])
        return chosen if chosen is not None and _find_task(chosen) == TASK else None

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        logging.getLogger("rq").setLevel(logging.CRITICAL)  # what is left to say here is about RQ's own books
        logging.getLogger("rq.worker").setLevel(logging.CRITICAL)
        super().main_work_horse(job, queue)

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        if self.stop.at_once:  # it came between the fork and now
            self.kill_horse()
        job_id = str(job.args[0])
        self.on_begin(job_id)
        try:
            super().monitor_work_horse(job, queue, execution)
        finally:
            self.on_end(job_id, self.stop.at_once)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            self.news.fails(error)
        self.on_tick()
        self.stop.look()

    def wait_for_horse(self) -> Any:
        horse = self.horse_pid
        ended = super().wait_for_horse()
        _kill_group(horse)
        return ended

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        if self.horse_pid:
            _kill_group(self.horse_pid)
            with suppress(ProcessLookupError):  # it may not have got as far as its own group
                os.kill(self.horse_pid, sig)


def _find_task(entry: Job) -> str | None:
    """Return which of our functions an entry calls with some id; None for what calls another, or can't be read."""
    try:
        name, arguments = entry.func_name, entry.args
    except DeserializationError:
        return None
    return name if name in TASKS and isinstance(arguments, list) and arguments else None


def _kill_group(leader: int) -> None:
    if leader:  # group 0 would be our own
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
