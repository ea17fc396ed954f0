"""The ASS file: geometry, escaping, times, and what libass says about missing shapes."""

from __future__ import annotations

import pysubs2
import pytest

from pipeline.burn import FONT_FAMILY, FONTS_DIR, escape_ass, format_ass, parse_missing_glyphs, snap_times
from pipeline.lettering import lettering_for
from pipeline.models import Cue
from pipeline.options import Style

# As ffmpeg 9.0 with libass 0.17 wrote it for "🦄 a அ 漢" with Noto CJK and Tamil installed.
VERBOSE_LOG = """\
[Parsed_ass_0 @ 0x7f529c001b80] Using font provider fontconfig
[Parsed_ass_0 @ 0x7f529c001b80] Added subtitle file: 'cues.ass' (2 styles, 1 events)
[Parsed_ass_0 @ 0x7f529c001b80] fontselect: (Noto Sans, 700, 0) -> NotoSans-Bold, 0, NotoSans-Bold
[Parsed_ass_0 @ 0x7f529c001b80] Glyph 0x1F984 not found, selecting one more font for (Noto Sans, 700, 0)
[Parsed_ass_0 @ 0x7f529c001b80] fontselect: failed to find any fallback with glyph 0x1F984 for font: (Noto Sans, 700, 0)
[Parsed_ass_0 @ 0x7f529c001b80] Glyph 0xB85 not found, selecting one more font for (Noto Sans, 700, 0)
[Parsed_ass_0 @ 0x7f529c001b80] fontselect: (Noto Sans, 700, 0) -> /fonts/NotoSansTamil-Bold.ttf, 0, NotoSansTamil-Bold
[Parsed_ass_0 @ 0x7f529c001b80] Glyph 0x6F22 not found, selecting one more font for (Noto Sans, 700, 0)
[Parsed_ass_0 @ 0x7f529c001b80] fontselect: (Noto Sans, 700, 0) -> /fonts/NotoSansCJK-Bold.ttc, 0, NotoSansCJKjp-Bold
[Parsed_ass_0 @ 0x7f529c001b80] Glyph 0x1F984 not found, selecting one more font for (Noto Sans, 700, 0)
[Parsed_ass_0 @ 0x7f529c001b80] fontselect: failed to find any fallback with glyph 0x1F984 for font: (Noto Sans, 700, 0)
"""


def cue(start_ms: int, end_ms: int, *lines: str) -> Cue:
    return Cue(start_ms=start_ms, end_ms=end_ms, lines=lines)


def test_missing_shapes_are_read_from_the_log() -> None:
    assert parse_missing_glyphs(VERBOSE_LOG) == "🦄"
    assert parse_missing_glyphs("") == ""


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("size", [(1280, 720), (540, 960), (1080, 1080)])
def test_script_is_drawn_at_the_size_of_the_picture(style: Style, size: tuple[int, int]) -> None:
    width, height = size
    script = pysubs2.SSAFile.from_string(format_ass([cue(0, 1000, "Hello")], width=width, height=height, style=style))
    assert script.info["PlayResX"] == str(width)
    assert script.info["PlayResY"] == str(height)
    assert script.info["ScaledBorderAndShadow"] == "yes"
    assert script.info["WrapStyle"] == "2"
    (look,) = script.styles.values()
    assert look.fontname == FONT_FAMILY
    assert look.bold
    assert look.fontsize == pytest.approx(lettering_for(width, height, style).font_size, abs=0.01)
    assert script.events[0].style in script.styles


def test_the_four_styles_differ() -> None:
    scripts = {format_ass([cue(0, 1000, "Hello")], width=1280, height=720, style=style) for style in Style}
    assert len(scripts) == len(Style)


def test_speech_is_never_a_command() -> None:
    assert escape_ass("{\\an8} a\\Nb <b>") == "\\{\\\u2060an8} a\\\u2060Nb <b>"
    text = format_ass([cue(0, 1000, "{x}", "\\N")], width=1280, height=720, style=Style.BOXED)
    assert text.rstrip("\n").endswith(",\\{x}\\N\\\u2060N")


def test_right_to_left_lines_say_so() -> None:
    text = format_ass([cue(0, 1000, "YouTube مرحبا", "هذا")], width=1280, height=720, style=Style.BOXED, rtl=True)
    assert text.count("\u200f") == 2


def test_a_line_too_wide_is_drawn_smaller() -> None:
    def tags(line: str) -> str:
        return format_ass([cue(0, 1000, line)], width=1280, height=720, style=Style.BOXED)

    assert "\\fs" in tags("W" * 42)
    assert "\\fs" not in tags("The quick brown fox jumps over the lazy do")
    assert "\\fs" not in tags("漢" * 21)


def test_times_are_floored_to_centiseconds_and_no_cue_is_lost() -> None:
    assert snap_times(cue(1239, 2999, "x")) == (1230, 2990)
    assert snap_times(cue(1001, 1009, "x")) == (1000, 1010)
    first, second = cue(0, 1555, "a"), cue(1555, 3000, "b")
    assert snap_times(first)[1] == snap_times(second)[0]
    script = pysubs2.SSAFile.from_string(format_ass([first, second], width=640, height=360, style=Style.CLEAN))
    assert [(event.start, event.end) for event in script.events] == [(0, 1550), (1550, 3000)]


def test_no_cues_give_a_script_without_events() -> None:
    assert pysubs2.SSAFile.from_string(format_ass([], width=640, height=360, style=Style.CLEAN)).events == []


def test_the_font_and_its_licence_come_with_us() -> None:
    assert (FONTS_DIR / "NotoSans-Bold.ttf").stat().st_size < 2_000_000
    licence = (FONTS_DIR / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "Copyright 2015-2020 Google LLC" in licence
