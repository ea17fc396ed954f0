"""A client that many threads share: no answer gets lost, and who finds no connection free is told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from adapters.connections import SharedClient
from tests.product.machine import wait_for

REQUESTS = 3000
_held = threading.Event()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/held":
            _held.wait(10)
        body = f"{self.client_address[1]}".encode()
        self.send_response(200)
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 100
    daemon_threads = True


@pytest.fixture
def address() -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_thirty_threads_lose_no_answer(address: str) -> None:
    """With the library's own pool a few in thousands fail: its connections are closed under a request."""
    with SharedClient(connections=20, timeout=httpx.Timeout(15)) as http, ThreadPoolExecutor(30) as pool:
        paths = ["/last" if number % 50 == 0 else "/" for number in range(REQUESTS)]
        answers = Counter(pool.map(lambda path: http.get(address + path).status_code, paths))
    assert answers == {200: REQUESTS}


def test_a_connection_is_used_again(address: str) -> None:
    with SharedClient(connections=20, timeout=httpx.Timeout(5)) as http:
        assert len({http.get(address).text for _ in range(10)}) == 1


def test_who_finds_none_free_is_told(address: str) -> None:
    _held.clear()
    with SharedClient(connections=1, timeout=httpx.Timeout(5, pool=0.2)) as http, ThreadPoolExecutor(1) as pool:
        first = pool.submit(http.get, address + "/held")
        wait_for(http._free.empty, label="the only connection to be taken")
        with pytest.raises(httpx.PoolTimeout):
            http.get(address)
        _held.set()
        assert first.result().status_code == 200
        assert http.get(address).status_code == 200


def test_hooks_see_each_request_and_answer_and_may_raise(address: str) -> None:
    seen: list[object] = []

    def refuse(response: httpx.Response) -> None:
        seen.append(response.text)
        raise ValueError("refused")

    hooks = {"request": [lambda request: seen.append(request.url.path)], "response": [refuse]}
    with SharedClient(connections=1, timeout=httpx.Timeout(5), event_hooks=hooks) as http:
        for _ in range(2):
            with pytest.raises(ValueError, match="refused"):
                http.get(address + "/seen")
    assert len(seen) == 4
    assert seen[0] == seen[2] == "/seen"


def test_an_answer_can_not_be_read_bit_by_bit(address: str) -> None:
    with SharedClient(connections=1, timeout=httpx.Timeout(5)) as http, pytest.raises(NotImplementedError):
        http.send(http.build_request("GET", address), stream=True)
