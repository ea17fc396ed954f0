"""How loud a source is, frame by frame, and where its own noise ends and its speech begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import BLOCK_SAMPLES, Track

Levels = NDArray[np.uint16]
"""One peak level a frame, 0 (silence) to 65535 (full scale)."""

FULL_SCALE = 65535
DEFAULT_THRESHOLD = 0.04
PEAKS_PER_SECOND = 10

_MIN_DB, _MAX_DB = -42.0, -18.0
_DIGITAL_SILENCE_DB = -90.0
_ABOVE_FLOOR_DB = 6.0
_BELOW_SPEECH_DB = 10.0
_MIN_RANGE_DB = 16.0
_MUTED_FRAMES = 30
_RANGE_SHARE = 0.35


def quantise(level: float) -> int:
    """Return a level 0–1 on the 16-bit scale that samples and thresholds are compared on."""
    return int(np.uint16(np.float32(level) * np.float32(FULL_SCALE) + np.float32(0.5)))


def frame_bounds(samples: int, rate: int, timebase: Fraction) -> NDArray[np.int64]:
    """Return the sample at which each frame begins, and the end of the last.

    auto-editor's rule: a frame takes the rounded share of samples with the error carried on, while a whole frame
    (rounded up) is left; one partial frame takes the rest. Carrying the error on is rounding k * rate / timebase.
    """
    numerator, denominator = rate * timebase.denominator, timebase.numerator
    whole = -(-numerator // denominator)
    frames = np.arange(samples * denominator // numerator + 2, dtype=np.int64)
    starts = (2 * frames * numerator + denominator) // (2 * denominator)
    full = int(np.searchsorted(starts, samples - whole, side="right"))
    bounds = starts[: full + 1]
    return bounds if int(bounds[-1]) >= samples else np.append(bounds, samples)


def measure_levels(track: Track, timebase: Fraction) -> Levels:
    """Return the peak level of ``track`` in every frame: the largest sample of any channel, quantised."""
    peaks = _measure_peaks(track, frame_bounds(track.samples, track.rate, timebase))
    return (peaks.astype(np.float32) / np.float32(32767) * np.float32(FULL_SCALE) + np.float32(0.5)).astype(np.uint16)


def measure_waveform(tracks: Sequence[Track]) -> list[int]:
    """Return the peaks 0–255 of ``tracks`` together, ten a second, for drawing."""
    per_track = []
    for track in tracks:
        count = -(-track.samples * PEAKS_PER_SECOND // track.rate)
        bounds = np.minimum(np.arange(count + 1, dtype=np.int64) * track.rate // PEAKS_PER_SECOND, track.samples)
        per_track.append(_measure_peaks(track, bounds) // 128)
    longest = max((len(peaks) for peaks in per_track), default=0)
    joined = np.zeros(longest, np.int64)
    for peaks in per_track:
        joined[: len(peaks)] = np.maximum(joined[: len(peaks)], peaks)
    return [int(peak) for peak in joined]


def _measure_peaks(track: Track, bounds: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the largest absolute sample 0–32767 between each pair of ``bounds``."""
    if track.samples == 0 or len(bounds) < 2:
        return np.zeros(0, np.int32)
    parts = []
    for first, last in _group(bounds):
        samples = np.concatenate(list(track.read(int(bounds[first]), int(bounds[last])))).reshape(-1)
        at = (bounds[first:last] - bounds[first]) * track.channels
        highest = np.maximum.reduceat(samples, at).astype(np.int32)
        lowest = np.minimum.reduceat(samples, at).astype(np.int32)
        parts.append(np.minimum(np.maximum(highest, -lowest), 32767))
    return np.concatenate(parts)


def _group(bounds: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield index ranges of ``bounds`` that span about one block of samples each."""
    first = 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + BLOCK_SAMPLES, side="right")) - 1
        last = max(first + 1, min(last, len(bounds) - 1))
        yield first, last
        first = last


def join_levels(levels: Sequence[Levels], frames: int = 0) -> Levels:
    """Return the loudest of several tracks in every frame, padded with silence to at least ``frames``."""
    joined = np.zeros(max([frames, *(len(track) for track in levels)]), np.uint16)
    for track in levels:
        joined[: len(track)] = np.maximum(joined[: len(track)], track)
    return joined


def to_db(levels: Levels) -> NDArray[np.float64]:
    """Return levels in dB below full scale; digital silence is -96 dB."""
    return np.asarray(20 * np.log10(np.maximum(levels, 1) / FULL_SCALE), dtype=np.float64)


def _shorten_silence(levels: Levels) -> Levels:
    """Return ``levels`` with at most `_MUTED_FRAMES` of every run of zeros."""
    since_sound = np.arange(len(levels))
    since_sound -= np.maximum.accumulate(np.where(levels > 0, since_sound, -1))
    return levels[since_sound <= _MUTED_FRAMES]


def find_threshold(levels: Levels) -> float:
    """Return the level 0–1 that parts speech from the noise of this very recording.

    The noise floor is what the quietest tenth of the frames stay below, speech what the loudest twentieth reach. Of a
    stretch of digital silence only the first second counts: a gate between words says where the floor is, a microphone
    that was switched off does not. The threshold lies a third of the way up: at least 6 dB over the floor, because the
    peak of steady noise swings by about 4 dB from frame to frame; at least 10 dB under speech, because words end
    softly; within -42 to -18 dB. Where floor and speech are closer than 16 dB there is nothing to tell apart (steady
    noise, or speech without a pause): the threshold then lies under everything, so that nothing is cut by chance.
    """
    if len(levels) == 0:
        return DEFAULT_THRESHOLD
    decibels = to_db(_shorten_silence(levels))
    sounding = decibels[decibels > _DIGITAL_SILENCE_DB]
    if len(sounding) == 0:
        return DEFAULT_THRESHOLD
    floor, speech = np.percentile(decibels, 10), np.percentile(sounding, 95)
    if speech - floor < _MIN_RANGE_DB:
        return float(10 ** ((decibels.min() - 1) / 20))
    threshold = max(floor + _ABOVE_FLOOR_DB, floor + _RANGE_SHARE * (speech - floor))
    threshold = min(threshold, speech - _BELOW_SPEECH_DB)
    return float(10 ** (min(max(threshold, _MIN_DB), _MAX_DB) / 20))
