"""Settings: defaults, what counts as unset, and the sentence for a bad value."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from config import PROJECT_ROOT, Settings, SettingsError, SupabaseSettings, WasabiSettings, load_settings
from pipeline.options import SpeechEngine, VideoEncoder

NAMES = {"sign_up": "SIGNUP"}
"""Settings whose variable is not the field's own name."""
DERIVED = {"redis_is_embedded"}
GROUPS = {"supabase": SupabaseSettings, "wasabi": WasabiSettings}


def names_of_settings() -> set[str]:
    """Return the environment variable of every field, also of those in a group."""
    single = {field.name for field in fields(Settings)} - DERIVED - set(GROUPS)
    grouped = {f"{group}_{field.name}" for group, kind in GROUPS.items() for field in fields(kind)}
    return {NAMES.get(name, name.upper()) for name in single | grouped}


def test_defaults() -> None:
    assert load_settings({}) == Settings(
        whisper_model_dir=Path.home() / ".cache/mini-video-factory/models",
        whisper_model="base",
        whisper_engine=SpeechEngine.FASTER_WHISPER,
        ffmpeg_binary=None,
        video_encoder=VideoEncoder.X264,
        auto_editor_binary=None,
        test_media=PROJECT_ROOT.parent / "shared/media",
        log_level=None,
        log_format="text",
        data_dir=PROJECT_ROOT / "data",
        host="127.0.0.1",
        port=8501,
        public_url="",
        workers=1,
        drain_s=30,
        cookie_key="",
        sign_up="invitation",
        max_upload_bytes=10_000_000_000,
        max_duration_s=10_800,
        quota_minutes=0,
        quota_bytes=0,
        retention_days=0,
        redis_url=f"unix://{PROJECT_ROOT}/data/run/valkey.sock",
        redis_is_embedded=True,
        supabase=None,
        supabase_db_url="",
        wasabi=None,
        metrics_token="",
        auth_backend="table",
    )


EVERY_SETTING = {
    "WHISPER_MODEL_DIR": "/var/models",
    "WHISPER_MODEL": "large-v3",
    "WHISPER_ENGINE": "openai-whisper",
    "FFMPEG_BINARY": "/opt/ffmpeg",
    "VIDEO_ENCODER": "h264_nvenc",
    "AUTO_EDITOR_BINARY": "/opt/auto-editor",
    "TEST_MEDIA": "/media",
    "LOG_LEVEL": "DEBUG",
    "LOG_FORMAT": "json",
    "DATA_DIR": "/srv/videos",
    "HOST": "0.0.0.0",
    "PORT": "80",
    "PUBLIC_URL": "https://videos.example.com/",
    "WORKERS": "3",
    "DRAIN_S": "600",
    "COOKIE_KEY": "k" * 32,
    "SIGNUP": "closed",
    "MAX_UPLOAD_BYTES": "5000",
    "MAX_DURATION_S": "600",
    "QUOTA_MINUTES": "120",
    "QUOTA_BYTES": "7000",
    "RETENTION_DAYS": "30",
    "REDIS_URL": "rediss://:secret@queue.example.com:6380/1",
    "SUPABASE_URL": "https://abcd.supabase.co/",
    "SUPABASE_SECRET_KEY": "sb_secret_1",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_1",
    "SUPABASE_SIGNING_KEY": '{"kty": "EC", "d": "secret"}',
    "SUPABASE_DB_URL": "postgresql://postgres:secret@db.example.com/postgres",
    "METRICS_TOKEN": "secret-token-of-metrics",
    "AUTH_BACKEND": "supabase",
    "WASABI_BUCKET": "our-videos",
    "WASABI_REGION": "eu-central-1",
    "WASABI_ENDPOINT": "http://10.0.0.9:8333/",
    "WASABI_PUBLIC_ENDPOINT": "https://files.example.com/",
    "WASABI_ACCESS_KEY_ID": "secret-id",
    "WASABI_SECRET_ACCESS_KEY": "secret-key",
}


