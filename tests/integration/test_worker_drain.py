"""A real worker that is told to stop while it makes a video: it ends that one or gives it back, and begins no other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs.models import JobStatus, ProcessingJob
from pipeline.models import Stage
from tests.e2e.holding import Hold
from tests.media.talks import short_talk, write_video
from tests.product.machine import LONG_S, Machine, running_machine, wait_for


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture
def hold(tmp_path_factory: pytest.TempPathFactory) -> Hold:
    """Where a job is held in its sound."""
    hold = Hold(tmp_path_factory.mktemp("hold"))
    hold.at(Stage.AUDIO)
    return hold


@pytest.fixture
def machine(tmp_path: Path, hold: Hold) -> Iterator[Machine]:
    with running_machine(tmp_path / "data", **hold.environ) as made:
        made.start_valkey()
        yield made


def begin(machine: Machine, hold: Hold, talk: Path, *, drain_s: int) -> ProcessingJob:
    """Have the worker make a video, and return its job."""
    machine.start_worker(DRAIN_S=str(drain_s))
    _, job = machine.make_video(machine.make_user(), talk, {"captions": "none"})
    machine.enqueue(job)
    hold.wait()
    return job


def is_draining(machine: Machine) -> bool:
    workers = machine.ports.database.workers.list_alive(within_s=60)
    return any(worker.info.get("is_draining") is True for worker in workers)


def test_the_running_job_ends_and_no_other_begins(machine: Machine, hold: Hold, talk: Path) -> None:
    job = begin(machine, hold, talk, drain_s=600)
    _, other = machine.make_video(machine.make_user("bob"), talk, {"captions": "none"})
    machine.enqueue(other)
    worker = machine.processes["worker"]
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGTERM)  # who stops a group, and make too, sends it twice
    wait_for(lambda: is_draining(machine), label="the worker to say that it stops")
    assert machine.look(job).status is JobStatus.RUNNING
    hold.let_go()
    assert worker.wait(LONG_S) == 0
    done = machine.look(job)
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 1), machine.read_log()
    assert machine.look(other).status is JobStatus.QUEUED
    assert machine.ports.database.workers.list_alive(within_s=3600) == (), "it signs off"

    machine.start_worker()
    assert machine.wait_final(other).status is JobStatus.SUCCEEDED
    assert "Traceback" not in machine.read_log()


@pytest.mark.parametrize(
    ("drain_s", "signals"),
    [
        (1, [signal.SIGTERM]),
        (600, [signal.SIGTERM, signal.SIGTERM]),
        (600, [signal.SIGINT]),
    ],
    ids=["grace over", "told twice", "interrupted"],
)
def test_a_job_without_grace_is_given_back(
    drain_s: int, signals: list[signal.Signals], machine: Machine, hold: Hold, talk: Path
) -> None:
    job = begin(machine, hold, talk, drain_s=drain_s)
    family = machine.family()
    worker = machine.processes["worker"]
    worker.send_signal(signals[0])
    for number in signals[1:]:
        wait_for(lambda: is_draining(machine), label="the worker to say that it stops")
        worker.send_signal(number)
    assert worker.wait(LONG_S) == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    waiting = machine.look(job)
    assert waiting.status is JobStatus.QUEUED
    assert waiting.max_attempts - waiting.attempt == job.max_attempts, "a stop is nobody's failure"
    assert "Traceback" not in machine.read_log()


def test_an_idle_worker_stops(machine: Machine) -> None:
    worker = machine.start_worker(DRAIN_S="600")
    workers = machine.ports.database.workers
    wait_for(lambda: workers.list_alive(within_s=60), label="the worker")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG_S) == 0
    assert workers.list_alive(within_s=3600) == ()
