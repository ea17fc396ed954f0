"""The built-in detector beside auto-editor 31.5.1 itself: its timelines of real files, boundary for boundary."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.audio import choose_tracks, decode_audio
from pipeline.cuts import choose_rules, cut_silence
from pipeline.levels import join_levels, measure_levels
from pipeline.media import open_media
from pipeline.models import RunContext
from pipeline.options import PipelineOptions, parse_threshold
from pipeline.probe import describe_audio, probe
from pipeline.timeline import Timeline, read_timeline
from tests.media.shared import MEDIA, shared_file

SETTINGS = {
    "default": PipelineOptions(),
    "m01_t02": PipelineOptions(threshold=0.02, margin_ms=(100, 100)),
    "m03_05_t-19dB": PipelineOptions(threshold=parse_threshold("-19dB"), margin_ms=(300, 500)),
}
LOST_SAMPLES = 2048
"""Version 31 loses up to this many samples at the head of most MP4 and MOV, because it seeks before it analyses."""

REFERENCES = sorted(path.name for path in (MEDIA / "reference").glob("*.v31.v1.json"))


def detect(source: Path, options: PipelineOptions, workdir: Path) -> tuple[Timeline, int]:
    """Return the built-in detector's timeline of a file, and its sample rate; sound-only files start at their sound."""
    with open_media(source) as container:
        streams = tuple(describe_audio(container))
        has_picture = bool(container.streams.video)
        origin = Fraction(container.start_time or 0, 1_000_000)
    timebase = Fraction(30)
    if has_picture:
        video = probe(source).video
        origin, timebase = video.first_frame, video.average_rate
    sound = decode_audio(
        source,
        streams,
        origin=origin,
        duration_ms=3_600_000,
        delivered=choose_tracks(streams, None),
        ctx=RunContext(workdir=workdir),
    )
    levels = join_levels([measure_levels(track, timebase) for track in sound.tracks])
    rules = choose_rules(options, levels, timebase, plain=True)
    return cut_silence(levels, rules, timebase), sound.tracks[0].rate


@pytest.mark.parametrize("name", REFERENCES or ["none"])
def test_detector_matches_auto_editor(name: str, tmp_path: Path) -> None:
    if name == "none":
        pytest.skip(f"there are no reference timelines in TEST_MEDIA ({MEDIA})")
    stem = name.removesuffix(".v31.v1.json")
    setting = next(setting for setting in SETTINGS if stem.endswith(f".{setting}"))
    source = shared_file(stem.removesuffix(f".{setting}"))
    reference = read_timeline(MEDIA / "reference" / name, default_timebase=Fraction(30))

    timeline, rate = detect(source, SETTINGS[setting], tmp_path)

    assert timeline.timebase == reference.timebase
    tolerance = max(1, math.ceil(LOST_SAMPLES * timeline.timebase / rate))
    ours, theirs = timeline.chunks, reference.chunks
    edges = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(ours, theirs, strict=False)]
    edges[-1:] = [(edges[-1][0], 0)]  # the end of the last chunk is not compared: auto-editor loses tails
    worst = max(abs(difference) for edge in edges for difference in edge)
    print(f"{stem:45} {len(theirs):3} chunks, ours {len(ours):3}; worst boundary {worst} of {tolerance} frames")
    assert len(ours) == len(theirs)
    assert [chunk[2] for chunk in ours] == [chunk[2] for chunk in theirs]
    assert worst <= tolerance
