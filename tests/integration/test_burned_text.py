"""Captions drawn by the real libass and muxed by the real ffmpeg, read back as pixels and as text."""

from __future__ import annotations

import html
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.burn import find_missing_glyphs, format_ass, place_font
from pipeline.captions import format_srt, format_track_vtt, iso639_2
from pipeline.cues import build_cues, shape_for
from pipeline.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.lettering import lettering_for
from pipeline.models import Cue, Word
from pipeline.options import Style

RATE = 10
GRAY = 0x80
Pixels = npt.NDArray[np.uint8]
Frames = npt.NDArray[np.int16]


def cue(start_ms: int, end_ms: int, *lines: str) -> Cue:
    return Cue(start_ms=start_ms, end_ms=end_ms, lines=lines)


def draw(
    cues: Sequence[Cue], workdir: Path, *, size: tuple[int, int], style: Style, frames: int = 1, rtl: bool = False
) -> Frames:
    """Return how far each pixel of each frame is from the plain gray it was before: frame, row, column."""
    width, height = size
    (workdir / "cues.ass").write_text(
        format_ass(cues, width=width, height=height, style=style, rtl=rtl), encoding="utf-8"
    )
    run_ffmpeg(
        [
            *("-v", "warning", "-y", "-f", "lavfi", "-i", f"color=0x808080:size={width}x{height}:rate={RATE}"),
            *("-vf", f"format=rgb24,ass=cues.ass:fontsdir={place_font(workdir)}", "-frames:v", str(frames)),
            *("-c:v", "rawvideo", "-pix_fmt", "rgb24", "out.nut"),
        ],
        ffmpeg=find_ffmpeg(),
        cwd=workdir,
    )
    return distance(read_pictures(workdir))


def read_pictures(workdir: Path) -> Pixels:
    """Return what `draw` drew last: frame, row, column, colour."""
    with av.open(str(workdir / "out.nut")) as container:
        return np.stack([frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)])


def distance(pixels: Pixels) -> Frames:
    return np.asarray(np.abs(pixels.astype(np.int16) - GRAY).max(axis=-1), dtype=np.int16)


def box_of(picture: Frames) -> tuple[int, int, int, int]:
    """Return the first and last changed row and column (inclusive)."""
    rows, columns = np.nonzero(picture.max(axis=1) > 24)[0], np.nonzero(picture.max(axis=0) > 24)[0]
    assert rows.size, "nothing was drawn"
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_style_draws_at_the_bottom_while_it_should(tmp_path: Path, style: Style, size: tuple[int, int]) -> None:
    width, height = size
    drawn = draw([cue(300, 700, "Hello there,", "everybody!")], tmp_path, size=size, style=style, frames=10)
    for index, picture in enumerate(drawn):
        if 3 <= index < 7:
            top, bottom, left, right = box_of(picture)
            assert top > height * 0.55
            assert height * 0.78 < bottom < height * 0.98
            assert left > width * 0.02 and right < width * 0.98
            assert abs((left + right) / 2 - width / 2) < width * 0.02
            size_px = lettering_for(width, height, style).font_size
            assert 1.6 * size_px < bottom - top < 2.6 * size_px  # two lines, whatever surrounds them
        else:
            assert picture.max() <= 2


def test_styles_look_as_named(tmp_path: Path) -> None:
    def colours(style: Style) -> Pixels:
        draw([cue(0, 1000, "Hello there")], tmp_path, size=(640, 360), style=style)
        return np.asarray(read_pictures(tmp_path)[0], dtype=np.uint8)

    white = np.array([255, 255, 255])
    for style in (Style.CLEAN, Style.BOXED, Style.LARGE):
        assert (np.abs(colours(style).astype(int) - white).max(axis=2) < 8).any()
    bold = colours(Style.BOLD).astype(int)
    assert ((bold[..., 0] > 240) & (bold[..., 1] > 190) & (bold[..., 2] < 90)).any()
    # The box is one even shade, about three quarters black, over most of its area.
    boxed = colours(Style.BOXED)
    top, bottom, left, right = box_of(distance(boxed))
    shades = boxed[top + 1 : bottom, left + 1 : right].max(axis=2)
    values, counts = np.unique(shades, return_counts=True)
    assert counts.max() > shades.size * 0.5
    assert 25 <= values[counts.argmax()] <= 55


