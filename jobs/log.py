"""Log lines: a sentence for a terminal, a JSON object for machines; with the job and the person they are about."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

_ABOUT: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed in place
_FIELDS = ("job_id", "user_id", "video_id", "upload_id")


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Add ``job_id``, ``user_id``, ``video_id`` or ``upload_id`` to every line logged inside."""
    token = _ABOUT.set({**_ABOUT.get(), **ids})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def configure_logging(*, level: str, as_json: bool) -> None:
    """Send every log line of this process to standard error, warnings and the error that ends it among them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    take_over_loggers()


def take_over_loggers() -> None:
    """Have loggers that write lines of their own, as servers bring them, write ours, and only what matters.

    What they tell of every connection would name addresses, and one-time tokens stand in those.
    """
    known = logging.root.manager.loggerDict
    loggers = {name: one for name, one in list(known.items()) if isinstance(one, logging.Logger)}
    taken = tuple(name for name, logger in loggers.items() if logger.handlers or not logger.propagate)
    for name, logger in loggers.items():
        if name in taken or name.startswith(tuple(f"{owner}." for owner in taken)):
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(max(logger.level, logging.WARNING))


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        logging.getLogger(__name__).critical("stopped by an error", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(thrown: threading.ExceptHookArgs) -> None:
    if thrown.exc_value is not None and not isinstance(thrown.exc_value, SystemExit):
        info = (thrown.exc_type, thrown.exc_value, thrown.exc_traceback)
        logging.getLogger(__name__).error("a thread was stopped by an error", exc_info=info)


def _ids_of(record: logging.LogRecord) -> dict[str, str]:
    given = {name: str(getattr(record, name)) for name in _FIELDS if hasattr(record, name)}
    return {**_ABOUT.get(), **given}


class TextFormatter(logging.Formatter):
    """``12:00:00 INFO jobs.tasks: sentence (job 7f3a…)``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name}={value}" for name, value in _ids_of(record).items())
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
