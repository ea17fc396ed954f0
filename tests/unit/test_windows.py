"""Speech spans, windows and their way back to source time, and what is dropped from a transcript: no model needed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineCancelled, SourceGone
from pipeline.hallucinations import clean_words, collapse_loops
from pipeline.models import Word
from pipeline.onsets import EARLY_MS, refine_times
from pipeline.recognisers import count_threads, pick_language
from pipeline.speech import (
    MAX_SPAN,
    MAX_WINDOW,
    PAD,
    SPEECH_RATE,
    Pcm,
    Span,
    Window,
    find_speech,
    plan_windows,
    read_window,
    split_long,
)
from pipeline.transcribe import pick_clips

S = SPEECH_RATE


def word(start_ms: int, end_ms: int, text: str = " word") -> Word:
    return Word(start_ms=start_ms, end_ms=end_ms, text=text, probability=0.9)


def say(text: str, each_ms: int = 250) -> list[Word]:
    return [word(i * each_ms, (i + 1) * each_ms, f" {part}") for i, part in enumerate(text.split())]


# Windows


def test_no_speech_has_no_windows() -> None:
    assert plan_windows([], 60 * S) == ()


def test_short_pauses_stay_and_long_ones_go() -> None:
    (window,) = plan_windows([(2 * S, 4 * S), (int(4.8 * S), 6 * S), (20 * S, 21 * S)], 30 * S)
    assert window.pieces == ((2 * S - PAD, 6 * S + PAD), (20 * S - PAD, 21 * S + PAD))


def test_padding_ends_where_the_source_does() -> None:
    (window,) = plan_windows([(100, 5 * S)], 5 * S + 50)
    assert window.pieces == ((0, 5 * S + 50),)


def test_a_full_window_ends_at_its_longest_late_pause() -> None:
    pauses = {4: 3.0, 12: 0.9}  # a long one too early, a shorter one in the last eight seconds
    spans: list[Span] = []
    at = 1.0
    for index in range(20):
        spans.append((round(at * S), round((at + 1.6) * S)))
        at += 1.6 + pauses.get(index, 0.4)
    first, second = plan_windows(spans, 60 * S)
    assert first.pieces[-1][1] == spans[12][1] + PAD
    assert second.pieces[0][0] == spans[13][0] - PAD


@pytest.mark.parametrize("seed", range(20))
def test_windows_hold_all_speech_once_and_fit(seed: int) -> None:
    random = np.random.default_rng(seed)
    spans: list[Span] = []
    at = int(random.integers(0, S))
    while len(spans) < 120:
        length = int(random.integers(S // 10, MAX_SPAN if random.random() < 0.1 else 4 * S))
        spans.append((at, at + length))
        at += length + int(random.choice([1, S // 3, S // 2, S, S + 1, 3 * S, 40 * S]))
    samples = spans[-1][1] + int(random.integers(0, S))
    windows = plan_windows(spans, samples)
    pieces = [piece for window in windows for piece in window.pieces]
    assert all(0 < window.samples <= MAX_WINDOW for window in windows)
    assert all(start < end for start, end in pieces)
    assert all(before[1] <= after[0] for before, after in pairwise(pieces))
    assert pieces[0][0] >= 0
    assert pieces[-1][1] <= samples
    for start, end in spans:
        assert any(first <= start and end <= last for first, last in pieces)


def test_endless_speech_is_halved_until_it_fits() -> None:
    windows = plan_windows([(0, 100 * S)], 100 * S)
    assert all(window.samples <= MAX_WINDOW for window in windows)
    assert sum(window.samples for window in windows) == 100 * S


# Back to source time


@pytest.mark.parametrize(
    ("heard", "source"),
    [
        ((0, 500), (10_000, 10_500)),
        ((1_900, 2_000), (11_900, 12_000)),
        ((1_800, 2_100), (11_800, 12_000)),  # its middle lies in the first piece
        ((1_900, 2_300), (60_000, 60_300)),  # in the second
        ((2_500, 9_000), (60_500, 61_000)),  # past the end: clamped into the last
    ],
)
def test_words_return_to_their_piece(heard: tuple[int, int], source: tuple[int, int]) -> None:
    window = Window(pieces=((10 * S, 12 * S), (60 * S, 61 * S)))
    assert window.to_source_ms(*heard) == source


def test_a_window_is_read_as_one_recording(tmp_path: Path) -> None:
    speech = tmp_path / "speech.pcm"
    np.arange(1000, dtype="<i2").tofile(speech)
    pcm = read_window(speech, Window(pieces=((10, 13), (500, 502))))
    assert (pcm * 32768).tolist() == [10, 11, 12, 500, 501]
    with pytest.raises(SourceGone):
        read_window(speech, Window(pieces=((990, 1001),)))


# Finding speech in blocks


BLOCK = 60 * S


def hear_loud(pcm: Pcm) -> list[Span]:
    """Hear speech wherever samples are not zero; gaps under 0.3 s belong to it."""
    loud = np.flatnonzero(pcm)
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > 3 * S // 10)
    starts = [int(loud[0]), *(int(loud[index + 1]) for index in breaks)]
    ends = [*(int(loud[index]) + 1 for index in breaks), int(loud[-1]) + 1]
    # Speech that paused a moment ago is still open, as Silero has it.
    return [(start, pcm.size if pcm.size - end < 3 * S // 10 else end) for start, end in zip(starts, ends, strict=True)]


def store(path: Path, spans: Sequence[Span], samples: int) -> Path:
    pcm = np.zeros(samples, "<i2")
    for start, end in spans:
        pcm[start:end] = 8000
    pcm.tofile(path)
    return path


@pytest.mark.parametrize(
    "spans",
    [
        [(58 * S, 62 * S)],  # across the edge
        [(58 * S, 60 * S)],  # up to it
        [(60 * S, 62 * S)],  # from it on
        [(58 * S, 60 * S - S // 10), (60 * S + S // 2, 62 * S)],  # paused at it
        [(59 * S, 60 * S - S // 2)],  # closed before it
        [(10 * S, 12 * S), (40 * S, 65 * S), (119 * S, 140 * S), (150 * S, 170 * S)],
        [],
    ],
)
def test_the_edge_of_a_block_changes_nothing(spans: list[Span], tmp_path: Path) -> None:
    samples = 171 * S
    speech = store(tmp_path / "speech.pcm", spans, samples)
    found = find_speech(speech, samples, hear=hear_loud, block=BLOCK)
    assert found == find_speech(speech, samples, hear=hear_loud, block=1000 * S)
    assert list(found) == spans


@pytest.mark.parametrize("start", [60 * S, 61 * S])
def test_every_block_is_heard_with_a_lead_in(start: int, tmp_path: Path) -> None:
    """A detector's memory begins empty: this one hears nothing in the first half second of what it gets."""

    def hear_late(pcm: Pcm) -> list[Span]:
        return hear_loud(np.concatenate([np.zeros(S // 2, np.float32), pcm[S // 2 :]]))

    speech = store(tmp_path / "speech.pcm", [(start, 62 * S)], 80 * S)
    assert find_speech(speech, 80 * S, hear=hear_late, block=BLOCK) == ((start, 62 * S),)


def test_speech_longer_than_a_block_is_split_where_it_is_quietest(tmp_path: Path) -> None:
    samples = 200 * S
    pcm = np.full(samples, 8000, "<i2")
    quiet = [25 * S, 47 * S, 72 * S, 95 * S, 120 * S, 141 * S, 165 * S, 190 * S]
    for at in quiet:
        pcm[at - S // 20 : at + S // 20] = 40
    speech = tmp_path / "speech.pcm"
    pcm.tofile(speech)
    found = find_speech(speech, samples, hear=hear_loud, block=BLOCK)
    assert (found[0][0], found[-1][1]) == (0, samples)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(end - start <= MAX_SPAN for start, end in found)
    for _, end in found[:-1]:
        assert min(abs(end - at) for at in quiet) <= S // 20


def test_short_speech_is_not_split() -> None:
    assert split_long(np.zeros(MAX_SPAN, np.float32), 0, MAX_SPAN) == [(0, MAX_SPAN)]


def test_blocks_report_and_can_be_stopped(tmp_path: Path) -> None:
    speech = store(tmp_path / "speech.pcm", [(S, 2 * S)], 150 * S)
    seen: list[float] = []
    find_speech(speech, 150 * S, hear=hear_loud, block=BLOCK, on_block=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(_: float) -> None:
        raise PipelineCancelled

    with pytest.raises(PipelineCancelled):
        find_speech(speech, 150 * S, hear=hear_loud, block=BLOCK, on_block=stop)


# Word times from sound


def test_a_word_is_trimmed_to_its_sound() -> None:
    pcm = np.zeros(3 * S, np.float32)
    pcm[S : S + S // 2] = 0.3  # 1000–1500 ms
    pcm[2 * S : 2 * S + S // 4] = 0.3  # 2000–2250 ms
    first, second, third = refine_times([word(300, 1400), word(1400, 2200), word(2600, 2800)], pcm)
    assert (first.start_ms, first.end_ms) == (1000, 1400 + EARLY_MS)
    assert (second.start_ms, second.end_ms) == (2000, 2250)  # the rest of its neighbour is left to it
    assert (third.start_ms, third.end_ms) == (2600 + EARLY_MS, 2800 + EARLY_MS)  # nothing to hear: only moved


def test_a_word_stretched_over_a_pause_keeps_its_longer_part() -> None:
    pcm = np.zeros(3 * S, np.float32)
    pcm[: S // 2] = 0.3
    pcm[2 * S : 2 * S + S // 10] = 0.3
    (stretched,) = refine_times([word(0, 2_020)], pcm)
    assert (stretched.start_ms, stretched.end_ms) == (EARLY_MS, 500)


def test_words_stay_inside_an_empty_window() -> None:
    assert refine_times([word(0, 100)], np.zeros(0, np.float32)) == [word(0, 0)]


# Cleaning


def test_words_come_out_in_order_and_apart() -> None:
    cleaned = clean_words([word(0, 500, " a"), word(400, 400, " b"), word(400, 300, " c"), word(600, 700, "  ")])
    assert [(w.start_ms, w.end_ms, w.text) for w in cleaned] == [(0, 400, " a"), (400, 401, " b"), (401, 402, " c")]


def test_words_outside_speech_are_dropped() -> None:
    words = [word(0, 400, " Thanks"), word(1000, 1500, " real"), word(1700, 1900, " near"), word(9000, 9400, " made")]
    assert [w.text for w in clean_words(words, [(1000, 1600), (5000, 6000)])] == [" real", " near"]
    assert clean_words(words, []) == ()


@pytest.mark.parametrize(
    "text",
    [
        "no, no, no",
        "No, no, no, no, no, no!",
        "one two three four five six seven eight nine ten",
        "a hundred and one a hundred and two a hundred and three a hundred and four a hundred and five",
        "knock knock knock knock on the door",
        "we start again we start again we start again now",
        "left right left right left right left right left",
        "",
    ],
)
def test_real_repetition_is_left_alone(text: str) -> None:
    words = say(text)
    assert collapse_loops(words) == words


@pytest.mark.parametrize(
    ("text", "collapsed"),
    [
        ("so " + "the " * 20 + "end", "so the end"),
        ("Thank you. " * 6 + "bye", "Thank you. bye"),
        ("I don't know, " * 5, "I don't know,"),
        ("hello " + "We'll see you in the next one. " * 9 + "Right", "hello We'll see you in the next one. Right"),
    ],
)
def test_loops_become_one_round(text: str, collapsed: str) -> None:
    assert "".join(w.text for w in collapse_loops(say(text))).strip() == collapsed


def test_loops_are_cleaned_away() -> None:
    assert [w.text for w in clean_words(say("so " + "the " * 20 + "end"))] == [" so", " the", " end"]


def test_words_faster_than_speech_are_a_loop_sooner() -> None:
    assert len(collapse_loops(say("thank you thank you thank you", each_ms=40))) == 2
    assert len(collapse_loops(say("thank you thank you thank you"))) == 6


# Language, threads


def test_language_has_the_largest_sum() -> None:
    code, probability = pick_language([{"en": 0.6, "de": 0.4}, {"en": 0.1, "de": 0.9}, {"en": 0.6, "de": 0.4}])
    assert code == "de"
    assert probability == pytest.approx(1.7 / 3)
    assert pick_language([]) == ("", 0.0)


def test_language_is_heard_in_each_third() -> None:
    windows = [Window(pieces=((index * 100, index * 100 + length),)) for index, length in enumerate([5, 9, 3, 8, 7, 7])]
    assert [window.samples for window in pick_clips(windows)] == [9, 8, 7]
    assert pick_clips(windows[:2]) == windows[:2]
    assert pick_clips([]) == []


def test_threads_follow_the_container(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    alone = count_threads(quota)
    assert 1 <= alone <= 8
    quota.write_text("50000 100000\n")
    assert count_threads(quota) == 1
    quota.write_text("max 100000\n")
    assert count_threads(quota) == alone
