"""Reads files back: which frames are shown when, when it flashes, when it beeps.

All times are presentation times of decoded frames and samples, in seconds of the container's clock.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from tests.media.codes import Pictures, Samples, beep, read_picture

_LOUD = 0.15
"""Share of full scale that only a beep reaches; pre-echo of AAC stays below."""
_SEARCH_S = 0.02
_MIN_MATCH = 0.9
"""Share of what is heard that must have the beep's shape, however loud it is."""
_JITTER_S = Fraction(2, 1000)
"""Times of containers that count milliseconds wobble by less; samples further off are a gap or an overlap."""


class Shown(NamedTuple):
    """One frame as it is shown."""

    number: int
    """The number drawn into it, or ``codes.UNREADABLE``."""
    time: Fraction
    is_lit: bool


class Sound(NamedTuple):
    """The first channel of a sound track."""

    start: Fraction
    """Presentation time of the first sample."""
    sample_rate: int
    samples: Samples

    @property
    def end(self) -> Fraction:
        """Presentation time of the end of the last sample."""
        return self.start + Fraction(len(self.samples), self.sample_rate)

    def between(self, start: float | Fraction, end: float | Fraction) -> Samples:
        """Return the samples presented from ``start`` until ``end``; silence where there are none."""
        first, last = (round((Fraction(at) - self.start) * self.sample_rate) for at in (start, end))
        inside = self.samples[max(0, first) : max(0, last)]
        return np.pad(inside, (max(0, min(last, 0) - first), max(0, last - max(first, 0) - len(inside))))


def read_frames(path: Path) -> list[Shown]:
    """Return every frame of the first picture track in the order it is shown, turned as the file asks for."""
    shown: list[Shown] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            at = frame.pts if frame.pts is not None else frame.dts
            assert at is not None and frame.time_base is not None, f"{path.name}: frame {len(shown)} has no time"
            number, is_lit = read_picture(_upright_grey(frame))
            shown.append(Shown(number, at * frame.time_base, is_lit))
    return shown


def read_numbers(path: Path) -> list[int]:
    """Return the number drawn into each frame, in the order they are shown."""
    return [frame.number for frame in read_frames(path)]


def flash_times(frames: list[Shown]) -> list[float]:
    """Return the seconds at which the patch turns white; a patch white from the first frame on counts."""
    return [
        float(frame.time)
        for index, frame in enumerate(frames)
        if frame.is_lit and (index == 0 or not frames[index - 1].is_lit)
    ]


def find_flashes(path: Path) -> list[float]:
    """Return the seconds at which the picture flashes."""
    return flash_times(read_frames(path))


def read_sound(path: Path, *, track: int = 0) -> Sound:
    """Return a sound track, each sample at its presentation time; gaps are silence, overlaps are dropped.

    What lies behind the end that the edit list of an MP4 sets is an encoder's padding: players do not play it.
    """
    blocks: list[Samples] = []
    start: Fraction | None = None
    written = 0
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        rate = stream.codec_context.sample_rate
        for frame in container.decode(stream):
            samples = _first_channel(frame)
            assert frame.pts is not None and frame.time_base is not None, f"{path.name}: sound without a time"
            time = frame.pts * frame.time_base
            if start is None:
                start = time
            missing = time - start - Fraction(written, rate)
            if missing > _JITTER_S:
                blocks.append(np.zeros(round(missing * rate), np.int16))
                written += len(blocks[-1])
            elif missing < -_JITTER_S:
                samples = samples[round(-missing * rate) :]
            blocks.append(samples)
            written += len(samples)
        played = written
        if "mp4" in container.format.name and stream.duration is not None and stream.time_base is not None:
            played = round(stream.duration * stream.time_base * rate)
    heard = np.concatenate(blocks)[:played] if blocks else np.zeros(0, np.int16)
    return Sound(start or Fraction(0), rate, heard)


def beep_times(sound: Sound) -> list[float]:
    """Return the seconds at which whole beeps start, by the best match with the beep's own shape."""
    template = beep(sound.sample_rate).astype(np.float64)
    template /= np.sqrt(template @ template)
    search = round(_SEARCH_S * sound.sample_rate)
    times: list[float] = []
    for onset in _onsets(sound.samples, gap=2 * len(template)):
        window = np.zeros(2 * search + len(template))
        first, last = max(0, onset - search), min(len(sound.samples), onset + search + len(template))
        window[first - onset + search : last - onset + search] = sound.samples[first:last]
        match = np.correlate(window, template, "valid")
        best = int(match.argmax())
        heard = window[best : best + len(template)]
        if match[best] >= _MIN_MATCH * np.sqrt(heard @ heard):
            exact = onset - search + best + _vertex(match, best)
            times.append(float(sound.start) + exact / sound.sample_rate)
    return times


def find_beeps(path: Path, *, track: int = 0) -> list[float]:
    """Return the seconds at which it beeps, to a fraction of a sample; a beep with its start or end cut is none."""
    return beep_times(read_sound(path, track=track))


def _upright_grey(frame: av.VideoFrame) -> Pictures:
    grey = frame.format.name.startswith(("yuv4", "yuvj4", "gray")) and frame.format.components[0].bits == 8
    if not grey:
        return np.rot90(frame.to_ndarray(format="gray"), frame.rotation // 90)
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return np.rot90(rows[: frame.height, : frame.width], frame.rotation // 90)


def _first_channel(frame: av.AudioFrame) -> Samples:
    samples = frame.to_ndarray()
    channel = samples[0] if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)[:, 0]
    if channel.dtype.kind == "f":
        return np.asarray(np.clip(np.round(channel * 32767), -32768, 32767), dtype=np.int16)
    assert channel.dtype == np.int16, f"sound of type {channel.dtype} is not read here"
    return np.asarray(channel, dtype=np.int16)


def _onsets(samples: Samples, gap: int) -> list[int]:
    """Return the first loud sample of each group; groups lie at least ``gap`` quiet samples apart."""
    limit = round(_LOUD * 32767)
    loud: npt.NDArray[np.intp] = np.flatnonzero((samples > limit) | (samples < -limit))
    starts = np.flatnonzero(np.diff(loud, prepend=-gap - 1) > gap)
    return [int(index) for index in loud[starts]]


def _vertex(values: npt.NDArray[np.float64], at: int) -> float:
    """Return where the parabola through a peak and its neighbours has its top, relative to the peak."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, top, right = (float(values[at + step]) for step in (-1, 0, 1))
    curve = left - 2 * top + right
    return 0.0 if curve == 0 else 0.5 * (left - right) / curve
