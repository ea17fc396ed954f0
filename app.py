"""The web server: the pages of `ui/router.py` and the routes of `api`, in one process (`streamlit run app.py`).

The composition root of the web: only here does it meet settings and adapters. Nothing is opened before the server
starts, so importing this module does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

import api
from adapters.local_files import LocalFiles
from adapters.prober import PipelineProber
from adapters.rq_queue import RqQueue
from adapters.sqlite import SqliteDatabase
from api.headers import SecurityHeaders
from config import Settings, load_settings
from jobs.errors import DomainError
from jobs.log import configure_logging
from jobs.models import Limits
from jobs.ports import Ports
from jobs.service import Services, SignUp, build_services
from pipeline.options import PipelineOptions
from ui import session
from ui.head import DocumentHead

logger = logging.getLogger(__name__)

RECOVERY_S = 15
SWEEP_EVERY = 40
"""Recoveries between two sweeps: every ten minutes."""


def compose(settings: Settings) -> Services:
    """Return the product over the outside that the settings name. Opens the database; makes the data folder."""
    limits = Limits(
        max_upload_bytes=settings.max_upload_bytes,
        max_duration_ms=settings.max_duration_s * 1000,
        quota_minutes=settings.quota_minutes,
        quota_bytes=settings.quota_bytes,
        retention_days=settings.retention_days,
    )
    machine = PipelineOptions(
        speech_engine=settings.whisper_engine,
        model=settings.whisper_model,
        model_dir=settings.whisper_model_dir,
        ffmpeg=settings.ffmpeg_binary,
        auto_editor=settings.auto_editor_binary,
        max_duration_ms=limits.max_duration_ms,
    )
    ports = Ports(
        database=SqliteDatabase(settings.data_dir / "factory.sqlite3"),
        files=LocalFiles(settings.data_dir / "files"),
        queue=RqQueue(settings.redis_url),
        prober=PipelineProber(machine),
        now=lambda: datetime.now(UTC),
    )
    return build_services(
        ports,
        limits=limits,
        machine_options=replace(machine),
        cookie_key=settings.cookie_key,
        sign_up=SignUp(settings.sign_up),
    )


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Open everything before the first request, look after lost jobs meanwhile, close at the end."""
    settings = load_settings()
    configure_logging(level=settings.log_level or "INFO", as_json=settings.log_format == "json")
    services = await asyncio.to_thread(compose, settings)
    session.install(services, base_url=settings.base_url)
    task = asyncio.create_task(_recover(services))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _recover(services: Services) -> None:
    turn = 0
    while True:
        steps: list[Callable[[], object]] = [services.uploads.complete_received, services.recovery.recover_jobs]
        if turn % SWEEP_EVERY == 0:
            steps.append(services.recovery.sweep)
        for step in steps:
            try:
                await asyncio.to_thread(step)
            except DomainError as error:
                logger.warning("%s has to be tried again: %s", step.__name__, error.detail or error.message)
            except Exception:  # the next turn tries again; without it nothing is ever recovered
                logger.exception("%s has to be tried again", step.__name__)
        turn += 1
        await asyncio.sleep(RECOVERY_S)


app = st.App(
    str(Path(__file__).parent / "ui" / "router.py"),
    lifespan=lifespan,
    routes=api.make_routes(session.services),
    middleware=[Middleware(SecurityHeaders), Middleware(DocumentHead)],
)
