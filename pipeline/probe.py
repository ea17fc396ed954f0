"""What a file is, found by reading it: never by its name. Refuses what can't be processed, with one sentence each."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import BinaryIO, cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from pipeline.errors import InputRefused, SourceGone
from pipeline.media import Source, open_media, reading
from pipeline.models import AudioStream, Probe, VideoStream
from pipeline.options import PipelineOptions
from pipeline.remote import RangedFile

_NTSC_RATES = (Fraction(60000, 1001), Fraction(30000, 1001), Fraction(24000, 1001))
_STANDARD_RATES = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(48), Fraction(50),
    Fraction(60000, 1001), Fraction(60),
)  # fmt: skip
_MAX_RATE = Fraction(60)
_FALLBACK_RATE = Fraction(30)
_NOMINAL_TOLERANCE = 0.005
_BURST_FRAMES = 6
_BURST_PACE = 0.9
_BURST_LOSS = 0.001
"""A burst is so many frames in a row, each shorter than this share of a grid's frame; a grid may lose so few of all."""
_HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 8: "linear", 13: "iec61966-2-1", **_HDR_TRANSFERS}
_FULL_RANGE = 2
_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide pnot uuid meta udta pdin sidx ssix styp prft emsg imda".split()
)
"""Boxes that stand at the top of a file (ISO 14496-12, QuickTime)."""
_BOX_HEADER = 16
_WHOLE_IN_INDEX = frozenset({"h264", "hevc", "prores", "aac", "alac"})
"""Codecs whose packets are told completely by the index of an MP4 or MOV; of others, the data is looked at too."""
_CLOCK_JITTER_S = 1
"""Decoding times never go back; further than this they begin again."""
_MISSING_TAIL_S = 1.0
_MISSING_TAIL_SHARE = 0.02
"""A file whose packets end this much before its declared duration is cut off (the larger of the two)."""


def probe(source: Source, options: PipelineOptions | None = None) -> Probe:
    """Return what ``source`` holds, after reading every packet of it once (nothing but the first frame is decoded).

    Of a file elsewhere, the packets' data is not fetched where an index tells all there is to know of them. Raises
    `InputRefused` with code ``not_media no_video empty truncated too_long too_many_pixels``, or `SourceGone`. Limits
    are those of ``options``.
    """
    options = options or PipelineOptions()
    size = _read_size(source)
    if size == 0:
        raise InputRefused("empty", "The file is empty: the copy did not even begin. Copy it again, then use that.")
    payload = _check_boxes(source, size)
    with open_media(source) as container:
        declared = (container.duration or 0) / av.time_base
        _check_length(declared, options)
        picture = _pick_video(container).codec_context
        _check_pixels(picture.width, picture.height, options)
    with open_media(source) as container, reading(source), _passing_over(source, payload, container):
        packets = _scan_packets(container)
    _check_complete(declared, packets)
    with open_media(source) as container:
        stream = _pick_video(container)
        audio = tuple(describe_audio(container))
        kind = container.format.name
        video = _describe_video(
            stream, _decode_first_frame(source, container, stream), packets[stream.index], has_pts=_has_pts(container)
        )
    ends = (packets[index].end for index in (video.index, *(stream.index for stream in audio)))
    duration = max(end for end in ends if end is not None) - video.first_frame
    _check_pixels(video.width, video.height, options)
    _check_length(float(duration), options)
    return Probe(
        name=source.name,
        format=kind,
        size_bytes=size,
        duration_ms=round(duration * 1000),
        video=video,
        audio=audio,
    )


def snap_average_rate(average: Fraction | None) -> Fraction:
    """Return the cut grid of a file with ``average`` frames a second (auto-editor 31's rule; 30 when unknown).

    Rounded to two decimals; the three NTSC rates become exact.
    """
    if average is None or average <= 0:
        return _FALLBACK_RATE
    rounded = round(average, 2)
    for rate in _NTSC_RATES:
        if rounded == round(rate, 2):
            return rate
    return rounded if rounded > 0 else _FALLBACK_RATE


