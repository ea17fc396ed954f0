"""The plan of parts: every kept frame in one part, values that travel, one part where more are not worth it."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from pipeline.chunks import Chunk, parse_chunk, plan_chunks
from pipeline.models import Cue, Probe, VideoStream
from pipeline.options import Style
from pipeline.timeline import Timeline

NTSC = Fraction(30000, 1001)
VIDEO = VideoStream(
    index=1,
    codec="hevc",
    width=1080,
    height=1920,
    average_rate=NTSC,
    nominal_rate=NTSC,
    vfr=True,
    pixel_format="yuv420p10le",
    color_transfer="hlg",
    hdr=True,
    full_range=False,
    rotation=270,
    sample_aspect=Fraction(4, 3),
    bit_rate=9_000_000,
    first_frame=Fraction(1, 3),
    frames=300_000,
    duration_ms=10_010_000,
)
PROBE = Probe(
    name="talk.mp4", format="mov,mp4,m4a,3gp,3g2,mj2", size_bytes=123, duration_ms=10_010_000, video=VIDEO, audio=()
)
TALK = Timeline.from_kept(NTSC, 300_000, [(at, at + 40 + at % 50) for at in range(11, 299_000, 150)])


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_parts_keep_what_the_whole_keeps_each_frame_once(parts: int) -> None:
    chunks = plan_chunks(TALK, parts, probe=PROBE)
    assert len(chunks) == parts
    assert tuple(pair for chunk in chunks for pair in chunk.timeline.kept) == TALK.kept
    assert all(chunk.timeline.frames == TALK.frames and chunk.timeline.timebase == NTSC for chunk in chunks)
    at = 0
    for chunk in chunks:
        assert chunk.first_frame == at
        at += chunk.frames
    assert at == TALK.kept_frames
    lengths = [chunk.frames for chunk in chunks]
    assert max(lengths) - min(lengths) <= 2 * 90


def test_what_is_short_or_has_no_cut_is_one_part() -> None:
    short = Timeline.from_kept(NTSC, 2000, [(0, 500), (900, 1400)])  # 33 s of result
    assert len(plan_chunks(short, 8, probe=PROBE)) == 1
    assert len(plan_chunks(short, 8, probe=PROBE, least_s=10)) == 2
    (whole,) = plan_chunks(Timeline.uncut(NTSC, 300_000), 8, probe=PROBE)
    assert (whole.first_frame, whole.frames) == (0, 300_000)


def test_captions_go_where_they_are_seen() -> None:
    first, second = plan_chunks(TALK, 2, probe=PROBE)
    seam = TALK.to_ms(second.first_frame)
    cues = [
        Cue(start_ms=1000, end_ms=2000, lines=("early",)),
        Cue(start_ms=seam - 500, end_ms=seam + 500, lines=("on both", "sides")),
        Cue(start_ms=seam + 600, end_ms=seam + 900, lines=("late",)),
    ]
    first, second = plan_chunks(TALK, 2, probe=PROBE, cues=cues, style=Style.BOLD, rtl=True)
    assert first.cues == tuple(cues[:2])
    assert second.cues == tuple(cues[1:])
    assert all(chunk.cues == () for chunk in plan_chunks(TALK, 2, probe=PROBE, cues=cues))
    for chunk in (first, second):
        assert parse_chunk(json.loads(json.dumps(chunk.to_json()))) == chunk


def test_a_chunk_is_small() -> None:
    """Three hours with two thousand cuts, in fifty parts."""
    sizes = [len(json.dumps(chunk.to_json())) for chunk in plan_chunks(TALK, 50, probe=PROBE)]
    assert max(sizes) < 4000


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"kept": [[0]]}, {"kept": 5}, {"timebase": "x"}, {"video": {}}, {"style": "neon"}, {"cues": [1]}],
)
def test_what_is_no_chunk_is_refused(change: dict[str, object]) -> None:
    (chunk,) = plan_chunks(TALK, 1, probe=PROBE)
    assert isinstance(parse_chunk(chunk.to_json()), Chunk)
    with pytest.raises(ValueError):
        parse_chunk(chunk.to_json() | change)
    with pytest.raises(ValueError):
        parse_chunk({})
