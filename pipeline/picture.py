"""What only the frames themselves tell and a filter graph must know: fields that comb, colours they leave unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from pipeline.media import open_media, reading

_RGB, _UNSAID = 0, 2
"""ITU-T H.273: the matrix of RGB, and the value of matrix, primaries and transfer that says nothing."""
_FIRST_FRAMES = 3
_JUDGED_FRAMES, _MAX_FRAMES = 20, 300
"""So many frames that move are judged, among so many."""
_COLUMN_STEP = 4
_STILL = 12
"""Difference of luma from one frame to the next that noise makes, too."""
_LEAST_MOTION = 0.002
"""Share of a picture that has to move."""
_LEAST_CHANGE = 0.02
"""Share by which the farther field has to match worse than the own one."""

Luma = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureTraits:
    """What has to be done to the frames of a source before anything else."""

    interlaced: bool = False
    """Its frames say that they hold two fields of different times, and do."""
    rgb: bool = False
    """They hold red, green and blue, as some screen recordings do: no matrix is said, one has to be chosen."""
    matrix_unsaid: bool = False
    primaries_unsaid: bool = False
    colours: tuple[int, int, int, int] | None = None
    """Range, matrix, primaries and transfer as ITU-T H.273 numbers them; None before a frame was seen."""
    mirrored: bool = False
    """The display matrix mirrors the picture, beside turning it."""


def examine_picture(path: Path, index: int) -> PictureTraits:
    """Return the traits of video stream ``index`` by its first frames: three, or some hundred marked as interlaced.

    Progressive recordings are often marked as interlaced (25p in 50i); a deinterlacer would take detail from them for
    nothing, so such frames have to comb in motion. Raises what `media.open_media` and `media.reading` raise.
    """
    with open_media(path) as container, reading(path):
        frames = _decode(container, index)
        first = [frame for frame, _ in zip(frames, range(_FIRST_FRAMES), strict=False)]
        if not first:
            return PictureTraits()
        frame = first[0]
        rgb = frame.format.is_rgb or frame.format.has_palette
        matrix = int(frame.colorspace)
        claimed = any(frame.interlaced_frame for frame in first)
        return PictureTraits(
            interlaced=claimed and _is_combed(chain(first, frames)),
            rgb=rgb,
            matrix_unsaid=matrix == _UNSAID or (matrix == _RGB and not rgb),
            primaries_unsaid=int(frame.color_primaries) == _UNSAID,
            colours=(int(frame.color_range), matrix, int(frame.color_primaries), int(frame.color_trc)),
            mirrored=_is_mirrored(frame),
        )


def _is_mirrored(frame: VideoFrame) -> bool:
    """Return whether the display matrix of a frame swaps the picture's sides: its determinant is negative then."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(side_data, SideData):
        return False
    a, b, _, c, d = np.frombuffer(bytes(side_data), dtype=np.int32)[:5].astype(np.float64)
    return bool(a * d - b * c < 0)


def _decode(container: av.container.InputContainer, index: int) -> Iterator[VideoFrame]:
    """Yield the frames of stream ``index``; broken packets are passed over."""
    for packet in container.demux(container.streams[index]):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from (frame for frame in frames if isinstance(frame, VideoFrame))


def _is_combed(frames: Iterator[VideoFrame]) -> bool:
    """Return whether the two fields of a frame are of different times.

    Each field is woven with the other one of its own frame and with that of the frame before. Whole frames only match
    their own; a field of its own time lies between two others and matches the nearer one before as well. Pictures
    that stand still tell nothing. Without several frames that are seen to be whole the frames' own claim stands:
    fields left as they are look worse than lines made softer.
    """
    whole = combed = 0
    before: Luma | None = None
    for frame, _ in zip(frames, range(_MAX_FRAMES), strict=False):
        luma = frame.to_ndarray(format="gray")[:, ::_COLUMN_STEP].astype(np.int16)
        if before is not None:
            moves = np.abs(luma - before) > _STILL
            moves = moves[1:-1] | moves[:-2] | moves[2:]
            own, *mixed = (_roughness(woven, moves) for woven in (luma, _weave(before, luma), _weave(luma, before)))
            nearer, farther = sorted(each - own for each in mixed)
            if moves.mean() > _LEAST_MOTION and farther > _LEAST_CHANGE * own:
                whole, combed = whole + (nearer >= farther / 2), combed + (nearer < farther / 2)
        if whole + combed == _JUDGED_FRAMES:
            break
        before = luma
    return combed * 2 > whole or whole < _JUDGED_FRAMES // 4


def _weave(even: Luma, odd: Luma) -> Luma:
    woven = even.copy()
    woven[1::2] = odd[1::2]
    return woven


def _roughness(luma: Luma, moves: NDArray[np.bool_]) -> float:
    """Return how much the lines differ from the mean of their neighbours where the picture ``moves``, in all."""
    return float(np.abs(2 * luma[1:-1] - luma[:-2] - luma[2:])[moves].sum())
