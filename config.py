"""All settings, read from the environment in one place: nothing else looks at it."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.options import SpeechEngine, VideoEncoder

PROJECT_ROOT = Path(__file__).resolve().parent
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SIGN_UPS = ("open", "invitation", "closed")
LOG_FORMATS = ("text", "json")
MIN_COOKIE_KEY_BYTES, MIN_METRICS_TOKEN_BYTES = 32, 16
AUTH_BACKENDS = ("table", "supabase")
UNUSABLE = 78
"""Exit status of a program whose settings, or what they name, have to be mended first: starting it again changes
nothing."""
_MAX_SOCKET_PATH = 100
"""A unix socket's path may have 107 bytes, and Valkey's own temporary name is a little longer."""


os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Else onnxruntime, which finds the speech, keeps a device id in the home folder and reports to its maker.


class SettingsError(ValueError):
    """A setting that can't be used; the message is one sentence that names the variable and its rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseSettings:
    """Where state lives when it does not live in the data folder."""

    url: str
    """Of the project, without a slash at the end."""
    secret_key: str = field(repr=False)
    """Of the server; it never leaves it."""
    publishable_key: str = field(repr=False)
    """Goes along with what a person reads under a token of their own; empty is the secret key's."""
    signing_key: str = field(repr=False)
    """Signs tokens for single people: a private JWK in JSON, or the shared secret. Empty makes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WasabiSettings:
    """Where files live when they do not live in the data folder: a bucket of Wasabi, or of any other S3 store."""

    bucket: str
    region: str
    endpoint: str
    """Where this machine reaches it, without a slash at the end."""
    public_endpoint: str
    """Where browsers reach it."""
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)


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
    video_encoder: VideoEncoder
    """Who encodes the picture, where it opens; else libx264 does."""
    auto_editor_binary: Path | None
    """None looks for an installed auto-editor."""
    test_media: Path
    """Real recordings for the tests; not part of the project."""
    log_level: str | None
    """A level's name, as `logging` takes it; None leaves it to the command (warnings, or what a server says)."""
    log_format: str
    """``text`` for people, ``json`` for machines."""
    data_dir: Path
    """Holds all state of the embedded defaults: database, files, queue, work folders."""
    host: str
    """Address the web server listens on."""
    port: int
    public_url: str
    """Where people reach the product; without a slash at the end, empty when it is the address it listens on."""
    workers: int
    drain_s: int
    """Seconds a worker that is told to stop still gives the video it makes; 0 stops at once."""
    cookie_key: str = field(repr=False)
    """Signs the login cookie; empty takes one that is made at the first start and kept in the database."""
    sign_up: str
    """Who may make an account: ``open``, ``invitation`` or ``closed``."""
    max_upload_bytes: int
    max_duration_s: int
    quota_minutes: int
    """Minutes of recordings a person may have processed in a month; 0 is no limit."""
    quota_bytes: int
    """Bytes a person may store; 0 is no limit."""
    retention_days: int
    """Days a video is kept; 0 keeps it until somebody deletes it."""
    redis_url: str = field(repr=False)
    """The queue; a unix socket of the embedded Valkey unless REDIS_URL names another."""
    redis_is_embedded: bool
    supabase: SupabaseSettings | None
    """None keeps state in SQLite in the data folder."""
    supabase_db_url: str = field(repr=False)
    """The PostgreSQL below, for `make migrate`, `make export` and `make import` alone; may be empty."""
    wasabi: WasabiSettings | None
    """None keeps files in the data folder."""
    metrics_token: str = field(repr=False)
    """Opens ``/metrics``; empty leaves that closed."""
    auth_backend: str
    """Who knows passwords: our own ``table``, or ``supabase``'s service."""

    @property
    def base_url(self) -> str:
        """Where people reach the product, without a slash at the end."""
        shown = "localhost" if self.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self.host
        return self.public_url or f"http://{shown}:{self.port}"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of ``environ``, the process's own by default.

    An empty value counts as unset, a relative path starts at the project's folder. Raises `SettingsError`.
    """
    values = {name: value.strip() for name, value in (os.environ if environ is None else environ).items()}
    engine = _parse_choice(values, "WHISPER_ENGINE", tuple(SpeechEngine), SpeechEngine.FASTER_WHISPER)
    data_dir = _parse_path(values, "DATA_DIR") or PROJECT_ROOT / "data"
    supabase = _parse_supabase(values)
    auth_backend = _parse_choice(values, "AUTH_BACKEND", AUTH_BACKENDS, "table")
    if auth_backend == "supabase" and supabase is None:
        raise SettingsError("AUTH_BACKEND is 'supabase': then SUPABASE_URL must be set too.")
    return Settings(
        whisper_model_dir=_parse_path(values, "WHISPER_MODEL_DIR") or _default_model_dir(values),
        whisper_model=values.get("WHISPER_MODEL") or "base",
        whisper_engine=SpeechEngine(engine),
        ffmpeg_binary=_parse_path(values, "FFMPEG_BINARY"),
        video_encoder=VideoEncoder(_parse_choice(values, "VIDEO_ENCODER", tuple(VideoEncoder), VideoEncoder.X264)),
        auto_editor_binary=_parse_path(values, "AUTO_EDITOR_BINARY"),
        test_media=_parse_path(values, "TEST_MEDIA") or PROJECT_ROOT.parent / "shared" / "media",
        log_level=_parse_choice(values, "LOG_LEVEL", LOG_LEVELS, "INFO") if values.get("LOG_LEVEL") else None,
        log_format=_parse_choice(values, "LOG_FORMAT", LOG_FORMATS, "text"),
        data_dir=data_dir,
        host=values.get("HOST") or "127.0.0.1",
        port=_parse_whole(values, "PORT", 8501, least=1, most=65535),
        public_url=_parse_address(values, "PUBLIC_URL", "https://videos.example.com"),
        workers=_parse_whole(values, "WORKERS", 1, least=1, most=64),
        drain_s=_parse_whole(values, "DRAIN_S", 30, most=24 * 3600),
        cookie_key=_parse_secret(values, "COOKIE_KEY", MIN_COOKIE_KEY_BYTES),
        sign_up=_parse_choice(values, "SIGNUP", SIGN_UPS, "invitation"),
        max_upload_bytes=_parse_whole(values, "MAX_UPLOAD_BYTES", 10_000_000_000, least=1),
        max_duration_s=_parse_whole(values, "MAX_DURATION_S", 3 * 3600, least=1),
        quota_minutes=_parse_whole(values, "QUOTA_MINUTES", 0),
        quota_bytes=_parse_whole(values, "QUOTA_BYTES", 0),
        retention_days=_parse_whole(values, "RETENTION_DAYS", 0),
        redis_url=_parse_redis_url(values) or f"unix://{_socket_path(data_dir)}",
        redis_is_embedded=not values.get("REDIS_URL"),
        supabase=supabase,
        supabase_db_url=values.get("SUPABASE_DB_URL") or "",
        wasabi=_parse_wasabi(values),
        metrics_token=_parse_secret(values, "METRICS_TOKEN", MIN_METRICS_TOKEN_BYTES),
        auth_backend=auth_backend,
    )


def _parse_whole(values: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = 10**15) -> int:
    value = values.get(name)
    if not value:
        return default
    if not re.fullmatch(r"\d{1,15}", value) or not least <= int(value) <= most:
        rule = f"from {least} to {most}" if most < 10**15 else f"of at least {least}"
        raise SettingsError(f"{name} is {value!r}: it must be a whole number {rule}.")
    return int(value)


def _parse_address(values: Mapping[str, str], name: str, example: str) -> str:
    value = (values.get(name) or "").rstrip("/")
    if value and not re.fullmatch(r"https?://[^\s/?#@]+", value):
        shown = repr(value) if "@" not in value else "no plain address"  # before an @ stands a password
        raise SettingsError(f"{name} is {shown}: it must be an address such as {example}.")
    return value


def _parse_supabase(values: Mapping[str, str]) -> SupabaseSettings | None:
    url = _parse_address(values, "SUPABASE_URL", "https://abcdefgh.supabase.co")
    secret_key = values.get("SUPABASE_SECRET_KEY") or values.get("SUPABASE_SERVICE_ROLE_KEY") or ""
    if not url and not secret_key:
        return None
    _require_all(SUPABASE_URL=url, SUPABASE_SECRET_KEY=secret_key)
    return SupabaseSettings(
        url=url,
        secret_key=secret_key,
        publishable_key=values.get("SUPABASE_PUBLISHABLE_KEY") or values.get("SUPABASE_ANON_KEY") or "",
        signing_key=values.get("SUPABASE_SIGNING_KEY") or "",
    )


def _parse_wasabi(values: Mapping[str, str]) -> WasabiSettings | None:
    bucket = values.get("WASABI_BUCKET") or ""
    region = values.get("WASABI_REGION") or ""
    access_key_id, secret_access_key = (
        values.get("WASABI_ACCESS_KEY_ID") or "",
        values.get("WASABI_SECRET_ACCESS_KEY") or "",
    )
    if not (bucket or access_key_id or secret_access_key):
        return None
    _require_all(
        WASABI_BUCKET=bucket,
        WASABI_REGION=region,
        WASABI_ACCESS_KEY_ID=access_key_id,
        WASABI_SECRET_ACCESS_KEY=secret_access_key,
    )
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise SettingsError(f"WASABI_BUCKET is {bucket!r}: a bucket's name has lower-case letters, digits and hyphens.")
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise SettingsError(f"WASABI_REGION is {region!r}: it must be a region such as eu-central-1.")
    endpoint = _parse_address(values, "WASABI_ENDPOINT", "https://s3.eu-central-1.wasabisys.com")
    endpoint = endpoint or f"https://s3.{region}.wasabisys.com"
    return WasabiSettings(
        bucket=bucket,
        region=region,
        endpoint=endpoint,
        public_endpoint=_parse_address(values, "WASABI_PUBLIC_ENDPOINT", "https://files.example.com") or endpoint,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )


def _require_all(**given: str) -> None:
    missing = [name for name, value in given.items() if not value]
    if missing:
        there = next(name for name, value in given.items() if value)
        raise SettingsError(f"{there} is set, and {' and '.join(missing)} is not: set all of them, or none.")


def _parse_secret(values: Mapping[str, str], name: str, least_bytes: int) -> str:
    value = values.get(name) or ""
    if value and len(value.encode()) < least_bytes:
        raise SettingsError(f"{name} is too short: it must have at least {least_bytes} bytes.")
    return value


def _parse_redis_url(values: Mapping[str, str]) -> str:
    value = values.get("REDIS_URL") or ""
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("REDIS_URL must begin with redis://, rediss:// or unix://.")
    return value


def _socket_path(data_dir: Path) -> Path:
    """Return the embedded queue's socket: in the data folder, or in a short place named after it."""
    path = data_dir / "run" / "valkey.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mini-video-factory-{name}" / "valkey.sock"


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
