"""Captions read again: what the pipeline writes comes back."""

from __future__ import annotations

from jobs.cues import parse_vtt
from pipeline.captions import format_vtt
from pipeline.models import Cue


def test_what_the_pipeline_writes_comes_back() -> None:
    cues = [
        Cue(start_ms=0, end_ms=900, lines=("Tom & Ann <at> work",)),
        Cue(start_ms=61_001, end_ms=62_500, lines=("two lines -->", "of text: 日本")),
        Cue(start_ms=36_000_000, end_ms=400_000_000, lines=("late",)),
    ]
    assert parse_vtt(format_vtt(cues)) == [(cue.start_ms, cue.end_ms, "\n".join(cue.lines)) for cue in cues]


def test_no_captions() -> None:
    assert parse_vtt(format_vtt([])) == []
    assert parse_vtt("") == []


def test_other_writers_files() -> None:
    text = (
        "\ufeffWEBVTT - a title\r\n\r\nNOTE a remark\r\nof two lines\r\n\r\nSTYLE\r\n::cue {}\r\n\r\n"
        "intro\r\n00:01.000 --> 00:02.000 align:start\r\n<v Ann><b>Hi</b> &lt;you&gt;\r\n\r\n\r\n"
        "01:00:00.000 --> 01:00:01.000\r\nlast\r\n"
    )
    assert parse_vtt(text) == [(1000, 2000, "Hi <you>"), (3_600_000, 3_601_000, "last")]
