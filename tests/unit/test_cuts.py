"""auto-editor's rules on strings a person can check: ``#`` is loud or kept, ``.`` is quiet or cut."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import groupby

import numpy as np
import pytest

from pipeline.cuts import CutRules, Flags, apply_margin, choose_rules, cut_silence, find_loud, smooth, to_frames
from pipeline.levels import DEFAULT_THRESHOLD, Levels, find_threshold, quantise
from pipeline.options import PipelineOptions
from pipeline.timeline import Timeline

FPS = Fraction(30)


def flags(text: str) -> Flags:
    return np.array([char == "#" for char in text], np.bool_)


def show(values: Flags) -> str:
    return "".join("#" if value else "." for value in values)


def show_kept(timeline: Timeline) -> str:
    return "".join(("#" if kept else ".") * (end - start) for start, end, kept in timeline.chunks)


@pytest.mark.parametrize(
    ("duration_ms", "timebase", "frames"),
    [
        (0, "30", 0),
        (200, "30", 6),
        (200, "30000/1001", 6),  # 5.994
        (16, "30", 0),  # 0.48
        (-16, "30", 0),
        (50, "30", 2),  # 1.5
        (-50, "30", -2),
        (100, "25", 3),  # 2.5
        (-100, "25", -3),
        (-33, "30", -1),  # -0.99
        (-49, "30", -1),  # -1.47
        (10_000, "60000/1001", 599),  # 599.4
    ],
)
def test_halves_of_frames_are_rounded_away_from_zero(duration_ms: int, timebase: str, frames: int) -> None:
    assert to_frames(duration_ms, Fraction(timebase)) == frames


def test_what_reaches_the_threshold_is_loud() -> None:
    assert show(find_loud(np.array([2620, 2621, 2622, 0], np.uint16), 0.04)) == ".##."


# --- margin ---


@pytest.mark.parametrize(
    ("loud", "margin", "expected"),
    [
        ("...##...", (0, 0), "...##..."),
        ("...##...", (1, 1), "..####.."),
        ("...##...", (2, 1), ".#####.."),
        ("...##...", (0, 2), "...####."),
        ("...##...", (2, 0), ".####..."),
        ("..#...#..", (1, 1), ".###.###."),
        ("..##..##..", (1, 1), ".########."),
        # at the ends there is no room
        (".#......", (5, 0), "##......"),
        ("......#.", (0, 9), "......##"),
        # the array's own ends are no edges
        ("#.......", (3, 0), "#......."),
        (".......#", (0, 3), ".......#"),
        ("##....##", (1, 1), "###..###"),
        ("########", (2, 2), "########"),
        ("........", (2, 2), "........"),
        # negative margins shrink
        ("..####..", (-1, -1), "...##..."),
        ("..####..", (-2, 0), "....##.."),
        ("..####..", (0, -3), "..#....."),
        ("..##..", (-1, -1), "......"),
        ("..#####", (-9, 0), "......."),
        (".######.", (0, -9), "........"),
        ("####....", (-2, 0), "####...."),
        ("....####", (0, -2), "....####"),
        # one side of each
        (".#####..", (-1, 1), "..#####."),
        ("..#####.", (1, -1), ".#####.."),
        # edges are those that came in: a run that the margin ate still had two
        ("..##.##..", (-2, 0), "........."),
        ("", (1, 1), ""),
    ],
)
def test_margins_are_set_at_the_edges(loud: str, margin: tuple[int, int], expected: str) -> None:
    before = flags(loud)
    assert show(apply_margin(before, margin)) == expected
    assert show(before) == loud


@pytest.mark.parametrize(
    ("loud", "margin", "expected"),
    [
        (".####.##.", (3, -2), "###..#..."),  # grown to ########., then 3-4 and 6-7 are taken back
        (".####.##.", (-2, 3), "...######"),  # shrunk to ...##...., then 5-8 are given back
    ],
)
def test_margins_of_both_signs_are_set_at_all_rising_edges_before_any_falling_one(
    loud: str, margin: tuple[int, int], expected: str
) -> None:
    """As auto-editor's ``mutMargin`` does (src/util/fun.nim): where two margins meet, the later write counts."""
    assert show(apply_margin(flags(loud), margin)) == expected


