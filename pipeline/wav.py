"""WAV files for other programs to listen to: a decoded track as it is, or how loud all of them are together."""

from __future__ import annotations

import shutil
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.audio import BLOCK_SAMPLES, Track
from pipeline.errors import DiskFull
from pipeline.levels import FULL_SCALE, Levels
from pipeline.media import writing

_LARGEST_RIFF = 0xFFFF_FFFF
_LEVELS_RATE = 8000
"""At least this many samples a second carry levels: players and decoders distrust lower rates."""


def wav_header(rate: int, channels: int, data_bytes: int) -> bytes:
    """Return what stands before ``data_bytes`` of 16-bit samples; beyond 4 GB it is RF64 (EBU Tech 3306)."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    riff_bytes = 4 + len(form) + 8 + data_bytes
    if riff_bytes <= _LARGEST_RIFF:
        return struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff_bytes + 36, data_bytes, data_bytes // (2 * channels), 0)
    riff = struct.pack("<4sI4s", b"RF64", _LARGEST_RIFF, b"WAVE")
    return riff + sizes + form + struct.pack("<4sI", b"data", _LARGEST_RIFF)


def write_track(track: Track, path: Path, samples: int) -> None:
    """Write the first ``samples`` samples of ``track``, silence where it has none, to ``path``.

    Raises `DiskFull` before it begins, when that can't fit.
    """
    header = wav_header(track.rate, track.channels, samples * track.channels * 2)
    needed = len(header) + samples * track.channels * 2
    with writing(path.parent):
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise DiskFull(str(path.parent), needed, free)
        with path.open("wb") as target:
            target.write(header)
            for block in track.read(0, samples):
                target.write(block.data)


def write_levels(levels: Levels, timebase: Fraction, path: Path) -> None:
    """Write a mono track whose loudest sample in every frame of ``timebase`` is the level of that frame."""
    repeat = -(-_LEVELS_RATE // timebase.numerator)
    rate, width = timebase.numerator * repeat, timebase.denominator * repeat  # whole samples a frame
    samples = np.round(levels * (32767 / FULL_SCALE)).astype("<i2")
    step = max(1, BLOCK_SAMPLES // width)
    with writing(path.parent), path.open("wb") as target:
        target.write(wav_header(rate, 1, len(levels) * width * 2))
        for at in range(0, len(levels), step):
            target.write(np.repeat(samples[at : at + step], width).data)
