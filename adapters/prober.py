"""Looks at a stranger's file in a process of its own, which may use little and write nothing."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from jobs.errors import Refused, StorageError
from jobs.models import RemoteFile, VideoFacts
from pipeline.errors import PipelineError, ToolFailed
from pipeline.ffmpeg import run_tool
from pipeline.options import PipelineOptions

logger = logging.getLogger(__name__)

PYTHON = sys.executable
TIMEOUT_S, SLOWEST_PACE = 300.0, 5_000_000
"""A probe may take so long, and a second more for so many bytes."""
_PROJECT = Path(__file__).resolve().parents[1]
_REMOTE_NAME = "original"
_UNREADABLE = "This video can't be read: looking at it ended in an error. Export it as MP4 and use that."
_LATER = "The file can't be checked just now. Try again in a minute."


class PipelineProber:
    """Runs ``python -m pipeline FILE --probe`` and reads what it says.

    Of a file elsewhere, that process gets the address on its standard input, where nobody else sees it.
    """

    def __init__(self, options: PipelineOptions) -> None:
        """``options`` carry the longest duration and the largest picture."""
        self._options = options

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        """Return what the file is. Raises `Refused` with the sentence for the person, `StorageError` when it can't be
        told just now (the machine's fault, or the store's, not the file's)."""
        for is_last in (False, True):
            event = self._run(source)
            match event.get("event"):
                case "probe":
                    if isinstance(source, RemoteFile):
                        logger.info("%s bytes were read in %s requests", event["fetched_bytes"], event["requests"])
                        event = {**event, "sha256": source.sha256}
                    return _read_facts(event)
                case "error":
                    raise _explain(event)
                case "begin" if is_last:  # twice in a row it is hardly the machine that kills it
                    raise Refused("not_media", _UNREADABLE, "the probe was killed by the file, twice")
                case "begin":
                    logger.warning("looking at a file ended without a word; it is tried once more")
                case _:
                    raise StorageError("probe_failed", _LATER, "the probe does not start")
        raise AssertionError("the second try always ends")

    def _run(self, source: Path | RemoteFile) -> Mapping[str, object]:
        """Return the last event the probe told of; empty when there is none."""
        if isinstance(source, RemoteFile):
            how, size = [_REMOTE_NAME, "--remote"], source.size_bytes
            given = json.dumps({"url": source.url, "size_bytes": size}) + "\n"
        else:
            how, size, given = [str(source.absolute()), "--sha256"], _size_of(source), ""
        command = [
            *(PYTHON, "-m", "pipeline", *how, "--probe", "--json"),
            *("--max-duration", f"{self._options.max_duration_ms}ms", "--max-pixels", str(self._options.max_pixels)),
        ]
        try:
            output = run_tool(command, timeout_s=TIMEOUT_S + size / SLOWEST_PACE, cwd=_PROJECT, given=given)
        except ToolFailed as error:
            output = error.detail
        except PipelineError as error:
            raise StorageError("probe_failed", _LATER, f"{error.code}: {error.message} {error.detail}") from error
        event = read_last_event(output)
        if event.get("event") != "probe":
            logger.info("the probe said: %s", output)
        return event


def read_last_event(output: str) -> Mapping[str, object]:
    """Return the last JSON line that is an event, whatever else stands between and before; empty without one."""
    for line in reversed(output.splitlines()):
        start = line.find('{"event"')
        if start < 0:
            continue
        try:
            event = json.loads(line[start:])
        except ValueError:
            continue
        if isinstance(event, dict):
            return event
    return {}


def _read_facts(event: Mapping[str, object]) -> VideoFacts:
    match event:
        case {
            "duration_ms": int(duration_ms),
            "width": int(width),
            "height": int(height),
            "frame_rate": str(rate),
            "video_codec": str(codec),
            "audio": list(audio),
            "size_bytes": int(size),
            "sha256": str(sha256),
        }:
            return VideoFacts(
                duration_ms=duration_ms,
                width=width,
                height=height,
                fps=rate,
                video_codec=codec,
                audio_tracks=len(audio),
                size_bytes=size,
                sha256=sha256,
            )
    raise StorageError("probe_failed", _LATER, f"the probe said something else: {sorted(event)}")


def _explain(event: Mapping[str, object]) -> Refused | StorageError:
    code, message = str(event.get("code", "")), str(event.get("message", ""))
    if event.get("exit") == 3 or code == "tool_failed":  # opened, but not readable to its end
        return Refused(code, message)
    return StorageError("probe_failed", _LATER, f"{code}: {message}")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the probe says why
        return 0
