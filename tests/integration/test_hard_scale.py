"""From one frame to three hours, from no cut to thousands: the same exactness."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.timeline import Range, read_timeline
from tests.media.clips import FlashBeep, flash_beep_clip, numbered_clip, one_frame_clip, silent_clip
from tests.media.hard import process
from tests.media.measure import find_beeps, find_flashes, read_frames, read_numbers, read_sound

RATE = Fraction(30000, 1001)
"""NTSC: no frame holds a whole number of samples, so that rounding has something to add up."""
TINY = (96, 60)
SYNC_MS = 0.2
"""Ten samples, however many cuts there are."""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that is gone after the test: raw sound of hours is large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def _report_sync(clip: FlashBeep, video: Path, label: str, cuts: int, began: float) -> None:
    flashes, beeps = find_flashes(video), find_beeps(video)
    assert len(flashes) == len(beeps) == len(clip.events)
    moved = [(beep - flash) * 1000 for flash, beep in zip(flashes, beeps, strict=True)]
    print(
        f"{label}: {cuts} cuts in {time.monotonic() - began:.0f} s, first {moved[0]:+.3f}, last {moved[-1]:+.3f}, "
        f"worst {max(moved, key=abs):+.3f} ms"
    )
    assert moved == pytest.approx([0.0] * len(moved), abs=SYNC_MS)


def test_two_thousand_cuts(scratch: Path) -> None:
    """Every frame is the right one, and the beeps between cuts 0, 1000 and 2000 meet their flashes."""
    frames, period = 8200, 4
    events = [2, 4104, 8150]
    clip = flash_beep_clip(scratch / "clip.mp4", rate=RATE, duration_s=frames / float(RATE) + 0.001, size=TINY,
                           events_ms=[float(at / RATE * 1000) for at in events])  # fmt: skip
    assert [event.frame for event in clip.events] == events
    around = [(at - 2, at + 6) for at in events]
    kept: list[Range] = sorted(around + [(at, at + 1 + at // period % 3) for at in range(12, frames - 60, period)
                                         if all(at + 4 <= low or at >= high + 1 for low, high in around)])  # fmt: skip
    began = time.monotonic()
    files = process(clip.path, scratch, kept=kept, rate=RATE, frames=clip.grid_frames).files
    timeline = read_timeline(files["timeline.json"], default_timebase=RATE)
    assert list(timeline.kept) == kept
    assert len(timeline.removed) >= 2000
    shown = read_frames(files["video.mp4"])
    assert [frame.number for frame in shown] == [frame for start, end in kept for frame in range(start, end)]
    assert float(read_sound(files["video.mp4"]).end) == pytest.approx(float(len(shown) / RATE), abs=0.001)
    _report_sync(clip, files["video.mp4"], "tiny picture", len(timeline.removed), began)


def test_one_frame(tmp_path: Path) -> None:
    for audio in (False, True):
        clip = one_frame_clip(tmp_path / "one.mp4", audio=audio)
        video = process(clip.path, tmp_path, cut=True).files["video.mp4"]
        assert read_numbers(video) == [0] * (1 if not audio else len(read_numbers(video)))


EDGES: dict[str, list[Range]] = {
    "all but the first frame": [(1, 60)],
    "all but the last frame": [(0, 59)],
    "all but both ends": [(1, 59)],
    "only both ends": [(0, 1), (59, 60)],
    "only the last frame": [(59, 60)],
    "everything": [(0, 60)],
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("rate", [Fraction(30), RATE], ids=["30", "29.97"])
def test_cuts_at_the_ends(name: str, rate: Fraction, tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", rate=rate, frames=60, loud=[(0, 60)])
    kept = EDGES[name]
    result = process(clip.path, tmp_path, kept=kept, rate=rate, frames=60)
    wanted = [frame for start, end in kept for frame in range(start, end)]
    assert read_numbers(result.files["video.mp4"]) == wanted
    sound = read_sound(result.files["video.mp4"])
    assert float(sound.end - len(wanted) / rate) == pytest.approx(0, abs=0.001)  # MP4's edit list counts milliseconds
    assert np.abs(sound.samples).max() > 10000


def test_nothing_to_keep_is_delivered_uncut(tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "silent.mp4", frames=60)
    result = process(clip.path, tmp_path, cut=True)
    assert [note.code for note in result.notes] == ["all_silent"]
    assert read_numbers(result.files["video.mp4"]) == list(range(60))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hours(scratch: Path) -> None:
    """A flash and a beep in every nine seconds, all silence cut: 1200 events and as many cuts."""
    began = time.monotonic()
    clip = flash_beep_clip(scratch / "long.mp4", rate=RATE, n_events=1200, duration_s=3 * 3600, size=TINY)
    print(f"made in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    files = process(clip.path, scratch, cut=True).files
    removed = read_timeline(files["timeline.json"], default_timebase=RATE).removed
    assert len(removed) >= 1200
    _report_sync(clip, files["video.mp4"], "three hours", len(removed), began)
