"""One video by several machines: measured with two processes of one processor each, planned for fifty."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from config import PROJECT_ROOT
from pipeline.fanout import parse_plan
from pipeline.split import split_evenly
from tests.bench.fanout_steps import PARTS
from tests.bench.meter import Usage, measure
from tests.bench.talk import RATE
from tests.media.compare import compare_pictures, read_packets

ALONE = "one process, one processor"
WORKERS = (1, 2, 5, 10, 20, 50)
PLANNED_HOURS = 3
_MEGABITS = 1000
"""Of the network between the store and a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the runs took, and how their results compare."""

    seconds: dict[str, float]
    """Wall time of each run: one process on one processor and on two, two processes of one each."""
    cpu_seconds: dict[str, float]
    phases: dict[str, Usage]
    """Of the shared run; the slower of the two where two ran."""
    costs: Costs
    frames: int
    least_db: float
    median_db: float
    same_sound: bool
    same_words: bool
    bytes_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of one processor, as far as the simulation knows them apart."""

    hear_once: float
    """For each video: the language, heard in three clips, and the libraries of it."""
    hear: float
    """For each second of source: probing, decoding the sound, finding speech; it is done again to decide."""
    load: float
    """For each share: start and model."""
    window: float
    """For each window."""
    look: float
    """For each chunk and second of source: what a chunk does before its first frame."""
    start: float
    """For each process: Python and the imports of ours."""
    frame: float
    """For each frame of the result."""
    join: float
    """For each second of result: sound, copy, poster."""
    check: float
    """For each second of result: QA, which decodes the whole result."""
    windows: float
    """Windows for each second of source."""
    source_bytes: float
    """For each second of source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a video would take with so many workers, in seconds of wall time."""

    workers: int
    shares: int
    chunks: int
    speech: float
    decide: float
    render: float
    join: float
    work: float
    """Processor time of all together."""

    @property
    def total(self) -> float:
        """From the upload's end to the result, nobody else being served."""
        return self.speech + self.decide + self.render + self.join


def forecast(
    costs: Costs,
    pieces: Sequence[int],
    source_s: float,
    workers: int,
    *,
    fetch_s: float = 0,
    checked_apart: bool = False,
) -> Forecast:
    """Return what a video of ``pieces`` (frames of each kept piece) out of ``source_s`` seconds takes.

    A worker is one processor, takes one share and one chunk, and first fetches the whole source in ``fetch_s`` to make
    a chunk; the sound of a share is small. Sharing out follows `split_evenly` as the product does. ``checked_apart``
    is what it would be if each part were checked where it was made. Pure.
    """
    shares = split_evenly([1] * round(costs.windows * source_s), workers, least=4)
    chunks = split_evenly(pieces, workers, least=20 * RATE)
    result_s = sum(pieces) / RATE
    fetched = fetch_s + costs.start
    frame = costs.frame + (costs.check / RATE if checked_apart else 0)
    parts = [costs.start + costs.look * source_s + frame * sum(pieces[at] for at in chunk) for chunk in chunks]
    written = [costs.load + costs.window * len(share) for share in shares]
    hear, decide = costs.hear_once + costs.hear * source_s, costs.hear * source_s
    join = (costs.join + (0 if checked_apart else costs.check)) * result_s
    return Forecast(
        workers=workers,
        shares=len(shares),
        chunks=len(chunks),
        speech=fetched + hear + max(written, default=0),
        decide=decide + costs.start,
        render=max(parts) + (fetch_s if workers > 1 else 0),
        join=join + costs.start,
        work=hear + sum(written) + decide + sum(parts) + join + 3 * costs.start,
    )


