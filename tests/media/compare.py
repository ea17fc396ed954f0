"""Two videos held side by side: packets bit for bit, pictures by their noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Planes = list[npt.NDArray[np.uint8]]
SAME_DB = 99.0
"""Stands for pictures without any difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The pictures of a video and when they are shown."""

    times: list[Fraction]
    frames: list[Planes]


def read_pictures(path: Path) -> Shown:
    """Return every picture of the first picture track as its stored planes; for short clips."""
    times: list[Fraction] = []
    frames: list[Planes] = []
    for time, planes in decode_pictures(path):
        times.append(time)
        frames.append(planes)
    return Shown(times=times, frames=frames)


def decode_pictures(path: Path) -> Iterator[tuple[Fraction, Planes]]:
    """Yield the time of each picture and its planes (8 bits), in the order they are shown."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            assert frame.pts is not None and frame.time_base is not None
            rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
            yield (
                frame.pts * frame.time_base,
                [
                    each[: plane.height, : plane.width].copy()
                    for each, plane in zip(rows, frame.planes, strict=True)
                ],
            )  # fmt: skip


def measure_psnr(one: Planes, other: Planes) -> float:
    """Return the peak signal-to-noise ratio of luma and chroma together, in dB; `SAME_DB` without a difference."""
    squares = sum(float(np.sum((a.astype(np.int32) - b) ** 2)) for a, b in zip(one, other, strict=True))
    mean = squares / sum(plane.size for plane in one)
    return SAME_DB if mean == 0 else float(10 * np.log10(255**2 / mean))


def compare_pictures(one: Path, other: Path) -> list[float]:
    """Return the PSNR of each picture of ``other`` against the same one of ``one``; both have as many, at equal times.

    A frame that is lost, doubled or late anywhere is an `AssertionError`.
    """
    levels: list[float] = []
    ours, theirs = decode_pictures(one), decode_pictures(other)
    for (time, planes), (other_time, other_planes) in zip(ours, theirs, strict=True):
        assert time == other_time, f"picture {len(levels)}: {time} and {other_time}"
        levels.append(measure_psnr(planes, other_planes))
    return levels


def read_packets(path: Path, kind: str) -> list[tuple[Fraction, Fraction, bytes]]:
    """Return time, length and content of every packet of the first track of a ``kind``; nothing without one."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [
            (packet.pts * packet.time_base, (packet.duration or 0) * packet.time_base, bytes(packet))
            for packet in (container.demux(streams[0]) if streams else ())
            if packet.pts is not None and packet.time_base is not None
        ]
