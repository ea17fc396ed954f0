"""What a browser would show of a WebVTT file."""

from __future__ import annotations

import html
import re

Cue = tuple[int, int, str]
"""Start and end in milliseconds, text with line breaks."""

_TIMES = re.compile(r"(?:(\d+):)?(\d\d):(\d\d)\.(\d{3})\s+-->\s+(?:(\d+):)?(\d\d):(\d\d)\.(\d{3})")


def parse_vtt(text: str) -> list[Cue]:
    """Return the cues of a WebVTT file in its order; blocks that are no cues are passed over."""
    cues = []
    for block in re.split(r"\n{2,}", text.replace("\r\n", "\n").strip("\ufeff\n")):
        lines = block.split("\n")
        for number, line in enumerate(lines):
            if match := _TIMES.match(line):
                shown = "\n".join(html.unescape(re.sub(r"<[^>]*>", "", shown)) for shown in lines[number + 1 :])
                start, end = match.groups()[:4], match.groups()[4:]
                cues.append((_to_ms(*start), _to_ms(*end), shown))
                break
    return cues


def _to_ms(hours: str | None, minutes: str, seconds: str, thousandths: str) -> int:
    return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(thousandths)