def measure_fanout(source: Path, folder: Path, source_s: float, say: Callable[[str], None]) -> Measured:
    """Make the talk by one process and by two, and return what that took. Raises `CommandFailed`."""
    ours = sorted(os.sched_getaffinity(0))[:PARTS] if hasattr(os, "sched_getaffinity") else list(range(PARTS))
    all_cores = ",".join(map(str, ours))

    def step(name: str, cores: str, number: int = 0, place: str = "shared") -> Usage:
        say(f"  {name} {number or ''} on {cores} …")
        (folder / place).mkdir(exist_ok=True)
        module = ("-m", "tests.bench.fanout_steps")
        command: list[str | Path] = [sys.executable, *module, cores, name, source, folder / place, str(number)]
        return measure(command, cwd=PROJECT_ROOT, log=folder / f"{place}-{name}{number}.log")

    def both(name: str, count: int) -> list[Usage]:
        with ThreadPoolExecutor(PARTS) as pool:
            return list(pool.map(lambda at: step(name, str(ours[at % len(ours)]), at), range(count)))

    alone = {
        ALONE: step("alone", str(ours[0]), place="one"),
        "one process, two processors": step("alone", all_cores, place="two"),
    }
    shared = folder / "shared"
    hear = step("hear", str(ours[0]))
    shares = both("write", len(json.loads((shared / "shares.json").read_text(encoding="utf-8"))))
    decide = step("decide", str(ours[0]))
    plan = parse_plan(json.loads((shared / "plan.json").read_text(encoding="utf-8")))
    chunks = both("render", len(plan.chunks))
    join = step("join", str(ours[0]))
    look, start = step("look", str(ours[0])), step("start", str(ours[0]))
    phases = [[hear], shares, [decide], chunks, [join]]
    longest = [max(usages, key=lambda usage: usage.seconds) for usages in phases if usages]
    name = "two processes, one processor each"
    one, joined = folder / "two" / "alone" / "result", shared / "join" / "result"
    levels = sorted(compare_pictures(one / "video.mp4", joined / "video.mp4"))
    frames = plan.edit.timeline.kept_frames
    return Measured(
        seconds={key: usage.seconds for key, usage in alone.items()} | {name: sum(each.seconds for each in longest)},
        cpu_seconds={key: usage.cpu_seconds for key, usage in alone.items()}
        | {name: sum(usage.cpu_seconds for usages in phases for usage in usages)},
        phases=dict(zip(("hear", "write", "decide", "render", "join"), longest, strict=True)),
        costs=_work_out(shared, source_s, frames, hear, decide, chunks, join, look, start, source.stat().st_size),
        frames=frames,
        least_db=levels[0],
        median_db=levels[len(levels) // 2],
        same_sound=read_packets(one / "video.mp4", "audio") == read_packets(joined / "video.mp4", "audio"),
        same_words=(one / "transcript.json").read_bytes() == (joined / "transcript.json").read_bytes(),
        bytes_ratio=(joined / "video.mp4").stat().st_size / (one / "video.mp4").stat().st_size,
    )


def _work_out(
    shared: Path,
    source_s: float,
    frames: int,
    hear: Usage,
    decide: Usage,
    chunks: Sequence[Usage],
    join: Usage,
    look: Usage,
    began: Usage,
    source_bytes: int,
) -> Costs:
    """Return what a second, a window and a frame cost, out of the processor time of the steps."""
    written = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(shared.glob("share[0-9]*.json"))]
    stages = {stage["name"]: stage for stage in json.loads((shared / "join.json").read_text("utf-8"))["stages"]}
    start, result_s = began.cpu_seconds, frames / RATE
    windows = sum(each["windows"] for each in written)
    load = start + max((each["load"] for each in written), default=0.0)
    check = stages["qa"]["cpu_seconds"]
    look_s = max(0.0, look.cpu_seconds - start)
    return Costs(
        hear_once=max(0.0, hear.cpu_seconds - decide.cpu_seconds),
        hear=max(0.0, decide.cpu_seconds - start) / source_s,
        load=load,
        window=sum(each["work"] for each in written) / max(1, windows),
        look=look_s / source_s,
        start=start,
        frame=sum(usage.cpu_seconds - start - look_s for usage in chunks) / frames,
        join=max(0.0, join.cpu_seconds - start - check) / result_s,
        check=check / result_s,
        windows=windows / source_s,
        source_bytes=source_bytes / source_s,
    )


