"""Where words really begin and end: Whisper's times are a little early, and a pause is counted to the word after it.

Measured with spoken words of known place (base model, faster-whisper): starts and ends lie 80–95 ms early, and a word
after a pause starts where the word before it ended. The sound of the window says better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.models import Word
from pipeline.speech import SPEECH_RATE, Pcm

EARLY_MS = 80
"""How much too early Whisper's times are."""
_FRAME_MS = 10
_FRAME = _FRAME_MS * SPEECH_RATE // 1000
_OVER_FLOOR = 10 ** (6 / 20)
_UNDER_SPEECH = 10 ** (-38 / 20)
"""Sound counts from 6 dB over the window's floor, and from 38 dB under its loud parts: breath is neither."""
_PAUSE = 80 // _FRAME_MS
"""Quiet frames that part two sounds; stops such as the one in "apple" are shorter."""
_REMNANT = 150 // _FRAME_MS
"""Loud frames at a word's edge that a pause parts from the rest of it and that are fewer belong to its neighbour."""

Flags = npt.NDArray[np.bool_]


def refine_times(words: Sequence[Word], pcm: Pcm) -> list[Word]:
    """Return ``words`` (window time) moved by `EARLY_MS` and trimmed to the sound of their window ``pcm``.

    A word keeps its place when there is nothing to hear in it. No word gets longer, overlaps another or leaves the
    window because of this.
    """
    sounding = _find_sound(pcm)
    length_ms = pcm.size * 1000 // SPEECH_RATE
    refined: list[Word] = []
    for word in words:
        start = min(word.start_ms + EARLY_MS, length_ms)
        end = min(word.end_ms + EARLY_MS, length_ms)
        trimmed = _trim(sounding[start // _FRAME_MS : -(-end // _FRAME_MS)])
        if trimmed is not None:
            base = start // _FRAME_MS
            start = max(start, (base + trimmed[0]) * _FRAME_MS)
            end = min(end, (base + trimmed[1]) * _FRAME_MS)
        refined.append(replace(word, start_ms=start, end_ms=max(start, end)))
    return refined


def _find_sound(pcm: Pcm) -> Flags:
    frames = pcm[: pcm.size - pcm.size % _FRAME].reshape(-1, _FRAME)
    if not frames.size:
        return np.zeros(0, np.bool_)
    level = np.sqrt(np.square(frames).mean(axis=1))
    floor, loud = np.percentile(level, (5, 95))
    # In a window without any pause the floor is speech: never ask for more than a tenth of the loud parts.
    threshold = max(min(floor * _OVER_FLOOR, loud / 10), loud * _UNDER_SPEECH)
    return np.asarray(level >= threshold)


def _trim(sounding: Flags) -> tuple[int, int] | None:
    """Return the frames, from and until, that the word sounds in; None when it is quiet throughout."""
    loud = np.flatnonzero(sounding)
    if not loud.size:
        return None
    first, last = int(loud[0]), int(loud[-1]) + 1
    breaks = np.flatnonzero(np.diff(loud) > _PAUSE)
    if breaks.size:
        left, right = int(loud[breaks[0]]) + 1, int(loud[breaks[0] + 1])
        if left - first < _REMNANT and left - first < last - right:
            return right, last
        left, right = int(loud[breaks[-1]]) + 1, int(loud[breaks[-1] + 1])
        if last - right < _REMNANT:
            return first, left
    return first, last
