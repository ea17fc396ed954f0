"""Captions as lettering: what text is made of, how wide it runs, how big it is drawn.

Width is counted in columns as on a terminal: East Asian wide characters take two, combining marks none. The line
lengths that `pipeline.cues` fills and the letters that `pipeline.burn` draws come from one geometry here, so that a
full line fits the picture.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.options import Style

_JOINER = "\u200d"
_KEPT_FORMATS = frozenset("\u200c\u200d\u200e\u200f\u061c")
"""Format characters that carry meaning: joiners of Persian, Indic and emoji, and direction marks."""
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)

_WIDE_LINE, _NARROW_LINE = 42, 24
"""Characters a line at 4:3 and wider, and at 9:16 and narrower (Netflix's 42; phones show about 24)."""
_WIDE_SHAPE, _NARROW_SHAPE = 4 / 3, 9 / 16
_USABLE_WIDTH = 0.9
_COLUMN = 0.55
"""Room a column takes, in font sizes. Noto Sans Bold runs at 0.39 for prose and 0.50 for capitals."""
_MAX_HEIGHT = 0.069
"""Font size as a share of the picture's height at most: what 42 columns come to at 16:9."""
_LARGE = 1.3
_MIN_FONT_PX = 12.0
"""Below this nothing can be read; tiny pictures get fewer characters instead."""
_MIN_LINE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """How burned captions sit in a picture; lengths in pixels of the displayed picture."""

    font_size: float
    """ASS font size: ascent and descent together, not the em."""
    max_chars: int
    """Columns a line can take."""
    usable_width: int
    margin_x: int
    margin_y: int
    """From the bottom of the picture to the bottom of the text."""


def lettering_for(width: int, height: int, style: Style) -> Lettering:
    """Return the lettering for a displayed picture of ``width`` x ``height`` pixels.

    Line lengths run from 24 columns (9:16 and narrower) to 42 (4:3 and wider); `Style.LARGE` holds fewer and bigger
    ones. ``max_chars * 0.55 * font_size`` never exceeds the usable nine tenths of the width.
    """
    shape = width / height
    share = min(1.0, max(0.0, (shape - _NARROW_SHAPE) / (_WIDE_SHAPE - _NARROW_SHAPE)))
    scale = _LARGE if style is Style.LARGE else 1.0
    usable = _USABLE_WIDTH * width
    chars = int((_NARROW_LINE + share * (_WIDE_LINE - _NARROW_LINE)) / scale)
    size = min(usable / (_COLUMN * chars), _MAX_HEIGHT * scale * height)
    if size < _MIN_FONT_PX:
        chars = max(_MIN_LINE, min(chars, int(usable / (_COLUMN * _MIN_FONT_PX))))
        size = min(usable / (_COLUMN * chars), _MIN_FONT_PX)
    # Apps cover the bottom of a portrait picture with their own buttons and text: stay above them.
    raised = 0.15 - share * (0.15 - 0.06)
    return Lettering(
        font_size=size,
        max_chars=chars,
        usable_width=int(usable),
        margin_x=round(width * (1 - _USABLE_WIDTH) / 2),
        margin_y=round(raised * height),
    )


def clean_text(text: str) -> str:
    """Return ``text`` with runs of white space as one space and without what can't be shown.

    Dropped are control characters, lone surrogates (they can't be written to a file), the replacement character of
    broken decoding, and invisible format characters such as direction overrides, which would leak into what follows.
    A leading or trailing space is kept, because it separates words.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text
    spaced = "".join(" " if char.isspace() else char for char in text)
    shown = "".join(char for char in spaced if _is_shown(char))
    lead = " " if shown[:1] == " " else ""
    tail = " " if shown[-1:] == " " else ""
    body = " ".join(shown.split())
    return f"{lead}{body}{tail}" if body else lead


def _is_shown(char: str) -> bool:
    category = unicodedata.category(char)
    if category in ("Cc", "Cs") or char == "\ufffd":
        return False
    return category != "Cf" or char in _KEPT_FORMATS


def char_width(char: str) -> int:
    """Return the columns of one character: 2 for East Asian wide, 0 for combining and invisible ones, else 1."""
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc") or ord(char) in _SKIN_TONES:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    """Return the columns that ``text`` takes; what a joiner ties to the character before it takes none."""
    if text.isascii():
        return len(text)
    width = 0
    before = ""
    for char in text:
        if before != _JOINER:
            width += char_width(char)
        before = char
    return width


def split_clusters(text: str) -> Iterator[str]:
    """Yield the pieces of ``text`` that must not be torn apart: a character with its marks, a joined emoji, a flag."""
    cluster = ""
    for char in text:
        joined = cluster[-1:] == _JOINER or (char_width(char) == 0)
        half_flag = len(cluster) == 1 and ord(cluster) in _FLAG_LETTERS and ord(char) in _FLAG_LETTERS
        if cluster and not joined and not half_flag:
            yield cluster
            cluster = char
        else:
            cluster += char
    if cluster:
        yield cluster
