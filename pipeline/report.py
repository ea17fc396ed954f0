"""What a run tells about itself: ``report.json``, ``transcript.json`` and ``peaks.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.levels import PEAKS_PER_SECOND
from pipeline.models import Cue, Note, Probe, QaCheck, Transcript
from pipeline.options import PipelineOptions
from pipeline.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSummary:
    """Who decided the cuts, and by which rules; None where a rule did not apply."""

    engine: str
    engine_version: str
    threshold: float | None
    threshold_mode: str
    margin_ms: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How long a stage took."""

    name: str
    seconds: float
    cpu_seconds: float


def describe_probe(probe: Probe) -> dict[str, object]:
    """Return a probe as the report shows it (``source``); ``--probe`` prints the same."""
    return {
        "name": probe.name,
        "duration_ms": probe.duration_ms,
        "width": probe.video.width,
        "height": probe.video.height,
        "fps": round(float(probe.video.average_rate), 3),
        "vfr": probe.video.vfr,
        "hdr": probe.video.hdr,
        "rotation": probe.video.rotation,
        "video_codec": probe.video.codec,
        "audio": [
            {
                "codec": stream.codec,
                "sample_rate": stream.sample_rate,
                "channels": stream.channels,
                "language": stream.language,
                "default": stream.is_default,
            }
            for stream in probe.audio
        ],
    }


def build_report(
    *,
    probe: Probe,
    timeline: Timeline,
    options: PipelineOptions,
    cuts: CutSummary,
    transcript: Transcript,
    cues: Sequence[Cue],
    checks: Sequence[QaCheck],
    notes: Sequence[Note],
    stages: Sequence[StageTime],
    video: Path,
) -> dict[str, object]:
    """Return the report of a finished run (version 1)."""
    removed = [(timeline.to_ms(start), timeline.to_ms(end)) for start, end in timeline.removed]
    return {
        "version": 1,
        "source": describe_probe(probe),
        "result": {
            "duration_ms": timeline.duration_ms,
            "frames": timeline.kept_frames,
            "width": probe.video.width,
            "height": probe.video.height,
            "fps": round(float(timeline.timebase), 3),
            "size_bytes": video.stat().st_size,
            "captions": options.captions.value,
        },
        "cuts": {
            **asdict(cuts),
            "count": len(removed),
            "removed_ms": sum(end - start for start, end in removed),
            "removed": [{"start_ms": start, "end_ms": end} for start, end in removed],
        },
        "speech": {"language": transcript.language, "words": len(transcript.words), "cues": len(cues)},
        "qa": [asdict(check) for check in checks],
        "notes": [asdict(note) for note in notes],
        "stages": [asdict(stage) for stage in stages],
    }


def format_json(document: object) -> str:
    """Return ``document`` as readable JSON with a newline at its end."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def format_transcript(transcript: Transcript) -> str:
    """Return ``transcript.json``: words in source time."""
    return format_json(
        {
            "version": 1,
            "language": transcript.language,
            "probability": round(transcript.probability, 4),
            "engine": transcript.engine,
            "model": transcript.model,
            "words": [{**asdict(word), "probability": round(word.probability, 4)} for word in transcript.words],
        }
    )


def format_peaks(peaks: Sequence[int]) -> str:
    """Return ``peaks.json`` on one line: it is read by a page, not by people."""
    return json.dumps({"per_second": PEAKS_PER_SECOND, "peaks": list(peaks)}, separators=(",", ":")) + "\n"
