"""One video in one piece or in parts, run as a process of its own that keeps to one processor:
``python -m tests.bench.fanout_steps CORE STEP SOURCE FOLDER``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from config import load_settings
from pipeline.fanout import run_shared
from pipeline.models import RunContext
from pipeline.options import Captions, PipelineOptions, SpeechEngine
from pipeline.packets import scan_packets
from pipeline.picture import examine_picture
from pipeline.probe import probe
from pipeline.recognisers import SpeechModel, load_model
from pipeline.run import run_pipeline
from pipeline.shares import WindowShare
from tests.media.crew import LocalCrew

PARTS = 6
"""So many of two minutes tell what one more costs."""
FIGURES = "figures.json"


def _options() -> PipelineOptions:
    settings = load_settings()
    return PipelineOptions(
        captions=Captions.BURNED, model_dir=settings.whisper_model_dir, ffmpeg=settings.ffmpeg_binary
    )


def _context(folder: Path) -> RunContext:
    (folder / "work").mkdir(parents=True)
    return RunContext(workdir=folder / "work")


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


class _MeteredCrew(LocalCrew):
    """Notes what each part takes."""

    def __init__(self, source: Path, folder: Path) -> None:
        super().__init__(source, _options(), folder, parts=PARTS, load=self._load_metered)
        self.loads: list[float] = []
        self.writes: list[float] = []
        self.renders: list[float] = []
        self.heard = 0.0
        """From the question how many share it until there are shares."""
        self._asked = 0.0

    def count_parts(self) -> int:
        self._asked = _cpu_seconds()
        return super().count_parts()

    def write_down(self, shares: Sequence[tuple[WindowShare, Path]]) -> Sequence[Path]:
        self.heard = _cpu_seconds() - self._asked
        return super().write_down(shares)

    def write_share(self, number: int, sound: Path) -> Path:
        began = _cpu_seconds()
        written = super().write_share(number, sound)
        self.writes.append(_cpu_seconds() - began)
        return written

    def render_chunk(self, number: int) -> Path:
        began = _cpu_seconds()
        made = super().render_chunk(number)
        self.renders.append(_cpu_seconds() - began)
        return made

    def _load_metered(self, engine: SpeechEngine, weights: Path) -> SpeechModel:
        began = _cpu_seconds()
        model = load_model(engine, weights)
        self.loads.append(_cpu_seconds() - began)
        return model


def run_alone(source: Path, folder: Path) -> dict[str, object]:
    """The whole video in one piece."""
    return {"report": run_pipeline(source, _options(), _context(folder)).report}


def run_in_parts(source: Path, folder: Path) -> dict[str, object]:
    """The whole video in parts, one after the other."""
    crew = _MeteredCrew(source, folder)
    report = run_shared(source, _options(), _context(folder), crew).report
    return {
        "report": report,
        "heard": crew.heard,
        "loads": crew.loads,
        "writes": crew.writes,
        "windows": sum(len(share.windows) for share in crew.shares),
        "renders": crew.renders,
        "pieces": [end - start for chunk in crew.chunks for start, end in chunk.timeline.kept],
    }


def look(source: Path, _folder: Path) -> dict[str, object]:
    """Do what a chunk does before its first frame; its cost grows with the source, not with the chunk."""
    index = probe(source, _options()).video.index
    began = _cpu_seconds()
    examine_picture(source, index)
    scan_packets(source, index)
    return {"look": _cpu_seconds() - began}


def start(_source: Path, _folder: Path) -> dict[str, object]:
    """Only what every step begins with."""
    return {"start": _cpu_seconds()}


STEPS: dict[str, Callable[[Path, Path], dict[str, object]]] = {
    "alone": run_alone,
    "parts": run_in_parts,
    "look": look,
    "start": start,
}


def main(argv: Sequence[str]) -> None:
    """Keep to the processor named first, take the step named second, and write down its figures."""
    core, step, source, folder = argv
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    figures = STEPS[step](Path(source), Path(folder))
    (Path(folder) / FIGURES).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
