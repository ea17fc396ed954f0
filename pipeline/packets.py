"""Only what will be seen is decoded: the packets of a source that a Timeline needs, handed to ffmpeg through a pipe.

Decoding is the largest cost of a render above the encode itself, and most of a talk's packets lie in what is cut away.
A decoder can start at a key frame only, so of each group of pictures (GOP) everything up to its last needed packet is
sent, or nothing. This is safe where every key frame is an instantaneous refresh (IDR) that no picture before it in
time depends on; any other file is decoded whole. The packets travel as NUT, which keeps times exactly but neither the
display matrix nor the container's colours: the command says those again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import RawIOBase
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.stream import VideoStream as Stream
from numpy.typing import NDArray

from pipeline.media import open_media, reading
from pipeline.timeline import Timeline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SHIFT_S = 10
"""Added to every time: NUT moves a stream whose first decoding time is negative."""
_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers with times one can rely on."""
_LEAST_SAVING = 0.1
"""Share of packets that must fall away to be worth the second reader."""
_MARGIN_FRAMES = Fraction(3, 2)
"""Frames of the grid around a kept range that may be rounded into it."""
_H264_IDR, _H264_SLICES = 5, range(1, 6)
_HEVC_IDR, _HEVC_SLICES = (19, 20), range(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketTable:
    """Every packet of a picture stream in decoding order."""

    times: NDArray[np.int64]
    """Presentation times in units of ``time_base``."""
    keys: NDArray[np.bool_]
    time_base: Fraction

    @property
    def decoding_times(self) -> NDArray[np.int64]:
        """Times that rise from packet to packet and are never after the presentation; Matroska keeps none."""
        rising = np.sort(self.times)
        return rising - int(np.max(rising - self.times, initial=0))


def scan_packets(path: Path, index: int) -> PacketTable | None:
    """Return the packets of video stream ``index``, or None when it has to be decoded from beginning to end.

    Raises what `media.open_media` and `media.reading` raise.
    """
    times: list[int] = []
    keys: list[bool] = []
    newest_key = -(2**62)
    with open_media(path) as container, reading(path):
        stream = container.streams[index]
        if container.format.name not in _FORMATS or not isinstance(stream, Stream) or stream.time_base is None:
            return None
        is_refresh = _choose_refresh(stream)
        if is_refresh is None:
            return None
        for packet in container.demux(stream):
            if packet.pts is None and packet.size == 0:
                continue  # the end
            if packet.pts is None or packet.is_corrupt or packet.is_discard:
                return None
            if packet.is_keyframe:
                if not is_refresh.matches(bytes(packet)):
                    return None
                newest_key = packet.pts
            elif packet.pts < newest_key or not keys:
                return None  # shown before the key frame it follows: it may depend on what comes before that
            times.append(packet.pts)
            keys.append(packet.is_keyframe)
        if not times:
            return None
        return PacketTable(
            times=np.array(times, dtype=np.int64), keys=np.array(keys, dtype=np.bool_), time_base=stream.time_base
        )


def choose_packets(table: PacketTable, timeline: Timeline, first_frame: Fraction) -> NDArray[np.bool_] | None:
    """Return which packets the kept frames of ``timeline`` need, or None when nearly all of them are.

    ``first_frame`` is the time of the Timeline's frame 0 in container seconds. Beside the frames inside a kept range
    its grid may take the one shown when it begins and the next after its end.
    """
    order = np.argsort(table.times, kind="stable")
    shown = table.times[order]
    needed = np.zeros(len(shown), dtype=np.bool_)
    for start, end in timeline.kept:
        edges = (start - _MARGIN_FRAMES, end + _MARGIN_FRAMES)
        low, high = (float((first_frame + edge / timeline.timebase) / table.time_base) for edge in edges)
        first = max(0, int(np.searchsorted(shown, low, side="right")) - 1)
        needed[order[first : int(np.searchsorted(shown, high, side="right")) + 1]] = True
    wanted = np.zeros(len(shown), dtype=np.bool_)
    starts = np.flatnonzero(table.keys)
    for begin, after in pairwise([*starts.tolist(), len(shown)]):
        inside = np.flatnonzero(needed[begin:after])
        if len(inside):
            wanted[begin : begin + inside[-1] + 1] = True
    return wanted if np.count_nonzero(wanted) <= (1 - _LEAST_SAVING) * len(wanted) else None


def find_entry(path: Path, index: int, time: Fraction) -> Fraction | None:
    """Return the time to seek to for the frame of video stream ``index`` that is shown at ``time``, both in container
    seconds; None when its file has to be read from the beginning.

    Any key frame will do, but from one group of pictures before that of the frame: pictures shown before a key frame
    may depend on what precedes it. Containers seek by decoding time, so the time returned lies just before that of
    the frame's own key. Raises what `media.open_media` and `media.reading` raise.
    """
    with open_media(path) as container, reading(path):
        stream = container.streams[index]
        if container.format.name not in _FORMATS or not isinstance(stream, Stream) or stream.time_base is None:
            return None
        keys: list[tuple[int, int]] = []
        for packet in container.demux(stream):
            if packet.pts is not None and packet.is_keyframe and not packet.is_discard:
                keys.append((packet.pts, packet.pts if packet.dts is None else min(packet.pts, packet.dts)))
        before = [decoded for shown, decoded in keys if shown * stream.time_base <= time]
        return (before[-1] - 1) * stream.time_base if len(before) > 1 else None


def feed_packets(path: Path, index: int, table: PacketTable, wanted: NDArray[np.bool_]) -> Iterator[bytes]:
    """Yield a NUT stream of the ``wanted`` packets of video stream ``index``, all times `SHIFT_S` later.

    Raises what `media.open_media` and `media.reading` raise, also when the file has changed since it was scanned.
    """
    pipe = PacketPipe()
    with open_media(path) as container, reading(path), av.open(pipe, "w", format="nut") as output:
        stream = container.streams[index]
        assert isinstance(stream, Stream) and stream.time_base is not None
        copy = output.add_stream_from_template(stream)
        shift = round(SHIFT_S / stream.time_base)
        last, decoding_times = int(np.flatnonzero(wanted)[-1]), table.decoding_times
        for number, packet in enumerate(container.demux(stream)):
            if number > last or packet.pts is None:
                break
            if not wanted[number]:
                continue
            packet.pts += shift
            packet.dts = int(decoding_times[number]) + shift
            packet.stream = copy
            output.mux(packet)
            yield from pipe.take()
    yield from pipe.take()


class PacketPipe(RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: WriteableBuffer) -> int:
        self._blocks.append(bytes(data))
        return len(self._blocks[-1])

    def take(self) -> list[bytes]:
        blocks, self._blocks = self._blocks, []
        return blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refresh:
    """How a codec marks a key frame that nothing reaches across."""

    length_size: int
    """Bytes before each unit that tell its length."""
    codec: str

    def matches(self, data: bytes) -> bool:
        """Return whether the first slice of a packet is of an instantaneous refresh."""
        for header in _read_headers(data, self.length_size):
            if self.codec == "h264" and header & 31 in _H264_SLICES:
                return header & 31 == _H264_IDR
            if self.codec == "hevc" and header >> 1 & 63 in _HEVC_SLICES:
                return header >> 1 & 63 in _HEVC_IDR
        return False


def _choose_refresh(stream: Stream) -> _Refresh | None:
    """Return how the key frames of ``stream`` are told, None for codecs and packings we do not read.

    ISO/IEC 14496-15: the configuration record begins with 1; the length's size is in its fifth byte (AVC) or its
    22nd (HEVC).
    """
    record, codec = stream.codec_context.extradata or b"", stream.codec_context.name
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(record) <= at or record[0] != 1:
        return None
    return _Refresh(length_size=(record[at] & 3) + 1, codec=codec)


def _read_headers(data: bytes, length_size: int) -> Iterable[int]:
    """Yield the first byte of every unit in a packet."""
    at = 0
    while at + length_size < len(data):
        length = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        yield data[at]
        at += length