def find_nominal_rate(durations_s: Sequence[float], average: Fraction) -> Fraction:
    """Return the render grid: the standard rate within 0.5 % of the median frame duration, else ``average``; <= 60.

    Where the median fits none, the mean of the durations within a fifth of it is tried too: containers that count in
    whole milliseconds (Matroska) write 33, 33, 34 for 30 frames a second. A screen recording that mostly rests has
    bursts too fast for that rate: it gets the standard rate nearest to theirs, so that all their frames are shown.
    """
    rate = _find_usual_rate(durations_s, average)
    while rate < _MAX_RATE and is_variable_rate(durations_s):
        lost, pace_s = measure_bursts(durations_s, rate)
        if lost <= _BURST_LOSS * len(durations_s):
            break
        rate = min((other for other in _STANDARD_RATES if other > rate), key=lambda other: abs(other - 1 / pace_s))
    return rate


def measure_bursts(durations_s: Sequence[float], rate: Fraction) -> tuple[int, float]:
    """Return how many frames of bursts are never shown on a grid of ``rate``, and the usual duration in those bursts.

    Jitter makes two frames meet in one place now and then, too; it is not a burst and no reason for another grid.
    """
    durations = np.asarray(durations_s, np.float64)
    places = np.floor(np.concatenate(([0.0], np.cumsum(durations))) * float(rate) + 0.5)
    is_short = durations * float(rate) < _BURST_PACE
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_short, [False]))))
    lost, burst = 0, np.zeros(0)
    for start, end in edges.reshape(-1, 2):
        meeting = int(np.count_nonzero(np.diff(places[start : end + 1]) == 0))
        if end - start >= _BURST_FRAMES and meeting:
            lost, burst = lost + meeting, np.append(burst, durations[start:end])
    return lost, float(np.median(burst)) if lost else 0.0


def _find_usual_rate(durations_s: Sequence[float], average: Fraction) -> Fraction:
    if durations_s:
        median = statistics.median(durations_s)
        usual = [duration for duration in durations_s if abs(duration - median) <= 0.2 * median]
        for duration in (median, statistics.fmean(usual)):
            best = min(_STANDARD_RATES, key=lambda rate: abs(float(rate) - 1 / duration))
            if abs(float(best) - 1 / duration) <= float(best) * _NOMINAL_TOLERANCE:
                return best
    return min(average, _MAX_RATE)


def is_variable_rate(durations_s: Sequence[float]) -> bool:
    """Return whether more than 1 % of the frames last a fifth longer or shorter than the median frame."""
    if len(durations_s) < 2:
        return False
    median = statistics.median(durations_s)
    odd = sum(1 for duration in durations_s if abs(duration - median) > 0.2 * median)
    return odd > 0.01 * len(durations_s)


def _read_size(source: Source) -> int:
    if isinstance(source, RangedFile):
        return source.size_bytes
    try:
        if not source.is_file():
            if source.exists():
                raise InputRefused("not_media", f"{source} is not a file. Name a video file.")
            raise SourceGone(message=f"There is no file {source}. Check the name.")
        return source.stat().st_size
    except OSError as error:
        raise SourceGone(detail=str(error)) from error


def _check_boxes(source: Source, size: int) -> list[tuple[int, int]]:
    """Refuse an MP4 or MOV whose boxes reach past the end of the file, or that has no index.

    Returns where its packets lie; nothing for other files.
    """
    try:
        with source.open("rb") as file:
            kinds, payload, begin = [], [], 0
            for kind, end in _walk_boxes(cast(BinaryIO, file), size):
                kinds.append(kind)
                if kind == b"mdat":
                    payload.append((begin + _BOX_HEADER, end))
                begin = end
                if end > size:
                    raise _truncated()
    except OSError as error:
        raise InputRefused(
            "not_media", f"{source.name} can't be opened. Check that you may read it.", str(error)
        ) from error
    if kinds and kinds[0] in (b"ftyp", b"mdat", b"wide") and not {b"moov", b"moof"} & set(kinds):
        raise _truncated()
    return payload