def test_box_of_two_lines_has_no_seam(tmp_path: Path) -> None:
    draw([cue(0, 1000, "a wide first line of text", "short")], tmp_path, size=(640, 360), style=Style.BOXED)
    (picture,) = read_pictures(tmp_path)
    top, bottom, left, _ = box_of(distance(picture))
    edge = picture[top + 2 : bottom - 1, left + 2 : left + 5]  # left of all letters
    assert int(edge.max()) - int(edge.min()) <= 2


HOSTILE = [
    "{\\an8}",
    "{\\an8}up",
    "\\N",
    "a\\Nb",
    "a\\hb\\n",
    "{x}",
    "}{",
    "\\",
    "\\\\{",
    "<b>",
    "&amp;",
    "\"'“”",
    "{\\pos(1,1)}p",
    "100% m'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_drawn_as_text(tmp_path: Path, text: str) -> None:
    size = (640, 360)
    (picture,) = draw([cue(0, 1000, text)], tmp_path, size=size, style=Style.BOXED)
    top, bottom, left, right = box_of(picture)
    font_size = lettering_for(*size, Style.BOXED).font_size
    assert top > size[1] * 0.7 and bottom < size[1] * 0.98
    assert bottom - top < 1.6 * font_size  # still one line
    (plain,) = draw([cue(0, 1000, "i" * len(text))], tmp_path, size=size, style=Style.BOXED)
    _, _, plain_left, plain_right = box_of(plain)
    assert right - left >= (plain_right - plain_left) * 0.85  # no character was swallowed


def test_override_tags_reach_nothing_else(tmp_path: Path) -> None:
    (before,) = draw([cue(0, 1000, "(/i1)abc")], tmp_path, size=(640, 360), style=Style.CLEAN)
    (after,) = draw([cue(0, 1000, "{\\i1}abc")], tmp_path, size=(640, 360), style=Style.CLEAN)
    top_before, bottom_before, *_ = box_of(before)
    top_after, bottom_after, *_ = box_of(after)
    assert abs(top_before - top_after) <= 3 and abs(bottom_before - bottom_after) <= 3


WIDE_LINES = [
    "WHAT WOULD MOMMY WANT WHEN WARM WOMEN SWIM MOMENTARILY",
    "mmmmm, women swim with warm mammoth wool; hmm, wow, mom was warm",
    "W" * 60,
    "ШИРОКИЕ БУКВЫ ЖЖЖ ЩЩЩ ЮЮЮ ШИРОКИЕ БУКВЫ ЖЖЖ",
    "The quick brown fox jumps over the lazy dog and runs off again",
]


@pytest.mark.parametrize("size", [(640, 360), (480, 480), (360, 640), (160, 120)])
@pytest.mark.parametrize("style", Style)
def test_wide_letters_stay_inside_the_picture(tmp_path: Path, size: tuple[int, int], style: Style) -> None:
    shape = shape_for(*size, style)
    cues = [
        cue(index * 100, index * 100 + 100, line[: shape.max_chars].strip(), line[: shape.max_chars].strip())
        for index, line in enumerate(WIDE_LINES)
    ]
    for picture in draw(cues, tmp_path, size=size, style=style, frames=len(cues)):
        top, bottom, left, right = box_of(picture)
        assert top > 0 and bottom < size[1] - 1
        assert left >= 2 and right <= size[0] - 3


@pytest.mark.parametrize(
    ("text", "language"), [("今天我们介绍一种新的机器，它可以连续工作。", "zh"), ("مرحبا، هذا هو المصنع الجديد", "ar")]
)
def test_other_scripts_are_drawn_where_a_font_has_them(tmp_path: Path, text: str, language: str) -> None:
    spoken = [text] if " " not in text else [f" {part}" for part in text.split()]
    words = [Word(start_ms=i * 400, end_ms=i * 400 + 400, text=part, probability=1.0) for i, part in enumerate(spoken)]
    size = (640, 360)
    cues = build_cues(
        words, shape=shape_for(*size, Style.CLEAN), timebase=Fraction(RATE), duration_ms=5000, language=language
    )
    missing = find_missing_glyphs(cues, ffmpeg=find_ffmpeg(), workdir=tmp_path)
    if missing:
        pytest.skip(f"no font on this system has {missing}")
    (picture,) = draw(cues, tmp_path, size=size, style=Style.CLEAN, rtl=language == "ar")
    top, _, left, right = box_of(picture)
    assert top > size[1] * 0.6
    assert left > 4 and right < size[0] - 5
    assert right - left > 100


def test_missing_shapes_are_found(tmp_path: Path) -> None:
    # U+0378 is assigned to nothing, so no font has it; it comes after many lines of log.
    known = "".join(map(chr, range(0x21, 0x7F)))
    found = find_missing_glyphs([cue(0, 1, known, "{\\an8}\u0378 a")], ffmpeg=find_ffmpeg(), workdir=tmp_path)
    assert found == "\u0378"
    assert find_missing_glyphs([], ffmpeg=find_ffmpeg(), workdir=tmp_path) == ""


@pytest.mark.parametrize("language", ["en", "jw", "yue", "haw", "zh"])
def test_track_reads_back_as_text(tmp_path: Path, language: str) -> None:
    cues = [
        cue(0, 900, "{\\an8}C:\\New <i>x</i>", "R&D --> &lt; 漢字 مرحبا"),
        cue(900, 1500, "second"),
        cue(1700, 1900, "third one"),
    ]
    (tmp_path / "track.vtt").write_text(format_track_vtt(cues), encoding="utf-8")
    code = iso639_2(language)
    run_ffmpeg(
        [
            *("-v", "warning", "-y", "-f", "lavfi", "-i", f"color=gray:size=64x64:rate={RATE}:duration=2"),
            *("-f", "webvtt", "-i", "track.vtt", "-map", "0:v", "-map", "1:s", "-c:v", "libx264", "-c:s", "mov_text"),
            *("-metadata:s:s:0", f"language={code}", "out.mp4"),
        ],
        ffmpeg=find_ffmpeg(),
        cwd=tmp_path,
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        (stream,) = container.streams.subtitles
        assert stream.codec_context.name == "mov_text"
        assert stream.language == code
        packets = [packet for packet in container.demux(stream) if packet.size > 2]
        texts = [bytes(packet)[2 : 2 + int.from_bytes(bytes(packet)[:2], "big")].decode() for packet in packets]
        starts = [round(float(packet.pts * packet.time_base) * 1000) for packet in packets if packet.pts is not None]
    assert texts == ["(/an8)C:/New <i>x</i>\nR&D --> &lt; 漢字 مرحبا", "second", "third one"]
    assert starts == [0, 900, 1700]


def test_subrip_reads_back_as_text(tmp_path: Path) -> None:
    (tmp_path / "in.srt").write_text(
        format_srt([cue(0, 900, "{\\an8}a <b>b</b> <3", "\\N x --> y & z")]), encoding="utf-8"
    )
    run_ffmpeg(["-v", "error", "-i", "in.srt", "out.vtt"], ffmpeg=find_ffmpeg(), cwd=tmp_path)
    lines = (tmp_path / "out.vtt").read_text(encoding="utf-8").splitlines()
    assert [html.unescape(line) for line in lines[3:5]] == ["(/an8)a ‹b›b‹/b› <3", "/N x -> y & z"]
