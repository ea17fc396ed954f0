"""Settings: defaults, what counts as unset, and the sentence for a bad value."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from config import PROJECT_ROOT, Settings, SettingsError, load_settings
from pipeline.options import SpeechEngine


def test_defaults() -> None:
    assert load_settings({}) == Settings(
        whisper_model_dir=Path.home() / ".cache/mini-video-factory/models",
        whisper_model="base",
        whisper_engine=SpeechEngine.FASTER_WHISPER,
        ffmpeg_binary=None,
        auto_editor_binary=None,
        test_media=PROJECT_ROOT.parent / "shared/media",
        log_level="WARNING",
    )


def test_every_setting_is_read() -> None:
    environ = {
        "WHISPER_MODEL_DIR": "/var/models",
        "WHISPER_MODEL": "large-v3",
        "WHISPER_ENGINE": "openai-whisper",
        "FFMPEG_BINARY": "/opt/ffmpeg",
        "AUTO_EDITOR_BINARY": "/opt/auto-editor",
        "TEST_MEDIA": "/media",
        "LOG_LEVEL": "DEBUG",
    }
    assert load_settings(environ) == Settings(
        whisper_model_dir=Path("/var/models"),
        whisper_model="large-v3",
        whisper_engine=SpeechEngine.OPENAI_WHISPER,
        ffmpeg_binary=Path("/opt/ffmpeg"),
        auto_editor_binary=Path("/opt/auto-editor"),
        test_media=Path("/media"),
        log_level="DEBUG",
    )


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_value_counts_as_unset(blank: str) -> None:
    names = ["XDG_CACHE_HOME", *(field.name.upper() for field in fields(Settings))]
    assert load_settings(dict.fromkeys(names, blank)) == load_settings({})


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_MODEL", "tiny")
    assert load_settings().whisper_model == "tiny"


def test_weights_live_in_the_cache_of_the_person() -> None:
    assert load_settings({"XDG_CACHE_HOME": "/cache"}).whisper_model_dir == Path("/cache/mini-video-factory/models")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("~/models", Path.home() / "models"),
        ("models", PROJECT_ROOT / "models"),
        ("../models", PROJECT_ROOT.parent / "models"),
        (" /models ", Path("/models")),
    ],
)
def test_paths_become_absolute(value: str, expected: Path) -> None:
    assert load_settings({"WHISPER_MODEL_DIR": value}).whisper_model_dir == expected


def test_choices_ignore_case() -> None:
    settings = load_settings({"LOG_LEVEL": "info", "WHISPER_ENGINE": "Faster-Whisper"})
    assert (settings.log_level, settings.whisper_engine) == ("INFO", SpeechEngine.FASTER_WHISPER)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("WHISPER_ENGINE", "whisperx", "it must be one of faster-whisper, openai-whisper."),
        ("LOG_LEVEL", "loud", "it must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        ("FFMPEG_BINARY", "~no-such-person/ffmpeg", "so it must be a full path."),
    ],
)
def test_a_bad_value_names_the_variable_and_the_rule(name: str, value: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '{value}': .*{re.escape(rule)}$"):
        load_settings({name: value})


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings({}).whisper_model = "tiny"  # type: ignore[misc]


def test_the_example_names_every_setting_with_its_default() -> None:
    example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (PROJECT_ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    assert set(example) == {field.name.upper() for field in fields(Settings)}
    assert load_settings(example) == load_settings({})