def test_every_setting_is_read() -> None:
    assert load_settings(EVERY_SETTING) == Settings(
        whisper_model_dir=Path("/var/models"),
        whisper_model="large-v3",
        whisper_engine=SpeechEngine.OPENAI_WHISPER,
        ffmpeg_binary=Path("/opt/ffmpeg"),
        video_encoder=VideoEncoder.NVENC,
        auto_editor_binary=Path("/opt/auto-editor"),
        test_media=Path("/media"),
        log_level="DEBUG",
        log_format="json",
        data_dir=Path("/srv/videos"),
        host="0.0.0.0",
        port=80,
        public_url="https://videos.example.com",
        workers=3,
        drain_s=600,
        cookie_key="k" * 32,
        sign_up="closed",
        max_upload_bytes=5000,
        max_duration_s=600,
        quota_minutes=120,
        quota_bytes=7000,
        retention_days=30,
        redis_url="rediss://:secret@queue.example.com:6380/1",
        redis_is_embedded=False,
        supabase=SupabaseSettings(
            url="https://abcd.supabase.co",
            secret_key="sb_secret_1",
            publishable_key="sb_publishable_1",
            signing_key='{"kty": "EC", "d": "secret"}',
        ),
        supabase_db_url="postgresql://postgres:secret@db.example.com/postgres",
        wasabi=WasabiSettings(
            bucket="our-videos",
            region="eu-central-1",
            endpoint="http://10.0.0.9:8333",
            public_endpoint="https://files.example.com",
            access_key_id="secret-id",
            secret_access_key="secret-key",
        ),
        metrics_token="secret-token-of-metrics",
        auth_backend="supabase",
    )
    assert set(EVERY_SETTING) == names_of_settings(), "a setting is not tried here"


SUPABASE = {"SUPABASE_URL": "https://abcd.supabase.co", "SUPABASE_SECRET_KEY": "sb_secret_1"}
WASABI = {
    "WASABI_BUCKET": "our-videos",
    "WASABI_REGION": "eu-central-1",
    "WASABI_ACCESS_KEY_ID": "id",
    "WASABI_SECRET_ACCESS_KEY": "key",
}


def test_wasabi_is_found_by_its_region() -> None:
    wasabi = load_settings(WASABI).wasabi
    assert wasabi is not None
    assert wasabi.endpoint == wasabi.public_endpoint == "https://s3.eu-central-1.wasabisys.com"


def test_keys_of_older_projects_are_taken_too() -> None:
    older = {"SUPABASE_SERVICE_ROLE_KEY": "service", "SUPABASE_ANON_KEY": "anon"}
    supabase = load_settings({"SUPABASE_URL": SUPABASE["SUPABASE_URL"], **older}).supabase
    assert supabase is not None
    assert (supabase.secret_key, supabase.publishable_key) == ("service", "anon")


@pytest.mark.parametrize("missing", [*SUPABASE, *WASABI])
def test_half_of_a_store_is_refused_with_what_is_missing(missing: str) -> None:
    whole = SUPABASE if missing in SUPABASE else WASABI
    given = {name: value for name, value in whole.items() if name != missing}
    with pytest.raises(SettingsError, match=f" is set, and {missing} is not: set all of them, or none.$"):
        load_settings(given)


def test_supabase_cannot_know_passwords_without_supabase() -> None:
    with pytest.raises(SettingsError, match=r"^AUTH_BACKEND is 'supabase': then SUPABASE_URL must be set too\.$"):
        load_settings({"AUTH_BACKEND": "supabase"})


def test_secrets_are_not_printed() -> None:
    shown = repr(load_settings(EVERY_SETTING))
    assert EVERY_SETTING["COOKIE_KEY"] not in shown
    for word in ("secret", "sb_publishable_1"):
        assert word not in shown


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_value_counts_as_unset(blank: str) -> None:
    names = ["XDG_CACHE_HOME", *names_of_settings()]
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
    settings = load_settings({"LOG_LEVEL": "info", "WHISPER_ENGINE": "Faster-Whisper", "SIGNUP": "OPEN"})
    assert (settings.log_level, settings.sign_up) == ("INFO", "open")
    assert settings.whisper_engine is SpeechEngine.FASTER_WHISPER


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://localhost:8501"),
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "http://localhost:9000"),
        ({"HOST": "10.0.0.5"}, "http://10.0.0.5:8501"),
        ({"PUBLIC_URL": "https://videos.example.com/"}, "https://videos.example.com"),
    ],
)
def test_the_address_that_is_shown(environ: dict[str, str], url: str) -> None:
    assert load_settings(environ).base_url == url


