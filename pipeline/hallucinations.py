"""What a recogniser wrote and nobody said: words outside speech and endless repetition, found by structure alone.

No list of phrases is kept: what a model makes up depends on model and language, and every phrase is said by somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.models import Word

Interval = tuple[int, int]
"""Milliseconds from, until."""

_NEAR_SPEECH_MS = 250
"""Word times are off by this much now and then; a word this close to speech may be part of it."""
_LOOP_REPEATS = {1: 8, 2: 6}
_LOOP_REPEATS_LONGER = 5
"""Repeats in a row that make a loop, by its words. People do say "no, no, no" and try one sentence three times."""
_LONGEST_LOOP = 30
_UNSPEAKABLE_MS = 60
_UNSPEAKABLE_REPEATS = 3
"""Nobody speaks words this short on average: repeats that do are a loop sooner."""


def clean_words(words: Sequence[Word], speech: Sequence[Interval] | None = None) -> tuple[Word, ...]:
    """Return ``words`` as later steps may rely on: in order, apart, each at least 1 ms long and with a text.

    Words away from every interval of ``speech`` (ascending; None takes all as speech) and repeats of a loop are
    dropped. Where two words overlap the later start wins, because starts are the better-known end.
    """
    written = [word for word in words if word.text.strip()]
    if speech is not None:
        written = _drop_outside(written, speech)
    return _order(collapse_loops(written))


def _drop_outside(words: Sequence[Word], speech: Sequence[Interval]) -> list[Word]:
    kept: list[Word] = []
    index = 0
    for word in sorted(words, key=lambda word: word.start_ms):
        while index < len(speech) and speech[index][1] + _NEAR_SPEECH_MS <= word.start_ms:
            index += 1
        if index < len(speech) and speech[index][0] - _NEAR_SPEECH_MS < max(word.end_ms, word.start_ms + 1):
            kept.append(word)
    return kept


def collapse_loops(words: Sequence[Word]) -> list[Word]:
    """Return ``words`` with each loop reduced to its first round.

    A loop is the same 1 to 30 words in a row (case and punctuation aside), again and again: 8 times for one word, 6
    for two, 5 for more; 3 times where they are shorter than anybody can speak.
    """
    spoken = [_bare(word.text) for word in words]
    kept: list[Word] = []
    index = 0
    while index < len(words):
        size, repeats = _find_loop(words, spoken, index)
        kept += words[index : index + size]
        index += size * repeats
    return kept


def _find_loop(words: Sequence[Word], spoken: Sequence[str], start: int) -> tuple[int, int]:
    """Return length and repeats of the loop that starts here; 1 and 1 when none does."""
    for size in range(1, min(_LONGEST_LOOP, (len(words) - start) // _UNSPEAKABLE_REPEATS) + 1):
        pattern = spoken[start : start + size]
        repeats = 1
        while spoken[start + repeats * size : start + (repeats + 1) * size] == pattern:
            repeats += 1
        if repeats < _UNSPEAKABLE_REPEATS or not any(pattern):
            continue
        looped = words[start : start + repeats * size]
        too_fast = sum(word.end_ms - word.start_ms for word in looped) < _UNSPEAKABLE_MS * len(looped)
        if too_fast or repeats >= _LOOP_REPEATS.get(size, _LOOP_REPEATS_LONGER):
            return size, repeats
    return 1, 1


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _order(words: Sequence[Word]) -> tuple[Word, ...]:
    ordered: list[Word] = []
    for word in sorted(words, key=lambda word: word.start_ms):
        start = word.start_ms
        if ordered and start < ordered[-1].end_ms:
            if start > ordered[-1].start_ms:
                ordered[-1] = replace(ordered[-1], end_ms=start)
            else:
                start = ordered[-1].end_ms
        ordered.append(replace(word, start_ms=start, end_ms=max(word.end_ms, start + 1)))
    return tuple(ordered)
