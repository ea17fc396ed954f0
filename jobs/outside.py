"""What the settings name, as the values and ports that both composition roots, web and worker, are built on."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.local_files import LocalFiles
from adapters.prober import PipelineProber
from adapters.rq_queue import RqQueue
from adapters.sqlite import SqliteDatabase
from config import Settings
from jobs.models import Limits
from jobs.ports import Ports
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
    """Return the outside that the settings name. Opens the database; makes the data folder."""
    return Ports(
        database=SqliteDatabase(settings.data_dir / "factory.sqlite3"),
        files=LocalFiles(settings.data_dir / "files"),
        queue=RqQueue(settings.redis_url),
        prober=PipelineProber(options),
        now=lambda: datetime.now(UTC),
    )
