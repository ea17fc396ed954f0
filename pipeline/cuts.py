"""Which frames play: auto-editor's rules on our own aligned samples, and never a word lost.

The rules are those of auto-editor 31.5.1 (level, margin, smooth), checked frame for frame against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipeline.levels import DEFAULT_THRESHOLD, Levels, find_threshold, quantise
from pipeline.options import PipelineOptions
from pipeline.timeline import Timeline

MIN_CLIP_MS = 100
"""Kept pieces shorter than this are not worth two cuts."""

Flags = NDArray[np.bool_]
"""One truth value a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRules:
    """How loud frames become kept frames, in whole frames of a grid."""

    threshold: float
    """Level 0–1 from which a frame is loud."""
    threshold_mode: str
    """``auto`` or ``manual``."""
    margin: tuple[int, int]
    min_cut: int
    min_clip: int


def choose_rules(options: PipelineOptions, levels: Levels, timebase: Fraction, *, plain: bool = False) -> CutRules:
    """Return the rules of ``options`` on a grid; ``plain`` takes auto-editor's own default threshold, not auto."""
    threshold, mode = options.threshold, "manual"
    if threshold is None:
        threshold, mode = (DEFAULT_THRESHOLD, "manual") if plain else (find_threshold(levels), "auto")
    before, after = options.effective_margin_ms
    return CutRules(
        threshold=threshold,
        threshold_mode=mode,
        margin=(to_frames(before, timebase), to_frames(after, timebase)),
        min_cut=to_frames(options.min_cut_ms, timebase),
        min_clip=to_frames(MIN_CLIP_MS, timebase),
    )


def to_frames(duration_ms: int, timebase: Fraction) -> int:
    """Return a duration in frames, halves rounded away from zero."""
    exact = Fraction(duration_ms, 1000) * timebase
    return int(math.copysign(math.floor(abs(exact) + Fraction(1, 2)), exact))


def find_loud(levels: Levels, threshold: float) -> Flags:
    """Return which frames reach ``threshold``."""
    return np.asarray(levels >= quantise(threshold))


def apply_margin(loud: Flags, margin: tuple[int, int]) -> Flags:
    """Return ``loud`` grown (or shrunk, where negative) by ``margin`` frames before and after each loud run.

    Edges are those of the array as it came in; the array's own two ends are no edges. All rising edges come first, so
    that the margin after wins where the two contradict each other.
    """
    grown = loud.copy()
    before, after = margin
    for rising in np.flatnonzero(loud[1:] & ~loud[:-1]) + 1:
        low, high = sorted((int(rising) - before, int(rising)))
        grown[max(0, low) : high] = before > 0
    for falling in np.flatnonzero(~loud[1:] & loud[:-1]) + 1:
        low, high = sorted((int(falling), int(falling) + after))
        grown[max(0, low) : high] = after > 0
    return grown


def smooth(kept: Flags, min_cut: int, min_clip: int) -> Flags:
    """Return ``kept`` without kept runs shorter than ``min_clip`` and without cuts shorter than ``min_cut``.

    Both look at the same copy and filling a cut wins; repeated until nothing changes or two states alternate.
    """
    before: Flags | None = None
    while True:
        after = kept.copy()
        edges = np.flatnonzero(np.diff(kept)) + 1
        starts = np.concatenate(([0], edges)).astype(int)
        ends = np.concatenate((edges, [len(kept)])).astype(int)
        for wanted, limit in ((True, min_clip), (False, min_cut)):
            for start, end in zip(starts, ends, strict=True):
                if end > start and bool(kept[start]) is wanted and end - start < limit:
                    after[start:end] = not wanted
        if np.array_equal(after, kept) or (before is not None and np.array_equal(after, before)):
            return after
        before, kept = kept, after


def cut_silence(levels: Levels, rules: CutRules, timebase: Fraction, protected: Flags | None = None) -> Timeline:
    """Return the Timeline that ``rules`` make of ``levels``; frames in ``protected`` always count as loud.

    A timeline that keeps nothing is possible: what that means is the caller's to say.
    """
    loud = find_loud(levels, rules.threshold)
    if protected is not None:
        loud |= protected
    kept = smooth(apply_margin(loud, rules.margin), rules.min_cut, rules.min_clip)
    if protected is not None:
        kept |= protected
    return to_timeline(kept, timebase)


def to_timeline(kept: Flags, timebase: Fraction) -> Timeline:
    """Return the Timeline that plays the frames in ``kept``."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], kept, [False]))))
    ranges = [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
    return Timeline.from_kept(timebase, len(kept), ranges)
