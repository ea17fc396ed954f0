"""Where words sound: a pause a word was stretched over is not part of it, a soft word still is one."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from pipeline.levels import Levels, quantise
from pipeline.models import Word
from pipeline.timeline import Range
from pipeline.words import find_sounding, protect_words, trim_words

FPS = Fraction(25)
"""A frame is 40 ms."""
THRESHOLD = 0.04
LOUD, SOFT, NOISE = 20_000, 1_500, 200
"""-10 dB; -33 dB, below the threshold of -28 dB; -50 dB."""


def word(start_ms: int, end_ms: int, text: str = " what") -> Word:
    return Word(start_ms=start_ms, end_ms=end_ms, text=text, probability=0.5)


def recording(frames: int, *sounds: tuple[int, int, int], noise: int = NOISE) -> Levels:
    """Return ``frames`` of noise with ``sounds`` (first frame, end, level) over it."""
    levels = np.full(frames, noise, np.uint16)
    for start, end, level in sounds:
        levels[start:end] = level
    return levels


def find(spoken: Word, levels: Levels, timebase: Fraction = FPS) -> list[Range]:
    return find_sounding(spoken, levels, timebase, THRESHOLD)


# In jfk.flac "what" is said to last from 4.24 to 5.52 s; it sounds until 4.4 s, and from 5.4 s the next word does.
JFK = recording(200, (100, 110, LOUD), (135, 150, LOUD))
WHAT = word(4240, 5520)


def test_a_word_stretched_over_a_pause_is_trimmed_to_its_sound() -> None:
    (trimmed,) = trim_words([WHAT], JFK, FPS, THRESHOLD)
    assert trimmed == word(4240, 4440)  # the sound ends at 4.4 s; a frame of air stays


def test_a_pause_inside_a_word_is_not_protected() -> None:
    protected = protect_words([WHAT], JFK, FPS, THRESHOLD)
    assert np.flatnonzero(protected).tolist() == [*range(106, 110), *range(135, 138)]


def test_the_part_with_the_most_sound_is_the_word() -> None:
    late = recording(200, (106, 108, LOUD), (130, 138, LOUD))
    assert trim_words([WHAT], late, FPS, THRESHOLD) == (word(5160, 5520),)
    short_and_loud = recording(200, (106, 108, 60_000), (130, 138, 10_000))
    assert trim_words([WHAT], short_and_loud, FPS, THRESHOLD) == (word(4240, 4360),)


@pytest.mark.parametrize(
    ("timebase", "gap", "parts"),
    [
        (FPS, 6, 1),  # 240 ms
        (FPS, 7, 2),  # 280 ms
        (Fraction(40), 10, 1),  # exactly 250 ms
        (Fraction(40), 11, 2),
        (Fraction(60000, 1001), 14, 1),  # 233.6 ms
        (Fraction(60000, 1001), 15, 2),  # 250.25 ms
    ],
)
def test_a_stop_of_up_to_250_ms_stays_inside_the_word(timebase: Fraction, gap: int, parts: int) -> None:
    levels = recording(300, (20, 25, LOUD), (25 + gap, 30 + gap, LOUD))
    end_ms = int((30 + gap) * 1000 / timebase) - 1
    ranges = find(word(int(20 * 1000 / timebase) + 1, end_ms), levels, timebase)
    assert ranges == ([(20, 30 + gap)] if parts == 1 else [(20, 25), (25 + gap, 30 + gap)])


def test_several_stops_are_all_bridged() -> None:
    levels = recording(100, (10, 12, LOUD), (16, 18, LOUD), (22, 24, LOUD))
    assert find(word(400, 1000), levels) == [(10, 24)]


def test_sound_outside_the_word_is_not_its_own() -> None:
    levels = recording(100, (5, 30, LOUD), (95, 100, LOUD))
    assert find(word(400, 800), levels) == [(10, 20)]
    assert find(word(410, 790), levels) == [(10, 20)]  # frames that it only touches belong to it
    assert find(word(3800, 9000), levels) == [(95, 100)]
    assert find(word(4000, 9000), levels) == []


def test_a_soft_word_below_the_threshold_is_protected() -> None:
    assert quantise(THRESHOLD) > SOFT
    levels = recording(100, (30, 40, SOFT), (33, 35, SOFT // 2), (40, 45, SOFT // 5))
    protected = protect_words([word(1000, 2000)], levels, FPS, THRESHOLD)
    assert np.flatnonzero(protected).tolist() == [*range(30, 40)]  # what is 14 dB below its peak is not


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        (recording(100, (30, 32, 270)), "noise swings by less than 3 dB"),
        (recording(100), "steady noise"),
        (recording(100, noise=0), "digital silence"),
        (recording(100, (30, 40, 60), noise=0), "nothing below -60 dB is a word"),
        (recording(100, (30, 40, 6_500), noise=5_000), "noise above the threshold is still noise"),
    ],
)
def test_noise_alone_is_not_protected(levels: Levels, why: str) -> None:
    assert not protect_words([word(1000, 2000)], levels, FPS, THRESHOLD).any(), why


def test_the_quiet_end_of_a_loud_word_belongs_to_it_while_it_reaches_the_threshold() -> None:
    levels = recording(100, (30, 35, 60_000), (35, 40, 3_000), (40, 45, 2_000))
    assert find(word(1000, 2000), levels) == [(30, 40)]


def test_words_over_loud_noise_are_told_from_it() -> None:
    levels = recording(100, (30, 40, LOUD), noise=5_000)
    assert find(word(1000, 2000), levels) == [(30, 40)]


def test_several_words_are_protected_together() -> None:
    levels = recording(100, (5, 8, LOUD), (50, 55, SOFT))
    protected = protect_words([word(0, 1000), word(1800, 2400)], levels, FPS, THRESHOLD)
    assert np.flatnonzero(protected).tolist() == [5, 6, 7, *range(50, 55)]
    assert protect_words([], levels, FPS, THRESHOLD).tolist() == [False] * 100


def test_a_word_in_which_nothing_sounds_keeps_its_times() -> None:
    levels = recording(100, (60, 70, LOUD))
    silent = [word(0, 1000), word(9000, 9500), word(500, 500)]
    assert trim_words(silent, levels, FPS, THRESHOLD) == tuple(silent)
    assert trim_words(silent, np.zeros(0, np.uint16), FPS, THRESHOLD) == tuple(silent)


@pytest.mark.parametrize("seed", range(20))
def test_trimming_only_takes_away(seed: int) -> None:
    rng = random.Random(seed)
    levels = np.array([rng.choice([NOISE, NOISE, SOFT, LOUD]) for _ in range(200)], np.uint16)
    words = [word(start, start + rng.randint(1, 900), f" {start}") for start in range(0, 8200, 300)]
    trimmed = trim_words(words, levels, Fraction(30000, 1001), THRESHOLD)
    assert [(after.text, after.probability) for after in trimmed] == [(was.text, was.probability) for was in words]
    for was, after in zip(words, trimmed, strict=True):
        assert was.start_ms <= after.start_ms < after.end_ms <= was.end_ms
