"""The only place that starts a program: one runner, one way to stop it, one way to explain its failure."""

from __future__ import annotations

import logging
import os
import re
import selectors
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.errors import DiskFull, PipelineCancelled, PipelineError, ToolFailed, ToolMissing, ToolTimeout

logger = logging.getLogger(__name__)

STDERR_LINES = 40
STALL_S = 300.0
"""A running ffmpeg reports twice a second; silence this long means it hangs."""
_WORKING_SHARE = 0.05
"""A program that used this much of a processor meanwhile does not hang."""
_POLL_S = 0.2
_GRACE_S = 1.0
_NOT_STARTED = 127
_KEPT_FROM_PROGRAMS = (
    "SUPABASE_",
    "AUTH_BACKEND",
    "WASABI_",
    "AWS_",
    "REDIS_",
    "POSTGRES_",
    "COOKIE_KEY",
    "METRICS_TOKEN",
)
"""Beginnings of the names of settings that hold keys, or are nothing without them."""
_LEASH = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    os._exit({_NOT_STARTED})  # too late: the starter is gone already
for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and who is started would too
    signal.signal(getattr(signal, name), signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    os.write(2, f"does not start: {{error}}".encode())
    os._exit({_NOT_STARTED})
"""
"""Turns into the program it is given, which the kernel then kills together with the thread that started it."""


def find_ffmpeg(explicit: Path | None = None) -> Path:
    """Return the ffmpeg to use: the explicit one, else the static build of the package ``imageio-ffmpeg``.

    Raises `ToolMissing`.
    """
    if explicit is not None:
        if explicit.is_file() and os.access(explicit, os.X_OK):
            return explicit
        raise ToolMissing(f"FFMPEG_BINARY names {explicit}, which is no program. Correct it, or leave it unset.")
    import imageio_ffmpeg  # deferred: it looks for the binary on import

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ToolMissing(
            "ffmpeg is not installed. Install it and set FFMPEG_BINARY to its path.", str(error)
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Bytes for one input of a command, written to a pipe while it runs.

    The command names the pipe by ``placeholder``, which the runner replaces by the pipe's address.
    """

    placeholder: str
    blocks: Callable[[], Iterable[bytes | memoryview]]


def _start(
    command: Sequence[str], *, stdin: int = subprocess.DEVNULL, **settings: Any
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start a program, without input unless one is given, which on Linux does not outlive us even when we are killed.

    It opens strangers' files, so the keys of our environment stay here. On Linux it is started by way of another
    program, because what the child runs of ours before its own would run among our locks. Raises `OSError` when there
    is no such program.
    """
    if sys.platform == "linux":
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f"{command[0]} is no program")
        command = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_FROM_PROGRAMS)}
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, env=environ, **settings)


def _was_started(returncode: int, output: str) -> bool:
    return returncode != _NOT_STARTED or not output.startswith("does not start: ")


def parse_progress_us(line: str) -> int | None:
    """Return the microseconds of output of one ``-progress`` line, or None when it says something else.

    ffmpeg writes ``out_time_us=N/A`` before the first frame and may write negative times.
    """
    key, _, value = line.strip().partition("=")
    if key != "out_time_us":
        return None
    try:
        return max(0, int(value))
    except ValueError:
        return None


def explain_failure(stderr_tail: str, *, where: str) -> PipelineError:
    """Return the error a person should see for the end of ffmpeg's output; ``where`` names the target folder."""
    text = stderr_tail.lower()
    if "no space left on device" in text or "disk quota exceeded" in text:
        return DiskFull(where)
    if "unknown encoder" in text or "no such filter" in text:
        return ToolMissing(
            "This ffmpeg lacks a part we need (libx264, aac, ass or zscale). Leave FFMPEG_BINARY unset to use ours.",
            stderr_tail,
        )
    if "invalid data found" in text or "error while decoding" in text:
        return ToolFailed(
            "The video could not be read to its end. Export it again as MP4, then try that file.", stderr_tail
        )
    return ToolFailed("ffmpeg could not finish. Try again; if it fails once more, report it with the log.", stderr_tail)


def run_ffmpeg(
    args: Sequence[str],
    *,
    ffmpeg: Path,
    cwd: Path,
    duration_ms: int = 0,
    on_progress: Callable[[float], None] = lambda _: None,
    should_cancel: Callable[[], bool] = lambda: False,
    feeds: Sequence[Feed] = (),
    stall_s: float = STALL_S,
    stderr_lines: int = STDERR_LINES,
) -> str:
    """Run one ffmpeg command to its end and return the last ``stderr_lines`` lines of its messages.

    ``on_progress`` gets the share 0–1 of ``duration_ms`` written so far. The child shares our process group, so that a
    kill of the group reaches it, and is dead on every way out of here. Raises `PipelineCancelled` when
    ``should_cancel`` says so (success is never inferred from the exit code alone: after ``q`` ffmpeg exits 0),
    `ToolTimeout` when nothing moved for ``stall_s`` seconds, else what `explain_failure` makes of its messages.
    """
    command = [str(ffmpeg), "-hide_banner", "-nostdin", "-nostats", "-progress", "pipe:1", *args]
    readers: list[int] = []
    writers: list[tuple[int, Feed]] = []
    for feed in feeds:
        reader, writer = os.pipe()
        readers.append(reader)
        writers.append((writer, feed))
        command = [f"pipe:{reader}" if part == feed.placeholder else part for part in command]
    logger.debug("running %s", shlex.join(command))
    try:
        child = _start(command, cwd=cwd, stderr=subprocess.PIPE, pass_fds=readers)
    except OSError as error:
        for fd in [*readers, *(writer for writer, _ in writers)]:
            os.close(fd)
        raise _no_ffmpeg(ffmpeg, str(error)) from error
    for fd in readers:
        os.close(fd)
    tail: deque[str] = deque(maxlen=stderr_lines)
    feeders = [_Feeder(fd, feed) for fd, feed in writers]
    drain = threading.Thread(target=_drain, args=(child.stderr, tail), name="ffmpeg-stderr", daemon=True)
    finished = False
    try:
        drain.start()
        for feeder in feeders:
            feeder.start()
        _follow(child, duration_ms, on_progress, should_cancel, stall_s)
        returncode = child.wait()
        finished = True
    finally:
        if not finished:
            _stop(child)
        for feeder in feeders:
            feeder.close()
        drain.join(_GRACE_S)  # a grandchild may hold the pipe open; its words are not waited for
        for stream in (child.stdout, None if drain.is_alive() else child.stderr):
            if stream is not None:
                stream.close()
    stderr_tail = "\n".join(tail)
    for feeder in feeders:
        if feeder.error is not None:
            raise feeder.error
    if not _was_started(returncode, stderr_tail):
        raise _no_ffmpeg(ffmpeg, stderr_tail)
    if returncode != 0:
        logger.error("ffmpeg exited %s: %s\n%s", returncode, shlex.join(command), stderr_tail)
        raise explain_failure(stderr_tail, where=str(cwd))
    return stderr_tail


def _no_ffmpeg(ffmpeg: Path, detail: str) -> ToolMissing:
    return ToolMissing(f"ffmpeg at {ffmpeg} does not start. Check FFMPEG_BINARY, or leave it unset.", detail)


def _no_tool(name: str, detail: str) -> ToolMissing:
    return ToolMissing(f"{name} does not start. Check that it is installed.", detail)


def run_tool(
    command: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path,
    follow: Callable[[str], None] = lambda _: None,
    should_cancel: Callable[[], bool] = lambda: False,
    given: str = "",
) -> str:
    """Run a helper program to its end and return the last lines it printed, stdout and stderr as they came.

    Its input is what is ``given``, a few lines at most, and it is dead on every way out of here. What it overwrites on
    its terminal (records that end in a carriage return) is no line: ``follow`` gets the newest now and then. Raises
    `ToolMissing` when it does not start, `ToolTimeout` when it runs longer than ``timeout_s`` seconds,
    `PipelineCancelled`, `DiskFull`, else `ToolFailed` with its command and last lines as detail.
    """
    logger.debug("running %s", shlex.join(command))
    name = Path(command[0]).name
    try:
        child = _start(
            command, stdin=subprocess.PIPE if given else subprocess.DEVNULL, cwd=cwd, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise _no_tool(name, str(error)) from error
    if child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(given.encode())
    tail: deque[str] = deque(maxlen=STDERR_LINES)
    records: deque[str] = deque(maxlen=1)
    drain = threading.Thread(
        target=_drain_records, args=(child.stdout, tail, records), name=f"{name}-output", daemon=True
    )
    deadline = time.monotonic() + timeout_s
    try:
        drain.start()
        while (returncode := _wait(child, min(_POLL_S, timeout_s))) is None:
            if should_cancel():
                raise PipelineCancelled
            while records:
                follow(records.pop())
            if time.monotonic() >= deadline:
                raise ToolTimeout(name, timeout_s, shlex.join(command))
    finally:
        _stop(child)
        drain.join(_GRACE_S)  # a grandchild may hold the pipe open; its words are not waited for
        if child.stdout is not None and not drain.is_alive():
            child.stdout.close()
    output = "\n".join(tail)
    if not _was_started(returncode, output):
        raise _no_tool(name, output)
    if returncode != 0:
        logger.debug("%s exited %s: %s\n%s", name, returncode, shlex.join(command), output)
        if "no space left on device" in output.lower():
            raise DiskFull(str(cwd))
        raise ToolFailed(f"{name} ended with an error. Try again.", f"{shlex.join(command)}\n{output}")
    return output


def _follow(
    child: subprocess.Popen[bytes],
    duration_ms: int,
    on_progress: Callable[[float], None],
    should_cancel: Callable[[], bool],
    stall_s: float,
) -> None:
    """Read progress until the child ends; poll for cancelling and stalling in between."""
    assert child.stdout is not None
    fd = child.stdout.fileno()
    os.set_blocking(fd, False)
    pending, closed, worked = b"", False, 0.0
    furthest, moved_at = -1, time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if should_cancel():
                raise PipelineCancelled
            if closed:
                if child.poll() is not None:
                    return
                time.sleep(_POLL_S)
            elif selector.select(_POLL_S):
                block = os.read(fd, 65536)
                closed = not block
                *lines, pending = (pending + block).split(b"\n")
                for line in lines:
                    done_us = parse_progress_us(line.decode("utf-8", "replace"))
                    if done_us is not None and done_us > furthest:
                        furthest, moved_at = done_us, time.monotonic()
                        if duration_ms > 0:
                            on_progress(min(1.0, done_us / 1000 / duration_ms))
            if time.monotonic() - moved_at > stall_s:
                worked, before = _cpu_seconds(child.pid), worked
                if worked - before < stall_s * _WORKING_SHARE:
                    raise ToolTimeout("ffmpeg", stall_s)
                moved_at = time.monotonic()  # it decodes what is cut away: nothing comes out for a long while


def _cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child, gently first."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _drain(stream: IO[bytes], tail: deque[str]) -> None:
    for line in stream:
        tail.append(line.decode("utf-8", "replace").rstrip())


def _drain_records(stream: IO[bytes], tail: deque[str], records: deque[str]) -> None:
    """Put what ends in a carriage return into ``records`` at once, all else into ``tail``."""
    pending = b""
    while block := os.read(stream.fileno(), 65536):
        *parts, pending = re.split(rb"(?<=\n)|(?<=\r)(?!\n)", pending + block)
        for part in parts:
            (records if part.endswith(b"\r") else tail).append(part.decode("utf-8", "replace").rstrip())
    if pending:
        tail.append(pending.decode("utf-8", "replace").rstrip())


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit status, or None when the child still runs after ``seconds``."""
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


class _Feeder(threading.Thread):
    """Writes a feed's blocks into its pipe; keeps what went wrong for the caller's thread."""

    def __init__(self, fd: int, feed: Feed) -> None:
        super().__init__(name="ffmpeg-feed", daemon=True)
        self.error: BaseException | None = None
        self._fd = fd
        self._feed = feed

    def run(self) -> None:
        try:
            with open(self._fd, "wb", buffering=0) as pipe:
                for block in self._feed.blocks():
                    view = memoryview(block)
                    while view:
                        view = view[pipe.write(view) :]
        except BrokenPipeError:
            pass  # ffmpeg has all it needs, or is gone: its own exit code tells
        except BaseException as error:  # noqa: BLE001 - nothing is swallowed: the caller's thread raises it
            self.error = error

    def close(self) -> None:
        """Wait for the thread; the child is dead by now, so a blocked write has ended in `BrokenPipeError`."""
        if self.ident is None:
            os.close(self._fd)
        else:
            self.join()
