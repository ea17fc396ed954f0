"""The production shape on one machine: what `docker compose --profile local up` starts, without Docker.

Every process has the command, the environment and the health command that the compose file and the Dockerfile give it,
and waits for what it waits for there. Only addresses, folders and, in place of images, this machine's programs differ.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Self

import psycopg

from config import PROJECT_ROOT, load_settings
from tests.containers import images
from tests.containers.compose import Service, read_env, read_services
from tests.containers.dockerfile import read_command, read_settings
from tests.e2e.running import Product
from tests.product.machine import LONG_S, wait_for
from tests.servers.guarded import GuardedServer, ServerMissing, find_free_port, make_folder, remove_folder
from tests.servers.postgres import Postgres, find_binaries
from tests.servers.postgrest import read_binary

ENTER = 'cd "$0" && exec "$@"'


class Production:
    """All of it, running.

    Raises `ServerMissing` where a part can't be had here, `AssertionError` where one does not work.
    """

    def __init__(self, *, workers: int, worker_environ: Mapping[str, str]) -> None:
        """``worker_environ`` is given to the workers beside what is theirs."""
        self._folder = make_folder("production")
        self._programs = self._folder / "bin"
        self._data_dir, self._temporary = self._folder / "data", self._folder / "tmp"
        with ExitStack() as undo:
            undo.callback(remove_folder, self._folder)
            self._undo = undo
            for folder in (self._data_dir, self._temporary):
                folder.mkdir()
            self._postgres = Postgres()
            undo.callback(self._postgres.close)
            names = ("redis", "s3", "supabase", "postgrest", "admin", "web")
            self._port = port = {name: find_free_port() for name in names}
            environ = {**make_settings(), "WORKERS": str(workers), "PORT": str(port["web"])}
            self._addresses = images.Addresses(
                {
                    "redis:6379": port["redis"],
                    "postgres:5432": self._postgres.port,
                    "postgrest:3000": port["postgrest"],
                    "postgrest:3001": port["admin"],
                    **{f"{host}:8000": port["supabase"] for host in ("supabase", "127.0.0.1")},
                    **{f"{host}:8333": port["s3"] for host in ("s3", "127.0.0.1", "localhost")},
                    f"localhost:{port['web']}": port["web"],
                },
                {"/data": self._data_dir, "/models": load_settings().whisper_model_dir},
            )
            self._own: dict[str, Mapping[str, str]] = {
                "web": {"HOST": "127.0.0.1", "PORT": str(port["web"])},
                "worker": worker_environ,
                "postgres": {"PGPORT": str(self._postgres.port)},
                "postgrest": {
                    "PGRST_SERVER_HOST": "127.0.0.1",
                    "PGRST_SERVER_PORT": str(port["postgrest"]),
                    "PGRST_ADMIN_SERVER_PORT": str(port["admin"]),
                },
            }
            profiles = {environ["COMPOSE_PROFILES"]}
            found = read_services(environ)
            self.services = {name: one for name, one in found.items() if not one.profiles or one.profiles & profiles}
            self._make_programs()
            self._start_all()
            self._undo = undo.pop_all()

    @property
    def product(self) -> Product:
        """What a person meets of it."""
        return Product(
            port=self._port["web"],
            data_dir=self._data_dir,
            temporary=self._temporary,
            log=self._folder / "log.txt",
            environ=self._environ(self.services["web"]),
        )

    def _start_all(self) -> None:
        """Start the services in the order of the file, each when what it needs is there."""
        order = TopologicalSorter(
            {name: [other for other in one.needs if other in self.services] for name, one in self.services.items()}
        )
        order.prepare()
        while order.is_active():
            ready = [self.services[name] for name in order.get_ready()]
            for service in ready:
                if service.name == "postgres":
                    self._set_up_postgres(service)
                elif service.raw["restart"] != "no":
                    for _ in range(int(service.raw["deploy"].get("replicas", 1))):
                        self._start(service)
            for service in ready:
                if service.raw["restart"] == "no":
                    self._run_once(service)
                else:
                    self._wait_healthy(service)
                order.done(service.name)

    def _start(self, service: Service) -> None:
        server = GuardedServer(
            ["sh", "-c", ENTER, str(PROJECT_ROOT), *self._command(service)],
            folder=self._folder,
            environ=self._environ(service),
        )
        self._undo.callback(server.stop)

    def _wait_healthy(self, service: Service) -> None:
        command = self._health(service)
        wait_for(
            lambda: not command or self._run(service, command).returncode == 0,
            every_s=1.0,  # each look starts a program
            label=f"{service.name}, healthy",
            explain=lambda: self.product.read_log()[-4000:],
        )

    def _run_once(self, service: Service) -> None:
        done = self._run(service, self._command(service))
        assert done.returncode == 0, f"{service.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"

    def _run(self, service: Service, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=PROJECT_ROOT,
            env=self._environ(service),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG_S,
        )

    def _environ(self, service: Service) -> dict[str, str]:
        image = read_settings(service.raw["build"]["target"]) if "build" in service.raw else {}
        values = self._addresses.place_all({**image, **service.environment})
        place = {"PATH": f"{self._programs}:{os.defpath}", "HOME": str(self._folder), "TMPDIR": str(self._temporary)}
        return {**values, **place, **self._own.get(service.name, {})}

    def _command(self, service: Service) -> Sequence[str]:
        """Return what its container runs: the compose file's word, or its image's."""
        match service.name:
            case "s3":
                return images.make_store(service, self._programs, self._port["s3"], self._folder)
            case "supabase":
                return [images.find_caddy(), "run", "--config", str(self._write_caddyfile()), "--adapter", "caddyfile"]
            case "postgrest":
                return [str(self._programs / "postgrest")]
        return service.command or read_command(service.raw["build"]["target"])

    def _health(self, service: Service) -> Sequence[str]:
        """Return its health command as a shell takes it; empty when nobody asks."""
        if not service.health:
            return read_command(service.raw["build"]["target"], "HEALTHCHECK") if "build" in service.raw else []
        how, *words = service.health
        placed = [self._addresses.place(word) for word in words]
        return ["sh", "-c", *placed] if how == "CMD-SHELL" else placed

    def _make_programs(self) -> None:
        """Put there what the images hold."""
        images.make_python(self._programs)
        images.make_fetcher(self._programs)
        images.make_queue(self._programs, self._port["redis"], self._folder)
        images.make_program(self._programs, "pg_isready", f'exec {find_program("pg_isready")} "$@"')
        postgrest = self._programs / "postgrest"
        postgrest.write_bytes(read_binary())
        postgrest.chmod(0o755)

    def _set_up_postgres(self, service: Service) -> None:
        """Do what its image does at the first start: the superuser, then the mounted files."""
        password = service.environment["POSTGRES_PASSWORD"]
        with psycopg.connect(self._postgres.url(), autocommit=True) as connection:
            connection.execute(f"create role postgres superuser login password '{password}'".encode())
        url = self._postgres.url(user="postgres", password=password)
        mounted = [volume.split(":") for volume in service.raw["volumes"] if volume.startswith("./")]
        for source, *_ in sorted(mounted, key=lambda volume: volume[1]):
            command = [find_program("psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", source, url]
            done = self._run(service, command)
            assert done.returncode == 0, f"{source}: {done.stderr}"

    def _write_caddyfile(self) -> Path:
        """Return the mounted file, for loopback and a port of its own."""
        text = self._addresses.place((PROJECT_ROOT / "deploy" / "supabase.Caddyfile").read_text("utf-8"))
        here = text.replace("\n:8000 {", f"\n:{self._port['supabase']} {{").replace(
            "{\n", "{\n\tdefault_bind 127.0.0.1\n", 1
        )
        path = self._folder / "Caddyfile"
        path.write_text(here, "utf-8")
        return path

    def close(self) -> None:
        """Stop everything, the last one first, and remove its folder."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def make_settings() -> dict[str, str]:
    """Return what an operator puts into .env for the profile ``local``. Raises `ServerMissing`."""
    if shutil.which("openssl") is None:
        raise ServerMissing("there is no openssl here, which makes the secrets")
    done = subprocess.run(
        ["sh", "deploy/local-env.sh"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return read_env(done.stdout)


def find_program(name: str) -> str:
    """Return a program of PostgreSQL's. Raises `ServerMissing`."""
    found = find_binaries() / name
    if not found.exists():
        raise ServerMissing(f"there is no {name} here")
    return str(found)
