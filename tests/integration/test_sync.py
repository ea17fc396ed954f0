"""Picture and sound stay together through hundreds of cuts: each flash meets its beep as it did in the source."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.models import RunContext
from pipeline.options import Captions, CutEngine, PipelineOptions
from pipeline.run import run_pipeline
from pipeline.timeline import read_timeline
from tests.media.clips import SHAPES
from tests.media.codes import BEEP_S
from tests.media.measure import beep_times, find_beeps, find_flashes, read_sound

EXACT_S = 0.0002
"""Half a frame is what a viewer forgives; ten samples is what exact arithmetic needs, however many cuts there are."""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that is gone after the test: raw sound of many minutes is large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def process(source: Path, workdir: Path) -> dict[str, Path]:
    """Return the files made of ``source`` when every pause is cut out of it."""
    options = PipelineOptions(pace="tight", threshold=0.04, captions=Captions.NONE, cut_engine=CutEngine.BUILTIN)
    return run_pipeline(source, options, RunContext(workdir=workdir)).files


def measure_drift(name: str, *, n_events: int, duration_s: float, scratch: Path) -> None:
    """Cut a clip of shape ``name`` around each event; check that none is lost and none has moved, print the worst."""
    shape = SHAPES[name]
    clip = shape.make(scratch, n_events=n_events, duration_s=duration_s)
    files = process(clip.path, scratch)
    before, after = _distances(clip.path), _distances(files["video.mp4"])
    cuts = len(read_timeline(files["timeline.json"], default_timebase=Fraction(30)).removed)
    assert len(before) == n_events, "the source does not hold its own events"
    assert len(after) == n_events, f"{n_events - len(after)} events are lost or halved"
    assert cuts >= n_events
    moved = [after_s - before_s for before_s, after_s in zip(before, after, strict=True)]
    worst = max(moved, key=abs)
    creep = _mean(moved[-n_events // 10 :]) - _mean(moved[: n_events // 10])
    print(
        f"{name:>12}  {cuts:3d} cuts  worst {worst * 1000:+7.3f} ms of {shape.tolerance_s * 1000:5.2f}"
        f"  first {moved[0] * 1000:+7.3f}  last {moved[-1] * 1000:+7.3f}  creep {creep * 1000:+7.3f}"
    )
    assert abs(worst) <= shape.tolerance_s
    assert abs(worst) <= EXACT_S


def _distances(path: Path) -> list[float]:
    """Return for each event how many seconds its beep comes after its flash."""
    flashes, beeps = find_flashes(path), find_beeps(path)
    assert len(flashes) == len(beeps), f"{path.name}: {len(flashes)} flashes, {len(beeps)} beeps"
    return [beep - flash for flash, beep in zip(flashes, beeps, strict=True)]


def _beep_levels(path: Path) -> list[float]:
    """Return how loud each beep is (RMS)."""
    sound = read_sound(path)
    beeps = [sound.between(at, at + BEEP_S).astype(np.float64) for at in beep_times(sound)]
    return [math.sqrt(float(np.mean(beep**2))) for beep in beeps]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("name", SHAPES)
def test_forty_cuts_keep_picture_and_sound_together(name: str, scratch: Path) -> None:
    measure_drift(name, n_events=40, duration_s=80, scratch=scratch)


def test_sound_is_as_loud_as_it_was(scratch: Path) -> None:
    clip = SHAPES["30"].make(scratch, n_events=5, duration_s=10)
    video = process(clip.path, scratch)["video.mp4"]
    before, after = _beep_levels(clip.path), _beep_levels(video)
    assert [20 * math.log10(b / a) for a, b in zip(before, after, strict=True)] == pytest.approx([0.0] * 5, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_three_hundred_cuts_in_twenty_minutes_keep_picture_and_sound_together(name: str, scratch: Path) -> None:
    measure_drift(name, n_events=320, duration_s=1200, scratch=scratch)