def _passing_over(
    source: Source, payload: list[tuple[int, int]], container: InputContainer
) -> AbstractContextManager[None]:
    """Return a context in which the packets' data of a file elsewhere is not fetched, if nobody looks at it."""
    streams = (*container.streams.video, *container.streams.audio)
    codecs = [stream.codec_context.name if stream.codec_context else "" for stream in streams]
    if isinstance(source, RangedFile) and all(name in _WHOLE_IN_INDEX or name.startswith("pcm_") for name in codecs):
        return source.passing_over(payload)
    return nullcontext()


def _walk_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield kind and end of each top-level ISO BMFF box (ISO 14496-12, 4.2); nothing for other files."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4]), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16])
        elif length == 0:  # up to the end of the file
            length = size - at
        if length < 8 or kind not in _BOXES:
            return  # trailing garbage: players ignore it, so do we
        yield kind, at + length
        at += length


def _truncated() -> InputRefused:
    return InputRefused(
        "truncated", "The file ends in the middle: the copy was probably interrupted. Copy it again, then use that."
    )


def _check_length(seconds: float, options: PipelineOptions) -> None:
    if seconds * 1000 > options.max_duration_ms:
        raise InputRefused(
            "too_long",
            f"The video is {_in_words(seconds)} long; at most {_in_words(options.max_duration_ms / 1000)} fit. "
            "Split it and use the parts.",
        )


def _in_words(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {whole % 60} s" if whole % 60 else f"{minutes} min"
    return f"{seconds:.1f} s"


def _check_pixels(width: int, height: int, options: PipelineOptions) -> None:
    if width * height > options.max_pixels:
        raise InputRefused(
            "too_many_pixels",
            f"The picture has {width} x {height} = {width * height / 1e6:.1f} million pixels; "
            f"at most {options.max_pixels / 1e6:.1f} million can be processed. Export it smaller.",
        )


def _pick_video(container: InputContainer) -> AvVideoStream:
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise InputRefused("no_video", "There is no picture in this file, only sound or data. Use a video file.")
    return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])


def _decode_first_frame(source: Source, container: InputContainer, stream: AvVideoStream) -> VideoFrame:
    """Return the first frame that decodes. Broken packets before it are passed over, as every player does."""
    with reading(source):
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame) and frame.pts is not None:
                    return frame
    raise InputRefused("not_media", "No picture of this video can be decoded. Export it as MP4 and use that.")


@dataclass(slots=True)
class _Packets:
    """Times of one stream's packets, as ticks of its time base."""

    time_base: Fraction
    pts: array[int] = field(default_factory=lambda: array("q"))
    last_dts: int | None = None
    begins_again: bool = False
    last_end: int | None = None
    bytes: int = 0

    @property
    def end(self) -> Fraction | None:
        """End of the last packet in container seconds."""
        return None if self.last_end is None else self.last_end * self.time_base


def _has_pts(container: InputContainer) -> bool:
    """Return whether the format knows presentation times: AVI does not, and those FFmpeg makes up are off by frames."""
    return container.format.name != "avi"


def _scan_packets(container: InputContainer) -> dict[int, _Packets]:
    streams = [s for s in (*container.streams.video, *container.streams.audio) if s.time_base is not None]
    packets = {stream.index: _Packets(Fraction(stream.time_base or 1)) for stream in streams}
    has_pts = _has_pts(container)
    try:
        for packet in container.demux(streams):
            ticks = packet.pts if has_pts and packet.pts is not None else packet.dts
            if ticks is None or packet.size == 0:
                continue
            seen = packets[packet.stream.index]
            if packet.dts is not None:
                if seen.last_dts is not None and (seen.last_dts - packet.dts) * seen.time_base > _CLOCK_JITTER_S:
                    seen.begins_again = True
                seen.last_dts = packet.dts
            if packet.stream.type == "video":
                seen.pts.append(ticks)
            seen.bytes += packet.size
            end = ticks + (packet.duration or 0)
            seen.last_end = end if seen.last_end is None else max(seen.last_end, end)
    except av.error.InvalidDataError:
        pass  # what was read so far is judged against the declared duration
    return packets


