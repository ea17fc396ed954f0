"""What every test may ask for."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config import load_settings
from jobs.log import JsonFormatter, TextFormatter
from pipeline.errors import ToolMissing
from pipeline.weights import WeightsUnavailable, find_weights
from tests.servers.needed import started

if TYPE_CHECKING:
    from tests.servers.supabase import LocalSupabase
    from tests.servers.weed import LocalS3


def _no_hub(model: str, _folder: Path) -> None:
    raise WeightsUnavailable(f"tests fetch nothing, {model} neither")


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is called here sets up the logging of its process: the next test has that of the test runner."""
    level = logging.root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    for handler in logging.root.handlers[:]:
        if isinstance(handler.formatter, TextFormatter | JsonFormatter):
            logging.root.removeHandler(handler)
            logging.root.setLevel(level)
            logging.captureWarnings(False)


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a figure that was measured; all of them stand at the end of the run, whichever process ran the test."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    told = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    figures = [str(text) for report in told for name, text in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder with the base weights; skips where `make weights` has not run."""
    try:
        return find_weights("base", load_settings().whisper_model_dir, hub=_no_hub)
    except ToolMissing as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def local_supabase() -> Iterator[LocalSupabase]:
    """A real PostgREST over a real PostgreSQL, as a Supabase project has them; one for each test process."""
    from tests.servers.supabase import LocalSupabase

    with started(LocalSupabase) as project:
        yield project


@pytest.fixture(scope="session")
def local_s3() -> Iterator[LocalS3]:
    """A real S3 store; one for each test process."""
    from tests.servers.weed import LocalS3

    with started(LocalS3) as store:
        yield store
