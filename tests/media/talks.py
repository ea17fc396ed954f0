"""Talks as videos: known speech over a small moving picture, and the command that processes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import PROJECT_ROOT
from pipeline.espeak import Samples
from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg
from tests.media.speech import SPEECH_RATE, Talk, talk


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of the command ended."""

    status: int
    events: tuple[Mapping[str, object], ...]
    """The JSON lines of its standard output."""
    errors: str
    """Its standard error."""

    def last(self) -> Mapping[str, object]:
        """Return the last event."""
        return self.events[-1]


def run_command(*arguments: str | Path, json_lines: bool = True) -> Ended:
    """Run ``python -m pipeline`` to its end."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments), *(["--json"] if json_lines else [])]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.splitlines() if json_lines else []
    events = tuple(json.loads(line) for line in lines if line.startswith('{"event"'))
    return Ended(status=done.returncode, events=events, errors=done.stderr)


SHADES = "color=gray:s=16x16:r=30,geq=lum='32+abs(mod(N*4,384)-192)':cb=128:cr=128,scale=640:360:flags=neighbor"
"""A picture of one grey, some shades from that before it. An encode takes next to nothing from it, so that parts agree
wherever the cuts are, and one in another's place is less than 40 dB from what belongs there."""


def write_video(
    path: Path,
    samples: Samples,
    *,
    audio_rate: int = SPEECH_RATE,
    size: tuple[int, int] = (320, 180),
    rate: int = 30,
    picture: str = "",
    options: Sequence[str] = (),
) -> Path:
    """Write mono ``samples`` to ``path`` and return it, under a small moving picture or another source of ffmpeg's."""
    seconds = len(samples) / audio_rate
    small = f"testsrc2=size={size[0]}x{size[1]}:rate={rate}:duration={seconds:.3f}"
    shown = f"{picture},trim=duration={seconds:.3f}" if picture else small
    run_ffmpeg(
        [
            *("-v", "error", "-y"),
            *("-f", "lavfi", "-i", shown),
            *("-f", "s16le", "-ar", str(audio_rate), "-ch_layout", "mono", "-i", "{sound}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", "-b:a", "96k", *options, str(path)),
        ],
        ffmpeg=find_ffmpeg(),
        cwd=path.parent,
        feeds=[Feed(placeholder="{sound}", blocks=lambda: [np.ascontiguousarray(samples).tobytes()])],
    )
    return path


def short_talk(noise_dbfs: float | None = -60.0) -> Talk:
    """Return a talk of some 12 s with two long pauses."""
    return talk(
        ["Good morning everyone.", "Today we talk about cutting videos.", "Thank you for your time."],
        [800, 2500, 1800, 1200],
        noise_dbfs=noise_dbfs,
        seed=1,
    )
