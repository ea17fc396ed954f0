"""The Timeline: what it keeps, what it reads and writes, and where a span of the source is heard in the result."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest

from pipeline.timeline import Range, Timeline, TimelineError, parse_timeline, ranges_of, read_timeline, round_half_up

FPS = Fraction(30)
NTSC = Fraction(30000, 1001)


def kept_of(*kept: Range, frames: int = 20, timebase: Fraction = FPS) -> Timeline:
    return Timeline.from_kept(timebase, frames, kept)


def document(*chunks: object, **fields: object) -> str:
    return json.dumps({"version": "1", "source": "talk.mp4", "timebase": "30/1", "chunks": list(chunks)} | fields)


def parse(text: str) -> Timeline:
    return parse_timeline(text, default_timebase=Fraction(25))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("1/2", 1), ("3/2", 2), ("5/2", 3), ("49/100", 0), ("-1/2", 0), ("-3/2", -1), ("-51/100", -1), ("7", 7)],
)
def test_halves_are_rounded_upwards(value: str, expected: int) -> None:
    assert round_half_up(Fraction(value)) == expected


# --- from kept ranges ---


@pytest.mark.parametrize(
    ("kept", "chunks"),
    [
        ([], [(0, 20, False)]),
        ([(0, 20)], [(0, 20, True)]),
        ([(5, 10)], [(0, 5, False), (5, 10, True), (10, 20, False)]),
        ([(0, 5), (15, 20)], [(0, 5, True), (5, 15, False), (15, 20, True)]),
        ([(-5, 3), (18, 40)], [(0, 3, True), (3, 18, False), (18, 20, True)]),
        ([(25, 30)], [(0, 20, False)]),
        ([(-9, -2)], [(0, 20, False)]),
        ([(2, 5), (5, 9)], [(0, 2, False), (2, 9, True), (9, 20, False)]),
        ([(2, 6), (4, 9)], [(0, 2, False), (2, 9, True), (9, 20, False)]),
        ([(2, 9), (4, 6)], [(0, 2, False), (2, 9, True), (9, 20, False)]),
        ([(7, 7), (9, 8)], [(0, 20, False)]),
    ],
)
def test_kept_ranges_are_clamped_and_joined(kept: list[Range], chunks: list[tuple[int, int, bool]]) -> None:
    timeline = Timeline.from_kept(FPS, 20, kept)
    assert timeline.chunks == tuple(chunks)
    assert timeline.frames == 20


def test_a_source_without_frames_has_an_empty_timeline() -> None:
    timeline = Timeline.uncut(FPS, 0)
    assert (timeline.chunks, timeline.frames, timeline.kept_frames, timeline.duration_ms) == ((), 0, 0, 0)


def test_kept_and_removed_ranges_share_out_all_frames() -> None:
    timeline = kept_of((2, 5), (9, 20))
    assert timeline.kept == ((2, 5), (9, 20))
    assert timeline.removed == ((0, 2), (5, 9))
    assert timeline.kept_frames == 3 + 11


@pytest.mark.parametrize("timebase", [Fraction(0), Fraction(-30)])
def test_a_rate_is_positive(timebase: Fraction) -> None:
    with pytest.raises(TimelineError, match="is not a positive rate"):
        Timeline.uncut(timebase, 10)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", []),
        ("....", []),
        ("####", [(0, 4)]),
        ("#..#", [(0, 1), (3, 4)]),
        (".##.###.", [(1, 3), (4, 7)]),
    ],
)
def test_ranges_of_flags(flags: str, expected: list[Range]) -> None:
    assert ranges_of([flag == "#" for flag in flags]) == expected


# --- times ---


@pytest.mark.parametrize(
    ("timebase", "frame", "expected"),
    [
        ("30", 0, 0),
        ("30", 1, 33),
        ("30", 2, 67),
        ("30", 3, 100),
        ("30000/1001", 30, 1001),
        ("30000/1001", 107892, 3_599_996),
        ("2000", 1, 1),
        ("2000", 3, 2),
    ],
)
def test_frames_start_at_the_nearest_millisecond(timebase: str, frame: int, expected: int) -> None:
    assert Timeline.uncut(Fraction(timebase), 10).to_ms(frame) == expected


def test_seams_are_the_cuts_that_the_result_plays_across() -> None:
    timeline = Timeline.from_kept(Fraction(25), 200, [(10, 20), (45, 100), (125, 150)])
    assert timeline.seams == ((400, 1000), (2600, 1000))  # what is cut before and behind is no seam
    assert Timeline.uncut(Fraction(25), 200).seams == Timeline.from_kept(Fraction(25), 200, []).seams == ()


def test_duration_is_that_of_the_kept_frames() -> None:
    assert kept_of((0, 10), (15, 20)).duration_ms == 500
    assert kept_of((0, 1), (15, 16)).duration_ms == 67
    assert kept_of().duration_ms == 0


# --- format v1 ---


def test_the_document_says_all_that_format_v1_asks_for() -> None:
    timeline = kept_of((3, 12), timebase=NTSC)
    assert json.loads(timeline.to_json("Täglich.mp4")) == {
        "version": "1",
        "source": "Täglich.mp4",
        "timebase": "30000/1001",
        "chunks": [[0, 3, 99999.0], [3, 12, 1.0], [12, 20, 99999.0]],
    }


def test_documents_are_text_a_person_can_read() -> None:
    assert "Täglich" in kept_of().to_json("Täglich.mp4")


@pytest.mark.parametrize("timebase", [FPS, NTSC, Fraction(599, 20)])
@pytest.mark.parametrize("kept", [[], [(0, 20)], [(0, 4)], [(5, 20)], [(1, 2), (4, 9), (19, 20)]])
def test_what_is_written_is_read_back(timebase: Fraction, kept: list[Range]) -> None:
    timeline = Timeline.from_kept(timebase, 20, kept)
    assert parse(timeline.to_json("talk.mp4")) == timeline


def test_both_speeds_of_a_cut_are_read_and_neighbours_of_one_kind_joined() -> None:
    timeline = parse(document([0, 4, 0.0], [4, 9, 99999.0], [9, 11, 1.0], [11, 15, 1], [15, 16, 0]))
    assert timeline.chunks == ((0, 9, False), (9, 15, True), (15, 16, False))


def test_the_timebase_of_the_document_counts_and_the_given_one_where_it_names_none() -> None:
    chunks = [[0, 10, 1.0]]
    assert parse(document(*chunks)).timebase == 30
    assert parse(document(*chunks, timebase="30000/1001")).timebase == NTSC
    assert parse(document(*chunks, timebase=None)).timebase == 25
    assert parse(json.dumps({"version": "1", "source": "a.mp4", "chunks": chunks})).timebase == 25


CHUNK_LIST = "chunks must be a list of [start, end, speed]"
ONLY_KNOWN_VERSIONS = 'only timelines of version "1" or "3" can be read'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not JSON: "),
        ("{'version': '1'}", "not JSON: "),
        ("[]", ONLY_KNOWN_VERSIONS),
        ("{}", ONLY_KNOWN_VERSIONS),
        (document([0, 10, 1.0], version="2"), ONLY_KNOWN_VERSIONS),
        (document([0, 10, 1.0], version=2), ONLY_KNOWN_VERSIONS),
        (document(), CHUNK_LIST),
        (document(chunks={"0": 1}), CHUNK_LIST),
        (document(chunks=None), CHUNK_LIST),
        (document([0, 10, 2.0]), "speed 2.0 at frame 0 is neither play (1.0) nor cut (0.0, 99999.0)"),
        (document([0, 5, 1.0], [5, 9, 0.5]), "speed 0.5 at frame 5 is neither play (1.0) nor cut (0.0, 99999.0)"),
        (document([0, 10, -1.0]), "speed -1.0 at frame 0 is neither play (1.0) nor cut (0.0, 99999.0)"),
        (document([0, 10]), "chunk [0, 10] is not [start, end, speed]"),
        (document([0, 10, 1.0, 1.0]), "chunk [0, 10, 1.0, 1.0] is not [start, end, speed]"),
        (document(["0", 10, 1.0]), "chunk ['0', 10, 1.0] is not [start, end, speed]"),
        (document([0.0, 10, 1.0]), "chunk [0.0, 10, 1.0] is not [start, end, speed]"),
        (document([False, 10, 1.0]), "chunk [False, 10, 1.0] is not [start, end, speed]"),
        (document([0, 10, "1.0"]), "chunk [0, 10, '1.0'] is not [start, end, speed]"),
        (document("abc"), "chunk 'abc' is not [start, end, speed]"),
        (document([0, 10, 1.0], [12, 20, 0.0]), "chunk [12, 20] does not continue at frame 10"),
        (document([0, 10, 1.0], [12, 20, 1.0]), "chunk [12, 20] does not continue at frame 10"),
        (document([0, 10, 1.0], [8, 20, 0.0]), "chunk [8, 20] does not continue at frame 10"),
        (document([3, 10, 1.0]), "chunk [3, 10] does not continue at frame 0"),
        (document([0, 0, 1.0]), "chunk [0, 0] does not continue at frame 0"),
        (document([0, 10, 1.0], [10, 7, 0.0]), "chunk [10, 7] does not continue at frame 10"),
        (document([0, 10, 1.0], timebase="fast"), "timebase 'fast' is not a rate such as 30/1"),
        (document([0, 10, 1.0], timebase="30/0"), "timebase '30/0' is not a rate such as 30/1"),
        (document([0, 10, 1.0], timebase="-30/1"), "timebase -30 is not a positive rate"),
        (document([0, 10, 1.0], timebase=0), "timebase 0 is not a positive rate"),
    ],
)
def test_a_broken_document_is_refused_with_the_rule_it_breaks(text: str, sentence: str) -> None:
    with pytest.raises(TimelineError) as caught:
        parse(text)
    assert str(caught.value).startswith(sentence)


def test_a_document_nested_without_end_is_refused_too() -> None:
    with pytest.raises(TimelineError):
        parse("[" * 100_000)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'{"version": "1", "source": "T\xe4glich"}')
    for path in (tmp_path / "missing.json", tmp_path, latin):
        with pytest.raises(TimelineError, match="can't read") as caught:
            read_timeline(path, default_timebase=FPS)
        assert str(path) in str(caught.value)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    path.write_text(kept_of((3, 12)).to_json("Täglich.mp4"), encoding="utf-8")
    assert read_timeline(path, default_timebase=Fraction(25)) == kept_of((3, 12))


# --- from source time to output time ---


def find_span(timeline: Timeline, start_ms: int, end_ms: int) -> tuple[int, int] | None:
    """Walk the source frame by frame and note when the span is heard."""
    flags = [kept for start, end, kept in timeline.chunks for _ in range(start, end)]
    start, end = (Fraction(time, 1000) * timeline.timebase for time in (start_ms, end_ms))
    heard: list[tuple[Fraction, Fraction]] = []
    played = 0
    for frame, kept in enumerate(flags):
        if kept:
            low, high = max(start, Fraction(frame)), min(end, Fraction(frame + 1))
            if low < high:
                heard.append((played + low - frame, played + high - frame))
            played += 1
    if not heard:
        return None
    first, last = (floor(time / timeline.timebase * 1000 + Fraction(1, 2)) for time in (heard[0][0], heard[-1][1]))
    return first, last


# 10 fps: a frame is 100 ms. Frames 0-4 and 10-14 and 18-19 play; 5-9 and 15-17 are cut.
TEN = kept_of((0, 5), (10, 15), (18, 20), timebase=Fraction(10))


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((100, 300), (100, 300)),
        ((1000, 1250), (500, 750)),
        ((1900, 2000), (1100, 1200)),
        ((300, 700), (300, 500)),  # ends inside a cut
        ((700, 1200), (500, 700)),  # begins inside a cut
        ((450, 1050), (450, 550)),  # a cut in its middle
        ((700, 1600), (500, 1000)),  # from cut to cut
        ((400, 500), (400, 500)),  # up to a seam
        ((500, 1000), None),  # exactly the cut
        ((550, 900), None),
        ((1500, 1799), None),
        ((1950, 9000), (1150, 1200)),  # past the end
        ((2000, 2500), None),
        ((5000, 9000), None),
        ((200, 200), None),  # no length: nothing to hear
        ((700, 700), None),
        ((300, 200), None),
    ],
)
def test_a_span_is_clamped_to_what_plays(span: tuple[int, int], expected: tuple[int, int] | None) -> None:
    assert TEN.map_span(*span) == expected


def test_a_span_in_a_cut_at_either_end_is_not_heard() -> None:
    timeline = kept_of((5, 10), timebase=Fraction(10))
    assert timeline.map_span(0, 400) is None
    assert timeline.map_span(0, 500) is None
    assert timeline.map_span(1000, 2000) is None
    assert timeline.map_span(1500, 9000) is None
    assert timeline.map_span(0, 9000) == (0, 500)


def test_nothing_is_heard_where_nothing_plays() -> None:
    assert kept_of().map_span(0, 1000) is None
    assert Timeline.uncut(FPS, 0).map_span(0, 1000) is None


@pytest.mark.parametrize("timebase", ["30", "30000/1001", "25", "599/20", "7"])
@pytest.mark.parametrize("seed", range(8))
def test_every_span_is_heard_where_its_frames_play(timebase: str, seed: int) -> None:
    rng = random.Random(f"{timebase}{seed}")
    edges = sorted(rng.sample(range(41), rng.choice([2, 4, 6, 12])))
    timeline = kept_of(*zip(edges[::2], edges[1::2], strict=True), frames=40, timebase=Fraction(timebase))
    length_ms = timeline.to_ms(40)
    times = [rng.randint(0, length_ms + 300) for _ in range(40)] + [timeline.to_ms(edge) for edge in edges]
    for _ in range(300):
        start, end = sorted(rng.choices(times, k=2))
        assert timeline.map_span(start, end) == find_span(timeline, start, end), (timeline, start, end)


# --- another grid ---


def test_the_same_grid_changes_nothing() -> None:
    timeline = kept_of((2, 5), (9, 20))
    assert timeline.retime(FPS, 20) == timeline


@pytest.mark.parametrize(
    ("timebase", "frames", "kept"),
    [
        (Fraction(60), 40, [(4, 10), (18, 30)]),
        (Fraction(15), 10, [(1, 3), (5, 8)]),  # 2.5 and 4.5 go up, 7.5 too
        (Fraction(10), 7, [(1, 2), (3, 5)]),  # 0.67, 1.67, 3, 5
    ],
)
def test_cuts_keep_their_times_on_another_grid(timebase: Fraction, frames: int, kept: list[Range]) -> None:
    retimed = kept_of((2, 5), (9, 15)).retime(timebase, frames)
    assert (retimed.timebase, retimed.frames, list(retimed.kept)) == (timebase, frames, kept)


@pytest.mark.parametrize(("old", "new"), [("30", "30000/1001"), ("83/5", "60"), ("60", "24"), ("25", "30")])
def test_no_cut_moves_by_more_than_half_a_frame(old: str, new: str) -> None:
    rng = random.Random(old + new)
    edges = sorted(rng.sample(range(0, 3000, 7), 100))
    timeline = kept_of(*zip(edges[::2], edges[1::2], strict=True), frames=3600, timebase=Fraction(old))
    retimed = timeline.retime(Fraction(new), round_half_up(3600 / Fraction(old) * Fraction(new)))
    assert len(retimed.kept) == len(timeline.kept)
    for before, after in zip(timeline.kept, retimed.kept, strict=True):
        for was, now in zip(before, after, strict=True):
            assert abs(was / timeline.timebase - now / retimed.timebase) <= Fraction(1, 2) / retimed.timebase


def test_a_cut_too_short_for_the_new_grid_is_gone() -> None:
    retimed = kept_of((0, 10), (11, 60), frames=60, timebase=Fraction(60)).retime(Fraction(10), 10)
    assert retimed == Timeline.uncut(Fraction(10), 10)


@pytest.mark.parametrize(
    ("frames", "last"),
    [
        (100, (50, 100)),
        (101, (50, 101)),
        (114, (50, 114)),  # less than half a second: the two only disagree about the end
        (115, (50, 100)),  # half a second: what follows was not meant
        (200, (50, 100)),
        (90, (50, 90)),
    ],
)
def test_what_plays_to_the_end_goes_on_to_an_end_near_by(frames: int, last: Range) -> None:
    timeline = kept_of((0, 20), (50, 100), frames=100)
    assert timeline.retime(FPS, frames).kept == ((0, 20), last)
    assert timeline.retime(FPS, frames).frames == frames


def test_what_ends_in_a_cut_stays_cut() -> None:
    timeline = kept_of((0, 20), (50, 98), frames=100)
    assert timeline.retime(FPS, 105).kept == ((0, 20), (50, 98))


def test_what_lies_past_the_new_end_is_dropped() -> None:
    assert kept_of((0, 20), (50, 100), frames=100).retime(FPS, 40).kept == ((0, 20),)
    assert kept_of((0, 20), (50, 100), frames=100).retime(FPS, 10).kept == ((0, 10),)
    assert kept_of((50, 100), frames=100).retime(FPS, 40).kept == ()
