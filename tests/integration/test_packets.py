"""Decoding only what is needed changes nothing: the same bytes come out, or the whole file is decoded."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import render
from pipeline.models import RunContext
from pipeline.options import Captions, PipelineOptions
from pipeline.packets import PacketTable, choose_packets, scan_packets
from pipeline.picture import PictureTraits
from pipeline.probe import probe
from pipeline.run import run_pipeline
from pipeline.timeline import Range, Timeline
from tests.media.clips import NumberedClip, numbered_clip
from tests.media.encode import CODINGS, Coding, _x264
from tests.media.hard import ffmpeg

FRAMES = 900
KEPT: list[Range] = [(17, 31), (200, 201), (209, 260), (640, 700), (899, 900)]
"""Gaps of under a GOP and of over ten seconds, a single frame, the last one."""

CLOSED = _x264(gop=30, bframes=3)
CODES: dict[str, Callable[[Path], NumberedClip]] = {
    "closed GOP": partial(numbered_clip, coding=Coding(suffix=".mp4", picture=CLOSED)),
    "Matroska": partial(numbered_clip, coding=Coding(suffix=".mkv", picture=CLOSED)),
    "HEVC": partial(
        numbered_clip,
        coding=Coding(
            suffix=".mp4",
            picture=(
                *("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"),
                *("-x265-params", "log-level=error:keyint=30:bframes=3:open-gop=0:pools=2"),
            ),
        ),
    ),
    "full range": partial(
        numbered_clip,
        coding=Coding(suffix=".mp4", picture=(*CLOSED, "-pix_fmt", "yuvj420p", "-color_range", "pc")),
    ),
    "variable rate": partial(numbered_clip, coding=Coding(suffix=".mp4", picture=CLOSED), vfr=True),
    "NTSC": partial(numbered_clip, coding=Coding(suffix=".mp4", picture=CLOSED), rate=Fraction(30000, 1001)),
    "picture late": partial(numbered_clip, coding=Coding(suffix=".mp4", picture=CLOSED), video_offset_ms=500),
    **{
        f"turned by {degrees}": partial(
            numbered_clip, coding=Coding(suffix=".mp4", picture=CLOSED), size=(180, 320), rotation=degrees
        )
        for degrees in (90, 180, 270)
    },
}


def play(clip: NumberedClip, workdir: Path) -> list[bytes]:
    """Return the encoded pictures of what is made of ``clip``."""
    workdir.mkdir()
    timeline = workdir / "wanted.v1.json"
    timeline.write_text(Timeline.from_kept(clip.rate, FRAMES, KEPT).to_json(clip.path.name), encoding="utf-8")
    options = PipelineOptions(captions=Captions.NONE, timeline=timeline)
    video = run_pipeline(clip.path, options, RunContext(workdir=workdir)).files["video.mp4"]
    with av.open(str(video)) as container:
        return [bytes(packet) for packet in container.demux(video=0)]


@pytest.mark.parametrize("make", CODES.values(), ids=list(CODES))
def test_the_same_pictures_come_out(
    make: Callable[..., NumberedClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = ".mkv" if make is CODES["Matroska"] else ".mp4"
    clip = make(tmp_path / f"clip{suffix}", frames=FRAMES)
    chosen: list[NDArray[np.bool_]] = []
    find = render.find_wanted_packets

    def watch(plan: render.RenderPlan, traits: PictureTraits) -> object:
        packets = find(plan, traits)
        assert packets is not None, "no packet was skipped"
        chosen.append(packets[1])
        return packets

    monkeypatch.setattr(render, "find_wanted_packets", watch)
    fed = play(clip, tmp_path / "fed")
    (wanted,) = chosen
    print(f"{np.count_nonzero(wanted)} of {len(wanted)} packets decoded for {sum(b - a for a, b in KEPT)} frames")
    assert np.count_nonzero(wanted) < len(wanted) * 0.85
    monkeypatch.setattr(render, "find_wanted_packets", lambda *_: None)
    assert fed == play(clip, tmp_path / "whole")


WHOLE = {
    **{name: CODINGS[name] for name in ("open-gop-60", "hevc", "mpeg4-avi", "mpeg-ts", "mjpeg-avi")},
    "refresh by columns": Coding(suffix=".mp4", picture=_x264(gop=30, params="intra-refresh=1:scenecut=0")),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_can_not_be_entered_anywhere_is_decoded_whole(name: str, tmp_path: Path) -> None:
    coding = WHOLE[name]
    clip = numbered_clip(tmp_path / f"clip{coding.suffix}", frames=300, coding=coding)
    assert scan_packets(clip.path, probe(clip.path, PipelineOptions()).video.index) is None


def test_an_edit_list_is_decoded_whole(tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", frames=300, coding=Coding(suffix=".mp4", picture=CLOSED))
    ffmpeg("-ss", "2.5", "-i", clip.path, "-c", "copy", "cut.mp4", cwd=tmp_path)  # begins between key frames
    assert scan_packets(tmp_path / "cut.mp4", 0) is None


# --- the choice itself ---


def table(gop: int = 10, count: int = 100) -> PacketTable:
    times = np.arange(count, dtype=np.int64)
    return PacketTable(times=times, keys=times % gop == 0, time_base=Fraction(1, 30))


def choose(kept: list[Range], packets: PacketTable | None = None) -> list[int] | None:
    timeline = Timeline.from_kept(Fraction(30), 100, kept)
    wanted = choose_packets(packets or table(), timeline, Fraction(0))
    return None if wanted is None else np.flatnonzero(wanted).tolist()


def test_a_group_is_sent_from_its_key_to_its_last_needed_packet() -> None:
    assert choose([(24, 26)]) == list(range(20, 29))


def test_a_range_takes_the_picture_that_stands_when_it_begins() -> None:
    assert choose([(20, 22)]) == [*range(10, 20), *range(20, 25)]


def test_pictures_that_stand_for_long_are_found() -> None:
    sparse = PacketTable(
        times=np.array([0, 3, 5, 50, 90, 95], dtype=np.int64),
        keys=np.array([True, False, False, True, True, False]),
        time_base=Fraction(1, 30),
    )
    assert choose([(60, 70)], sparse) == [3, 4]


def test_reordered_packets_are_counted_by_their_times() -> None:
    shuffled = PacketTable(
        times=np.array([0, 4, 2, 1, 3, 5, 9, 7, 6, 8], dtype=np.int64),
        keys=np.array([True, *[False] * 4, True, *[False] * 4]),
        time_base=Fraction(1, 30),
    )
    assert choose([(0, 1)], shuffled) == [0, 1, 2, 3, 4]


def test_little_to_skip_is_not_worth_it() -> None:
    assert choose([(0, 92)]) is None
