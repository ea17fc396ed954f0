"""All settings, read from the environment in one place: nothing else looks at it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.options import SpeechEngine

PROJECT_ROOT = Path(__file__).resolve().parent
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(ValueError):
    """A setting that can't be used; the message is one sentence that names the variable and its rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator of this machine decides. Paths are absolute and need not exist."""

    whisper_model_dir: Path
    """Cache of the weights."""
    whisper_model: str
    """Name of a Whisper model, or a folder with CTranslate2 weights."""
    whisper_engine: SpeechEngine
    ffmpeg_binary: Path | None
    """None takes the static build that is installed with the packages."""
    auto_editor_binary: Path | None
    """None looks for an installed auto-editor."""
    test_media: Path
    """Real recordings for the tests; not part of the project."""
    log_level: str
    """A level's name, as `logging` takes it."""


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of ``environ``, the process's own by default.

    An empty value counts as unset, a relative path starts at the project's folder. Raises `SettingsError`.
    """
    values = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
    engine = _parse_choice(values, "WHISPER_ENGINE", tuple(SpeechEngine), SpeechEngine.FASTER_WHISPER)
    return Settings(
        whisper_model_dir=_parse_path(values, "WHISPER_MODEL_DIR") or _default_model_dir(values),
        whisper_model=values.get("WHISPER_MODEL") or "base",
        whisper_engine=SpeechEngine(engine),
        ffmpeg_binary=_parse_path(values, "FFMPEG_BINARY"),
        auto_editor_binary=_parse_path(values, "AUTO_EDITOR_BINARY"),
        test_media=_parse_path(values, "TEST_MEDIA") or PROJECT_ROOT.parent / "shared" / "media",
        log_level=_parse_choice(values, "LOG_LEVEL", LOG_LEVELS, "WARNING"),
    )


def _parse_choice(values: Mapping[str, str], name: str, choices: Sequence[str], default: str) -> str:
    value = values.get(name) or default
    for choice in choices:
        if choice.lower() == value.lower():
            return choice
    raise SettingsError(f"{name} is {value!r}: it must be one of {', '.join(choices)}.")


def _parse_path(values: Mapping[str, str], name: str) -> Path | None:
    value = values.get(name)
    if not value:
        return None
    try:
        return Path(os.path.normpath(PROJECT_ROOT / Path(value).expanduser()))
    except RuntimeError as error:
        raise SettingsError(
            f"{name} is {value!r}: no home folder is known for it, so it must be a full path."
        ) from error


def _default_model_dir(values: Mapping[str, str]) -> Path:
    cache = _parse_path(values, "XDG_CACHE_HOME") or Path.home() / ".cache"
    return cache / "mini-video-factory" / "models"
