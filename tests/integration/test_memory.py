"""Memory stays flat however long the talk: the unique set (USS) of the whole process tree, sampled while it works."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from config import PROJECT_ROOT
from pipeline.espeak import VOICE_RATE, Samples, speak
from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg

LIMIT_MB = 1000
_SENTENCES = (
    "Today we look at how a long recording becomes a short one.",
    "The first thing to know is that pauses are longer than they feel.",
    "A machine can hear them, and a person would rather not.",
    "Every word that was spoken is still there when the pauses are gone.",
    "Let us go through the numbers one after the other.",
)
_PAUSES_S = (0.4, 1.1, 0.7, 2.3, 0.3, 1.6, 0.9)


def say(seconds: float) -> Iterator[bytes]:
    """Yield a talk of about ``seconds``, sentence by sentence with varying speed, pauses and a little noise."""
    random = np.random.default_rng(11)
    said = 0
    number = 0
    while said < seconds * VOICE_RATE:
        sentence = speak(_SENTENCES[number % len(_SENTENCES)], "en", (140, 155, 170)[number % 3])
        pause = np.zeros(round(_PAUSES_S[number % len(_PAUSES_S)] * VOICE_RATE), np.int16)
        block: Samples = np.concatenate([sentence, pause])
        block = np.asarray(np.clip(block + random.normal(0, 20, len(block)), -32768, 32767), dtype=np.int16)
        said += len(block)
        number += 1
        yield block.tobytes()


def write_long_talk(path: Path, seconds: float) -> Path:
    """Write a talk of ``seconds`` under a very small picture; nothing is held in memory."""
    run_ffmpeg(
        [
            *("-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=128x72:rate=10"),
            *("-f", "s16le", "-ar", str(VOICE_RATE), "-ch_layout", "mono", "-i", "{sound}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "100", "-c:a", "aac", "-b:a", "64k", "-ac", "2"),
            *("-ar", "48000", "-shortest", str(path)),
        ],
        ffmpeg=find_ffmpeg(),
        cwd=path.parent,
        feeds=[Feed(placeholder="{sound}", blocks=lambda: say(seconds))],
    )
    return path


def watch_memory(command: list[str]) -> tuple[float, float]:
    """Run ``command`` to its end and return the peak USS of its process tree in MB, and the seconds it took."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        parent = psutil.Process(child.pid)
        while child.poll() is None:
            total = 0
            for process in (parent, *_children(parent)):
                try:
                    total += process.memory_full_info().uss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(0.5)
    assert child.returncode == 0
    return peak / 1e6, time.monotonic() - started


def _children(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return list(parent.children(recursive=True))
    except psutil.Error:
        return []


def process(minutes: int, folder: Path) -> float:
    source = write_long_talk(folder / "talk.mp4", minutes * 60)
    command = [sys.executable, "-m", "pipeline", str(source), "-o", str(folder / "out"), "--language", "en"]
    peak, seconds = watch_memory(command)
    print(f"{minutes:4} min of speech: peak USS of the process tree {peak:4.0f} MB, {seconds:.0f} s")
    return peak


@pytest.fixture
def weighed(weights: Path, tmp_path: Path) -> Callable[[int], float]:
    assert weights.is_dir()

    def weigh(minutes: int) -> float:
        folder = tmp_path / str(minutes)
        folder.mkdir()
        return process(minutes, folder)

    return weigh


def test_five_minutes_fit(weighed: Callable[[int], float]) -> None:
    assert weighed(5) < LIMIT_MB


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_memory_is_flat_up_to_three_hours(weighed: Callable[[int], float]) -> None:
    peaks = {minutes: weighed(minutes) for minutes in (10, 60, 180)}
    assert max(peaks.values()) < LIMIT_MB
    assert peaks[180] < 1.25 * peaks[10] + 100
