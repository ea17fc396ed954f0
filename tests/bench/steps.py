"""The parts of the bench that are Python, each run as a process of its own: ``python -m tests.bench.steps PART …``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def transcribe_as_scripted(video: str, srt: str, weights: str) -> None:
    """Write ``srt`` as the README of faster-whisper shows it: int8, beam 5, everything else by default."""
    from faster_whisper import WhisperModel

    model = WhisperModel(weights, device="cpu", compute_type="int8", local_files_only=True)
    segments, _ = model.transcribe(video, beam_size=5)
    Path(srt).write_text(_format_srt(segments), encoding="utf-8")


def transcribe_source(video: str, srt: str, weights: str) -> None:
    """Write ``srt`` with what captions of a cut need, and nothing more: words, of speech only, a thread a core."""
    from faster_whisper import WhisperModel

    from pipeline.recognisers import BEAM, count_threads

    threads = count_threads()
    model = WhisperModel(weights, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
    segments, _ = model.transcribe(
        video, beam_size=BEAM, vad_filter=True, word_timestamps=True, condition_on_previous_text=False
    )
    Path(srt).write_text(_format_srt(segments), encoding="utf-8")


def detect(video: str, figures: str) -> None:
    """Write the CPU seconds of the cut decision into the JSON file ``figures``: decode, levels, rules."""
    from pipeline.audio import choose_tracks, decode_audio
    from pipeline.cuts import choose_rules, cut_silence
    from pipeline.levels import join_levels, measure_levels
    from pipeline.models import RunContext
    from pipeline.options import PipelineOptions
    from pipeline.probe import probe

    options = PipelineOptions()
    source = probe(Path(video), options)
    rate = source.video.average_rate
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        sound = decode_audio(
            Path(video),
            source.audio,
            origin=source.video.first_frame,
            duration_ms=source.duration_ms,
            delivered=choose_tracks(source.audio, None),
            ctx=RunContext(workdir=Path(folder)),
        )
        decoded = time.process_time()
        levels = join_levels([measure_levels(track, rate) for track in sound.tracks])
        measured = time.process_time()
        cut_silence(levels, choose_rules(options, levels, rate), rate)
        ended = time.process_time()
    seconds = {"decode": decoded - began, "levels": measured - decoded, "rules": ended - measured}
    Path(figures).write_text(json.dumps(seconds), encoding="utf-8")


def _format_srt(segments: Iterable[Any]) -> str:
    return "\n".join(
        f"{number}\n{_stamp(segment.start)} --> {_stamp(segment.end)}\n{segment.text.strip()}\n"
        for number, segment in enumerate(segments, 1)
    )


def _stamp(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{milliseconds:03}"


PARTS: dict[str, Callable[..., None]] = {
    "scripted": transcribe_as_scripted,
    "source": transcribe_source,
    "detect": detect,
}


def main(argv: Sequence[str]) -> None:
    """Run the part that is named first with the arguments after it."""
    PARTS[argv[0]](*argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
