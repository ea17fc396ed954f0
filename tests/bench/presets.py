"""Why this preset and this quality: size, VMAF and processor time of the choices, on the talk and on a noisy clip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.encoders import CRF, PRESET
from pipeline.ffmpeg import run_ffmpeg
from tests.bench.meter import measure

SECONDS = 10
CHOICES = (
    ("superfast", 20),
    ("veryfast", 18),
    ("veryfast", 20),
    ("veryfast", 23),
    ("faster", 20),
    ("faster", 23),
    ("medium", 23),
)
_EVERY = 5
"""VMAF looks at every fifth frame."""
_CAP = ("-maxrate", "12M", "-bufsize", "24M")
"""What a delivered 1080p30 video may use at most (`pipeline.render`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One choice on one clip."""

    clip: str
    preset: str
    crf: int
    capped: bool
    cpu_seconds: float
    """The decode of the clip included; it is the same for all."""
    kbit_s: float
    vmaf: float


def compare(
    clips: Sequence[tuple[str, Path]], folder: Path, ffmpeg: Path, say: Callable[[str], None]
) -> Iterator[Encoded]:
    """Yield what each choice makes of each clip, the default once more with the cap. Raises `CommandFailed`."""
    for name, clip in clips:
        for preset, crf, capped in [*((*choice, False) for choice in CHOICES), (PRESET, CRF, True)]:
            say(f"  {name}: {preset} {crf}{' capped' if capped else ''} …")
            encoded = folder / "preset.mp4"
            command = [
                *(ffmpeg, "-y", "-t", str(SECONDS), "-i", clip, "-an", "-c:v", "libx264", "-preset", preset),
                *("-crf", str(crf), *(_CAP if capped else ()), "-g", "150", encoded),
            ]
            usage = measure(command, cwd=folder, log=folder / "step.log")
            yield Encoded(
                clip=name,
                preset=preset,
                crf=crf,
                capped=capped,
                cpu_seconds=usage.cpu_seconds,
                kbit_s=encoded.stat().st_size * 8 / 1000 / SECONDS,
                vmaf=_measure_vmaf(encoded, clip, folder, ffmpeg),
            )


def _measure_vmaf(encoded: Path, clip: Path, folder: Path, ffmpeg: Path) -> float:
    graph = f"[0:v][1:v]libvmaf=n_subsample={_EVERY}:n_threads=2:log_fmt=json:log_path=vmaf.json"
    run_ffmpeg(
        [
            *("-v", "error", "-i", str(encoded), "-t", str(SECONDS), "-i", str(clip)),
            *("-filter_complex", graph, "-f", "null", "-"),
        ],
        ffmpeg=ffmpeg,
        cwd=folder,
    )
    return float(json.loads((folder / "vmaf.json").read_text(encoding="utf-8"))["pooled_metrics"]["vmaf"]["mean"])
