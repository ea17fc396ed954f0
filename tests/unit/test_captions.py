"""The caption files: exact bytes, and speech that looks like markup read back as the words that were said."""

from __future__ import annotations

import html
import re

import pytest

from pipeline.captions import format_srt, format_text, format_track_vtt, format_vtt, iso639_2
from pipeline.models import Cue, Word
from pipeline.options import LANGUAGES

HOSTILE = "{\\an8} <b>bold</b> a --> b & c < d \\N é漢 &lt; \"q\" 'a'"


def cue(start_ms: int, end_ms: int, *lines: str) -> Cue:
    return Cue(start_ms=start_ms, end_ms=end_ms, lines=lines)


def parse_vtt(text: str) -> list[Cue]:
    """Read back what a browser would show: unescaped lines of each block that has times."""
    pattern = r"(\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d+):(\d\d):(\d\d)\.(\d{3})"
    cues = []
    for block in text.split("\n\n")[1:]:
        times, *lines = block.rstrip("\n").split("\n")
        match = re.fullmatch(pattern, times)
        assert match is not None
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, match.groups())
        assert not any("<" in line or ">" in line for line in lines)
        start, end = ((h1 * 60 + m1) * 60 + s1) * 1000 + ms1, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        cues.append(cue(start, end, *map(html.unescape, lines)))
    return cues


def test_vtt_is_exact() -> None:
    assert format_vtt([cue(0, 1500, "Hello,", "R&D <team>"), cue(1500, 3661001, "ok")]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello,\nR&amp;D &lt;team&gt;\n\n00:00:01.500 --> 01:01:01.001\nok\n"
    )


def test_srt_is_exact() -> None:
    assert format_srt([cue(0, 1500, "Hello,", "R&D"), cue(1500, 3661001, "ok")]) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello,\nR&D\n\n2\n00:00:01,500 --> 01:01:01,001\nok\n"
    )


def test_no_cues_give_valid_empty_files() -> None:
    assert format_vtt([]) == "WEBVTT\n"
    assert format_track_vtt([]) == "WEBVTT\n"
    assert format_srt([]) == ""
    assert format_text([]) == ""


def test_times_hold_above_99_hours() -> None:
    late = cue(360_000_000, 445_506_789, "late")
    assert parse_vtt(format_vtt([late])) == [late]
    assert "100:00:00,000 --> 123:45:06,789" in format_srt([late])


def test_vtt_reads_back_as_it_was_said() -> None:
    cues = [cue(0, 900, HOSTILE), cue(900, 1800, "-->", "NOTE this"), cue(2000, 2100, "مرحبا", "漢字")]
    assert parse_vtt(format_vtt(cues)) == cues


def test_track_text_has_no_ass_commands() -> None:
    (read,) = parse_vtt(format_track_vtt([cue(0, 900, HOSTILE)]))
    assert read.lines == ("(/an8) <b>bold</b> a --> b & c < d /N é漢 &lt; \"q\" 'a'",)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("a --> b", "a -> b"),
        ("-->", "->"),
        ("a <b>bold</b> word", "a ‹b›bold‹/b› word"),
        ('<font color="red">', '‹font color="red"›'),
        ("an open <b", "an open ‹b"),
        ("<<b>>", "<‹b›>"),
        ("3 < 4 > 2 <3", "3 < 4 > 2 <3"),
        ("{\\an8}top {y:i}", "(/an8)top (y:i)"),
        ("C:\\New\\hall", "C:/New/hall"),
        ("Tom & Jerry", "Tom & Jerry"),
    ],
)
def test_srt_breaks_up_what_players_obey(said: str, written: str) -> None:
    text = format_srt([cue(0, 900, said)])
    assert text.split("\n")[2] == written
    assert text.count("-->") == 1


def test_lines_cannot_break_the_file() -> None:
    broken = cue(0, 900, "one\n\ntwo", "", " \r\n ", "three\x00")
    assert [c.lines for c in parse_vtt(format_vtt([broken]))] == [("one two", "three")]
    assert format_srt([broken]).split("\n")[2:] == ["one two", "three", ""]


def talk(*spoken: tuple[int, str]) -> list[Word]:
    return [Word(start_ms=at, end_ms=at + 300, text=text, probability=1.0) for at, text in spoken]


def test_text_runs_on_and_parts_at_long_pauses() -> None:
    words = talk((0, " Hello"), (400, " there."), (2600, " Still"), (3000, " here."), (5400, " New"), (5800, " day."))
    assert format_text(words) == "Hello there. Still here.\n\nNew day.\n"


def test_text_keeps_words_whole_and_scripts_unspaced() -> None:
    assert format_text(talk((0, " well"), (4000, "-known"))) == "well-known\n"
    assert format_text(talk((0, "今天"), (400, "好。"), (4000, "明天"))) == "今天好。\n\n明天\n"
    assert format_text(talk((0, " "), (400, "\n"))) == ""


def test_long_text_parts_at_sentences() -> None:
    words = talk(*((i * 300, " word." if i % 20 == 19 else " word") for i in range(400)))
    paragraphs = format_text(words).rstrip("\n").split("\n\n")
    assert len(paragraphs) > 2
    assert all(paragraph.endswith(".") and len(paragraph) < 750 for paragraph in paragraphs)


def test_every_language_has_its_three_letters() -> None:
    codes = {code: iso639_2(code) for code in LANGUAGES}
    assert all(re.fullmatch(r"[a-z]{3}", three) and three != "und" for three in codes.values())
    assert len(set(codes.values())) == len(LANGUAGES)
    assert [iso639_2(code) for code in ("en", "de", "zh", "fr", "jw", "haw", "yue", "my")] == [
        *("eng", "deu", "zho", "fra", "jav", "haw", "yue", "mya"),
    ]
    assert iso639_2("") == iso639_2("xx") == "und"
