"""A real worker on a real queue: what it does with jobs, with a queue that goes away, and when it is told to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis
from rq import Queue

from adapters.rq_queue import QUEUE_NAME, RqQueue
from config import PROJECT_ROOT, UNUSABLE
from jobs.errors import StoreUnavailable
from jobs.models import JobStatus
from jobs.quota import make_charge
from pipeline.models import Stage
from pipeline.options import parse_job_options
from pipeline.transcribe import CHECKPOINT_FILE
from tests.e2e.holding import Hold
from tests.media.talks import short_talk, write_video
from tests.product.machine import LONG_S, Machine, running_machine, wait_for


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture
def hold(tmp_path_factory: pytest.TempPathFactory) -> Hold:
    """Where a test says at which stage a job is to be held."""
    return Hold(tmp_path_factory.mktemp("hold"))


@pytest.fixture
def machine(tmp_path: Path, hold: Hold) -> Iterator[Machine]:
    with running_machine(tmp_path / "data", **hold.environ) as made:
        made.start_valkey()
        yield made


# --- the worker ---


def test_another_version_uses_the_transcript_again(machine: Machine, talk: Path, weights: Path) -> None:
    assert weights.is_dir()
    machine.start_worker()
    user = machine.make_user()
    video, job = machine.make_video(user, talk)
    machine.enqueue(job)
    first = machine.wait_final(job)
    assert first.status is JobStatus.SUCCEEDED, machine.read_log()
    assert "resuming a transcription" not in machine.read_log()

    charge = make_charge(video.facts.sha256, parse_job_options({}), limit_ms=0)
    again = machine.ports.database.jobs.create(
        user.id, video.id, options={"pace": "tight"}, charge=charge, idempotency_key=""
    )
    assert again is not None
    machine.enqueue(again)
    second = machine.wait_final(again)
    assert second.status is JobStatus.SUCCEEDED, machine.read_log()
    assert "resuming a transcription" in machine.read_log()
    assert second.result["words"] == first.result["words"]
    assert second.result["removed_ms"] != first.result["removed_ms"]
    assert machine.ports.database.jobs.used_ms(user.id) == video.facts.duration_ms, "minutes are charged once"


def test_a_stop_gives_the_job_back_and_the_next_worker_goes_on(
    machine: Machine, hold: Hold, talk: Path, weights: Path
) -> None:
    assert weights.is_dir()
    hold.at(Stage.RENDER)
    worker = machine.start_worker()
    user = machine.make_user()
    _, job = machine.make_video(user, talk)
    machine.enqueue(job)
    hold.wait()
    family = machine.family()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LONG_S) == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    waiting = machine.look(job)
    assert (waiting.status, waiting.stage) == (JobStatus.QUEUED, "")
    assert waiting.max_attempts - waiting.attempt == job.max_attempts, "a stop is nobody's failure"
    (folder,) = machine.scratch()
    assert (folder / CHECKPOINT_FILE).is_file()
    assert machine.ports.database.workers.list_alive(within_s=3600) == (), "it signs off"
    assert "Traceback" not in machine.read_log()

    machine.start_worker()
    done = machine.wait_final(job)
    assert (done.status, done.stored_attempt) == (JobStatus.SUCCEEDED, 2)
    assert "resuming a transcription" in machine.read_log()


def test_a_cancel_stops_a_running_job(machine: Machine, hold: Hold, talk: Path) -> None:
    hold.at(Stage.RENDER)
    machine.start_worker()
    user = machine.make_user()
    _, job = machine.make_video(user, talk, {"captions": "none"})
    machine.enqueue(job)
    horse = hold.wait()
    family = [horse, *horse.children(recursive=True)]
    machine.ports.database.jobs.request_cancel(user.id, job.id)
    assert machine.wait_final(job).status is JobStatus.CANCELLED
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    wait_for(lambda: not machine.scratch(), label="an empty work folder")


def test_a_worker_says_that_it_is_there_and_what_it_does(machine: Machine, hold: Hold, talk: Path) -> None:
    machine.start_worker()
    workers = machine.ports.database.workers
    wait_for(lambda: workers.list_alive(within_s=60), label="the worker")
    (idle,) = workers.list_alive(within_s=60)
    assert idle.pid == machine.processes["worker"].pid
    assert idle.info["weights"] is True
    assert idle.info["missing"] == []
    assert "job_id" not in idle.info
    hold.at(Stage.PROBE)
    _, job = machine.make_video(machine.make_user(), talk, {"captions": "none"})
    machine.enqueue(job)

    def is_busy() -> bool:
        return workers.list_alive(within_s=60)[0].info.get("job_id") == job.id

    wait_for(is_busy, label="the job's id at the worker")
    hold.let_go()
    machine.wait_final(job)


def test_a_worker_outlives_its_queue(machine: Machine, hold: Hold, talk: Path) -> None:
    machine.start_worker()
    _, job = machine.make_video(machine.make_user(), talk, {"captions": "none"})
    hold.at(Stage.AUDIO)
    machine.enqueue(job)
    hold.wait()
    machine.kill("valkey")
    hold.let_go()
    assert machine.wait_final(job).status is JobStatus.SUCCEEDED, "a job needs no queue once it runs"
    machine.start_valkey()
    _, next_job = machine.make_video(machine.make_user("bob"), talk, {"captions": "none"})
    machine.enqueue(next_job)
    assert machine.wait_final(next_job).status is JobStatus.SUCCEEDED
    assert machine.processes["worker"].poll() is None
    assert "Traceback" not in machine.read_log()


def test_a_queue_that_lost_everything_loses_no_job(machine: Machine, talk: Path) -> None:
    _, job = machine.make_video(machine.make_user(), talk, {"captions": "none"})
    machine.start_worker()  # nobody has told the queue about the job
    assert machine.wait_final(job).status is JobStatus.SUCCEEDED


def test_only_our_function_is_called(machine: Machine, tmp_path: Path) -> None:
    queue = Queue(QUEUE_NAME, connection=Redis.from_url(machine.settings.redis_url), serializer="json")
    target = tmp_path / "made-by-the-queue"
    queue.enqueue_call("os.mkdir", args=(str(target),))
    machine.start_worker()
    wait_for(lambda: "no function of ours" in machine.read_log(), label="the refusal")
    assert not target.exists()


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("WHISPER_MODEL", "no-such-model", "Run `make weights` once"),
        ("FFMPEG_BINARY", "/no/such/ffmpeg", "FFMPEG_BINARY names /no/such/ffmpeg"),
        ("WORKERS", "many", "WORKERS is 'many'"),
    ],
)
def test_a_machine_that_can_not_work_is_told_how_to_mend_it(
    tmp_path: Path, setting: str, value: str, sentence: str
) -> None:
    with running_machine(tmp_path / "data") as machine:
        worker = machine.start_worker(**{setting: value})
        assert worker.wait(LONG_S) == UNUSABLE
        assert sentence in machine.read_log()
        assert "Traceback" not in machine.read_log()


# --- the queue ---


def test_a_waiting_job_stands_in_line_once(machine: Machine) -> None:
    queue = RqQueue(machine.settings.redis_url)
    assert queue.check() == "Nothing waits."
    for _ in range(3):
        queue.enqueue("a-job", 0, timeout_s=60)
    assert queue.check() == "1 job waits."
    queue.enqueue("a-job", 1, timeout_s=60)
    assert queue.check() == "2 jobs wait."
    queue.forget("a-job", 0)
    queue.forget("a-job", 0)
    assert queue.check() == "1 job waits."


def test_an_entry_that_fell_out_of_line_is_put_in_again(machine: Machine) -> None:
    queue = RqQueue(machine.settings.redis_url)
    queue.enqueue("a-job", 0, timeout_s=60)
    Redis.from_url(machine.settings.redis_url).delete(f"rq:queue:{QUEUE_NAME}")
    assert queue.check() == "Nothing waits."
    queue.enqueue("a-job", 0, timeout_s=60)
    assert queue.check() == "1 job waits."


def test_the_queue_keeps_its_jobs_when_it_is_killed(machine: Machine) -> None:
    queue = RqQueue(machine.settings.redis_url)
    queue.enqueue("a-job", 0, timeout_s=60)
    machine.kill("valkey")
    with pytest.raises(StoreUnavailable):
        queue.enqueue("another-job", 0, timeout_s=60)
    with pytest.raises(StoreUnavailable):
        queue.check()
    machine.start_valkey()
    assert queue.check() == "1 job waits."


# --- what a killed process leaves ---

STARTER = """
import sys
from pathlib import Path
from pipeline.ffmpeg import run_tool

run_tool(["sleep", "600"], timeout_s=600, cwd=Path.cwd())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_programs_die_with_a_killed_process() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=PROJECT_ROOT)

    def programs() -> list[psutil.Process]:
        return [child for child in psutil.Process(starter.pid).children() if child.name() == "sleep"]

    (program,) = wait_for(programs, label="the program")
    starter.kill()
    starter.wait()
    _, alive = psutil.wait_procs([program], timeout=20)
    assert not alive
