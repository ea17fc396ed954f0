"""Where words really sound: recognisers stretch them over pauses; cutting must not believe that, nor lose a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from pipeline.cuts import Flags
from pipeline.levels import FULL_SCALE, Levels, quantise
from pipeline.models import Word
from pipeline.timeline import Range, ranges_of

_BRIDGE_MS = 250
"""Quiet gaps up to this belong to the word: stops such as the one in "background" are silent for up to 200 ms."""
_UNDER_WORD = 10 ** (-12 / 20)
"""A soft word sounds where it comes within 12 dB of its own peak."""
_OVER_FLOOR = 10 ** (3 / 20)


def find_sounding(word: Word, levels: Levels, timebase: Fraction, threshold: float) -> list[Range]:
    """Return the frame ranges inside ``word`` that carry its sound; empty when there is nothing but noise.

    Loud is what reaches ``threshold``; a word that never does is measured against its own peak and the noise floor.
    Gaps up to 250 ms are part of the word.
    """
    first = int(word.start_ms * timebase / 1000)
    last = min(len(levels), -int(-word.end_ms * timebase // 1000))
    inside = levels[first:last]
    if len(inside) == 0:
        return []
    floor = float(np.percentile(levels, 10)) if len(levels) else 0.0
    peak = float(inside.max())
    if peak <= floor * _OVER_FLOOR or peak < quantise(0.001):
        return []
    limit = min(float(quantise(threshold)), peak * _UNDER_WORD)
    limit = min(max(limit, floor * _OVER_FLOOR), FULL_SCALE)
    bridge = int(_BRIDGE_MS * timebase / 1000)
    joined: list[Range] = []
    for start, end in ranges_of([bool(flag) for flag in inside >= limit]):
        if joined and start - (joined[-1][1] - first) <= bridge:
            joined[-1] = (joined[-1][0], first + end)
        else:
            joined.append((first + start, first + end))
    return joined


def trim_words(words: Sequence[Word], levels: Levels, timebase: Fraction, threshold: float) -> tuple[Word, ...]:
    """Return ``words`` without the pauses they were stretched over.

    A word that falls into several sounding parts keeps the one with the most sound in it; a word in which nothing
    sounds keeps its times. A frame of air is left on both sides.
    """
    trimmed = []
    frame_ms = 1000 / timebase
    for word in words:
        ranges = find_sounding(word, levels, timebase, threshold)
        if ranges:
            start, end = max(ranges, key=lambda part: int(levels[part[0] : part[1]].sum(dtype=np.int64)))
            start_ms = max(word.start_ms, round((start - 1) * frame_ms))
            end_ms = min(word.end_ms, round((end + 1) * frame_ms))
            if end_ms > start_ms:
                word = replace(word, start_ms=start_ms, end_ms=end_ms)
        trimmed.append(word)
    return tuple(trimmed)


def protect_words(words: Sequence[Word], levels: Levels, timebase: Fraction, threshold: float) -> Flags:
    """Return which frames carry the sound of a word and may not be cut."""
    protected = np.zeros(len(levels), dtype=np.bool_)
    for word in words:
        for start, end in find_sounding(word, levels, timebase, threshold):
            protected[start:end] = True
    return protected