def plan_workers(measured: Measured, lengths: Sequence[int], source_s: float) -> Iterator[tuple[Forecast, ...]]:
    """Yield for each number of workers what `PLANNED_HOURS` of the same talk take: with the source at hand everywhere,
    when each chunk's worker has to fetch it, and with it at hand and every part checked where it was made.
    """
    times = max(1, round(PLANNED_HOURS * 3600 / source_s))
    pieces, whole_s = list(lengths) * times, source_s * times
    fetch_s = measured.costs.source_bytes * whole_s * 8 / (_MEGABITS * 1e6)
    for workers in WORKERS:
        yield (
            forecast(measured.costs, pieces, whole_s, workers),
            forecast(measured.costs, pieces, whole_s, workers, fetch_s=fetch_s),
            forecast(measured.costs, pieces, whole_s, workers, checked_apart=True),
        )


def format_fanout(measured: Measured, table: Callable[[Sequence[str], Iterator[Sequence[str]]], str]) -> str:
    """Return the measured figures."""
    one = measured.seconds[ALONE]
    runs = (
        (name, f"{seconds:.1f}", f"{measured.cpu_seconds[name]:.1f}", f"{one / seconds:.2f}")
        for name, seconds in measured.seconds.items()
    )
    longest = sum(usage.cpu_seconds for usage in measured.phases.values())
    phases = (
        (name, f"{usage.seconds:.1f}", f"{usage.cpu_seconds:.1f}", f"{usage.peak_bytes / 1e6:.0f}")
        for name, usage in measured.phases.items()
    )
    costs = measured.costs
    return "\n\n".join(
        (
            table(("", "wall s", "CPU s", "times as fast"), runs),
            f"Where others use the machine, processor time tells more: {measured.cpu_seconds[ALONE]:.1f} s by one "
            f"process on one processor; {longest:.1f} s along the slower of two, "
            f"{measured.cpu_seconds[ALONE] / longest:.2f} times as fast.",
            table(("step of the shared run, the slower of two", "wall s", "CPU s", "peak MB"), phases),
            f"{measured.frames} frames; sound {_same(measured.same_sound)}, words {_same(measured.same_words)}; the "
            f"picture at least {measured.least_db:.1f} dB, in the median {measured.median_db:.1f} dB from that of one "
            f"process; {measured.bytes_ratio:.3f} of its size.",
            "CPU seconds: "
            f"{costs.start:.2f} to start, {600 * costs.hear:.1f} to hear 10 minutes, {costs.hear_once:.1f} for their "
            f"language, {costs.load:.1f} to load a model, {costs.window:.2f} a window ({600 * costs.windows:.0f} in 10 "
            "minutes), "
            f"{600 * costs.look:.2f} a chunk to look at 10 minutes, {1000 * costs.frame:.1f} for 1000 frames, "
            f"{600 * costs.join:.1f} to join and {600 * costs.check:.1f} to check 10 minutes of result.",
        )
    )


def _same(same: bool) -> str:
    return "the same" if same else "NOT the same"


def format_forecasts(
    found: Sequence[tuple[Forecast, ...]], table: Callable[[Sequence[str], Iterator[Sequence[str]]], str]
) -> str:
    """Return the plan for many workers."""
    slowest = found[0][0].total
    lines = (
        (
            str(each.workers), str(each.shares), str(each.chunks), f"{each.speech:.0f}", f"{each.decide:.0f}",
            f"{each.render:.0f}", f"{each.join:.0f}", f"{each.total:.0f}", f"{slowest / each.total:.1f}",
            f"{100 * each.work / each.total / each.workers:.0f} %", f"{fetching.total:.0f}", f"{apart.total:.0f}",
        )
        for each, fetching, apart in found
    )  # fmt: skip
    heads = (
        "workers", "shares", "chunks", "speech s", "decide s", "render s", "join s", "total s", "times as fast", "busy",
        f"total s, source fetched at {_MEGABITS} Mbit/s", "total s, parts checked apart",
    )  # fmt: skip
    return table(heads, lines)
