"""What each machine of several does for one video, run as a process of its own that keeps to some processors:
``python -m tests.bench.fanout_steps CORES STEP SOURCE FOLDER [NUMBER]``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from config import load_settings
from pipeline.chunks import parse_chunk, render_chunk
from pipeline.fanout import join_chunks, parse_plan, plan_result, plan_speech
from pipeline.models import RunContext
from pipeline.options import Captions, PipelineOptions, SpeechEngine
from pipeline.packets import scan_packets
from pipeline.picture import examine_picture
from pipeline.recognisers import SpeechModel, load_model
from pipeline.run import run_pipeline
from pipeline.shares import merge_shares, parse_share, transcribe_share
from pipeline.weights import find_weights

PARTS = 2


def _options() -> PipelineOptions:
    settings = load_settings()
    return PipelineOptions(
        captions=Captions.BURNED, model_dir=settings.whisper_model_dir, ffmpeg=settings.ffmpeg_binary
    )


def _context(folder: Path, name: str) -> RunContext:
    (folder / name).mkdir(parents=True)
    return RunContext(workdir=folder / name)


def run_alone(source: Path, folder: Path, _number: int) -> None:
    """The whole video, as one machine makes it."""
    report = run_pipeline(source, _options(), _context(folder, "alone")).report
    (folder / "alone.json").write_text(json.dumps(report), encoding="utf-8")


def hear(source: Path, folder: Path, _number: int) -> None:
    """Find the speech and its language, and share the windows out."""
    spread = plan_speech(source, _options(), _context(folder, "hear"), parts=PARTS, least=1)
    (folder / "shares.json").write_text(json.dumps([share.to_json() for share, _ in spread]), encoding="utf-8")


def write_down(_source: Path, folder: Path, number: int) -> None:
    """Transcribe one share; what loading the model took is noted."""
    share = parse_share(json.loads((folder / "shares.json").read_text(encoding="utf-8"))[number])
    took: list[float] = []

    def load(engine: SpeechEngine, weights: Path) -> SpeechModel:
        began = time.process_time()
        model = load_model(engine, weights)
        took.append(time.process_time() - began)
        return model

    options = _options()
    weights = find_weights(options.model, options.model_dir)
    sound = folder / "hear" / f"share{number}.s16"
    began = time.process_time()
    transcribe_share(sound, share, weights=weights, options=options, ctx=_context(folder, f"share{number}"), load=load)
    spent = time.process_time() - began
    figures = {"load": sum(took), "windows": len(share.windows), "work": spent - sum(took)}
    (folder / f"share{number}.json").write_text(json.dumps(figures), encoding="utf-8")


def decide(source: Path, folder: Path, _number: int) -> None:
    """Merge the transcript, decide on cuts and captions, and share the picture out."""
    shares = [parse_share(share) for share in json.loads((folder / "shares.json").read_text(encoding="utf-8"))]
    ctx = _context(folder, "decide")
    if shares:
        merge_shares(shares, [folder / f"share{at}" / "transcript.partial.jsonl" for at in range(len(shares))], ctx)
    plan = plan_result(source, _options(), ctx, parts=PARTS, least_s=5)
    (folder / "plan.json").write_text(json.dumps(plan.to_json()), encoding="utf-8")
    for number, chunk in enumerate(plan.chunks):
        (folder / f"chunk{number}.json").write_text(json.dumps(chunk.to_json()), encoding="utf-8")


def render(source: Path, folder: Path, number: int) -> None:
    """Make the picture of one chunk."""
    chunk = parse_chunk(json.loads((folder / f"chunk{number}.json").read_text(encoding="utf-8")))
    render_chunk(source, _options(), chunk, _context(folder, f"chunk{number}"))


def look(source: Path, folder: Path, _number: int) -> None:
    """Do what a chunk does before its first frame; its cost grows with the source, not with the chunk."""
    video = parse_chunk(json.loads((folder / "chunk0.json").read_text(encoding="utf-8"))).video
    examine_picture(source, video.index)
    scan_packets(source, video.index)


def join(source: Path, folder: Path, _number: int) -> None:
    """Put everything together."""
    plan = parse_plan(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    pictures = [folder / f"chunk{number}" / "picture.mp4" for number in range(len(plan.chunks))]
    report = join_chunks(source, _options(), plan, pictures, _context(folder, "join")).report
    (folder / "join.json").write_text(json.dumps(report), encoding="utf-8")


def start(_source: Path, _folder: Path, _number: int) -> None:
    """Only what every step begins with."""


STEPS: dict[str, Callable[[Path, Path, int], None]] = {
    "alone": run_alone,
    "hear": hear,
    "write": write_down,
    "decide": decide,
    "render": render,
    "look": look,
    "start": start,
    "join": join,
}


def main(argv: Sequence[str]) -> None:
    """Keep to the processors named first, and take the step named second."""
    cores, step, source, folder, *number = argv
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    STEPS[step](Path(source), Path(folder), int(number[0]) if number else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
