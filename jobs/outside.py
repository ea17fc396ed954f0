"""What the settings name, as the values and ports that both composition roots, web and worker, are built on."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from adapters.local_files import LocalFiles
from adapters.prober import PipelineProber
from adapters.queue_owner import QueueOwner
from adapters.rq_parts import RqParts
from adapters.rq_queue import RqQueue, check_queue_address
from adapters.sqlite import SqliteDatabase
from config import Settings, SettingsError
from jobs.installation import Installation, QueueClaim, identify_database
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
        video_encoder=settings.video_encoder,
        max_duration_ms=settings.max_duration_s * 1000,
    )


def make_ports(settings: Settings, options: PipelineOptions) -> Ports:
    """Return the outside that the settings name. Opens the database; makes the data folder. Raises `SettingsError`."""
    queue_address = _read_queue_address(settings)
    return Ports(
        database=_make_database(settings),
        files=_make_files(settings),
        queue=RqQueue(queue_address),
        parts=RqParts(queue_address),
        prober=PipelineProber(options),
        now=lambda: datetime.now(UTC),
    )


def describe_database(settings: Settings) -> str:
    """Return which database the settings name, for a sentence; without anything secret."""
    if settings.supabase is not None:
        return f"the database of SUPABASE_URL ({settings.supabase.url})"
    return f"the database of the data folder ({settings.data_dir}; DATA_DIR names it)"


def make_queue_owner(settings: Settings) -> QueueOwner | None:
    """Return where it stands whose queue it is; None for a queue that belongs to the data folder.

    Raises `SettingsError`.
    """
    return None if settings.redis_is_embedded else QueueOwner(_read_queue_address(settings))


def make_queue_claim(settings: Settings, ports: Ports) -> QueueClaim | None:
    """Return what a web server says with whose queue it is; None for a queue that belongs to the data folder.

    Raises `SettingsError`.
    """
    owner = make_queue_owner(settings)
    return None if owner is None else QueueClaim(owner, lambda: identify(settings, ports.database))


def identify(settings: Settings, database: Database) -> Installation:
    """Return which product this is, on whichever of its machines. Raises `StoreUnavailable`, `SettingsError`."""
    if settings.wasabi is not None:
        files = hashlib.sha256(settings.wasabi.bucket.encode()).hexdigest()[:32]
    else:
        try:
            files = _keep_id(settings.data_dir / "installation")
        except OSError as error:
            raise SettingsError(f"The data folder {settings.data_dir} can't be written: {error.strerror}.") from error
    return Installation(database=identify_database(database), files=files)


def _keep_id(path: Path) -> str:
    """Return the id that a file holds, made once by whoever comes first."""
    part = path.with_name(f".{path.name}-{uuid4().hex}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        part.write_text(uuid4().hex, "utf-8")
    try:
        with suppress(FileExistsError):
            path.hardlink_to(part)
    finally:
        part.unlink()
    return path.read_text("utf-8").strip()


def make_passwords(settings: Settings) -> Passwords | None:
    """Return the service that keeps passwords; None when the table of the database does."""
    if settings.auth_backend != "supabase" or settings.supabase is None:
        return None
    from adapters.supabase_auth import SupabaseAuth  # here, for the same reason

    return SupabaseAuth(settings.supabase.url, secret_key=settings.supabase.secret_key)


def _read_queue_address(settings: Settings) -> str:
    """Return the queue's address if any queue can have it. Raises `SettingsError`, which tells nothing of it."""
    try:
        check_queue_address(settings.redis_url)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return settings.redis_url


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
