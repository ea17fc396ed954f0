"""The commands of the compose file's own services, run with the real programs: queue, file store, HTTPS proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from config import PROJECT_ROOT
from tests.containers import images
from tests.containers.compose import Service, read_services
from tests.e2e.running import find_free_port, wait_for
from tests.e2e.web_server import WebServer
from tests.servers.guarded import ServerMissing
from tests.servers.guarded import find_free_port as find_free_ports
from tests.servers.needed import do_without

PASSWORD = "5e5a3e0123456789"


@contextmanager
def running(
    command: Sequence[str], *, programs: Path, environ: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run what a container would run, and end it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=programs,
            env={"PATH": f"{programs}:{os.defpath}", "HOME": str(programs), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- redis ---


def queue_command(service: Service) -> Sequence[str]:
    assert service.command is not None
    return list(service.command)


@pytest.fixture
def queue_programs(tmp_path: Path) -> tuple[Path, int]:
    """The programs of the image, on a port of their own."""
    programs, port = tmp_path / "bin", find_free_port()
    images.make_queue(programs, port, tmp_path)
    return programs, port


def test_the_queue_asks_for_its_password_and_tells_it_nobody(queue_programs: tuple[Path, int], tmp_path: Path) -> None:
    programs, port = queue_programs
    service = read_services({"REDIS_PASSWORD": PASSWORD})["redis"]
    log = tmp_path / "log.txt"
    with running(queue_command(service), programs=programs, environ=service.environment, log=log) as process:
        url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"  # as the product is given it, at another host
        assert service.name in read_services({"REDIS_PASSWORD": PASSWORD})["web"].environment["REDIS_URL"]

        def ping() -> bool:
            try:
                with redis.Redis.from_url(url) as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        assert wait_for(ping, 20), log.read_text()
        with redis.Redis.from_url(url) as client:
            kept = {name: client.config_get(name)[name] for name in ("appendonly", "maxmemory-policy", "save")}
        assert kept == {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert PASSWORD not in " ".join(psutil.Process(process.pid).cmdline())
        process.terminate()
        assert process.wait(20) == 0  # the signal reaches the server itself


def test_the_queue_does_not_start_without_a_password(queue_programs: tuple[Path, int], tmp_path: Path) -> None:
    service = read_services({})["redis"]
    log = tmp_path / "log.txt"
    with running(queue_command(service), programs=queue_programs[0], environ=service.environment, log=log) as process:
        assert process.wait(20) != 0
    assert "set REDIS_PASSWORD in .env" in log.read_text()


# --- s3 ---

KEYS = {"WASABI_ACCESS_KEY_ID": "AK0123456789", "WASABI_SECRET_ACCESS_KEY": "abcdefghijklmnop0123456789"}


@pytest.fixture
def store(tmp_path: Path) -> tuple[Service, Sequence[str], int]:
    """The service, its command on a port of its own, and the port."""
    service, port = read_services(KEYS)["s3"], find_free_ports()
    try:
        return service, images.make_store(service, tmp_path / "bin", port, tmp_path), port
    except ServerMissing as missing:
        do_without(missing)


def test_the_file_store_opens_to_its_keys_alone(store: tuple[Service, Sequence[str], int], tmp_path: Path) -> None:
    service, command, port = store
    log = tmp_path / "log.txt"
    health = service.health[-1].replace("8333", str(port))

    def is_healthy() -> bool:
        try:
            return httpx.get(health, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with running(command, programs=tmp_path / "bin", environ=service.environment, log=log):
        assert wait_for(is_healthy, 60), log.read_text()[-2000:]
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 403
        bucket = read_services(
            {
                **KEYS,
                "WASABI_BUCKET": "videos",
                "WASABI_REGION": "us-east-1",
                "WASABI_ENDPOINT": f"http://127.0.0.1:{port}",
            }
        )["bucket"]
        assert bucket.command is not None
        done = subprocess.run(
            [sys.executable, *bucket.command[1:]],
            cwd=PROJECT_ROOT,
            env={"PATH": os.defpath, **bucket.environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Browsers may upload to it." in done.stdout and "Nobody can read it" in done.stdout


def test_the_file_store_does_not_start_open_to_everybody(
    store: tuple[Service, Sequence[str], int], tmp_path: Path
) -> None:
    _, command, _ = store
    log = tmp_path / "log.txt"
    environ = read_services({})["s3"].environment
    with running(command, programs=tmp_path / "bin", environ=environ, log=log) as process:
        assert process.wait(20) != 0
    assert "run deploy/local-env.sh first" in log.read_text()


# --- proxy ---


@pytest.fixture(scope="module")
def caddy() -> str:
    try:
        return images.find_caddy()
    except ServerMissing as missing:
        do_without(missing)


@pytest.mark.parametrize("name", ["Caddyfile", "supabase.Caddyfile"])
def test_caddy_takes_the_file(caddy: str, name: str) -> None:
    command = [caddy, "validate", "--adapter", "caddyfile", "--config", str(PROJECT_ROOT / "deploy" / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


@pytest.fixture(scope="module")
def https(caddy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the proxy, with the web server behind it."""
    folder = tmp_path_factory.mktemp("proxy")
    server = WebServer(folder)
    port = find_free_port()
    environ = {
        "DOMAIN": "localhost",
        "WEB": f"127.0.0.1:{server.port}",
        "HTTPS_PORT": str(port),
        "HTTP_PORT": str(find_free_port()),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    command = [caddy, "run", "--adapter", "caddyfile", "--config", str(PROJECT_ROOT / "deploy" / "Caddyfile")]
    log = folder / "caddy.log"
    try:
        with running(command, programs=folder, environ=environ, log=log):

            def answers() -> bool:
                try:
                    with open_client(port) as client:
                        return client.get("/api/health").status_code == 200
                except httpx.TransportError:
                    return False

            assert wait_for(answers, 30), log.read_text()
            yield port
    finally:
        server.kill()


def open_client(port: int) -> httpx.Client:
    """Return a client of the proxy, whose certificate is its own."""
    return httpx.Client(base_url=f"https://localhost:{port}", verify=False, trust_env=False, timeout=30)


def test_pages_and_their_socket_pass(https: int) -> None:
    socket = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": f"https://localhost:{https}",
    }
    with open_client(https) as client:
        page = client.get("/")
        assert page.status_code == 200 and "<title>" in page.text
        assert page.headers["Strict-Transport-Security"]  # it knows how people reach it
        with client.stream("GET", "/_stcore/stream", headers=socket) as answer:
            assert answer.status_code == 101


def test_a_part_of_an_upload_passes(https: int) -> None:
    with open_client(https) as client:
        answer = client.put("/api/uploads/none?offset=0", content=bytes(8 << 20), headers={"X-App": "1"})
    assert answer.status_code == 401 and "error" in answer.json()  # by the product itself, not by the proxy
