"""The parts of a picture put together: their packets copied, the sound of the whole encoded once.

A part begins with a refresh (IDR) and counts its frames from 0 in a time base in which a frame is a whole number of
ticks, so its place in the result is exact. Everything but the picture is made by the same command as in one piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import ffmpeg
from av.video.stream import VideoStream as Stream

from pipeline.errors import PipelineError, ToolFailed
from pipeline.ffmpeg import Feed
from pipeline.media import open_media, reading
from pipeline.models import RunContext
from pipeline.packets import SHIFT_S, PacketPipe
from pipeline.render import RenderPlan, build_output, write_video

_PICTURE = "picture"


class PartsMisfit(ToolFailed):
    """The parts do not make up one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What the parts of one picture have in common, and how long one is."""

    frames: int
    time_base: Fraction
    settings: bytes
    """The decoder's configuration: the parts share one."""


def join_video(
    plan: RenderPlan,
    parts: Sequence[Path],
    frames: Sequence[int],
    target: Path,
    *,
    ffmpeg_binary: Path,
    ctx: RunContext,
) -> None:
    """Write the finished MP4 of ``plan`` to ``target``, its picture copied from ``parts`` of so many ``frames`` each.

    Raises `PartsMisfit` when a part is not whole, or was not encoded as the others; else as `render.render_video`.
    """
    time_base = check_parts(parts, frames, plan.timeline.timebase)
    picture = ffmpeg.input(_PICTURE, f="nut", itsoffset=-SHIFT_S).video
    encoder = {"c:v": "copy", "video_track_timescale": time_base.denominator}
    feed = Feed(placeholder=_PICTURE, blocks=partial(_feed_parts, parts, frames, plan.timeline.timebase))
    write_video(plan, build_output(plan, target, picture, encoder), [feed], ffmpeg_binary=ffmpeg_binary, ctx=ctx)


def check_parts(parts: Sequence[Path], frames: Sequence[int], rate: Fraction) -> Fraction:
    """Return the time base of ``parts``. Raises `PartsMisfit` when they do not make up one picture."""
    if len(parts) != len(frames) or not parts:
        raise _misfit(f"{len(parts)} parts, {len(frames)} were planned")
    found = [_examine(path, rate) for path in parts]
    for path, part, expected in zip(parts, found, frames, strict=True):
        if part.frames != expected:
            raise _misfit(f"{path.name} has {part.frames} frames, not {expected}")
        if (part.settings, part.time_base) != (found[0].settings, found[0].time_base):
            raise _misfit(f"{path.name} was encoded with other settings than {parts[0].name}")
    return found[0].time_base


def is_whole(path: Path, frames: int, rate: Fraction) -> bool:
    """Tell whether ``path`` is a picture of so many ``frames`` that can be joined to others."""
    try:
        check_parts([path], [frames], rate)
    except PipelineError:
        return False
    return True


def _examine(path: Path, rate: Fraction) -> _Part:
    """Return what a part is, by its packets. Raises `PartsMisfit` when it has gaps or can't follow another."""
    with open_media(path) as container, reading(path):
        stream = container.streams.video[0]
        assert stream.time_base is not None
        times: list[int] = []
        for packet in container.demux(stream):
            if packet.pts is None:
                continue  # the end
            if not times and not packet.is_keyframe:
                raise _misfit(f"{path.name} does not begin with a key frame")
            times.append(packet.pts)
        ticks = 1 / rate / stream.time_base
        if ticks.denominator != 1 or sorted(times) != [number * ticks for number in range(len(times))]:
            raise _misfit(f"{path.name} does not show a frame at every place")
        return _Part(frames=len(times), time_base=stream.time_base, settings=stream.codec_context.extradata or b"")


def _misfit(detail: str) -> PartsMisfit:
    return PartsMisfit("The parts of the video do not fit together. Process it again.", detail)


def _feed_parts(parts: Sequence[Path], frames: Sequence[int], rate: Fraction) -> Iterator[bytes]:
    """Yield a NUT stream of all packets, those of each part behind the part before, all times `SHIFT_S` later."""
    pipe = PacketPipe()
    with av.open(pipe, "w", format="nut") as output:
        copy: Stream | None = None
        before = 0
        for path, count in zip(parts, frames, strict=True):
            with open_media(path) as container, reading(path):
                stream = container.streams.video[0]
                assert stream.time_base is not None
                if copy is None:
                    copy = output.add_stream_from_template(stream)
                    copy.time_base = stream.time_base
                shift = round((SHIFT_S + before / rate) / stream.time_base)
                for packet in container.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = copy
                    output.mux(packet)
                    yield from pipe.take()
            before += count
    yield from pipe.take()
