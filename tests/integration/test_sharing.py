"""A long video by several real workers on a real queue: what one makes, however many of them live to see its end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis import Redis

from config import PROJECT_ROOT
from jobs.errors import StoreUnavailable
from jobs.models import JobStatus, Json, ProcessingJob, User
from jobs.storage import is_part, result_key
from pipeline.models import RESULT_FILES, PipelineResult, RunContext
from pipeline.options import PipelineOptions, parse_job_options
from pipeline.run import run_pipeline
from tests.media.compare import compare_pictures, read_packets
from tests.media.speech import talk
from tests.media.talks import SHADES, write_video
from tests.product.machine import Machine, running_machine, wait_for
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

OPTIONS, SILENT = {"captions": "both"}, {"captions": "none"}
PHRASES = (
    "This morning we walked along the river and looked at the old stone bridge near the mill.",
    "After lunch the teacher showed seven children how to plant a small apple tree.",
    "In the evening everybody sat around the kitchen table and talked about music.",
    "Nobody remembers who opened the window, but the cat was gone.",
    "The next day a man from the village brought us a letter and a basket of pears.",
    "We read it aloud, and then we laughed for a long time without knowing why.",
)


HASTE = """
import runpy
import jobs.crew

runpy.run_path({hooks!r})
jobs.crew.POLL_S, jobs.crew.LOST_S = 0.2, 2.0
"""
"""What workers load first: the hooks of `tests.product`, and shorter waits than those that the bench measures."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech over a picture that comes out of every encode alike, and is another in each frame."""
    spoken = talk(PHRASES, [700, 2000, 1200, 2000, 1200, 2000, 900], noise_dbfs=-60.0, seed=1)
    return write_video(tmp_path_factory.mktemp("film") / "talk.mp4", spoken.samples, picture=SHADES)