def _check_complete(declared_s: float, packets: dict[int, _Packets]) -> None:
    """Refuse a file whose packets end well before its header says.

    ffmpeg decodes such a file to the middle and exits 0, so this is the only place that can tell.
    """
    ends = [seen.end for seen in packets.values() if seen.end is not None]
    if not any(seen.pts for seen in packets.values()):
        raise InputRefused("empty", "The video has no length: no picture is in it. Export it again, then use that.")
    if any(seen.begins_again for seen in packets.values()):  # its second part would be left out without a word
        raise InputRefused(
            "not_media",
            "The clock of this file begins again in the middle: it was joined from parts byte by byte. "
            "Export it as MP4 and use that.",
        )
    if declared_s - float(max(ends)) > max(_MISSING_TAIL_S, _MISSING_TAIL_SHARE * declared_s):
        raise _truncated()


def _describe_video(stream: AvVideoStream, frame: VideoFrame, packets: _Packets, *, has_pts: bool) -> VideoStream:
    ticks = sorted(packets.pts)
    durations = [float((b - a) * packets.time_base) for a, b in pairwise(ticks) if b > a]
    average = snap_average_rate(Fraction(stream.average_rate) if stream.average_rate else None)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if not Fraction(1, 4) <= aspect <= 4:
        aspect = Fraction(1)
    rotation = frame.rotation % 360
    width, height = max(2, round(frame.width * aspect)), frame.height
    if rotation in (90, 270):
        width, height = height, width
    shown = frame.dts if not has_pts and frame.dts is not None else frame.pts
    first = Fraction(shown or 0) * Fraction(frame.time_base or packets.time_base)
    last_start = ticks[-1] * packets.time_base
    end = packets.end
    if end is None or end <= last_start:  # no duration is told: ffmpeg, too, then takes a usual one
        end = last_start + Fraction(statistics.median(durations) if durations else 1 / average)
    if not has_pts:  # packets are timed by decoding; the pictures come as much later as the first one does
        end += max(Fraction(0), first - ticks[0] * packets.time_base)
    transfer = frame.color_trc if frame.color_trc != 2 else stream.codec_context.color_trc
    pixel_format = stream.codec_context.pix_fmt or frame.format.name
    length = float(end - first)
    return VideoStream(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name,  # not the decoder's: libdav1d
        width=max(2, width - width % 2),
        height=max(2, height - height % 2),
        average_rate=average,
        nominal_rate=find_nominal_rate(durations, average),
        vfr=is_variable_rate(durations),
        pixel_format=pixel_format,
        color_transfer=_TRANSFERS.get(int(transfer), "unknown"),
        hdr=int(transfer) in _HDR_TRANSFERS,
        full_range=pixel_format.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE,
        rotation=rotation,
        sample_aspect=aspect,
        bit_rate=round(packets.bytes * 8 / length) if length > 0 else 0,
        first_frame=first,
        frames=len(ticks),
        duration_ms=round((end - first) * 1000),
    )


def describe_audio(container: InputContainer) -> Iterator[AudioStream]:
    """Yield the sound tracks of an opened file; one that no decoder knows can't be heard by anyone and is left out."""
    for stream in container.streams.audio:
        codec = stream.codec_context
        if codec is None or codec.sample_rate <= 0 or codec.channels <= 0:
            continue
        yield AudioStream(
            index=stream.index,
            codec=codec.codec.canonical_name,
            sample_rate=codec.sample_rate,
            channels=codec.channels,
            layout=codec.layout.name,
            language=stream.language if stream.language != "und" else None,
            is_default=bool(stream.disposition & Disposition.default),
        )
