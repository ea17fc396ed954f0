"""The picture of one result made in parts: which there are, and how one of them is made from the source alone.

A part begins and ends at a cut, where a new picture begins anyway, so nothing in it depends on another part. It is a
small value that travels as JSON; the sound, the caption track and everything else of the whole belong to the join
(`pipeline.join`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

from pipeline.audio import Sound
from pipeline.burn import format_ass
from pipeline.errors import SourceGone
from pipeline.ffmpeg import find_ffmpeg
from pipeline.models import Cue, Probe, RunContext, VideoStream
from pipeline.options import PipelineOptions, Style
from pipeline.render import RenderPlan, render_video
from pipeline.split import split_evenly
from pipeline.timeline import Timeline

CHUNK_VERSION = 1
LEAST_S = 20
"""Seconds of result that are worth a part: its start and its look at the source's packets cost a second or two."""
_SILENT = Sound(tracks=(), delivered=(), speech=None, speech_samples=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One part of the picture of a result, and all that making it takes beside the source."""

    first_frame: int
    """Frame of the result that it begins with."""
    timeline: Timeline
    """All frames of the source, of which only the part's are kept."""
    video: VideoStream
    """What the source's picture is, so that no part has to find out again."""
    source_bytes: int
    cues: tuple[Cue, ...] = ()
    """Captions to draw, in the time of the whole result."""
    style: Style | None = None
    """How they look; None draws none."""
    rtl: bool = False
    """Whether they run from right to left."""

    @property
    def frames(self) -> int:
        """Frames of the part."""
        return self.timeline.kept_frames

    def to_json(self) -> dict[str, object]:
        """Return the chunk as a value for JSON: a kilobyte or two, and some bytes for each cut and caption."""
        return {
            "version": CHUNK_VERSION,
            "first_frame": self.first_frame,
            "timebase": str(self.timeline.timebase),
            "source_frames": self.timeline.frames,
            "kept": [list(pair) for pair in self.timeline.kept],
            "video": {
                name: str(value) if isinstance(value, Fraction) else value for name, value in asdict(self.video).items()
            },
            "source_bytes": self.source_bytes,
            "cues": [[cue.start_ms, cue.end_ms, list(cue.lines)] for cue in self.cues],
            "style": None if self.style is None else self.style.value,
            "rtl": self.rtl,
        }


_RATIONAL = {field.name for field in fields(VideoStream) if field.type in (Fraction, "Fraction")}


def parse_chunk(document: Mapping[str, object]) -> Chunk:
    """Return the chunk that `Chunk.to_json` wrote. Raises `ValueError` for anything else."""
    match document:
        case {
            "version": 1, "first_frame": int(first_frame), "timebase": str(timebase), "source_frames": int(frames),
            "kept": list(kept), "video": dict(video), "source_bytes": int(size), "cues": list(cues),
            "style": str() | None as style, "rtl": bool(rtl),
        }:  # fmt: skip
            pass
        case _:
            raise ValueError(f"no chunk of version {CHUNK_VERSION}: {sorted(document)}")
    try:
        return Chunk(
            first_frame=first_frame,
            timeline=Timeline.from_kept(Fraction(timebase), frames, [(int(start), int(end)) for start, end in kept]),
            video=_parse_video(video),
            source_bytes=size,
            cues=tuple(Cue(start_ms=int(start), end_ms=int(end), lines=tuple(lines)) for start, end, lines in cues),
            style=None if style is None else Style(style),
            rtl=rtl,
        )
    except (TypeError, KeyError, ZeroDivisionError) as error:
        raise ValueError(f"a chunk that can't be read: {error}") from error


def _parse_video(document: Mapping[str, Any]) -> VideoStream:
    values: dict[str, Any] = dict(document)
    return VideoStream(**(values | {name: Fraction(values[name]) for name in _RATIONAL}))


def plan_chunks(
    timeline: Timeline,
    parts: int,
    *,
    probe: Probe,
    cues: Sequence[Cue] = (),
    style: Style | None = None,
    rtl: bool = False,
    least_s: float = LEAST_S,
) -> tuple[Chunk, ...]:
    """Return at most ``parts`` chunks of a result, in order: together they keep what ``timeline`` keeps.

    They are as long as each other as far as the cuts allow, ``least_s`` seconds or more each; a short result, or one
    without cuts, is one chunk. ``cues`` are drawn in ``style``, each in the chunks that it is seen in. Pure.
    """
    kept = timeline.kept
    lengths = [end - start for start, end in kept]
    begins = list(accumulate(lengths, initial=0))
    return tuple(
        Chunk(
            first_frame=begins[share.start],
            timeline=Timeline.from_kept(timeline.timebase, timeline.frames, kept[share.start : share.stop]),
            video=probe.video,
            source_bytes=probe.size_bytes,
            cues=_choose_cues(cues, timeline, begins[share.start], begins[share.stop]) if style is not None else (),
            style=style,
            rtl=rtl,
        )
        for share in split_evenly(lengths, parts, least=max(1, ceil(least_s * timeline.timebase)))
    )


def _choose_cues(cues: Sequence[Cue], timeline: Timeline, first: int, after: int) -> tuple[Cue, ...]:
    """Return the cues that are seen in frames ``first`` until ``after`` of the result, or just beside them."""
    begin_ms, end_ms = timeline.to_ms(first - 1), timeline.to_ms(after + 1)
    return tuple(cue for cue in cues if cue.start_ms <= end_ms and cue.end_ms >= begin_ms)


def render_chunk(source: Path, options: PipelineOptions, chunk: Chunk, ctx: RunContext) -> Path:
    """Write the picture of ``chunk`` as MP4 into ``ctx.workdir`` and return its path.

    What is not needed of ``source`` is skipped where its container can be entered in the middle (MP4, MOV, MKV, WebM);
    others are decoded up to the end of the part. Raises `SourceGone` when the source is not the one that was planned,
    and what `render.render_video` raises.
    """
    _require_source(source, chunk)
    video = chunk.video
    ass = None
    if chunk.style is not None and chunk.cues:
        ass = format_ass(chunk.cues, width=video.width, height=video.height, style=chunk.style, rtl=chunk.rtl)
    plan = RenderPlan(
        source=source,
        probe=Probe(
            name=source.name,
            format="",
            size_bytes=chunk.source_bytes,
            duration_ms=video.duration_ms,
            video=video,
            audio=(),
        ),
        timeline=chunk.timeline,
        sound=_SILENT,
        language="",
        ass=ass,
        first_frame=chunk.first_frame,
    )
    target = ctx.workdir / "picture.mp4"
    ctx.check_cancelled()
    render_video(plan, target, ffmpeg_binary=find_ffmpeg(options.ffmpeg), ctx=ctx)
    _require_source(source, chunk)
    return target


def _require_source(source: Path, chunk: Chunk) -> None:
    try:
        size = source.stat().st_size
    except OSError as error:
        raise SourceGone(detail=str(error)) from error
    if size != chunk.source_bytes:
        raise SourceGone(detail=f"{source.name} has {size} bytes, not the {chunk.source_bytes} that were planned with")
