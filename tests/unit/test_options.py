"""What a person may ask for: every value that is understood, and the sentence for every one that is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.__main__ import _bind_values
from pipeline.options import (
    LANGUAGES,
    MAX_VOCABULARY_CHARS,
    PACES,
    Captions,
    OptionError,
    PipelineOptions,
    Style,
    parse_audio_track,
    parse_duration_ms,
    parse_job_options,
    parse_language,
    parse_margin,
    parse_min_pause,
    parse_threshold,
)


def refuse(parse: Callable[[], object]) -> str:
    """Return the sentence with which ``parse`` refuses."""
    with pytest.raises(OptionError) as caught:
        parse()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    return sentence


# --- threshold ---


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (None, None),
        ("auto", None),
        ("4%", 0.04),
        ("4 %", 0.04),
        ("4.5%", 0.045),
        ("100%", 1.0),
        ("0%", 0.0),
        ("-20dB", 0.1),
        ("-28dB", 0.0398107),
        ("-20 DB", 0.1),
        ("0dB", 1.0),
        ("0.04", 0.04),
        (".04", 0.04),
        ("1", 1.0),
        (" 0.5 ", 0.5),
        (0.04, 0.04),
        (0, 0.0),
        (1, 1.0),
        (0.00005, 0.00005),  # a number, however Python would print it
    ],
)
def test_thresholds(value: object, level: float | None) -> None:
    assert parse_threshold(value) == (None if level is None else pytest.approx(level, rel=1e-5))


@pytest.mark.parametrize(
    "value", ["loud", "", "%", "dB", "4%%", "4 dBm", "--4%", "4,5%", "nan", "inf", "auto 4%", True, [0.04]]
)
def test_what_is_no_threshold_is_named_with_the_ways_to_give_one(value: object) -> None:
    assert refuse(lambda: parse_threshold(value)) == (
        f"{str(value)!r} is no threshold: give auto, a share such as 4%, a level such as -28dB, or 0.04."
    )


@pytest.mark.parametrize("value", ["101%", "-1%", "+3dB", "1.01", "-0.04", "4", 28, "9999dB", "9" * 400 + "%"])
def test_a_threshold_out_of_range_is_named_with_the_range(value: object) -> None:
    assert refuse(lambda: parse_threshold(value)) == (
        f"{str(value)!r} is no threshold: it must lie between 0% and 100% (at most 0dB)."
    )


# --- lengths ---


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("0.2s", 200),
        ("0.2", 200),
        ("200ms", 200),
        ("200 ms", 200),
        ("2sec", 2000),
        ("2 seconds", 2000),
        ("1 second", 1000),
        (".5s", 500),
        ("1.s", 1000),
        ("-0.1s", -100),
        ("+1s", 1000),
        ("0", 0),
        ("0.0004s", 0),
        ("0.0005s", 1),
        ("1.001s", 1001),
        ("0.29s", 290),
        (3600, 3_600_000),
        (0.35, 350),
    ],
)
def test_lengths(value: object, milliseconds: int) -> None:
    assert parse_duration_ms(value, "margin") == milliseconds


@pytest.mark.parametrize("value", ["", "s", "soon", "1h", "0.2S", "1:30", "0,2s", "nan", "2 s ms", None])
def test_what_is_no_length_is_named_with_the_option(value: object) -> None:
    assert refuse(lambda: parse_duration_ms(value, "longest duration")) == (
        f"{str(value)!r} is no longest duration: give seconds, such as 0.2s."
    )


@pytest.mark.parametrize("digits", [20, 400])
def test_a_number_too_large_for_any_length_is_refused_and_not_a_crash(digits: int) -> None:
    assert "is no margin" in refuse(lambda: parse_margin("9" * digits + "s"))
    assert "is no shortest pause" in refuse(lambda: parse_min_pause("9" * digits + "s"))


@pytest.mark.parametrize(
    ("value", "margin"),
    [
        ("0.2s", (200, 200)),
        ("0.3s,0.5s", (300, 500)),
        ("0.3s, 0.5s", (300, 500)),
        ("-0.1s,200ms", (-100, 200)),
        ("0", (0, 0)),
        ("10s,-10s", (10_000, -10_000)),
    ],
)
def test_margins(value: str, margin: tuple[int, int]) -> None:
    assert parse_margin(value) == margin


@pytest.mark.parametrize(
    ("value", "named", "rule"),
    [
        ("wide", "'wide'", "give seconds, such as 0.2s"),
        ("", "''", "give seconds, such as 0.2s"),
        ("0.2s,", "''", "give seconds, such as 0.2s"),
        ("0.2s,wide", "'wide'", "give seconds, such as 0.2s"),
        ("1s,2s,3s", "'1s,2s,3s'", "give one length, or two with a comma between them"),
        ("10.001s", "'10.001s'", "at most 10 seconds each"),
        ("0.2s,-20s", "'0.2s,-20s'", "at most 10 seconds each"),
    ],
)
def test_what_is_no_margin_is_named_as_it_was_given(value: str, named: str, rule: str) -> None:
    sentence = refuse(lambda: parse_margin(value))
    assert sentence.startswith(f"{named} is no margin: ")
    assert rule in sentence


@pytest.mark.parametrize(("value", "milliseconds"), [("0.6s", 600), ("600ms", 600), ("0", 0), ("60s", 60_000)])
def test_shortest_pauses(value: str, milliseconds: int) -> None:
    assert parse_min_pause(value) == milliseconds


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("long", "give seconds, such as 0.2s"),
        ("-0.1s", "between 0 and 60 seconds"),
        ("61s", "between 0 and 60 seconds"),
    ],
)
def test_what_is_no_shortest_pause_is_named_as_it_was_given(value: str, rule: str) -> None:
    sentence = refuse(lambda: parse_min_pause(value))
    assert sentence.startswith(f"{value!r} is no shortest pause: ")
    assert rule in sentence


# --- names and numbers ---


@pytest.mark.parametrize(
    ("value", "language"),
    [(None, None), ("", None), ("auto", None), ("en", "en"), (" EN ", "en"), ("yue", "yue"), ("jw", "jw")],
)
def test_languages(value: object, language: str | None) -> None:
    assert parse_language(value) == language


@pytest.mark.parametrize("value", ["english", "xx", "en-US", "en,de", 5])
def test_a_language_that_nobody_transcribes_is_named(value: object) -> None:
    assert refuse(lambda: parse_language(value)) == (
        f"{value!r} is no language we can transcribe: give auto or a code such as en, de, fr."
    )


def test_there_are_a_hundred_languages() -> None:
    assert len(LANGUAGES) == 100


@pytest.mark.parametrize(
    ("value", "track"), [(None, None), ("default", None), ("mix", 0), ("1", 1), (1, 1), ("12", 12), (99, 99)]
)
def test_audio_tracks(value: object, track: int | None) -> None:
    assert parse_audio_track(value) == track


@pytest.mark.parametrize("value", ["0", 0, -1, "100", "first", "", "1.0", 1.5, True, "01", "1\n"])
def test_what_is_no_audio_track_is_named(value: object) -> None:
    assert refuse(lambda: parse_audio_track(value)) == (
        f"{value!r} is no audio track: give default, mix, or a number from 1."
    )


# --- the options of a job ---


def test_a_job_without_options_has_the_defaults() -> None:
    assert parse_job_options({}) == PipelineOptions()
    assert parse_job_options({"version": 1}) == PipelineOptions()
    names = ["pace", "threshold", "margin_ms", "min_pause_ms", "language", "vocabulary", "captions", "style"]
    assert parse_job_options(dict.fromkeys([*names, "audio_track"])) == PipelineOptions()


def test_every_option_of_a_job_is_read() -> None:
    assert parse_job_options(
        {
            "version": 1,
            "pace": "tight",
            "threshold": "4%",
            "margin_ms": [100, -200],
            "min_pause_ms": 700,
            "language": "de",
            "vocabulary": "  Ada\nLovelace,  Babbage ",
            "captions": "both",
            "style": "bold",
            "audio_track": "mix",
        }
    ) == PipelineOptions(
        pace="tight",
        threshold=0.04,
        margin_ms=(100, -200),
        min_pause_ms=700,
        language="de",
        vocabulary="Ada Lovelace, Babbage",
        captions=Captions.BOTH,
        style=Style.BOLD,
        audio_track=0,
    )


def test_the_vocabulary_keeps_no_characters_that_nobody_sees() -> None:
    assert parse_job_options({"vocabulary": "Ada\0 \x1b Love\u200blace\u00a0\tBabbage"}).vocabulary == (
        "Ada Lovelace Babbage"
    )


def test_unknown_options_are_refused_by_name() -> None:
    assert refuse(lambda: parse_job_options({"pace": "tight", "speed": 2, "model": "x"})) == (
        "Unknown option: model, speed."
    )


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_options_of_another_version_are_refused(version: object) -> None:
    assert refuse(lambda: parse_job_options({"version": version})) == (
        f"Options of version {version!r} can't be read; this is version 1."
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("pace", "fast", "'fast' is no pace: choose one of tight, natural, relaxed."),
        ("pace", 5, "5 is no pace: choose one of tight, natural, relaxed."),
        ("captions", "srt", "'srt' is no captions: choose one of soft, burned, both, none."),
        ("style", "CLEAN", "'CLEAN' is no style: choose one of clean, boxed, bold, large."),
        ("threshold", "loud", "'loud' is no threshold: "),
        ("language", "xx", "'xx' is no language "),
        ("audio_track", 0, "0 is no audio track: "),
        ("margin_ms", [1, 2, 3], "[1, 2, 3] is no margin: "),
        ("margin_ms", 200, "200 is no margin: "),
        ("margin_ms", "20", "'20' is no margin: "),
        ("margin_ms", [0.2, 0.2], "[0.2, 0.2] is no margin: "),
        ("margin_ms", [0, 10_001], "[0, 10001] is no margin: "),
        ("margin_ms", [-10_001, 0], "[-10001, 0] is no margin: "),
        ("margin_ms", [True, False], "[True, False] is no margin: "),
        ("min_pause_ms", -1, "-1 is no shortest pause: "),
        ("min_pause_ms", 60_001, "60001 is no shortest pause: "),
        ("min_pause_ms", 0.6, "0.6 is no shortest pause: "),
        ("min_pause_ms", "600", "'600' is no shortest pause: "),
        ("min_pause_ms", True, "True is no shortest pause: "),
        ("vocabulary", "x" * 601, "The vocabulary has 601 characters; at most 600 help."),
    ],
)
def test_a_bad_option_of_a_job_is_named_with_its_rule(name: str, value: object, sentence: str) -> None:
    assert refuse(lambda: parse_job_options({name: value})).startswith(sentence)


def test_limits_themselves_are_allowed() -> None:
    options = parse_job_options(
        {"margin_ms": (10_000, -10_000), "min_pause_ms": 60_000, "vocabulary": "x" * MAX_VOCABULARY_CHARS}
    )
    assert (options.margin_ms, options.min_pause_ms) == ((10_000, -10_000), 60_000)
    assert parse_job_options({"min_pause_ms": 0}).min_pause_ms == 0


# --- what follows from them ---


def test_the_paces_are_those_of_the_contract() -> None:
    assert {name: (*pace.margin_ms, pace.min_pause_ms) for name, pace in PACES.items()} == {
        "tight": (100, 150, 350),
        "natural": (200, 200, 600),
        "relaxed": (350, 450, 1000),
    }


@pytest.mark.parametrize(
    ("options", "min_cut_ms"),
    [
        (PipelineOptions(pace="tight"), 100),  # 350 less 100 and 150
        (PipelineOptions(pace="natural"), 200),  # 600 less 200 and 200
        (PipelineOptions(pace="relaxed"), 200),  # 1000 less 350 and 450
        (PipelineOptions(pace="relaxed", margin_ms=(0, 0)), 200),  # another margin alone: the pace's own
        (PipelineOptions(pace="tight", margin_ms=(500, 500)), 100),
        (PipelineOptions(pace="natural", min_pause_ms=1000), 600),
        (PipelineOptions(pace="natural", min_pause_ms=1000, margin_ms=(100, 300)), 600),
        (PipelineOptions(pace="tight", min_pause_ms=1000, margin_ms=(0, 0)), 1000),
        (PipelineOptions(pace="natural", min_pause_ms=300), 0),  # the air alone is longer
        (PipelineOptions(min_pause_ms=600, margin_ms=(-100, -100)), 800),  # margins that shrink leave more to cut
    ],
)
def test_the_shortest_cut_is_the_shortest_pause_less_its_air(options: PipelineOptions, min_cut_ms: int) -> None:
    assert options.min_cut_ms == min_cut_ms


@pytest.mark.parametrize(
    ("captions", "in_picture", "as_track", "transcribes"),
    [
        (Captions.SOFT, False, True, True),
        (Captions.BURNED, True, False, True),
        (Captions.BOTH, True, True, True),
        (Captions.NONE, False, False, False),
    ],
)
def test_where_captions_go(captions: Captions, in_picture: bool, as_track: bool, transcribes: bool) -> None:
    assert (captions.in_picture, captions.as_track) == (in_picture, as_track)
    assert PipelineOptions(captions=captions).transcribes is transcribes


# --- the command line ---


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        ("a.mp4 --threshold -28dB -o out", "a.mp4 --threshold=-28dB -o out"),
        ("a.mp4 --threshold=-28dB", "a.mp4 --threshold=-28dB"),
        ("--margin -0.1s,0.2s a.mp4", "--margin=-0.1s,0.2s a.mp4"),
        ("--margin 0.2s --min-pause 0.6s a.mp4", "--margin=0.2s --min-pause=0.6s a.mp4"),
        ("--threshold --margin -1s", "--threshold=--margin -1s"),
        ("a.mp4 --threshold", "a.mp4 --threshold"),
        ("--pace tight -o out a.mp4", "--pace tight -o out a.mp4"),
        ("-o out -- --threshold -28dB.mp4", "-o out -- --threshold -28dB.mp4"),
        ("--threshold -- a.mp4", "--threshold=-- a.mp4"),
        ("", ""),
    ],
)
def test_values_may_begin_with_a_dash(arguments: str, bound: str) -> None:
    assert _bind_values(arguments.split()) == bound.split()
