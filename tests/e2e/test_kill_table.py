"""Whatever is killed, at whatever stage of a job: one result, nothing left over, minutes exact, and that soon.

The whole product runs as ``make run`` starts it. A job is held at a stage (`tests/e2e/hold`), something is killed, and
the end is looked at. The table stands among the figures of the run: stage, victim, end, attempt, seconds to the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from config import PROJECT_ROOT
from jobs.models import JobStatus
from jobs.supervisor import find_faults
from pipeline.models import RESULT_FILES, Stage
from tests.e2e.running import find_free_port
from tests.media.talks import short_talk, write_video
from tests.product.machine import Machine, running_machine, wait_for

PORT = find_free_port()
FINAL_S = 240
VICTIMS = ("job", "worker", "web", "queue", "cancel, then worker")
_WORDS = {"worker": "jobs.worker", "web": "streamlit", "queue": "valkey-server", "cancel, then worker": "jobs.worker"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short talk."""
    return write_video(tmp_path_factory.mktemp("talk") / "My talk.mp4", short_talk().samples)


@pytest.mark.parametrize("stage", [stage.value for stage in Stage])
def test_one_result_and_nothing_left(
    stage: str, source: Path, weights: Path, show: Callable[[str], None], tmp_path: Path
) -> None:  # fmt: skip
    assert weights.is_dir()
    hold = tmp_path / "hold"
    hold.mkdir()
    path = f"{PROJECT_ROOT / 'tests' / 'e2e' / 'hold'}:{PROJECT_ROOT}"
    with running_machine(tmp_path / "data", PORT=str(PORT), HOLD_DIR=str(hold), PYTHONPATH=path) as machine:
        machine.start_product()
        for number, victim in enumerate(VICTIMS):
            show(kill_and_look(machine, hold, stage, victim, source, f"person{number}"))
        family = psutil.Process(machine.processes["product"].pid).children(recursive=True)
        machine.stop()
        assert not [process for process in family if process.is_running()]


def kill_and_look(machine: Machine, hold: Path, stage: str, victim: str, source: Path, username: str) -> str:
    """Do the worst once, and return the row of the table."""
    for path in hold.iterdir():
        path.unlink()
    user = machine.make_user(username)
    video, job = machine.make_video(user, source)
    (hold / "stage").write_text(stage, "utf-8")
    machine.enqueue(job)
    wait_for(lambda: (hold / "held").exists(), within_s=FINAL_S, label=f"{stage} to be held")
    horse = psutil.Process(int((hold / "held").read_text("utf-8")))
    family = [horse, *horse.children(recursive=True)]

    if victim.startswith("cancel"):
        machine.ports.database.jobs.request_cancel(user.id, job.id)
    (horse if victim == "job" else machine.part(_WORDS[victim])).kill()
    if victim in ("web", "queue"):
        (hold / "go").touch()
    seconds = wait_for(lambda: machine.look(job).status.is_final, within_s=FINAL_S, label=f"{victim} at {stage}")

    done = machine.look(job)
    expected = JobStatus.CANCELLED if victim.startswith("cancel") else JobStatus.SUCCEEDED
    attempts = 2 if victim in ("job", "worker") else 1
    assert (done.status, done.attempt) == (expected, attempts), machine.read_log()[-3000:]
    wait_for(lambda: not machine.scratch(), within_s=20, label="the work folder's end")
    wait_for(lambda: not any(process.is_running() for process in family), within_s=20, label="the old processes' end")
    prefix = f"user/{user.id}/video/{video.id}/job/{job.id}/"
    results = sorted(key.removeprefix(prefix) for key in machine.keys(user) if key.startswith(prefix))
    succeeded = expected is JobStatus.SUCCEEDED
    assert results == (sorted(f"{attempts}/{name}" for name in RESULT_FILES) if succeeded else [])
    assert machine.ports.database.jobs.used_ms(user.id) == (video.facts.duration_ms if succeeded else 0)
    assert [other.id for other in machine.ports.database.jobs.list_of_video(user.id, video.id)] == [job.id]
    wait_for(lambda: not find_faults(machine.settings), within_s=FINAL_S, label="the product to be whole again")
    wait_for(lambda: not machine.part("jobs.worker").children(), within_s=20, label="an idle worker")
    stray = [path for name in (".uploads", ".copies") for path in (machine.root / "files" / name).rglob("*.*")]
    assert not stray
    return f"| {stage} | {victim} | {done.status.value} | attempt {done.attempt} | {seconds:.1f} s |"


def test_a_machine_that_vanishes_costs_a_lease(source: Path, show: Callable[[str], None], tmp_path: Path) -> None:
    """Nobody on its machine can give the job back, so its lease has to run out: the slowest way there is."""
    hold = tmp_path / "hold"
    hold.mkdir()
    path = f"{PROJECT_ROOT / 'tests' / 'e2e' / 'hold'}:{PROJECT_ROOT}"
    with running_machine(tmp_path / "data", HOLD_DIR=str(hold), PYTHONPATH=path) as machine:
        machine.start_valkey()
        machine.start_worker()
        user = machine.make_user()
        video, job = machine.make_video(user, source, {"captions": "none"})
        (hold / "stage").write_text("qa", "utf-8")
        machine.enqueue(job)
        wait_for(lambda: (hold / "held").exists(), within_s=FINAL_S, label="the last check")
        machine.kill("worker")
        shutil.rmtree(machine.root / "work")
        machine.start_worker()
        seconds = wait_for(lambda: machine.look(job).status.is_final, within_s=FINAL_S, label="the lease's end")
        done = machine.look(job)
        assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 2)
        assert machine.ports.database.jobs.used_ms(user.id) == video.facts.duration_ms
        show(f"| qa | machine | {done.status.value} | attempt {done.attempt} | {seconds:.1f} s |")
