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

from adapters.s3_bucket import make_rule
from adapters.s3_client import ClientOfProcess
from config import PROJECT_ROOT, load_settings
from tests.containers import images
from tests.containers.compose import Service, read_services
from tests.e2e.web_server import WebServer
from tests.product.machine import wait_for
from tests.servers.guarded import ServerMissing, find_free_port
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

        wait_for(ping, label="the queue", explain=log.read_text)
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


def make_store(folder: Path, port: int) -> Sequence[str]:
    """Return the command of the service, on a port of its own."""
    try:
        return images.make_store(read_services(KEYS)["s3"], folder / "bin", port, folder)
    except ServerMissing as missing:
        do_without(missing)


@pytest.fixture(scope="module")
def store_port() -> int:
    return find_free_port()


@pytest.fixture(scope="module")
def store(store_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the file store, with an empty bucket ``videos``."""
    folder, port = tmp_path_factory.mktemp("store"), store_port
    service, command = read_services(KEYS)["s3"], make_store(folder, port)
    log = folder / "log.txt"
    health = service.health[-1].replace("8333", str(port))

    def is_healthy() -> bool:
        try:
            return httpx.get(health, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with running(command, programs=folder / "bin", environ=service.environment, log=log):
        wait_for(is_healthy, label="the file store", explain=lambda: log.read_text()[-2000:])
        yield f"http://127.0.0.1:{port}"


def test_the_file_store_opens_to_its_keys_alone(store: str) -> None:
    assert httpx.get(f"{store}/", trust_env=False).status_code == 403
    bucket = read_services({**KEYS, "WASABI_BUCKET": "videos", "WASABI_REGION": "us-east-1", "WASABI_ENDPOINT": store})[
        "bucket"
    ]
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


def test_the_file_store_does_not_start_open_to_everybody(tmp_path: Path) -> None:
    command = make_store(tmp_path, find_free_port())
    log = tmp_path / "log.txt"
    environ = read_services({})["s3"].environment
    with running(command, programs=tmp_path / "bin", environ=environ, log=log) as process:
        assert process.wait(20) != 0
    assert "run deploy/local-env.sh first" in log.read_text()


# --- proxy ---

FILES_DOMAIN = read_services({})["proxy"].environment["FILES_DOMAIN"]
"""A name below ``localhost``, so that its certificate is Caddy's own."""


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
def https(caddy: str, store_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the proxy, with the web server behind it, and the file store where that runs."""
    folder = tmp_path_factory.mktemp("proxy")
    server = WebServer(folder)
    port = find_free_port()
    environ = {
        "DOMAIN": "localhost",
        "WEB": f"127.0.0.1:{server.port}",
        "FILES_DOMAIN": FILES_DOMAIN,
        "FILES": f"127.0.0.1:{store_port}",
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

            wait_for(answers, label="the proxy", explain=log.read_text)
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


def test_browsers_reach_the_file_store_by_https(https: int, store: str) -> None:
    """With the profiles ``local`` and ``tls``: a link that is signed for the store's own name opens it."""
    place = f"{FILES_DOMAIN}:{https}"
    known = {"WASABI_BUCKET": "signed", "WASABI_REGION": "us-east-1", "PUBLIC_URL": f"https://localhost:{https}"}
    services = read_services({**KEYS, **known, "WASABI_ENDPOINT": store, "WASABI_PUBLIC_ENDPOINT": f"https://{place}"})
    settings = load_settings(services["web"].environment)
    assert settings.wasabi is not None
    at_store = {name: getattr(settings.wasabi, name) for name in ("region", "access_key_id", "secret_access_key")}
    inside = ClientOfProcess(endpoint=settings.wasabi.endpoint, **at_store)()
    inside.create_bucket(Bucket="signed")
    inside.put_bucket_cors(Bucket="signed", CORSConfiguration={"CORSRules": [make_rule(settings.base_url)]})
    outside = ClientOfProcess(endpoint=settings.wasabi.public_endpoint, **at_store)()
    named = {"Bucket": "signed", "Key": "user/talk.mp4"}

    def ask(method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"") -> httpx.Response:
        here = url.replace(place, f"127.0.0.1:{https}")  # nobody knows that name
        sni = {"sni_hostname": FILES_DOMAIN}
        return client.request(method, here, headers={"Host": place, **headers}, content=content, extensions=sni)

    with open_client(https) as client:
        link = outside.generate_presigned_url("put_object", Params=named)
        asking = {"Origin": settings.base_url, "Access-Control-Request-Method": "PUT"}
        allowed = ask("OPTIONS", link, headers=asking)
        assert allowed.is_success and allowed.headers["Access-Control-Allow-Origin"] in ("*", settings.base_url)
        assert ask("PUT", link, headers={}, content=bytes(9 << 20)).status_code == 200
        link = outside.generate_presigned_url("get_object", Params=named)
        part = ask("GET", link, headers={"Range": "bytes=0-9"})
        assert (part.status_code, part.content) == (206, bytes(10))
        assert ask("GET", link.partition("?")[0], headers={}).status_code == 403
