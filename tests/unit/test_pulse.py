"""The health commands of the containers: they pass for what lives and fail for what does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDatabase
from jobs import pulse
from jobs.models import WorkerInfo


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """Yield the port of a server that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # it must never be asked


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(200, b'{"alive": true}', 0), (503, b'{"alive": true}', 1), (200, b"<html>", 1), (200, b'{"alive": false}', 1)],
)
def test_the_web_server_lives_when_it_says_so(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, expected: int
) -> None:
    with answering(status, body) as port:
        monkeypatch.setenv("PORT", str(port))
        assert pulse.main(["web"]) == expected


def test_a_dead_web_server_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        assert pulse.main(["web"]) == 1
    assert capsys.readouterr().err == f"The web server does not answer on port {port}.\n"


def beat(folder: Path, *, host: str, ago_s: float) -> None:
    database = SqliteDatabase(folder / "factory.sqlite3")
    seen = datetime.now(UTC) - timedelta(seconds=ago_s)
    database.workers.beat(WorkerInfo(id="w", host=host, pid=1, started_at=seen, seen_at=seen, info={}))
    database.close()


@pytest.mark.parametrize(("ago_s", "elsewhere", "expected"), [(0, "", 0), (300, "", 1), (0, "-2", 1)])
def test_a_worker_lives_when_it_said_so_lately(tmp_path: Path, ago_s: float, elsewhere: str, expected: int) -> None:
    beat(tmp_path, host=socket.gethostname() + elsewhere, ago_s=ago_s)
    assert pulse.main(["worker"]) == expected


def test_nobody_blames_a_worker_for_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "factory.sqlite3").mkdir()
    assert pulse.main(["worker"]) == 0
    assert capsys.readouterr().out == "Nobody can tell while the database does not answer.\n"


def test_wrong_settings_are_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "many")
    assert pulse.main(["web"]) == 1
    assert "PORT is 'many'" in capsys.readouterr().err
