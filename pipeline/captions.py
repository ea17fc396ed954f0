"""Captions and transcript as text: WebVTT, SubRip, the track inside the MP4, prose. Lines end in ``\\n``.

The writers are ours because speech is data: pysubs2 escapes nothing in these formats and would turn ``<b>``, ``{…}`` or
``\\N`` in a sentence into formatting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pipeline.lettering import clean_text
from pipeline.models import Cue, Word
from pipeline.phrasing import ends_sentence, is_unspaced

_PARAGRAPH_PAUSE_MS = 2000
_PARAGRAPH_CHARS = 600
"""A paragraph this long ends with its sentence."""

_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_INERT = str.maketrans({"{": "(", "}": ")", "\\": "/"})
"""What players take for ASS tags and breaks; neither SubRip nor FFmpeg's way into mov_text can escape them."""
_SRT_TAG = re.compile(r"<(?=[A-Za-z/!?])([^<>]*)(>?)")
_SRT_ARROW = re.compile(r"-{2,}>")

_ISO_639_2 = {
    "af": "afr", "am": "amh", "ar": "ara", "as": "asm", "az": "aze", "ba": "bak", "be": "bel", "bg": "bul",
    "bn": "ben", "bo": "bod", "br": "bre", "bs": "bos", "ca": "cat", "cs": "ces", "cy": "cym", "da": "dan",
    "de": "deu", "el": "ell", "en": "eng", "es": "spa", "et": "est", "eu": "eus", "fa": "fas", "fi": "fin",
    "fo": "fao", "fr": "fra", "gl": "glg", "gu": "guj", "ha": "hau", "haw": "haw", "he": "heb", "hi": "hin",
    "hr": "hrv", "ht": "hat", "hu": "hun", "hy": "hye", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn",
    "jw": "jav", "ka": "kat", "kk": "kaz", "km": "khm", "kn": "kan", "ko": "kor", "la": "lat", "lb": "ltz",
    "ln": "lin", "lo": "lao", "lt": "lit", "lv": "lav", "mg": "mlg", "mi": "mri", "mk": "mkd", "ml": "mal",
    "mn": "mon", "mr": "mar", "ms": "msa", "mt": "mlt", "my": "mya", "ne": "nep", "nl": "nld", "nn": "nno",
    "no": "nor", "oc": "oci", "pa": "pan", "pl": "pol", "ps": "pus", "pt": "por", "ro": "ron", "ru": "rus",
    "sa": "san", "sd": "snd", "si": "sin", "sk": "slk", "sl": "slv", "sn": "sna", "so": "som", "sq": "sqi",
    "sr": "srp", "su": "sun", "sv": "swe", "sw": "swa", "ta": "tam", "te": "tel", "tg": "tgk", "th": "tha",
    "tk": "tuk", "tl": "tgl", "tr": "tur", "tt": "tat", "uk": "ukr", "ur": "urd", "uz": "uzb", "vi": "vie",
    "yi": "yid", "yo": "yor", "yue": "yue", "zh": "zho",
}  # fmt: skip
"""Whisper's codes to ISO 639-2/T. ``jw`` is Whisper's own for Javanese; Cantonese has only an ISO 639-3 code."""


def format_vtt(cues: Iterable[Cue]) -> str:
    """Return ``cues`` as WebVTT with the text escaped; without cues the header alone, which is a valid file."""
    return _format_blocks(cues, escape_vtt, header="WEBVTT\n")


def format_track_vtt(cues: Iterable[Cue]) -> str:
    """Return the WebVTT that is muxed into the MP4 as mov_text: braces become parentheses, backslashes slashes."""
    return _format_blocks(cues, lambda line: escape_vtt(line.translate(_INERT)), header="WEBVTT\n")


def _format_blocks(cues: Iterable[Cue], escape: Callable[[str], str], *, header: str) -> str:
    blocks = [header]
    for cue in cues:
        times = f"{format_time(cue.start_ms, '.')} --> {format_time(cue.end_ms, '.')}"
        blocks.append("\n".join(["", times, *map(escape, _shown_lines(cue)), ""]))
    return "".join(blocks)


def format_srt(cues: Iterable[Cue]) -> str:
    """Return ``cues`` as SubRip; without cues the empty string.

    SubRip has no escapes: arrows become ``->``, tags stand between angle quotes ``‹b›``, and what players take for ASS
    is replaced as in `format_track_vtt`.
    """
    blocks = [
        "\n".join(
            [
                str(number),
                f"{format_time(cue.start_ms, ',')} --> {format_time(cue.end_ms, ',')}",
                *map(disarm_srt, _shown_lines(cue)),
                "",
            ]
        )
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def format_time(time_ms: int, point: str) -> str:
    """Return ``HH:MM:SS`` with milliseconds behind ``point``; hours take as many digits as they need."""
    seconds, milliseconds = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def escape_vtt(text: str) -> str:
    """Return ``text`` so that WebVTT shows it as it is."""
    return text.translate(_VTT_ESCAPES)


def disarm_srt(text: str) -> str:
    """Return ``text`` with everything broken up that a SubRip player would obey instead of show."""
    text = _SRT_ARROW.sub("->", text.translate(_INERT))
    return _SRT_TAG.sub(lambda tag: f"‹{tag[1]}{'›' if tag[2] else ''}", text)


def _shown_lines(cue: Cue) -> list[str]:
    # A blank line would end the cue in both formats; a cue needs one line of text.
    return [line for line in (clean_text(line).strip() for line in cue.lines) if line] or ["…"]


def format_text(words: Sequence[Word]) -> str:
    """Return the running text of ``words`` in paragraphs with a blank line between them; empty for no words.

    A paragraph ends at a pause of 2 s, and with the sentence once it is long.
    """
    paragraphs: list[str] = []
    text = ""
    end_ms = 0
    for word in words:
        piece = clean_text(word.text)
        pause = word.start_ms - end_ms >= _PARAGRAPH_PAUSE_MS
        # Without a space this is the rest of a word, unless the script has no spaces at all.
        parted = piece[:1] == " " or (text != "" and is_unspaced(text[-1]))
        full = len(text) >= _PARAGRAPH_CHARS and ends_sentence(text.rsplit(" ", 1)[-1])
        if text.strip() and parted and (pause or full):
            paragraphs.append(text)
            text = ""
        text += piece
        end_ms = max(end_ms, word.end_ms)
    paragraphs.append(text)
    cleaned = [clean_text(paragraph).strip() for paragraph in paragraphs]
    return "\n\n".join(paragraph for paragraph in cleaned if paragraph) + ("\n" if any(cleaned) else "")


def iso639_2(code: str) -> str:
    """Return the ISO 639-2/T code of a Whisper language code, ``und`` for an unknown or empty one.

    MP4 holds three letters; ffmpeg silently drops a shorter code.
    """
    return _ISO_639_2.get(code, "und")
