"""One long video by the product's own workers: a real queue, database and file store, each worker on one processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from config import PROJECT_ROOT
from jobs.crew import SHARED_FROM_MS
from jobs.models import JobStatus
from tests.bench.meter import CommandFailed
from tests.product.machine import Machine, running_machine, wait_for

LIMIT_S = 3600.0
_SETTLE_S = 5.0
"""After the row is final, until the last process of a job has been waited for."""
STAGES = ("transcribe", "render", "qa")
_PRIORITY = -20
_SHARING = PROJECT_ROOT / "tests" / "product" / "sharing"
"""Has shorter talks shared out, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One video made by so many workers."""

    workers: int
    seconds: float
    """From the hand-over to the queue until the job's row is final."""
    cpu_seconds: tuple[float, ...]
    """Of each worker with all that it started, the busiest first."""
    stages: dict[str, float]
    """Wall seconds of the stages."""

    @property
    def rest(self) -> float:
        """Wall seconds outside the stages that are shown."""
        return self.seconds - sum(self.stages.values())


def measure_workers(
    source: Path, source_s: float, folder: Path, order: Sequence[int], say: Callable[[str], None]
) -> Iterator[Made]:
    """Make the video by so many workers at a time, one after the other; all are there before it is handed over.

    Raises `CommandFailed`.
    """
    hooks = {"SHARING_DIR": str(folder), "PYTHONPATH": f"{_SHARING}:{PROJECT_ROOT}"}
    if source_s * 1000 >= SHARED_FROM_MS:
        hooks = {}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for turn, workers in enumerate(order):
        say(f"  {workers} {'worker' if workers == 1 else 'workers'} …")
        with running_machine(folder / f"turn{turn}", **hooks) as machine:
            machine.start_valkey()
            for number in range(workers):
                process = machine.start_worker(f"worker{number}")
                if cores:
                    os.sched_setaffinity(process.pid, {cores[number % len(cores)]})
                _put_first(process.pid)
            there = machine.ports.database.workers
            wait_for(lambda: len(there.list_alive(within_s=60)) == workers, within_s=120, label="workers")  # noqa: B023
            yield _make(machine, source, workers)


def _make(machine: Machine, source: Path, workers: int) -> Made:
    _, job = machine.make_video(machine.make_user(), source, {"captions": "burned"})
    before = _count_cpu(machine)
    began = time.monotonic()
    machine.enqueue(job)
    done = machine.wait_final(job, within_s=LIMIT_S)
    seconds = time.monotonic() - began
    time.sleep(_SETTLE_S)
    spent = [after - start for start, after in zip(before, _count_cpu(machine), strict=True)]
    if done.status is not JobStatus.SUCCEEDED:
        raise CommandFailed(f"{done.error_message}\n{machine.read_log()[-2000:]}")
    timings: Any = done.result["timings"]
    return Made(
        workers=workers,
        seconds=seconds,
        cpu_seconds=tuple(sorted(spent, reverse=True)),
        stages={name: timings[name] for name in STAGES},
    )


def _put_first(pid: int) -> None:
    """Have others on the machine wait for this worker, where we may: it leads a session, which the kernel may group."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _PRIORITY)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_PRIORITY), encoding="ascii")


def _count_cpu(machine: Machine) -> list[float]:
    """Return the processor time of each worker and all children that it has waited for."""
    names = [name for name in machine.processes if name.startswith("worker")]
    times = [psutil.Process(machine.processes[name].pid).cpu_times() for name in sorted(names)]
    return [each.user + each.system + each.children_user + each.children_system for each in times]


def format_workers(
    found: Sequence[Made], table: Callable[[Sequence[str], Iterator[Sequence[str]]], str]
) -> str:  # fmt: skip
    """Return each run, and what more workers gained over one."""
    lines = (
        (
            str(made.workers),
            f"{made.seconds:.1f}",
            " + ".join(f"{seconds:.1f}" for seconds in made.cpu_seconds),
            *(f"{seconds:.1f}" for seconds in made.stages.values()),
            f"{made.rest:.1f}",
        )
        for made in found
    )
    counts = {made.workers for made in found}
    more = sorted(counts - {1}) if 1 in counts else []
    gains = (
        f"{count} workers against one: {_gain(found, count, lambda made: made.seconds):.2f} times as fast by wall, "
        f"{_gain(found, count, lambda made: made.cpu_seconds[0]):.2f} by the processor time of the busiest; by wall "
        + ", ".join(f"{name} {_gain(found, count, lambda made: made.stages[name]):.2f}" for name in STAGES)  # noqa: B023
        + "."
        for count in more
    )
    heads = ("workers", "wall s", "CPU s of each", *(f"{name} s" for name in STAGES), "everything else s")
    return "\n\n".join((table(heads, lines), *gains))


def _gain(found: Sequence[Made], workers: int, seconds: Callable[[Made], float]) -> float:
    means = [[seconds(made) for made in found if made.workers == count] for count in (1, workers)]
    one, many = (sum(each) / len(each) for each in means)
    return one / many
