"""One recording that is really processed: a spoken talk over a drawn picture, and the nine files made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from config import PROJECT_ROOT
from pipeline.espeak import VOICE_RATE, speak
from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg

TALK = (
    ("Welcome back. Today we look at strong openings.", 1.4),
    ("Most talks begin with the speaker. Yours should not.", 2.6),
    ("So here is the first rule. Open with the change.", 1.1),
    ("What is different after this talk, for the person listening?", 3.2),
    ("If you cannot say that in one sentence, the talk is not finished.", 1.9),
    ("Say it once, clearly, and then stop.", 5.4),
    ("The silence after it is part of the sentence.", 1.6),
    ("Second rule. Name one person.", 0.9),
    ("Not everybody, not the audience. One person.", 2.2),
    ("It makes every later choice smaller, and easier.", 4.1),
    ("Third rule. Cut the first minute you wrote.", 1.5),
    ("It was for you, so that you could begin.", 2.8),
    ("Read the second minute aloud. That is your opening.", 1.2),
    ("Now an example from last week.", 3.6),
    ("A nurse opened with a clock, and nobody looked away.", 1.8),
    ("She did not say who she was until the very end.", 2.4),
    ("Try it tomorrow, with the talk you have now.", 1.3),
    ("Thank you, and see you in lesson five.", 2.0),
)
"""Sentences, and the seconds of silence after each."""


def write_talk(target: Path, picture: Path) -> Path:
    """Write the talk over the still ``picture`` to ``target`` as MP4 and return it."""
    parts = [np.zeros(VOICE_RATE, np.int16)]
    for sentence, pause_s in TALK:
        parts += [speak(sentence), np.zeros(round(pause_s * VOICE_RATE), np.int16)]
    samples = np.concatenate(parts).astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 32767 * 10 ** (-56 / 20), len(samples))
    sound = np.asarray(np.clip(np.rint(samples + noise), -32768, 32767), dtype=np.int16)
    run_ffmpeg(
        [
            *("-v", "error", "-y", "-loop", "1", "-framerate", "30", "-t", f"{len(sound) / VOICE_RATE:.3f}"),
            *("-i", str(picture), "-f", "s16le", "-ar", str(VOICE_RATE), "-ch_layout", "mono", "-i", "{sound}"),
            *("-vf", "zoompan=z='1.06+0.03*sin(on/90)':d=1:x='iw/2-iw/zoom/2':y='ih/2-ih/zoom/2':s=1280x720:fps=30"),
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", "22", "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", "-b:a", "128k", "-shortest", "-movflags", "+faststart", str(target)),
        ],
        ffmpeg=find_ffmpeg(),
        cwd=target.parent,
        feeds=[Feed(placeholder="{sound}", blocks=lambda: [sound.tobytes()])],
    )
    return target


def process(source: Path, out: Path) -> Path:
    """Run the pipeline on ``source`` and return its folder of results."""
    command = [sys.executable, "-m", "pipeline", str(source), "-o", str(out), "--language", "en"]
    subprocess.run(command, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True, timeout=900)
    return out
