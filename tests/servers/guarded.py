"""Servers as child processes that can't outlive the tests, however those end."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

GUARD = """
import os, select, shutil, signal, subprocess, sys
stop, folder, user, group, *command = sys.argv[1:]
rights = {"user": int(user), "group": int(group), "extra_groups": []} if user else {}
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True, **rights)
print(server.pid, flush=True)
asked = b""
while server.poll() is None and not asked:
    if select.select([0], [], [], 0.2)[0]:
        asked = os.read(0, 1) or b"!"
if server.poll() is None:
    server.send_signal(int(stop))
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
if asked == b"!" or not (asked or os.read(0, 1)):
    shutil.rmtree(folder, ignore_errors=True)
"""
"""Runs a server until it is asked to end it, or until whoever asked for it is gone: then its folder goes too."""

MAX_SOCKET_FOLDER = 80
PORTS = range(10_000, 22_000)
"""Below those that systems give to connections going out, and so far below that ports 10,000 higher are too."""


class ServerMissing(Exception):
    """A server can't be had on this machine; the message says why."""


def find_free_port() -> int:
    """Return a port of the loopback address that nobody has, nor the one 10,000 above it."""
    for port in random.sample(PORTS, 200):
        try:
            for wanted in (port, port + 10_000):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", wanted))
        except OSError:
            continue
        return port
    raise ServerMissing("no free port was found on this machine")


def make_folder(purpose: str) -> Path:
    """Return a new folder that everybody on this machine may enter, short enough for the name of a socket in it."""
    place = tempfile.gettempdir() if len(tempfile.gettempdir()) < MAX_SOCKET_FOLDER else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix=f"mvf-{purpose}-", dir=place))
    folder.chmod(0o755)
    return folder


def lesser_user() -> pwd.struct_passwd | None:
    """Return the user that servers run as where the tests run as root; None where those are somebody else's already."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def give_to_lesser(*paths: Path) -> None:
    """Make files and folders the lesser user's, if there is one."""
    user = lesser_user()
    if user:
        for path in paths:
            os.chown(path, user.pw_uid, user.pw_gid)


def lower_rights() -> dict[str, Any]:
    """Return what makes `subprocess` start a program as the lesser user."""
    user = lesser_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


class GuardedServer:
    """One server, with a guard that ends it together with this process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
        as_lesser: bool = False,
    ) -> None:
        user = lesser_user() if as_lesser else None
        rights = (str(user.pw_uid), str(user.pw_gid)) if user else ("", "")
        self.log = folder / "log.txt"
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", GUARD, str(int(stop)), str(folder), *rights, *command],
                cwd=folder,
                env={"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", **(environ or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends them in order
            )
        assert self._guard.stdout
        with self._guard.stdout:
            self.pid = int(self._guard.stdout.readline() or 0)
        if not self.pid:
            self.stop()
            raise ServerMissing(f"{command[0]} does not start: {self.read_log()[-500:]}")

    @property
    def is_running(self) -> bool:
        """Tell whether it has not ended; the guard may wait on, to tidy up after us."""
        return self._guard.poll() is None and psutil.pid_exists(self.pid)

    def stop(self) -> None:
        """Ask it to end and wait until it has; doing it again changes nothing."""
        assert self._guard.stdin
        if not self._guard.stdin.closed:
            try:
                self._guard.stdin.write(b"stop")
                self._guard.stdin.close()
            except BrokenPipeError:
                pass
        self._guard.wait()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def wait_until(self, is_ready: Callable[[], bool], *, within_s: float = 300) -> None:
        """Return as soon as it is ready. Raises `ServerMissing` with the end of its log when it ends or stays away."""
        until = time.monotonic() + within_s
        while not is_ready():
            if not self.is_running or time.monotonic() > until:
                self.stop()
                raise ServerMissing(f"the server did not start: {self.read_log()[-1000:]}")
            time.sleep(0.02)

    def read_log(self) -> str:
        """Return all it has said."""
        return self.log.read_text("utf-8", "replace")


def remove_folder(folder: Path) -> None:
    """Remove a server's folder, with whatever it left there."""
    shutil.rmtree(folder, ignore_errors=True)
