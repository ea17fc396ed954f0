"""What a person can choose, and the one place that checks it: for the command line, the page and the API."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

OPTIONS_VERSION = 1
MAX_VOCABULARY_CHARS = 600
"""Whisper reads at most 224 tokens of prompt; more would push the speech out."""


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"


class OptionError(ValueError):
    """An option that can't be used; the message is one sentence that names the option and its rule."""


class Captions(StrEnum):
    """Where the captions go."""

    SOFT = "soft"  #: a track the player can switch on and off
    BURNED = "burned"  #: part of the picture
    BOTH = "both"
    NONE = "none"  #: no transcription at all

    @property
    def in_picture(self) -> bool:
        """Whether the captions are drawn into the picture."""
        return self in (Captions.BURNED, Captions.BOTH)

    @property
    def as_track(self) -> bool:
        """Whether the video file carries a caption track."""
        return self in (Captions.SOFT, Captions.BOTH)


class Style(StrEnum):
    """How burned captions look."""

    CLEAN = "clean"
    BOXED = "boxed"
    BOLD = "bold"
    LARGE = "large"


class CutEngine(StrEnum):
    """Who decides the cuts."""

    AUTO = "auto"
    BUILTIN = "builtin"
    AUTO_EDITOR = "auto-editor"


class VideoEncoder(StrEnum):
    """Who encodes the picture."""

    X264 = "libx264"
    NVENC = "h264_nvenc"


class SpeechEngine(StrEnum):
    """Who writes the transcript."""

    FASTER_WHISPER = "faster-whisper"
    OPENAI_WHISPER = "openai-whisper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How tight the cut is: air left before and after speech, and the shortest pause that is cut at all."""

    margin_ms: tuple[int, int]
    min_pause_ms: int


PACES = {
    "tight": Pace(margin_ms=(100, 150), min_pause_ms=350),
    "natural": Pace(margin_ms=(200, 200), min_pause_ms=600),
    "relaxed": Pace(margin_ms=(350, 450), min_pause_ms=1000),
}
DEFAULT_PACE = "natural"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """Everything a run needs to know beside its source."""

    pace: str = DEFAULT_PACE
    threshold: float | None = None
    """Peak level 0–1 from which sound counts as loud; None finds it from the file's own noise floor."""
    margin_ms: tuple[int, int] | None = None
    """Air kept before and after loud parts; None takes the pace's. Negative values shrink."""
    min_pause_ms: int | None = None
    """Shortest pause that is cut; None takes the pace's."""
    cut_engine: CutEngine = CutEngine.AUTO
    speech_engine: SpeechEngine = SpeechEngine.FASTER_WHISPER
    model: str = "base"
    """Name of a Whisper model or a folder with CTranslate2 weights."""
    model_dir: Path = Path("models")
    """Cache of weights; the caller's settings know where it is."""
    ffmpeg: Path | None = None
    """The ffmpeg to use; None takes the packaged one."""
    auto_editor: Path | None = None
    """The auto-editor to use; None looks for an installed one."""
    video_encoder: VideoEncoder = VideoEncoder.X264
    """The encoder that is wanted; libx264 is taken where it does not open, and for what several machines share."""
    language: str | None = None
    """Whisper language code; None detects it."""
    vocabulary: str = ""
    captions: Captions = Captions.SOFT
    style: Style = Style.CLEAN
    audio_track: int | None = None
    """Sound track to deliver, counted from 1; 0 mixes all; None takes the file's default."""
    cut: bool = True
    timeline: Path | None = None
    """Use these cuts instead of finding them."""
    max_duration_ms: int = 12 * 3600 * 1000
    max_pixels: int = 8192 * 4320

    @property
    def effective_margin_ms(self) -> tuple[int, int]:
        """Margins in force: the explicit ones, else the pace's."""
        return self.margin_ms if self.margin_ms is not None else PACES[self.pace].margin_ms

    @property
    def min_cut_ms(self) -> int:
        """Shortest cut that is made: the shortest pause less the air that is left in it.

        An explicit margin without an explicit pause keeps the pace's own shortest cut.
        """
        pace = PACES[self.pace]
        if self.min_pause_ms is None:
            return pace.min_pause_ms - sum(pace.margin_ms)
        return max(0, self.min_pause_ms - sum(self.effective_margin_ms))

    @property
    def transcribes(self) -> bool:
        """Whether the speech has to be written down."""
        return self.captions is not Captions.NONE


def parse_job_options(raw: Mapping[str, object]) -> PipelineOptions:
    """Return the options of a job record ``{version, pace, threshold, margin_ms, …}``, checked.

    Missing keys take their defaults, unknown keys are refused. Raises `OptionError` with a sentence for the person.
    """
    known = {
        "version", "pace", "threshold", "margin_ms", "min_pause_ms", "language", "vocabulary", "captions", "style",
        "audio_track",
    }  # fmt: skip
    if unknown := sorted(set(raw) - known):
        raise OptionError(f"Unknown option: {', '.join(unknown)}.")
    if raw.get("version", OPTIONS_VERSION) != OPTIONS_VERSION:
        raise OptionError(f"Options of version {raw['version']!r} can't be read; this is version {OPTIONS_VERSION}.")
    return PipelineOptions(
        pace=_parse_choice("pace", raw.get("pace") or DEFAULT_PACE, tuple(PACES)),
        threshold=parse_threshold(raw.get("threshold")),
        margin_ms=_parse_margin_pair(raw.get("margin_ms")),
        min_pause_ms=_parse_pause(raw.get("min_pause_ms")),
        language=parse_language(raw.get("language")),
        vocabulary=_parse_vocabulary(raw.get("vocabulary")),
        captions=Captions(_parse_choice("captions", raw.get("captions") or Captions.SOFT, tuple(Captions))),
        style=Style(_parse_choice("style", raw.get("style") or Style.CLEAN, tuple(Style))),
        audio_track=parse_audio_track(raw.get("audio_track")),
    )


