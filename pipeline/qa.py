"""The result, opened again and judged before anyone sees it: one decode of the finished file."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.errors import QaFailed
from pipeline.models import Cue, QaCheck, RunContext, Stage
from pipeline.timeline import Timeline

MAX_CHARS_PER_SECOND = 20.0
_LOUDNESS_RANGE = (-35.0, -8.0)
_NEAR = 6
"""Frames on either side of a seam that are looked at."""
_BLACK_LUMA = 24.0
_STRICT = {"err_detect": "explode", "skip_loop_filter": "all"}
"""Errors are not concealed; the loop filter only smooths, without it a quarter of the work is saved."""
_STILL = 0.05
"""Mean difference of two thumbnails, in steps of 255, below which a picture stands still."""

Thumbnail = NDArray[np.float32]


@dataclass(slots=True)
class _Reading:
    """What one pass over the finished file found."""

    frames: int = 0
    video_end: Fraction = Fraction(0)
    audio_end: Fraction | None = None
    loudness: float | None = None
    broken: str = ""
    black_seams: int = 0
    frozen_seams: int = 0
    thumbnails: dict[int, Thumbnail] = field(default_factory=dict)


def check_result(
    video: Path, *, timeline: Timeline, cues: Sequence[Cue], has_audio: bool, ctx: RunContext
) -> tuple[QaCheck, ...]:
    """Return all checks of the finished ``video``; failing ones are included. Raises `PipelineCancelled` only."""
    seen = _read_result(video, timeline, ctx)
    frame_ms = float(1000 / timeline.timebase)
    expected_ms = float(timeline.kept_frames * 1000 / timeline.timebase)
    drift = abs(float(seen.video_end - seen.audio_end) * 1000) if seen.audio_end is not None else 0.0
    off = abs(float(seen.video_end) * 1000 - expected_ms)
    whole = not seen.broken and seen.frames == timeline.kept_frames
    outside = count_misplaced(cues, timeline.duration_ms)
    speed = max((chars_per_second(cue) for cue in cues), default=0.0)
    same_tracks = (seen.audio_end is not None) == has_audio
    return (
        _at_most("av_sync", drift, frame_ms, "ms", "Sound and picture end together", hard=True, also=same_tracks),
        _at_most("duration", off, frame_ms, "ms", "The video is as long as its cut list says", hard=True),
        QaCheck(
            id="decodes",
            ok=whole,
            hard=True,
            value=seen.frames,
            limit=timeline.kept_frames,
            unit="frames",
            text=seen.broken or "Every frame decodes",
        ),
        _at_most("captions_inside", outside, 0, "captions", "Every caption lies inside the video, alone", hard=True),
        _at_most("reading_speed", speed, MAX_CHARS_PER_SECOND, "characters/s", "Captions stay long enough to be read"),
        _at_most("black_seams", seen.black_seams, 0, "seams", "No black picture at a cut"),
        _at_most("frozen_seams", seen.frozen_seams, 0, "seams", "No frozen picture at a cut"),
        _check_loudness(seen.loudness),
    )


def _at_most(
    id: str, value: float, limit: float, unit: str, text: str, *, hard: bool = False, also: bool = True
) -> QaCheck:
    ok = value <= limit and also
    return QaCheck(id=id, ok=ok, hard=hard, value=round(value, 3), limit=round(limit, 3), unit=unit, text=text)


def _check_loudness(loudness: float | None) -> QaCheck:
    if loudness is None:
        text = "There is no sound to measure"
        return QaCheck(id="loudness", ok=True, hard=False, value=0, limit=0, unit="LUFS", text=text)
    low, high = _LOUDNESS_RANGE
    return QaCheck(
        id="loudness",
        ok=low <= loudness <= high,
        hard=False,
        value=round(loudness, 1),
        limit=low if loudness < low else high,
        unit="LUFS",
        text="The sound is neither very quiet nor very loud",
    )


def require_passed(checks: Sequence[QaCheck]) -> None:
    """Raise `QaFailed` naming every hard check that failed."""
    if failed := [check for check in checks if check.hard and not check.ok]:
        raise QaFailed(
            "; ".join(f"{check.id}: {check.value:g} {check.unit}, limit {check.limit:g}" for check in failed)
        )


def chars_per_second(cue: Cue) -> float:
    """Return the reading speed of a cue: its characters, line breaks as spaces, over its time."""
    return len(" ".join(cue.lines)) * 1000 / max(1, cue.end_ms - cue.start_ms)


def count_misplaced(cues: Sequence[Cue], duration_ms: int) -> int:
    """Return how many cues are empty, overlap the one before, or reach outside the video."""
    misplaced, before = 0, 0
    for cue in cues:
        if not before <= cue.start_ms < cue.end_ms <= duration_ms:
            misplaced += 1
        before = max(before, cue.end_ms)
    return misplaced


def _read_result(video: Path, timeline: Timeline, ctx: RunContext) -> _Reading:
    seen = _Reading()
    seams = _find_seams(timeline)
    wanted = {seam + near for seam in seams for near in range(-_NEAR, _NEAR)}
    waiting = deque(seams)
    try:
        with av.open(str(video)) as container:
            _decode(container, seen, timeline, wanted, waiting, ctx)
    except (av.error.FFmpegError, OSError) as error:
        seen.broken = f"The result does not decode: {error}"
    while waiting:
        _judge_seam(waiting.popleft(), seen)
    return seen


def _find_seams(timeline: Timeline) -> list[int]:
    """Return the output frames that follow a cut."""
    seams, at = [], 0
    for start, end in timeline.kept[:-1]:
        at += end - start
        seams.append(at)
    return seams


def _decode(
    container: InputContainer,
    seen: _Reading,
    timeline: Timeline,
    wanted: set[int],
    waiting: deque[int],
    ctx: RunContext,
) -> None:
    picture = container.streams.video[0]
    picture.thread_type = "AUTO"
    picture.codec_context.options = _STRICT
    sound = container.streams.audio[0] if container.streams.audio else None
    meter = _LoudnessMeter() if sound is not None else None
    for packet in container.demux([stream for stream in (picture, sound) if stream is not None]):
        for frame in packet.decode():
            if isinstance(frame, VideoFrame):
                if seen.frames in wanted:
                    seen.thumbnails[seen.frames] = _shrink(frame)
                seen.frames += 1
                if seen.frames % 50 == 0:
                    ctx.check_cancelled()
                    ctx.report(Stage.QA, seen.frames / max(1, timeline.kept_frames))
                while waiting and seen.frames > waiting[0] + _NEAR:
                    _judge_seam(waiting.popleft(), seen)
            elif isinstance(frame, AudioFrame) and meter is not None:
                meter.add(frame)
    seen.video_end = _stream_end(picture.duration, picture.time_base, seen.frames / timeline.timebase)
    if sound is not None and meter is not None:
        seen.audio_end = _stream_end(sound.duration, sound.time_base, meter.seconds)
        seen.loudness = meter.integrated


def _stream_end(duration: int | None, time_base: Fraction | None, decoded: Fraction) -> Fraction:
    """Return the shown length: what decoded, less the padding that the edit list hides."""
    if duration is None or time_base is None:
        return decoded
    return min(decoded, duration * time_base)


def _shrink(frame: VideoFrame) -> Thumbnail:
    return frame.reformat(width=64, height=36, format="gray").to_ndarray().astype(np.float32)


def _judge_seam(seam: int, seen: _Reading) -> None:
    """Count a seam whose picture is black or stands still although it was neither before nor after."""
    near = [seen.thumbnails.pop(seam + offset, None) for offset in range(-_NEAR, _NEAR)]
    frames = [frame for frame in near if frame is not None]
    if len(frames) < 2 * _NEAR:
        return
    dark = [float(frame.mean()) < _BLACK_LUMA for frame in frames]
    if any(dark[_NEAR - 1 : _NEAR + 1]) and not (dark[0] and dark[-1]):
        seen.black_seams += 1
    moves = [float(np.abs(b - a).mean()) > _STILL for a, b in pairwise(frames)]
    after = moves[_NEAR:]
    if not any(after[:3]) and all(moves[: _NEAR - 1]) and any(after[3:]):
        seen.frozen_seams += 1


class _LoudnessMeter:
    """Integrated loudness by EBU R 128, as ffmpeg's ``ebur128`` filter measures it."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._samples = 0
        self._rate = 1
        self.integrated: float | None = None

    @property
    def seconds(self) -> Fraction:
        """Length of what was heard."""
        return Fraction(self._samples, self._rate)

    def add(self, frame: AudioFrame) -> None:
        """Take in one decoded frame."""
        if self._graph is None:
            self._rate = frame.sample_rate
            self._graph = Graph()
            source = self._graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            )
            meter = self._graph.add("ebur128", "metadata=1:framelog=quiet")
            sink = self._graph.add("abuffersink")
            source.link_to(meter)
            meter.link_to(sink)
            self._graph.configure()
        self._samples += frame.samples
        self._graph.push(frame)
        while True:
            try:
                measured = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            value = getattr(measured, "metadata", {}).get("lavfi.r128.I")
            if value is not None:
                self.integrated = float(value)