def test_the_socket_of_the_queue_fits_into_a_socket_address() -> None:
    deep = Path("/srv") / ("long-name-" * 12)
    short = Path(load_settings({"DATA_DIR": str(deep)}).redis_url.removeprefix("unix://"))
    other = Path(load_settings({"DATA_DIR": f"{deep}2"}).redis_url.removeprefix("unix://"))
    assert len(str(short)) <= 100
    assert short != other, "two data folders must not share a queue"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("WHISPER_ENGINE", "whisperx", "it must be one of faster-whisper, openai-whisper."),
        ("LOG_LEVEL", "loud", "it must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL."),
        ("FFMPEG_BINARY", "~no-such-person/ffmpeg", "so it must be a full path."),
        ("LOG_FORMAT", "xml", "it must be one of text, json."),
        ("SIGNUP", "maybe", "it must be one of open, invitation, closed."),
        ("PORT", "0", "it must be a whole number from 1 to 65535."),
        ("PORT", "http", "it must be a whole number from 1 to 65535."),
        ("WORKERS", "1.5", "it must be a whole number from 1 to 64."),
        ("MAX_UPLOAD_BYTES", "0", "it must be a whole number of at least 1."),
        ("MAX_DURATION_S", "-3", "it must be a whole number of at least 1."),
        ("QUOTA_MINUTES", "many", "it must be a whole number of at least 0."),
        ("QUOTA_BYTES", "1e9", "it must be a whole number of at least 0."),
        ("RETENTION_DAYS", "9999999999999999", "it must be a whole number of at least 0."),
        ("PUBLIC_URL", "videos.example.com", "it must be an address such as https://videos.example.com."),
        ("PUBLIC_URL", "https://example.com/videos", "it must be an address such as https://videos.example.com."),
        ("AUTH_BACKEND", "ldap", "it must be one of table, supabase."),
        ("SUPABASE_URL", "abcd.supabase.co", "it must be an address such as https://abcdefgh.supabase.co."),
        ("WASABI_ENDPOINT", "s3.example.com", "it must be an address such as https://s3.eu-central-1.wasabisys.com."),
        ("WASABI_PUBLIC_ENDPOINT", "files", "it must be an address such as https://files.example.com."),
        ("WASABI_REGION", "Frankfurt am Main", "it must be a region such as eu-central-1."),
        ("WASABI_BUCKET", "Our Videos", "a bucket's name has lower-case letters, digits and hyphens."),
    ],
)
def test_a_bad_value_names_the_variable_and_the_rule(name: str, value: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is '{value}': .*{re.escape(rule)}$"):
        load_settings({**(WASABI if name.startswith("WASABI_") else {}), name: value})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("COOKIE_KEY", "short secret", "COOKIE_KEY is too short: it must have at least 32 bytes."),
        ("METRICS_TOKEN", "short secret", "METRICS_TOKEN is too short: it must have at least 16 bytes."),
        ("REDIS_URL", "http://:password@host", "REDIS_URL must begin with redis://, rediss:// or unix://."),
        (
            "PUBLIC_URL",
            "https://user:password@example.com",
            "PUBLIC_URL is no plain address: it must be an address such as https://videos.example.com.",
        ),
    ],
)
def test_a_bad_secret_is_not_repeated(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(sentence)}$"):
        load_settings({name: value})


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings({}).whisper_model = "tiny"  # type: ignore[misc]


def test_the_example_names_every_setting_with_its_default() -> None:
    text = (PROJECT_ROOT / ".env.example").read_text("utf-8").partition("# --- in containers")[0]
    example = dict(re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert set(example) == names_of_settings()
    assert load_settings(example) == load_settings({})
