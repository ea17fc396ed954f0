"""The figures as markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from pipeline.timeline import Timeline
from tests.bench.presets import Encoded
from tests.bench.rows import TITLES, Row, Step

AIMS = {("b", "c"): 0.30, ("b", "d"): 0.55, ("b", "e"): 1.15}
DETECTOR_AIM_S = 1.0
BUSY_AIM = 1.7


def describe_machine() -> str:
    """Return what the figures were measured on, and how busy it was before."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    return (
        f"{date.today().isoformat()}, {cores} cores {model or platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the start"
    )


def describe_talk(seconds: float, timeline: Timeline) -> str:
    """Return what was measured."""
    return (
        f"{seconds / 60:g} min 1080p30, {len(timeline.kept)} pieces kept, "
        f"{float(timeline.kept_frames / timeline.timebase):.1f} s "
        f"({100 * timeline.kept_frames / timeline.frames:.0f} %)"
    )


def format_rows(rows: Iterable[Row]) -> str:
    """Return the main table."""
    return format_table(
        ("", "wall s", "CPU s", "cores busy", "peak MB", "video MB", "frames"),
        (
            (
                f"({row.key}) {TITLES[row.key]}",
                f"{row.seconds:.1f}",
                f"{row.cpu_seconds:.1f}",
                f"{row.cpu_seconds / row.seconds:.2f}",
                f"{row.peak_bytes / 1e6:.0f}",
                f"{row.video_bytes / 1e6:.1f}",
                str(row.frames),
            )
            for row in rows
        ),
    )


def format_steps(rows: Iterable[Row]) -> str:
    """Return what the commands of each row cost."""

    def cells(row: Row, step: Step, mark: str) -> tuple[str, ...]:
        usage = step.usage
        peak = f"{usage.peak_bytes / 1e6:.0f}"
        return f"({row.key})", step.name + mark, f"{usage.seconds:.1f}", f"{usage.cpu_seconds:.1f}", peak

    lines = [
        cells(row, step, mark)
        for row in rows
        for steps, mark in ((row.steps, ""), (row.beside, " (not in the sum)"))
        for step in steps
    ]
    return format_table(("row", "command", "wall s", "CPU s", "peak MB"), lines)


def format_ratios(rows: Mapping[str, Row], detector: Mapping[str, float] | None, seconds: float) -> str:
    """Return the ratios beside their aims, as far as their rows were run."""
    return format_table(("figure", "wall", "CPU", "aim"), _compare(rows, detector, seconds))


def _compare(
    rows: Mapping[str, Row], detector: Mapping[str, float] | None, seconds: float
) -> Iterator[tuple[str, ...]]:
    for (ours, other), aim in AIMS.items():
        if ours in rows and other in rows:
            scope = "wall and CPU" if other == "e" else "wall"
            yield *_ratio(rows, ours, other), f"at most {aim:.2f} ({scope})"
    if "a" in rows and "b" in rows:
        yield *_ratio(rows, "a", "b"), "below 1"
    if "b" in rows:
        row = rows["b"]
        yield "cores busy over (b)", f"{row.cpu_seconds / row.seconds:.2f}", "", f"at least {BUSY_AIM} of 2"
    if detector is not None:
        share = 600 / seconds
        cost = (detector["levels"] + detector["rules"]) * share
        yield "detector, s per 10 minutes", "", f"{cost:.2f}", f"at most {DETECTOR_AIM_S:g} s of CPU"
        yield "… and the decode of the sound", "", f"{detector['decode'] * share:.2f}", "none"


def _ratio(rows: Mapping[str, Row], one: str, other: str) -> tuple[str, str, str]:
    wall = rows[one].seconds / rows[other].seconds
    cpu = rows[one].cpu_seconds / rows[other].cpu_seconds
    return f"({one}) / ({other})", f"{wall:.2f}", f"{cpu:.2f}"


def format_stages(row: Row) -> str:
    """Return where the time of one of our runs goes; what no stage owns is start, imports, reports and the move."""
    stages = [(str(stage["name"]), float(stage["seconds"]), float(stage["cpu_seconds"])) for stage in row.stages]
    rest = (
        "outside all stages",
        row.seconds - sum(wall for _, wall, _ in stages),
        row.cpu_seconds - sum(cpu for _, _, cpu in stages),
    )
    return format_table(
        (f"stage of ({row.key})", "wall s", "CPU s", "share of CPU"),
        (
            (name, f"{wall:.2f}", f"{cpu:.2f}", f"{100 * cpu / row.cpu_seconds:.1f} %")
            for name, wall, cpu in [*stages, rest]
        ),
    )


def format_presets(encoded: Sequence[Encoded]) -> str:
    """Return the table of presets, a row a choice and three columns a clip."""
    clips = list(dict.fromkeys(each.clip for each in encoded))
    choices = list(dict.fromkeys((each.preset, each.crf, each.capped) for each in encoded))
    found = {(each.clip, each.preset, each.crf, each.capped): each for each in encoded}
    lines = []
    for preset, crf, capped in choices:
        cells = [f"{preset} {crf}{', at most 12 Mbit/s' if capped else ''}"]
        for clip in clips:
            each = found[clip, preset, crf, capped]
            cells += [f"{each.cpu_seconds:.1f}", f"{each.kbit_s:.0f}", f"{each.vmaf:.1f}"]
        lines.append(tuple(cells))
    heads = [f"{clip}: {what}" for clip in clips for what in ("CPU s", "kbit/s", "VMAF")]
    return format_table(("preset, crf", *heads), lines)


def format_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table, its first column to the left and all others to the right."""
    rule = ["---", *("---:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, rule, *lines])
