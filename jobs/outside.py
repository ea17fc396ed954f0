"""What the settings name, as the values and ports that both composition roots, web and worker, are built on."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.local_files import LocalFiles
from adapters.prober import PipelineProber
from adapters.rq_queue import RqQueue
from adapters.sqlite import SqliteDatabase
from config import Settings, SettingsError
from jobs.models import Limits
from jobs.ports import Database, FileStore, Passwords, Ports
from pipeline.options import PipelineOptions


def read_limits(settings: Settings) -> Limits:
    """Return what the operator allows."""
    return Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_duration_ms=settings.max_duration_s * 1000,
        quota_minutes=settings.quota_minutes,
        quota_bytes=settings.quota_bytes,
        retention_days=settings.retention_days,
    )


def read_machine_options(settings: Settings) -> PipelineOptions:
    """Return the part of the options that this machine decides."""
    return PipelineOptions(
        speech_engine=settings.whisper_engine,
        model=settings.whisper_model,
        model_dir=settings.whisper_model_dir,
        ffmpeg=settings.ffmpeg_binary,
        auto_editor=settings.auto_editor_binary,
        max_duration_ms=settings.max_duration_s * 1000,
    )


def make_ports(settings: Settings, options: PipelineOptions) -> Ports:
    """Return the outside that the settings name. Opens the database; makes the data folder. Raises `SettingsError`."""
    return Ports(
        database=_make_database(settings),
        files=_make_files(settings),
        queue=RqQueue(settings.redis_url),
        prober=PipelineProber(options),
        now=lambda: datetime.now(UTC),
    )


def make_passwords(settings: Settings) -> Passwords | None:
    """Return the service that keeps passwords; None when the table of the database does."""
    if settings.auth_backend != "supabase" or settings.supabase is None:
        return None
    from adapters.supabase_auth import SupabaseAuth  # here, for the same reason

    return SupabaseAuth(settings.supabase.url, secret_key=settings.supabase.secret_key)


def _make_database(settings: Settings) -> Database:
    supabase = settings.supabase
    if supabase is None:
        return SqliteDatabase(settings.data_dir / "factory.sqlite3")
    from adapters.supabase import SupabaseDatabase  # here, because its libraries are large

    try:
        return SupabaseDatabase(
            supabase.url,
            secret_key=supabase.secret_key,
            publishable_key=supabase.publishable_key,
            signing_key=supabase.signing_key,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _make_files(settings: Settings) -> FileStore:
    wasabi = settings.wasabi
    if wasabi is None:
        return LocalFiles(settings.data_dir / "files")
    from adapters.s3_files import S3Files  # here, because its libraries are large and the embedded mode needs none

    return S3Files(
        bucket=wasabi.bucket,
        region=wasabi.region,
        endpoint=wasabi.endpoint,
        public_endpoint=wasabi.public_endpoint,
        access_key_id=wasabi.access_key_id,
        secret_access_key=wasabi.secret_access_key,
        origin=settings.base_url,
    )
