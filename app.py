"""The web server: the pages of `ui/router.py` and the routes of `api`, in one process (`streamlit run app.py`).

The composition root of the web: only here does it meet settings and adapters. Nothing is opened before the server
starts, so importing this module does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NoReturn

import streamlit as st
from starlette.middleware import Middleware

import api
from api.headers import SecurityHeaders
from config import UNUSABLE, Settings, SettingsError, load_settings
from jobs.errors import DatabaseUnusable, DomainError
from jobs.health import explain_closed_store
from jobs.log import configure_logging
from jobs.outside import make_passwords, make_ports, make_queue_claim, read_limits, read_machine_options
from jobs.ports import Ports
from jobs.service import Services, SignUp, build_services
from ui import session
from ui.head import DocumentHead

logger = logging.getLogger(__name__)

RECOVERY_S = 15
SWEEP_EVERY = 40
"""Recoveries between two sweeps: every ten minutes."""


def compose(settings: Settings) -> tuple[Ports, Services]:
    """Return the outside that the settings name, and the product over it. Opens the database; makes the data folder."""
    options = read_machine_options(settings)
    ports = make_ports(settings, options)
    return ports, build_services(
        ports,
        limits=read_limits(settings),
        machine_options=options,
        cookie_key=settings.cookie_key,
        sign_up=SignUp(settings.sign_up),
        passwords=make_passwords(settings),
        metrics_token=settings.metrics_token,
    )


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Open everything before the first request, look after lost jobs meanwhile, close at the end.

    The process ends with a sentence when that can't be opened: by 78 when trying again changes nothing, else by 1.
    """
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level or "INFO", as_json=settings.log_format == "json")
        ports, services = await asyncio.to_thread(compose, settings)
        claim = make_queue_claim(settings, ports)
    except (SettingsError, DatabaseUnusable) as error:
        _end(str(error), UNUSABLE)
    except DomainError as error:
        logger.warning("%s: %s", error.code, error.detail)
        _end(explain_closed_store(error)[1], 1)
    session.install(services, base_url=settings.base_url)
    task = asyncio.create_task(_recover(services, [] if claim is None else [claim.claim_queue]))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if claim is not None:
            with suppress(DomainError):  # it is forgotten in a minute anyhow
                await asyncio.to_thread(claim.withdraw)


def _end(sentence: str, status: int) -> NoReturn:
    """End this process. Whatever a lifespan raises, the server would print as a traceback, and choose the status."""
    print(sentence, file=sys.stderr, flush=True)
    os._exit(status)


async def _recover(services: Services, first: Sequence[Callable[[], object]]) -> None:
    turn = 0
    while True:
        steps: list[Callable[[], object]] = [
            *first,
            services.uploads.complete_received,
            services.recovery.recover_jobs,
        ]
        if turn % SWEEP_EVERY == 0:
            steps.append(services.recovery.sweep_regularly)
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
