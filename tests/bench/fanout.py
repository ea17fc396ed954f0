"""One video in one piece and in parts, each on one processor: what sharing out costs, and what each step does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT
from tests.bench.fanout_steps import FIGURES, PARTS
from tests.bench.meter import Usage, measure
from tests.bench.plan import Costs
from tests.bench.talk import RATE
from tests.media.compare import compare_pictures, read_packets

PLANNED_HOURS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the runs took, and how their results compare."""

    alone: Usage
    parts: Usage
    costs: Costs
    pieces: tuple[int, ...]
    """Frames of each kept piece."""
    shares: int
    chunks: int
    least_db: float
    median_db: float
    same_sound: bool
    same_words: bool
    bytes_ratio: float


def measure_fanout(source: Path, folder: Path, source_s: float, say: Callable[[str], None]) -> Measured:
    """Make the talk in one piece and in parts, and return what that took. Raises `CommandFailed`."""
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0

    def step(name: str) -> tuple[Usage, dict[str, Any]]:
        say(f"  {name} …")
        (folder / name).mkdir()
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.bench.fanout_steps",
            str(core),
            name,
            source,
            folder / name,
        ]
        usage = measure(command, cwd=PROJECT_ROOT, log=folder / f"{name}.log")
        return usage, json.loads((folder / name / FIGURES).read_text(encoding="utf-8"))

    _, began = step("start")
    _, looked = step("look")
    alone, _ = step("alone")
    parts, found = step("parts")
    one, joined = (folder / name / "work" / "result" for name in ("alone", "parts"))
    levels = sorted(compare_pictures(one / "video.mp4", joined / "video.mp4"))
    sizes = [(result / "video.mp4").stat().st_size for result in (one, joined)]
    return Measured(
        alone=alone,
        parts=parts,
        costs=work_out(
            found,
            source_s=source_s,
            start=began["start"],
            look=looked["look"],
            source_bytes=source.stat().st_size,
            result_bytes=sizes[1],
        ),
        pieces=tuple(found["pieces"]),
        shares=len(found["writes"]),
        chunks=len(found["renders"]),
        least_db=levels[0],
        median_db=levels[len(levels) // 2],
        same_sound=read_packets(one / "video.mp4", "audio") == read_packets(joined / "video.mp4", "audio"),
        same_words=(one / "transcript.json").read_bytes() == (joined / "transcript.json").read_bytes(),
        bytes_ratio=sizes[1] / sizes[0],
    )


def work_out(
    found: Mapping[str, Any], *, source_s: float, start: float, look: float, source_bytes: int, result_bytes: int
) -> Costs:
    """Return what a second, a window and a frame cost, out of the processor time of the steps.

    Speech is looked for twice, before it is shared out and to put it together; what the first time took longer is the
    language's.
    """
    stages = {stage["name"]: stage["cpu_seconds"] for stage in found["report"]["stages"]}
    writes, loads, renders = sum(found["writes"]), found["loads"], sum(found["renders"])
    speech = max(0.0, stages["transcribe"] - found["heard"] - writes)
    frames = sum(found["pieces"])
    result_s = frames / RATE
    return Costs(
        hear_once=max(0.0, found["heard"] - speech),
        hear=(stages["probe"] + stages["audio"] + 2 * speech) / source_s,
        load=max(loads, default=0.0),
        window=(writes - sum(loads)) / max(1, found["windows"]),
        look=look / source_s,
        start=start,
        frame=max(0.0, renders - len(found["renders"]) * look) / frames,
        join=max(0.0, stages["render"] - renders) / result_s,
        check=stages["qa"] / result_s,
        windows=found["windows"] / source_s,
        source_bytes=source_bytes / source_s,
        result_bytes=result_bytes / result_s,
    )


def format_fanout(measured: Measured, table: Callable[[Sequence[str], Iterator[Sequence[str]]], str]) -> str:
    """Return the measured figures."""
    runs = (
        (name, f"{usage.seconds:.1f}", f"{usage.cpu_seconds:.1f}", f"{usage.peak_bytes / 1e6:.0f}")
        for name, usage in (
            ("in one piece", measured.alone),
            (f"in {measured.shares} shares and {measured.chunks} chunks, one after the other", measured.parts),
        )
    )
    costs = measured.costs
    more = measured.parts.cpu_seconds / measured.alone.cpu_seconds - 1
    return "\n\n".join(
        (
            table(("on one processor", "wall s", "CPU s", "peak MB"), runs),
            f"Sharing out in {PARTS} parts costs {100 * more:.0f} % more processor time.",
            f"{sum(measured.pieces)} frames; sound {_same(measured.same_sound)}, words {_same(measured.same_words)}; "
            f"the picture at least {measured.least_db:.1f} dB, in the median {measured.median_db:.1f} dB from that in "
            f"one piece; {measured.bytes_ratio:.3f} of its size.",
            "CPU seconds: "
            f"{costs.start:.2f} to start, {600 * costs.hear:.1f} to hear 10 minutes, {costs.hear_once:.1f} for their "
            f"language, {costs.load:.1f} to load a model, {costs.window:.2f} a window ({600 * costs.windows:.0f} in 10 "
            f"minutes), {600 * costs.look:.2f} a chunk to look at 10 minutes, {1000 * costs.frame:.1f} for 1000 "
            f"frames, {600 * costs.join:.1f} to join and {600 * costs.check:.1f} to check 10 minutes of result.",
        )
    )


def _same(same: bool) -> str:
    return "the same" if same else "NOT the same"
