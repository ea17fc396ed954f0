"""Captions as pixels: ASS subtitles for libass, drawn in one of four styles with the font that comes with us.

libass draws nothing and reports nothing when a font is missing, and takes braces and backslashes in a sentence for
commands; both are dealt with here.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pysubs2 import Alignment, Color, SSAEvent, SSAFile, SSAStyle

from pipeline.ffmpeg import run_ffmpeg
from pipeline.lettering import Lettering, char_width, lettering_for
from pipeline.models import Cue
from pipeline.options import Style

FONTS_DIR = Path(__file__).resolve().parent / "fonts"
_FONT_FILE = "NotoSans-Bold.ttf"
FONT_FAMILY = "Noto Sans"
RTL_LANGUAGES = frozenset(("ar", "fa", "he", "ps", "sd", "ur", "yi"))
"""Whisper's codes of the languages that are written from right to left."""

_WORD_JOINER = "\u2060"
_RIGHT_TO_LEFT_MARK = "\u200f"
_STYLE_NAME = "Caption"
_OUTLINE_AND_SHADOW, _BOX_PER_EVENT = 1, 4
"""ASS border styles. 4 is libass's own: one box behind all lines; 3 draws one a line, and they overlap."""
_AUTO_DIRECTION = -1
_WHITE = Color(255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How a style draws; lengths in font sizes."""

    text: Color
    edge: Color
    back: Color
    """Of the shadow, or of the box."""
    border: int = _OUTLINE_AND_SHADOW
    outline: float
    shadow: float
    """Offset of the shadow, or how far the box reaches beyond the text."""
    blur: float
    """Softness of the outline and shadow."""


# An ASS alpha of 0 is opaque.
_LOOKS = {
    Style.CLEAN: _Look(
        text=_WHITE,
        edge=Color(16, 16, 16, 0x18),
        back=Color(0, 0, 0, 0x78),
        outline=0.05,
        shadow=0.035,
        blur=0.03,
    ),
    Style.BOXED: _Look(
        text=_WHITE,
        edge=Color(0, 0, 0, 0xFF),
        back=Color(12, 12, 14, 0x3D),
        border=_BOX_PER_EVENT,
        outline=0.0,
        shadow=0.2,
        blur=0.0,
    ),
    Style.BOLD: _Look(
        text=Color(255, 214, 64),
        edge=Color(10, 10, 10),
        back=Color(0, 0, 0, 0x60),
        outline=0.085,
        shadow=0.05,
        blur=0.0,
    ),
    Style.LARGE: _Look(
        text=_WHITE,
        edge=Color(16, 16, 16, 0x10),
        back=Color(0, 0, 0, 0x70),
        outline=0.055,
        shadow=0.04,
        blur=0.03,
    ),
}


def format_ass(cues: Iterable[Cue], *, width: int, height: int, style: Style, rtl: bool = False) -> str:
    """Return ``cues`` as an ASS file for a displayed picture of ``width`` x ``height`` pixels.

    Lines are never broken again (`pipeline.cues` fits them to the same geometry); a cue whose letters run wider than
    the picture all the same is drawn smaller. ``rtl`` makes lines run from right to left even when they begin with a
    foreign word.
    """
    look, lettering = _LOOKS[style], lettering_for(width, height, style)
    subtitles = SSAFile()
    subtitles.info = {
        "ScriptType": "v4.00+",
        "PlayResX": str(width),
        "PlayResY": str(height),
        "ScaledBorderAndShadow": "yes",
        "WrapStyle": "2",
        "YCbCr Matrix": "None",
    }
    subtitles.styles = {_STYLE_NAME: _build_style(look, lettering)}
    for cue in cues:
        start, end = snap_times(cue)
        text = _format_tags(cue, look, lettering) + _format_lines(cue, rtl=rtl)
        subtitles.events.append(SSAEvent(start=start, end=end, style=_STYLE_NAME, text=text))
    return subtitles.to_string("ass")


def _build_style(look: _Look, lettering: Lettering) -> SSAStyle:
    size = lettering.font_size
    return SSAStyle(
        fontname=FONT_FAMILY,
        fontsize=round(size, 2),
        primarycolor=look.text,
        secondarycolor=look.text,
        outlinecolor=look.edge,
        backcolor=look.back,
        bold=True,
        borderstyle=look.border,
        outline=round(look.outline * size, 2),
        shadow=round(look.shadow * size, 2),
        alignment=Alignment.BOTTOM_CENTER,
        marginl=lettering.margin_x,
        marginr=lettering.margin_x,
        marginv=lettering.margin_y,
        encoding=_AUTO_DIRECTION,
    )


def place_font(workdir: Path) -> str:
    """Put our font into ``workdir``, where ffmpeg runs, and return the name of its folder there for ``fontsdir``.

    Not `FONTS_DIR` itself: a path in a filter would need escaping, and libass warns about the licence beside the font.
    Raises `OSError`.
    """
    folder = workdir / "fonts"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(FONTS_DIR / _FONT_FILE, folder / _FONT_FILE)
    return folder.name


def snap_times(cue: Cue) -> tuple[int, int]:
    """Return the cue's start and end on the 10 ms steps of ASS: both floored, so that neighbours stay apart.

    A cue shorter than a step keeps one, or it would vanish.
    """
    start = cue.start_ms // 10 * 10
    return start, max(cue.end_ms // 10 * 10, start + 10)


def escape_ass(text: str) -> str:
    """Return ``text`` so that libass shows it as it is.

    libass knows ``\\{`` but no ``\\\\``: a word joiner, which has no shape, keeps a backslash from its command.
    """
    return text.replace("\\", "\\" + _WORD_JOINER).replace("{", "\\{")


def _format_lines(cue: Cue, *, rtl: bool) -> str:
    mark = _RIGHT_TO_LEFT_MARK if rtl else ""
    return "\\N".join(mark + escape_ass(line) for line in cue.lines)


def _format_tags(cue: Cue, look: _Look, lettering: Lettering) -> str:
    """Return the ASS tags of one cue: softness, and a smaller size when a line may run wider than the picture."""
    tags = f"\\blur{look.blur * lettering.font_size:.2f}" if look.blur else ""
    widest = max((sum(map(_estimate_advance, line)) for line in cue.lines), default=0.0) * lettering.font_size
    if widest > lettering.usable_width:
        tags += f"\\fs{lettering.font_size * lettering.usable_width / widest:.2f}"
    return f"{{{tags}}}" if tags else ""


_BROAD = frozenset("MWmw@%…—–ŒœÆæЖШЩЮФЫжшщюыфмМЉЊљњΨΩω")
_BROAD_BLOCKS = (range(0x0B80, 0x0E00), range(0x1000, 0x10A0))  # Tamil to Sinhala, Myanmar


def _estimate_advance(char: str) -> float:
    """Return about how far ``char`` moves the pen, in font sizes; from the widths of Noto Sans Bold, rounded up."""
    columns = char_width(char)
    if columns != 1:
        return 0.38 * columns
    if char in _BROAD or any(ord(char) in block for block in _BROAD_BLOCKS):
        return 0.76
    return 0.56 if char.isupper() else 0.44


_PROBE_ROW = 40
_PROBE_LOG_LINES = 200
"""What ffmpeg says beside libass's two lines for each missing character."""
_MISSING = re.compile(r"failed to find any fallback with glyph 0x([0-9A-Fa-f]+)")


def parse_missing_glyphs(log: str) -> str:
    """Return the characters that libass, by its verbose ``log``, found in no font; each once, in order."""
    found = dict.fromkeys(chr(int(code, 16)) for code in _MISSING.findall(log))
    return "".join(char for char in found if char != "\0")


def find_missing_glyphs(cues: Sequence[Cue], *, ffmpeg: Path, workdir: Path) -> str:
    """Return the characters of ``cues`` for which neither our font nor the system's fonts have a shape.

    Draws each character once on a small frame and reads what libass says about it. Its files are left in ``workdir``,
    a private folder of the caller's. Raises `OSError` and what `run_ffmpeg` raises.
    """
    characters = list(dict.fromkeys(char for cue in cues for line in cue.lines for char in line if _is_drawn(char)))
    if not characters:
        return ""
    rows = tuple("".join(characters[at : at + _PROBE_ROW]) for at in range(0, len(characters), _PROBE_ROW))
    probe = Cue(start_ms=0, end_ms=1000, lines=rows)
    script = "glyphs.ass"
    (workdir / script).write_text(format_ass([probe], width=320, height=180, style=Style.CLEAN), encoding="utf-8")
    log = run_ffmpeg(
        [
            *("-v", "verbose", "-f", "lavfi", "-i", "color=size=320x180:rate=1:duration=1"),
            *("-vf", f"ass={script}:fontsdir={place_font(workdir)}", "-f", "null", "-"),
        ],
        ffmpeg=ffmpeg,
        cwd=workdir,
        stderr_lines=_PROBE_LOG_LINES + 4 * len(characters),
    )
    missing = parse_missing_glyphs(log)
    return "".join(char for char in characters if char in missing)


def _is_drawn(char: str) -> bool:
    # Joiners and direction marks have no shape; libass asks for one all the same.
    return not char.isspace() and unicodedata.category(char) != "Cf"