# --- smoothing ---


@pytest.mark.parametrize(
    ("kept", "min_cut", "min_clip", "expected"),
    [
        ("...#...##...", 0, 2, ".......##..."),
        ("...##...###...", 0, 3, "........###..."),
        ("##.####..###...##", 2, 0, "#######..###...##"),
        ("##.####..###...##", 3, 0, "############...##"),
        # a run at either end is a run
        ("#....##", 0, 2, ".....##"),
        ("##....#", 0, 2, "##....."),
        (".####..", 2, 0, "#####.."),
        ("..####.", 2, 0, "..#####"),
        # a run as long as the limit stays
        ("..##..##..", 2, 2, "..##..##.."),
        ("#", 1, 1, "#"),
        (".", 1, 1, "."),
        # zero asks for nothing
        ("#.#.#", 0, 0, "#.#.#"),
        ("", 3, 3, ""),
    ],
)
def test_short_pieces_and_short_cuts_go(kept: str, min_cut: int, min_clip: int, expected: str) -> None:
    assert show(smooth(flags(kept), min_cut, min_clip)) == expected


def test_both_limits_look_at_the_same_copy_and_filling_wins() -> None:
    """Dropping the short piece first would leave a cut of 7, which stays. Here its neighbours are filled as well,
    the next pass finds a cut of 1, and all is kept.
    """
    assert show(smooth(flags("##...#...##"), 4, 2)) == "###########"


def test_passes_are_repeated_until_nothing_changes() -> None:
    # .#.#.... > #.#..... > .#...... > #....... > ........
    assert show(smooth(flags(".#.#...."), 2, 2)) == "........"


@pytest.mark.parametrize("kept", ["#.#.", ".#.#.", "#", "..", "##..##"])
def test_two_states_that_alternate_end_with_the_one_that_came_first(kept: str) -> None:
    """As auto-editor: it stops when a state equals that of two passes before."""
    assert show(smooth(flags(kept), 3, 3)) == kept


def smooth_slowly(kept: Flags, min_cut: int, min_clip: int) -> Flags:
    """Follow the rule literally, with every state remembered."""
    states = [show(kept)]
    while True:
        state, after = states[-1], ""
        for char, run in groupby(state):
            length = len(list(run))
            limit = min_clip if char == "#" else min_cut
            after += (("." if char == "#" else "#") if length < limit else char) * length
        if after in states:
            assert after in states[-2:], "neither stable nor two states that alternate"
            return flags(after)
        states.append(after)


