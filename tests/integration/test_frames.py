"""The result shows exactly the frames its cut list keeps: none lost, doubled or out of place at any seam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from pipeline.models import RunContext
from pipeline.options import Captions, CutEngine, PipelineOptions
from pipeline.run import run_pipeline
from pipeline.timeline import Range, Timeline, read_timeline
from tests.media.clips import NumberedClip, long_sound_clip, numbered_clip, odd_size_clip, rotated_clip
from tests.media.encode import CODINGS, PLAIN, Coding
from tests.media.measure import read_frames, read_sound

FRAMES = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What makes a source hard to cut exactly."""

    coding: Coding = PLAIN
    rate: Fraction = Fraction(30)
    video_offset_ms: int = 0
    vfr: bool = False


SOURCES = {
    **{name: Source(coding=coding) for name, coding in CODINGS.items()},
    "picture-late": Source(video_offset_ms=500),
    "ntsc-open-gop": Source(coding=CODINGS["open-gop-60"], rate=Fraction(30000, 1001)),
    "film": Source(rate=Fraction(24000, 1001)),
    "60-fps": Source(coding=CODINGS["closed-gop-250"], rate=Fraction(60)),
    "vfr": Source(vfr=True),
}


@pytest.fixture(scope="module", params=SOURCES)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NumberedClip:
    """Give each kind of source once."""
    source = SOURCES[request.param]
    return numbered_clip(
        tmp_path_factory.mktemp(request.param) / f"clip{source.coding.suffix}",
        rate=source.rate,
        frames=FRAMES,
        coding=source.coding,
        video_offset_ms=source.video_offset_ms,
        vfr=source.vfr,
    )


def run(clip: NumberedClip, workdir: Path, wanted: Timeline | None = None) -> tuple[Path, Timeline]:
    """Return the video made of ``clip``, by the cuts ``wanted`` or by its silence, and its cut list."""
    timeline = None
    if wanted is not None:
        timeline = workdir / "wanted.v1.json"
        timeline.write_text(wanted.to_json(clip.path.name), encoding="utf-8")
    options = PipelineOptions(threshold=0.04, captions=Captions.NONE, cut_engine=CutEngine.BUILTIN, timeline=timeline)
    files = run_pipeline(clip.path, options, RunContext(workdir=workdir)).files
    return files["video.mp4"], read_timeline(files["timeline.json"], default_timebase=clip.rate)


def check_frames(clip: NumberedClip, video: Path, timeline: Timeline) -> None:
    """Check each frame of ``video`` against the truth, by its number and its time; and that the sound ends with it."""
    assert timeline.timebase == clip.rate
    wanted = [clip.shown_at(frame) for start, end in timeline.kept for frame in range(start, end)]
    frames = read_frames(video)
    shown = [frame.number for frame in frames]
    assert len(shown) == timeline.kept_frames
    wrong = [(at, want, got) for at, (want, got) in enumerate(zip(wanted, shown, strict=True)) if want != got]
    assert not wrong, f"{len(wrong)} of {len(shown)} frames differ; the first (place, wanted, shown): {wrong[:5]}"
    assert [frame.time for frame in frames] == pytest.approx([at / clip.rate for at in range(len(frames))], abs=1e-4)
    sound = read_sound(video)
    excess = float(sound.end - len(frames) / clip.rate)
    print(f"{len(frames):4d} frames, {len(timeline.kept):3d} pieces, sound {excess * 1000:+.2f} ms longer")
    assert float(sound.start) == pytest.approx(0, abs=1e-3)
    assert abs(excess) <= 1 / clip.rate


def scatter_kept(seed: int, *, first: bool, last: bool) -> list[Range]:
    """Return irregular ranges of frames, many of one frame; whether the first and the last are among them is given."""
    random = np.random.default_rng(seed)
    kept: list[Range] = []
    at, keeps = 0, first
    while at < FRAMES - 1:
        length = 1 if len(kept) % 4 == 1 else int(random.choice([1, 2, 3, 5, 8, 21, 60]))
        end = min(FRAMES - 1, at + length)
        if keeps:
            kept.append((at, end))
        at, keeps = end, not keeps
    if last:
        kept.append((FRAMES - 1, FRAMES))
    return kept


def test_cut_silence_shows_the_frames_it_keeps(clip: NumberedClip, tmp_path: Path) -> None:
    video, timeline = run(clip, tmp_path)
    assert len(timeline.removed) >= 3
    kept = {frame for start, end in timeline.kept for frame in range(start, end)}
    assert all(set(range(start, end)) <= kept for start, end in clip.loud)
    check_frames(clip, video, timeline)


@pytest.mark.parametrize(("first", "last"), [(True, True), (False, False)], ids=["with its ends", "without its ends"])
def test_an_imported_timeline_shows_the_frames_it_keeps(
    clip: NumberedClip, tmp_path: Path, first: bool, last: bool
) -> None:
    seed = crc32(clip.path.parent.name.encode())
    wanted = Timeline.from_kept(clip.rate, FRAMES, scatter_kept(seed, first=first, last=last))
    assert sum(1 for start, end in wanted.kept if end - start == 1) >= 3
    video, timeline = run(clip, tmp_path, wanted)
    assert timeline.kept == wanted.kept
    check_frames(clip, video, timeline)


@pytest.mark.parametrize("frame", [0, 1, 299, FRAMES - 1])
def test_a_single_frame_can_be_all_that_is_kept(frame: int, tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", frames=FRAMES, coding=CODINGS["open-gop-60"])
    wanted = Timeline.from_kept(clip.rate, FRAMES, [(frame, frame + 1)])
    video, timeline = run(clip, tmp_path, wanted)
    assert timeline.kept == ((frame, frame + 1),)
    check_frames(clip, video, timeline)


@pytest.mark.parametrize(
    "make",
    [odd_size_clip, partial(rotated_clip, degrees=90), partial(rotated_clip, degrees=180), long_sound_clip],
    ids=["odd size", "portrait", "upside down", "sound outlasts picture"],
)
def test_sources_of_odd_form_show_the_frames_they_keep(make: Callable[[Path], NumberedClip], tmp_path: Path) -> None:
    clip = make(tmp_path / "clip.mp4")
    video, timeline = run(clip, tmp_path)
    assert timeline.removed
    check_frames(clip, video, timeline)


def test_everything_can_be_kept(tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", frames=FRAMES, coding=CODINGS["open-gop-60"])
    video, timeline = run(clip, tmp_path, Timeline.uncut(clip.rate, FRAMES))
    assert timeline.kept == ((0, FRAMES),)
    check_frames(clip, video, timeline)