def _parse_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise OptionError(f"{value!r} is no {name}: choose one of {', '.join(choices)}.")
    return str(value)


def parse_threshold(value: object) -> float | None:
    """Return the level 0–1 of ``auto`` (None), ``4%``, ``-28dB``, ``0.04`` or a number. Raises `OptionError`."""
    if value is None or value == "auto":
        return None
    text = str(value).strip()
    match = re.fullmatch(rf"({_NUMBER})\s*(%|dB)?", text, re.IGNORECASE)
    if match is None:
        raise OptionError(f"{text!r} is no threshold: give auto, a share such as 4%, a level such as -28dB, or 0.04.")
    number, unit = float(match[1]), (match[2] or "").lower()
    level = number / 100 if unit == "%" else 10 ** (min(number, 1) / 20) if unit == "db" else number
    if not 0 <= level <= 1:
        raise OptionError(f"{text!r} is no threshold: it must lie between 0% and 100% (at most 0dB).")
    return level


def parse_duration_ms(value: object, name: str) -> int:
    """Return the milliseconds of ``0.2s``, ``200ms`` or ``0.2`` (seconds). Raises `OptionError`."""
    text = str(value).strip()
    match = re.fullmatch(rf"({_NUMBER})\s*(s|ms|sec|secs|seconds?)?", text)
    number = float(match[1]) if match is not None else math.inf
    if match is None or not math.isfinite(number * 1000):
        raise OptionError(f"{text!r} is no {name}: give seconds, such as 0.2s.")
    return math.floor((number if match[2] == "ms" else number * 1000) + 0.5)


def parse_margin(value: str) -> tuple[int, int]:
    """Return the milliseconds before and after of ``0.2s`` (both) or ``0.3s,0.5s``. Raises `OptionError`."""
    parts = [parse_duration_ms(part, "margin") for part in value.split(",")]
    if len(parts) not in (1, 2):
        raise OptionError(f"{value!r} is no margin: give one length, or two with a comma between them.")
    return _check_margin(parts[0], parts[-1], value)


def _check_margin(before: int, after: int, given: object) -> tuple[int, int]:
    if max(abs(before), abs(after)) > 10_000:
        raise OptionError(f"{given!r} is no margin: two lengths of at most 10 seconds each, before and after.")
    return before, after


def _parse_margin_pair(value: object) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [int(before), int(after)] if not isinstance(before, bool) and not isinstance(after, bool):
            return _check_margin(before, after, value)
    raise OptionError(f"{value!r} is no margin: two lengths in milliseconds, before and after.")


def _check_pause(pause: int, given: object) -> int:
    if not 0 <= pause <= 60_000:
        raise OptionError(f"{given!r} is no shortest pause: it must lie between 0 and 60 seconds.")
    return pause


def _parse_pause(value: object) -> int | None:
    match value:
        case None:
            return None
        case int(pause) if not isinstance(value, bool):
            return _check_pause(pause, value)
    raise OptionError(f"{value!r} is no shortest pause: give milliseconds.")


def parse_min_pause(value: str) -> int:
    """Return the milliseconds of the shortest pause that is cut. Raises `OptionError`."""
    return _check_pause(parse_duration_ms(value, "shortest pause"), value)


def parse_language(value: object) -> str | None:
    """Return a Whisper language code, or None for ``auto``. Raises `OptionError` for a code Whisper does not know."""
    if value is None or value in ("", "auto"):
        return None
    code = str(value).strip().lower()
    if code not in LANGUAGES:
        raise OptionError(f"{value!r} is no language we can transcribe: give auto or a code such as en, de, fr.")
    return code


def _parse_vocabulary(value: object) -> str:
    shown = "".join(char for char in str(value or "") if char.isprintable() or char.isspace())
    text = " ".join(shown.split())
    if len(text) > MAX_VOCABULARY_CHARS:
        raise OptionError(f"The vocabulary has {len(text)} characters; at most {MAX_VOCABULARY_CHARS} help.")
    return text


def parse_audio_track(value: object) -> int | None:
    """Return None for ``default``, 0 for ``mix``, else the track counted from 1. Raises `OptionError`."""
    if value is None or value == "default":
        return None
    if value == "mix":
        return 0
    if re.fullmatch(r"[1-9]\d?", str(value)):
        return int(str(value))
    raise OptionError(f"{value!r} is no audio track: give default, mix, or a number from 1.")


LANGUAGES = frozenset(
    """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy
    id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa
    sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
    """.split()  # noqa: SIM905 - a list of a hundred strings is harder to read
)
"""The codes Whisper knows (openai-whisper ``tokenizer.LANGUAGES``)."""
