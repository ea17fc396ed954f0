"""What test frames and test sounds say: a number drawn as blocks, a patch that flashes, a beep with one clear start.

A picture is a grid of 6 columns and 5 rows. The first 24 cells hold a white and a black reference, two parity bits and
the frame's number in 20 bits, lowest first; the last row is the flash patch. Cells are a share of the picture, so a
picture that was scaled, cropped by a pixel or encoded hard is read like the one that was drawn.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
"""Grey pictures: frames, rows, columns."""
Samples = npt.NDArray[np.int16]
"""One channel of sound."""

UNREADABLE = -1
"""Stands for the number of a frame that shows none."""
NUMBER_BITS = 20
BEEP_S = 0.06

_COLUMNS, _ROWS = 6, 5
_PATCH = slice(24, 30)
_WHITE, _BLACK = 230, 20
_MIN_CONTRAST = 60.0
_MIN_CLEARANCE = 0.2
"""A cell counts when it lies this share of the contrast away from the middle: two frames blended are unreadable."""
_BEEP_HZ = (700.0, 1300.0)
_BEEP_LEVEL = 0.5


class Reading(NamedTuple):
    """What one picture says."""

    number: int
    """The frame's number, or `UNREADABLE`."""
    is_lit: bool
    """Whether the flash patch is white."""


def draw_pictures(numbers: npt.NDArray[np.int64], lit: npt.NDArray[np.bool_], size: tuple[int, int]) -> Pictures:
    """Return one picture of ``size`` (width, height) for each number; its patch is white where ``lit``."""
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < 1 << NUMBER_BITS:
        raise ValueError(f"frame numbers must fit {NUMBER_BITS} bits")
    width, height = size
    bits = (numbers[:, None] >> np.arange(NUMBER_BITS)) & 1
    cells = np.zeros((len(numbers), _ROWS * _COLUMNS), np.uint8)
    cells[:, 0] = 1
    cells[:, 2], cells[:, 3] = _parities(bits)
    cells[:, 4:24] = bits
    cells[:, _PATCH] = lit[:, None]
    shades = np.where(cells, _WHITE, _BLACK).astype(np.uint8).reshape(-1, _ROWS, _COLUMNS)
    rows, columns = np.arange(height) * _ROWS // height, np.arange(width) * _COLUMNS // width
    return shades.take(rows, axis=1).take(columns, axis=2)


def read_picture(grey: Pictures) -> Reading:
    """Return what one grey picture (rows, columns) says."""
    ys, xs = _sample_points(grey.shape[0], grey.shape[1])
    shades = grey[ys, xs].mean(axis=1)
    white, black = float(shades[0]), float(shades[1])
    contrast, middle = white - black, (white + black) / 2
    bits = (shades > middle).astype(np.int64)
    is_lit = bool(bits[_PATCH].mean() > 0.5)
    is_clear = contrast >= _MIN_CONTRAST and float(np.abs(shades - middle).min()) >= _MIN_CLEARANCE * contrast
    number = bits[4:24]
    if not is_clear or (int(bits[2]), int(bits[3])) != tuple(int(bit) for bit in _parities(number)):
        return Reading(UNREADABLE, is_lit)
    return Reading(int(number @ (1 << np.arange(NUMBER_BITS))), is_lit)


def _parities(bits: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the parity of every other bit and the inverse parity of the rest: all black and all white are wrong."""
    even: npt.NDArray[np.int64] = bits[..., 0::2].sum(axis=-1) & 1
    odd: npt.NDArray[np.int64] = (bits[..., 1::2].sum(axis=-1) + 1) & 1
    return even, odd


@cache
def _sample_points(height: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows and columns of nine points around the middle of each cell."""
    offsets = np.array([-0.2, 0.0, 0.2])
    ys = ((np.arange(_ROWS)[:, None] + 0.5 + offsets) * height / _ROWS).astype(np.int64)
    xs = ((np.arange(_COLUMNS)[:, None] + 0.5 + offsets) * width / _COLUMNS).astype(np.int64)
    rows = np.broadcast_to(ys[:, None, :, None], (_ROWS, _COLUMNS, 3, 3)).reshape(-1, 9)
    columns = np.broadcast_to(xs[None, :, None, :], (_ROWS, _COLUMNS, 3, 3)).reshape(-1, 9)
    return rows, columns


@cache
def beep(sample_rate: int) -> Samples:
    """Return the beep: 60 ms around 1 kHz that start with the very first sample.

    It sweeps from 700 to 1300 Hz: a steady tone looks alike one period later, a sweep matches in one place only, so its
    start is found to a fraction of a sample however a codec smears it.
    """
    low, high = _BEEP_HZ
    t = np.arange(round(BEEP_S * sample_rate)) / sample_rate
    tone = np.cos(2 * np.pi * (low * t + (high - low) / (2 * BEEP_S) * t**2))
    fade = np.minimum(1.0, (BEEP_S - t) / 0.005)
    return np.round(tone * fade * _BEEP_LEVEL * 32767).astype(np.int16)


def tone(sample_rate: int, samples: int, *, hertz: float = 440.0, level: float = _BEEP_LEVEL) -> Samples:
    """Return a steady tone that is loud from its first sample to its last."""
    phase = 2 * np.pi * hertz * np.arange(samples) / sample_rate
    return np.round(np.cos(phase) * level * 32767).astype(np.int16)
