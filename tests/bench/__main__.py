"""Measure and print: ``python -m tests.bench [--minutes 10] [--pieces 58 300] [--only a,b] [--presets] [--fanout]
[--workers 1 2] [--sessions]``.

Markdown on stdout, progress on stderr. Nothing is downloaded, nothing is asserted. What is generated stays in
``build/bench``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT, load_settings
from pipeline.errors import PipelineError
from pipeline.ffmpeg import find_ffmpeg
from tests.bench import tables
from tests.bench.fanout import PLANNED_HOURS, format_fanout, measure_fanout
from tests.bench.meter import CommandFailed
from tests.bench.plan import format_forecasts, plan_workers, without_check
from tests.bench.presets import compare
from tests.bench.rows import TITLES, Bench, Row
from tests.bench.sessions import format_costs, measure_sessions
from tests.bench.talk import TalkSpec, make_noisy_clip, make_talk
from tests.bench.workers import format_workers, measure_workers

CACHE = PROJECT_ROOT / "build" / "bench"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for and return the exit status."""
    options = _parse(argv)
    CACHE.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"machine": tables.describe_machine()}
    print(f"{figures['machine']}\n", flush=True)
    try:
        with _results(options.keep) as folder:
            if options.sessions:
                figures["sessions"] = _measure_sessions(options.sessions)
            elif options.workers:
                figures["workers"] = _measure_workers(
                    TalkSpec(minutes=options.minutes, pieces_per_10_minutes=options.pieces[0]), options.workers, folder
                )
            elif options.fanout:
                figures["fanout"] = _measure_fanout(
                    TalkSpec(minutes=options.minutes, pieces_per_10_minutes=options.pieces[0]), folder
                )
            elif options.presets:
                figures["presets"] = _compare_presets(options.minutes, folder)
            else:
                figures["talks"] = [
                    _measure_talk(TalkSpec(minutes=options.minutes, pieces_per_10_minutes=pieces), options.only, folder)
                    for pieces in options.pieces
                ]
    except (PipelineError, CommandFailed) as error:
        print(error, file=sys.stderr)
        return 1
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="length of the talk; whole halves (default 10)")
    parser.add_argument(
        "--pieces", type=int, nargs="+", default=[58, 300], metavar="N",
        help="pieces that are kept of ten minutes; one talk for each number (default 58 300)",
    )  # fmt: skip
    parser.add_argument("--only", type=_parse_keys, default=tuple(TITLES), metavar="a,b", help="rows to run")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what the rows made, in a new folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument(
        "--fanout", action="store_true", help="make one talk in parts instead, and plan it for fifty workers"
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", metavar="N",
        help="make one talk by so many of the product's workers instead, run after run, such as 1 2 2 1",
    )  # fmt: skip
    parser.add_argument("--presets", action="store_true", help="compare presets by VMAF, size and CPU instead")
    parser.add_argument(
        "--sessions", type=int, nargs="?", const=50, metavar="N",
        help="measure the product with N people's lists open instead (default 50)",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} is there already: name a new folder")
    return options


def _parse_keys(text: str) -> tuple[str, ...]:
    keys = set(text.replace(",", " ").split())
    if not keys or keys - set(TITLES):
        raise argparse.ArgumentTypeError(f"{text!r}: rows are {', '.join(TITLES)}")
    return tuple(key for key in TITLES if key in keys)


@contextmanager
def _results(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as folder:
        yield Path(folder)


def _measure_talk(spec: TalkSpec, keys: Sequence[str], results: Path) -> dict[str, Any]:
    _say(f"making {spec.name}, unless it is there")
    source = make_talk(spec, CACHE, find_ffmpeg(load_settings().ffmpeg_binary))
    folder = results / spec.name
    folder.mkdir()
    bench = Bench(source=source, cache=CACHE, folder=folder, say=_say)
    bench.warm_up()
    rows: dict[str, Row] = {}
    for key in keys:
        _say(f"({key}) {TITLES[key]}")
        rows[key] = bench.run(key)
    detector = bench.detect()
    timeline = bench.timeline()
    parts = [
        f"### {tables.describe_talk(bench.seconds, timeline)}",
        tables.format_rows(rows.values()),
        tables.format_ratios(rows, detector, bench.seconds),
        tables.format_steps(rows.values()),
        *(tables.format_stages(row) for row in rows.values() if row.stages),
    ]
    print("\n\n".join(parts), end="\n\n", flush=True)
    return {
        "talk": spec.name,
        "kept_frames": timeline.kept_frames,
        "pieces": len(timeline.kept),
        "detector_cpu_seconds": detector,
        "rows": [asdict(row) | {"seconds": row.seconds, "cpu_seconds": row.cpu_seconds} for row in rows.values()],
    }


def _measure_fanout(spec: TalkSpec, folder: Path) -> dict[str, Any]:
    _say(f"making {spec.name}, unless it is there")
    source = make_talk(spec, CACHE, find_ffmpeg(load_settings().ffmpeg_binary))
    measured = measure_fanout(source, folder, spec.seconds, _say)
    plans = [
        list(plan_workers(costs, measured.pieces, spec.seconds, PLANNED_HOURS))
        for costs in (measured.costs, without_check(measured.costs))
    ]
    parts = [
        f"### {spec.name} in parts",
        format_fanout(measured, tables.format_table),
        f"### {PLANNED_HOURS} h of it by many workers of one processor, planned from these figures",
        format_forecasts(plans[0], tables.format_table),
        "… and if each part were checked where it is made:",
        format_forecasts(plans[1], tables.format_table),
    ]
    print("\n\n".join(parts), end="\n\n", flush=True)
    return {
        "talk": spec.name,
        "measured": asdict(measured),
        "planned": [[asdict(each) for each in row] for row in plans[0]],
    }


def _measure_workers(spec: TalkSpec, order: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    _say(f"making {spec.name}, unless it is there")
    source = make_talk(spec, CACHE, find_ffmpeg(load_settings().ffmpeg_binary))
    found = list(measure_workers(source, spec.seconds, folder, order, _say))
    print(f"### {spec.name} by workers of one processor each\n", flush=True)
    print(format_workers(found, tables.format_table), end="\n\n", flush=True)
    return [asdict(each) for each in found]


def _compare_presets(minutes: float, folder: Path) -> list[dict[str, Any]]:
    ffmpeg = find_ffmpeg(load_settings().ffmpeg_binary)
    _say("making the clips, unless they are there")
    talk = make_talk(TalkSpec(minutes=minutes, pieces_per_10_minutes=58), CACHE, ffmpeg)
    clips = (("talk", talk), ("noisy", make_noisy_clip(CACHE, ffmpeg)))
    encoded = list(compare(clips, folder, ffmpeg, _say))
    print(tables.format_presets(encoded), end="\n\n", flush=True)
    return [asdict(each) for each in encoded]


def _measure_sessions(count: int) -> dict[str, Any]:
    costs = measure_sessions(count, _say)
    print(format_costs(costs, count), end="\n\n", flush=True)
    return {
        name: {"cpu_share": cost.cpu_share, "p50_ms": cost.percentile(0.5), "p95_ms": cost.percentile(0.95)}
        for name, cost in costs.items()
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