@pytest.mark.parametrize("seed", range(30))
def test_smoothing_follows_the_rule_on_random_arrays(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        share = rng.choice([0.1, 0.3, 0.5, 0.7, 0.9])
        kept = flags("".join(rng.choices("#.", [share, 1 - share], k=rng.randint(1, 120))))
        min_cut, min_clip = rng.randint(0, 8), rng.randint(0, 8)
        assert show(smooth(kept, min_cut, min_clip)) == show(smooth_slowly(kept, min_cut, min_clip))


# --- cutting ---


def rules(
    *, margin: tuple[int, int] = (0, 0), min_cut: int = 0, min_clip: int = 0, threshold: float = 0.04
) -> CutRules:
    return CutRules(
        threshold=threshold, threshold_mode="manual", margin=margin, min_cut=min_cut, min_clip=min_clip
    )  # fmt: skip


def levels(text: str) -> Levels:
    """``#`` is loud, ``.`` a level just too quiet."""
    loud = quantise(0.04)
    return np.array([loud if char == "#" else loud - 1 for char in text], np.uint16)


def test_margin_comes_before_smoothing() -> None:
    # ..###.....###.###.. after the margin: the cut of 1 is filled, the pieces of 3 stay
    timeline = cut_silence(levels("...#.......#...#..."), rules(margin=(1, 1), min_cut=2, min_clip=3), FPS)
    assert show_kept(timeline) == "..###.....#######.."
    assert timeline.timebase == FPS


def test_silence_keeps_nothing_and_noise_everything() -> None:
    assert cut_silence(levels("....."), rules(margin=(2, 2)), FPS).kept == ()
    assert cut_silence(levels("#####"), rules(margin=(2, 2)), FPS).removed == ()
    assert cut_silence(np.zeros(0, np.uint16), rules(margin=(2, 2)), FPS).frames == 0


@pytest.mark.parametrize(
    ("loud", "protected", "chosen", "expected"),
    [
        ("........", "...##...", rules(), "...##..."),
        ("........", "...##...", rules(margin=(1, 2)), "..#####."),  # air around it as around any sound
        ("#.......", "......##", rules(), "#.....##"),
        ("........", "...#....", rules(min_clip=3), "...#...."),  # too short a piece, yet speech
        ("########", "...#....", rules(), "########"),
        ("..####..", "..#####.", rules(margin=(-1, -2)), "..#####."),  # shrinking stops at speech
    ],
)
def test_protected_frames_are_never_cut(loud: str, protected: str, chosen: CutRules, expected: str) -> None:
    guard = flags(protected)
    assert show_kept(cut_silence(levels(loud), chosen, FPS, guard)) == expected
    assert show(guard) == protected


# --- rules from options ---


@pytest.mark.parametrize(
    ("options", "margin", "min_cut"),
    [
        (PipelineOptions(), (6, 6), 6),
        (PipelineOptions(pace="tight"), (3, 5), 3),  # 0.15 s is 4.5 frames; 0.35 s less 0.25 s of air
        (PipelineOptions(pace="natural"), (6, 6), 6),  # 0.6 s less 0.4 s
        (PipelineOptions(pace="relaxed"), (11, 14), 6),  # 10.5 and 13.5 frames; 1 s less 0.8 s
        (PipelineOptions(pace="tight", margin_ms=(300, 500)), (9, 15), 3),  # explicit air, the pace's shortest cut
        (PipelineOptions(pace="relaxed", min_pause_ms=1500), (11, 14), 21),  # 1.5 s less 0.8 s
        (PipelineOptions(pace="tight", margin_ms=(100, 100), min_pause_ms=600), (3, 3), 12),
        (PipelineOptions(margin_ms=(-100, 200)), (-3, 6), 6),
    ],
)
def test_explicit_values_beat_the_pace(options: PipelineOptions, margin: tuple[int, int], min_cut: int) -> None:
    chosen = choose_rules(options, levels("..##.."), FPS)
    assert (chosen.margin, chosen.min_cut, chosen.min_clip) == (margin, min_cut, 3)


def test_the_threshold_comes_from_the_recording_unless_it_is_given() -> None:
    talk: Levels = np.array(([300] * 30 + [20000] * 60) * 10, np.uint16)
    found = choose_rules(PipelineOptions(), talk, FPS)
    assert (found.threshold, found.threshold_mode) == (find_threshold(talk), "auto")
    assert found.threshold != DEFAULT_THRESHOLD
    given = choose_rules(PipelineOptions(threshold=0.1), talk, FPS)
    assert (given.threshold, given.threshold_mode) == (0.1, "manual")


def test_plain_rules_are_those_of_auto_editor_without_options() -> None:
    """4 %, margin 0.2 s, smooth 0.2 s,0.1 s; a threshold that is given still counts."""
    talk: Levels = np.array(([300] * 30 + [20000] * 60) * 10, np.uint16)
    plain = choose_rules(PipelineOptions(), talk, Fraction(25), plain=True)
    assert plain == CutRules(threshold=0.04, threshold_mode="manual", margin=(5, 5), min_cut=5, min_clip=3)
    assert choose_rules(PipelineOptions(threshold=0.1), talk, FPS, plain=True).threshold == 0.1