@pytest.fixture(scope="module")
def one(film: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> PipelineResult:
    """What one machine makes of the film."""
    options: PipelineOptions = replace(parse_job_options(OPTIONS), model_dir=weights.parent)
    return run_pipeline(film, options, RunContext(workdir=tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def silent(film: Path, tmp_path_factory: pytest.TempPathFactory) -> PipelineResult:
    """What one machine makes of it where nobody wants captions, which is quicker."""
    return run_pipeline(film, parse_job_options(SILENT), RunContext(workdir=tmp_path_factory.mktemp("silent")))


@pytest.fixture
def sharing(tmp_path: Path) -> Path:
    """Where a test says how parts are made."""
    folder = tmp_path / "sharing"
    folder.mkdir()
    (folder / "together").touch()
    hooks = PROJECT_ROOT / "tests" / "product" / "sharing" / "sitecustomize.py"
    (folder / "sitecustomize.py").write_text(HASTE.format(hooks=str(hooks)), "utf-8")
    return folder


@pytest.fixture
def machine(tmp_path: Path, sharing: Path) -> Iterator[Machine]:
    with running_machine(tmp_path / "data", **hooks(sharing)) as made:
        made.start_valkey()
        yield made


def hooks(sharing: Path) -> dict[str, str]:
    """Return the environment of workers that share out as a test says."""
    return {"SHARING_DIR": str(sharing), "PYTHONPATH": f"{sharing}:{PROJECT_ROOT}"}


def begin(machine: Machine, film: Path, options: Json, **environ: str) -> tuple[User, ProcessingJob]:
    """Start two workers, the second with an environment of its own, and hand them a job."""
    machine.start_worker("worker")
    machine.start_worker("another", **environ)
    wait_for(lambda: len(machine.ports.database.workers.list_alive(within_s=60)) == 2, label="workers")
    user = machine.make_user()
    _, job = machine.make_video(user, film, options)
    machine.enqueue(job)
    return user, job


def holder(machine: Machine, job: ProcessingJob) -> str:
    """Return the name of the worker that has the job."""
    worker_id = machine.look(job).worker_id
    (name,) = [name for name, one in machine.processes.items() if f"-{one.pid}-" in worker_id]
    return name


def helper(machine: Machine, job: ProcessingJob) -> str:
    """Return the name of the worker that has not."""
    return {"worker": "another", "another": "worker"}[holder(machine, job)]


def held(sharing: Path, kind: str) -> Callable[[], bool]:
    """Have the helper stand still in its second part of a step, and return whether it does."""
    (sharing / "hold").write_text(kind, "utf-8")
    return (sharing / "held").exists


def check_made(machine: Machine, user: User, job: ProcessingJob, one: PipelineResult) -> float:
    """Check that a job came to what one machine makes of it, and to nothing more; return the least PSNR in dB."""
    done = machine.wait_final(job)
    assert done.status is JobStatus.SUCCEEDED, (done.error_message, machine.read_log())
    made = {
        name: machine.ports.files.fetch(
            result_key(user.id, job.video_id, job.id, done.stored_attempt, name), machine.root / name
        )
        for name in RESULT_FILES
    }
    for name in set(RESULT_FILES) - {"video.mp4", "poster.jpg", "report.json"}:
        assert made[name].read_bytes() == one.files[name].read_bytes(), name
    for kind in ("audio", "subtitle"):
        assert read_packets(made["video.mp4"], kind) == read_packets(one.files["video.mp4"], kind)
    pictures = [read_packets(path, "video") for path in (made["video.mp4"], one.files["video.mp4"])]
    times = [sorted((time, length) for time, length, _ in packets) for packets in pictures]
    assert times[0] == times[1]
    levels = compare_pictures(one.files["video.mp4"], made["video.mp4"])
    assert len(levels) == one.report["result"]["frames"]  # type: ignore[index]
    reports = [json.loads(path.read_text("utf-8")) for path in (made["report.json"], one.files["report.json"])]
    for key in ("source", "cuts", "speech", "notes"):
        assert reports[0][key] == reports[1][key]
    check_nothing_left(machine, user, job)
    return min(levels)


def check_nothing_left(machine: Machine, user: User, job: ProcessingJob) -> None:
    """Check that no part is in the store, in the queue or in a work folder of a job that is over."""

    def left() -> list[str]:  # the row is final a moment before the rest
        return [key for key in machine.keys(user) if is_part(key)]

    wait_for(lambda: not left(), label=f"no parts in the store: {left()}")
    wait_for(lambda: not machine.scratch(), label="no work folders")
    queue = Redis.from_url(machine.settings.redis_url)
    assert queue.llen("rq:queue:parts") == 0
    prefix = f"user/{user.id}/video/{job.video_id}/job/"
    stored = machine.look(job).stored_attempt
    expected = sorted(f"{job.id}/{stored}/{name}" for name in RESULT_FILES) if stored else []
    assert [key.removeprefix(prefix) for key in machine.keys(user) if key.startswith(prefix)] == expected


def count_parts(machine: Machine, stage: str) -> tuple[int, int, int]:
    """Return how many parts of a step were made by who had the job, by others, and by an attempt before."""
    found = re.findall(rf"{stage}: (\d+) parts made here, (\d+) by others, (\d+) before", machine.read_log())
    assert found, machine.read_log()
    here, others, before = map(int, found[-1])
    return here, others, before


def test_a_part_has_one_taker(machine: Machine) -> None:
    parts, queue = machine.ports.parts, Redis.from_url(machine.settings.redis_url)
    for _ in range(2):
        parts.offer("a-job", 1, "picture-1", timeout_s=60)
    parts.offer("a-job", 1, "picture-2", timeout_s=60)
    assert queue.llen("rq:queue:parts") == 2
    assert parts.is_alive("a-job", 1, "picture-1")
    assert not parts.is_alive("a-job", 2, "picture-1")
    assert [parts.take_back("a-job", 1, "picture-1") for _ in range(2)] == [True, False]
    assert not parts.is_alive("a-job", 1, "picture-1")
    assert queue.lpop("rq:queue:parts") == b"a-job-1-picture-2", "as a worker takes it"
    assert not parts.take_back("a-job", 1, "picture-2")
    assert not parts.is_alive("a-job", 1, "picture-2"), "until that says so"
    queue.hset("rq:job:a-job-1-picture-2", "status", "started")
    queue.hset("rq:job:a-job-1-picture-2", "last_heartbeat", "2026-11-02T08:00:00.000000Z")
    assert parts.is_alive("a-job", 1, "picture-2"), "whatever its maker's clock says"
    machine.kill("valkey")
    with pytest.raises(StoreUnavailable):
        parts.offer("a-job", 1, "picture-3", timeout_s=60)


def test_two_workers_make_what_one_makes(machine: Machine, film: Path, one: PipelineResult) -> None:
    user, job = begin(machine, film, OPTIONS)
    least = check_made(machine, user, job, one)
    for stage in ("transcribe", "render"):
        here, others, before = count_parts(machine, stage)
        assert here + others >= 2
        assert others >= 1, stage
        assert before == 0
    assert least >= 45
    assert "Traceback" not in machine.read_log()


def test_a_helper_that_is_killed_holds_nobody_up(
    machine: Machine, film: Path, silent: PipelineResult, sharing: Path
) -> None:
    is_held = held(sharing, "picture")
    user, job = begin(machine, film, SILENT)
    wait_for(is_held, label="the helper's second part")
    machine.kill(helper(machine, job))
    check_made(machine, user, job, silent)
    assert machine.look(job).attempt == 1
    assert "nobody has part picture-" in machine.read_log()


def test_a_cancel_stops_everybody(machine: Machine, film: Path, sharing: Path) -> None:
    is_held = held(sharing, "picture")
    user, job = begin(machine, film, SILENT)
    wait_for(is_held, label="the helper's second part")
    part = psutil.Process(int((sharing / "held").read_text("utf-8")))
    machine.ports.database.jobs.request_cancel(user.id, job.id)
    assert machine.wait_final(job).status is JobStatus.CANCELLED
    _, alive = psutil.wait_procs([part], timeout=15)
    assert not alive
    check_nothing_left(machine, user, job)
    assert all(process.poll() is None for process in machine.processes.values())


def test_another_attempt_goes_on_with_what_was_made(
    machine: Machine, film: Path, one: PipelineResult, sharing: Path
) -> None:
    is_held = held(sharing, "picture")
    user, job = begin(machine, film, OPTIONS)
    wait_for(is_held, label="the helper's second part")
    (sharing / "together").unlink()
    machine.kill(holder(machine, job))
    check_made(machine, user, job, one)
    assert machine.look(job).attempt == 2
    assert count_parts(machine, "render")[2] >= 1, "what the helper had made"
    assert "resuming a transcription" in machine.read_log()


def test_machines_share_through_a_bucket_and_a_project(
    tmp_path: Path,
    sharing: Path,
    film: Path,
    silent: PipelineResult,
    local_supabase: LocalSupabase,
    local_s3: LocalS3,
) -> None:
    bucket = local_s3.make_bucket("sharing")
    outside = {**local_supabase.make_project("sharing").environment, **local_s3.environment(bucket)}
    elsewhere = tmp_path / "elsewhere"
    with running_machine(tmp_path / "data", **outside, **hooks(sharing)) as machine:
        machine.start_valkey()
        user, job = begin(machine, film, SILENT, DATA_DIR=str(elsewhere), REDIS_URL=machine.settings.redis_url)
        check_made(machine, user, job, silent)
        assert count_parts(machine, "render")[1] >= 1
        wait_for(lambda: not list((elsewhere / "work").iterdir()), label="no work folders elsewhere")
