"""Whatever is killed, at whatever stage of a job: one result, nothing left over, minutes exact, and that soon.

The whole product runs as ``make run`` starts it. A job is held at a stage (`tests/e2e/hold`), something is killed, and
the end is looked at. The table stands among the figures of the run: stage, victim, end, attempt, seconds to the end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.models import JobStatus
from jobs.supervisor import find_faults
from pipeline.models import RESULT_FILES, Stage
from tests.e2e.holding import Hold
from tests.media.talks import short_talk, write_video
from tests.product.machine import Machine, running_machine, wait_for
from tests.servers.guarded import find_free_port

SHORT_LEASE_S = 20.0
VICTIMS = {
    "job": (),
    "worker": ("jobs.worker",),
    "web and queue": ("streamlit", "valkey-server"),
    "cancel, then worker": ("jobs.worker",),
}
"""Words of the commands of what is killed; web server and queue go together, as a job that runs needs neither."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short talk."""
    return write_video(tmp_path_factory.mktemp("talk") / "My talk.mp4", short_talk().samples)


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Hold:
    """Where the jobs of the product are held."""
    return Hold(tmp_path_factory.mktemp("hold"))


@pytest.fixture(scope="module", params=Stage, ids=lambda stage: stage.value)
def stage(request: pytest.FixtureRequest) -> Stage:
    """Where a job is when the worst happens."""
    stage: Stage = request.param
    return stage


@pytest.fixture(scope="module")
def product(stage: Stage, weights: Path, hold: Hold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The product, and nothing of it is left afterwards, whatever was killed of it.

    One for each stage: parts that end again and again are started later and later, and then no more.
    """
    assert weights.is_dir()
    root = tmp_path_factory.mktemp(stage.value)
    with running_machine(root, PORT=str(find_free_port()), **hold.environ) as machine:
        machine.start_product()
        yield machine
        family = machine.family("product")
        machine.stop()
        wait_for(lambda: not any(process.is_running() for process in family), within_s=20, label="the end of all of it")


@pytest.mark.parametrize("victim", VICTIMS)
def test_one_result_and_nothing_left(
    stage: Stage, victim: str, product: Machine, hold: Hold, source: Path, show: Callable[[str], None]
) -> None:
    hold.at(stage)
    user = product.make_user(victim.replace(", ", "-").replace(" ", "-"))
    video, job = product.make_video(user, source)
    product.enqueue(job)
    horse = hold.wait()
    family = [horse, *horse.children(recursive=True)]

    is_cancelled = victim.startswith("cancel")
    if is_cancelled:
        product.ports.database.jobs.request_cancel(user.id, job.id)
    began = time.monotonic()
    for process in [product.part(word) for word in VICTIMS[victim]] or [horse]:
        process.kill()
    if victim == "web and queue":
        hold.let_go()
    done = product.wait_final(job)
    show(f"| {stage.value} | {victim} | {done.status.value} | {done.attempt} | {time.monotonic() - began:.1f} s |")

    expected = JobStatus.CANCELLED if is_cancelled else JobStatus.SUCCEEDED
    attempts = 2 if victim in ("job", "worker") else 1
    assert (done.status, done.attempt) == (expected, attempts), product.read_log()[-3000:]
    wait_for(lambda: not product.scratch(), label="the work folder's end")
    wait_for(lambda: not any(process.is_running() for process in family), within_s=20, label="the old processes' end")
    prefix = f"user/{user.id}/video/{video.id}/job/{job.id}/"
    results = sorted(key.removeprefix(prefix) for key in product.keys(user) if key.startswith(prefix))
    assert results == ([] if is_cancelled else sorted(f"{attempts}/{name}" for name in RESULT_FILES))
    assert product.ports.database.jobs.used_ms(user.id) == (0 if is_cancelled else video.facts.duration_ms)
    assert [other.id for other in product.ports.database.jobs.list_of_video(user.id, video.id)] == [job.id]
    wait_for(lambda: not find_faults(product.settings), label="the product to be whole again")
    wait_for(lambda: not product.part("jobs.worker").children(), label="an idle worker")
    stray = [path for name in (".uploads", ".copies") for path in (product.root / "files" / name).rglob("*.*")]
    assert not stray


def test_a_machine_that_vanishes_costs_a_lease(
    source: Path, show: Callable[[str], None], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nobody on its machine can give the job back, so its lease has to run out: the slowest way there is."""
    hold = Hold(tmp_path_factory.mktemp("hold"))
    with running_machine(tmp_path / "data", LEASE_S=str(SHORT_LEASE_S), **hold.environ) as machine:
        machine.start_valkey()
        machine.start_worker()
        user = machine.make_user()
        video, job = machine.make_video(user, source, {"captions": "none"})
        hold.at(Stage.QA)
        machine.enqueue(job)
        hold.wait()
        machine.kill("worker")
        began = time.monotonic()
        shutil.rmtree(machine.root / "work")
        machine.start_worker()
        done = machine.wait_final(job)
        show(
            f"| qa | machine, lease {SHORT_LEASE_S:.0f} s | {done.status.value} | {done.attempt} "
            f"| {time.monotonic() - began:.1f} s |"
        )
        assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 2)
        assert machine.ports.database.jobs.used_ms(user.id) == video.facts.duration_ms
