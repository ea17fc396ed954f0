"""Receiving files over HTTP: in order, resumable, for whoever is signed in, from our own pages only."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.testclient import TestClient

import api
from api.guard import COOKIE
from api.uploads import CHUNK_BYTES
from jobs.models import VideoQuery
from jobs.storage import original_key
from tests.media.clips import silent_clip, text_file
from tests.product import Product, make_product
from tests.product.people import Person, open_browser, sign_up


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson 4.mp4").path


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def ann(product: Product) -> Person:
    return sign_up(product, "ann")


@pytest.fixture
def browser(product: Product, ann: Person) -> TestClient:
    return open_browser(product, ann)


def begin(browser: TestClient, size: int, name: str = "Lesson 4.mp4") -> str:
    answer = browser.post("/api/uploads", json={"name": name, "size": size, "fingerprint": f"{name}:{size}"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def list_files(product: Product) -> list[str]:
    root = product.root / "files"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_a_file_arrives_in_chunks_and_becomes_a_video(
    product: Product, ann: Person, browser: TestClient, clip: Path
) -> None:  # fmt: skip
    data = clip.read_bytes()
    given = {"name": clip.name, "size": len(data), "fingerprint": "x", "options": {"pace": "tight"}}
    begun = browser.post("/api/uploads", json=given).json()
    assert begun == {"id": begun["id"], "offset": 0, "chunk_bytes": CHUNK_BYTES, "mode": "local"}
    one = f"/api/uploads/{begun['id']}"

    for offset in range(0, len(data), 10_000):
        answer = browser.put(f"{one}?offset={offset}", content=data[offset : offset + 10_000])
        assert answer.json() == {"offset": min(offset + 10_000, len(data))}
    told = browser.head(one)
    assert (told.headers["upload-offset"], told.headers["upload-length"]) == (str(len(data)), str(len(data)))
    assert browser.get(f"{one}/parts/1").status_code == 404
    assert browser.post(f"{one}/options", json={"options": {"pace": "relaxed"}}).status_code == 200

    done = browser.post(f"{one}/complete")
    assert done.status_code == 200
    assert browser.post(f"{one}/complete").json() == done.json()
    card = product.services.videos.get_card(ann.id, done.json()["video_id"])
    assert (card.job.id, card.job.options) == (done.json()["job_id"], {"pace": "relaxed"})
    key = original_key(ann.id, card.video.id)
    assert b"".join(product.ports.files.read(key)) == data
    assert done.headers["cache-control"] == "no-store"


def test_a_wrong_offset_tells_the_right_one(browser: TestClient) -> None:
    one = f"/api/uploads/{begin(browser, 100)}"
    assert browser.put(f"{one}?offset=0", content=b"x" * 40).status_code == 200
    for offset in (0, 39, 41):
        answer = browser.put(f"{one}?offset={offset}", content=b"y" * 10)
        assert (answer.status_code, answer.json()["offset"]) == (409, 40)
    assert answer.json()["error"]["code"] == "wrong_offset"
    for text in ("", "-1", "1e3", "x", "9" * 30):
        answer = browser.put(f"{one}?offset={text}", content=b"y")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


def test_the_same_file_goes_on_after_a_restart_of_the_server(product: Product, ann: Person, clip: Path) -> None:
    data = clip.read_bytes()
    browser = open_browser(product, ann)
    upload_id = begin(browser, len(data))
    browser.put(f"/api/uploads/{upload_id}?offset=0", content=data[:12_345])

    product = make_product(product.root)
    browser = open_browser(product, ann)
    given = {"name": "Lesson 4.mp4", "size": len(data), "fingerprint": f"Lesson 4.mp4:{len(data)}"}
    again = browser.post("/api/uploads", json=given).json()
    assert (again["id"], again["offset"]) == (upload_id, 12_345)
    browser.put(f"/api/uploads/{upload_id}?offset=12345", content=data[12_345:])
    done = browser.post(f"/api/uploads/{upload_id}/complete").json()
    assert b"".join(product.ports.files.read(original_key(ann.id, done["video_id"]))) == data


def test_nothing_is_received_past_the_announced_size(product: Product, browser: TestClient) -> None:
    one = f"/api/uploads/{begin(browser, 2_000_000)}"
    answer = browser.put(f"{one}?offset=0", content=b"x" * 2_000_001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_long_body")
    assert browser.head(one).headers["upload-offset"] == "0"

    unannounced = iter([b"x" * 500_000] * 5)  # sent without a length
    answer = browser.put(f"{one}?offset=0", content=unannounced)
    assert answer.status_code == 413
    assert int(browser.head(one).headers["upload-offset"]) <= 2_000_000
    assert sum((product.root / "files" / name).stat().st_size for name in list_files(product)) <= 2_000_000


def test_a_refused_file_is_told_in_a_sentence_and_gone(product: Product, browser: TestClient, tmp_path: Path) -> None:
    data = text_file(tmp_path / "a.mp4").read_bytes()
    one = f"/api/uploads/{begin(browser, len(data))}"
    browser.put(f"{one}?offset=0", content=data)
    for _ in range(2):
        answer = browser.post(f"{one}/complete")
        assert answer.status_code == 422
        assert answer.json() == {
            "error": {"code": "not_media", "message": "This is not a video we can read. Export it as MP4 and use that."}
        }
    assert list_files(product) == []


def test_completing_too_early_says_so(browser: TestClient) -> None:
    one = f"/api/uploads/{begin(browser, 10)}"
    answer = browser.post(f"{one}/complete")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "incomplete")


def test_a_cancelled_upload_is_gone(product: Product, browser: TestClient) -> None:
    one = f"/api/uploads/{begin(browser, 10)}"
    browser.put(f"{one}?offset=0", content=b"123")
    assert browser.delete(one).status_code == 200
    assert list_files(product) == []
    assert browser.head(one).status_code == 404
    assert browser.put(f"{one}?offset=3", content=b"4").status_code == 404
    assert list_files(product) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 50_000,
        b'{"name": "a.mp4"}',
        b'{"name": "a.mp4", "size": "10"}',
        b'{"name": "a.mp4", "size": true}',
        b'{"name": 1, "size": 10}',
        b'{"name": "a.mp4", "size": 10, "options": [1]}',
        b'{"name": "a.mp4", "size": 10, "fingerprint": null}',
        b'{"name": "a.mp4", "size": 1e400}',
        b'{"name": "a.mp4", "size": 9223372036854775808, "fingerprint": "x"}',
        b'{"name": "a.mp4", "size": 1' + b"0" * 400 + b"}",
        b'{"name": "a.mp4", "size": 10, "fingerprint": "\\ud800"}',
        b'{"name": "a.mp4", "size": 10, "options": {"\\udfff": 1}}',
        b'{"name": "a.mp4", "size": 10, "options": {"threshold": NaN}}',
    ],
)
def test_a_request_that_can_not_be_read_is_refused(browser: TestClient, body: bytes) -> None:
    answer = browser.post("/api/uploads", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"


def test_a_long_request_is_refused(browser: TestClient) -> None:
    assert browser.post("/api/uploads", content=b" " * 100_000).status_code == 413


@pytest.mark.parametrize("name", ["../../../etc/passwd.mp4", "a\\..\\b.mp4", "/root/x.mp4", "%2e%2e/x.mp4"])
def test_a_name_never_becomes_a_path(product: Product, browser: TestClient, name: str) -> None:
    one = f"/api/uploads/{begin(browser, 5, name)}"
    browser.put(f"{one}?offset=0", content=b"12345")
    (path,) = list_files(product)
    assert path.startswith(".uploads/user/")
    assert path.endswith("/original")


# --- who may ---

CALLS = [
    ("HEAD", ""),
    ("PUT", "?offset=0"),
    ("DELETE", ""),
    ("POST", "/options"),
    ("POST", "/complete"),
    ("GET", "/parts/1"),
]


def test_somebody_elses_upload_is_not_there(product: Product, ann: Person, browser: TestClient) -> None:
    ben = open_browser(product, sign_up(product, "ben"))
    upload_id = begin(browser, 10)
    for method, rest in CALLS:
        for one in (upload_id, "0" * 8, "..%2f.."):
            answer = ben.request(method, f"/api/uploads/{one}{rest}", content=b"{}" if method == "POST" else b"123")
            assert answer.status_code == 404, (method, rest)
    assert product.services.uploads.get(ann.id, upload_id).received == 0


def test_nobody_and_other_sites_are_turned_away(product: Product, browser: TestClient) -> None:
    upload_id = begin(browser, 10)
    nobody = open_browser(product, None)
    calls = [("POST", "/api/uploads"), *((method, f"/api/uploads/{upload_id}{rest}") for method, rest in CALLS)]
    for method, address in calls:
        assert nobody.request(method, address, content=b"{}").status_code == 401, (method, address)
        if method not in ("HEAD", "GET"):
            for headers in ({"X-App": ""}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert browser.request(method, address, content=b"{}", headers=headers).status_code == 403
    assert browser.head(f"/api/uploads/{upload_id}").headers["upload-offset"] == "0"


# --- over a real connection ---


@contextmanager
def serve(product: Product) -> Iterator[int]:
    """Run the routes in a real server and yield its port."""
    app = Starlette(routes=api.make_routes(lambda: product.services))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def start_put(port: int, person: Person, upload_id: str, offset: int, length: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("PUT", f"/api/uploads/{upload_id}?offset={offset}")
    for name, value in (("Cookie", f"{COOKIE}={person.token}"), ("X-App", "1"), ("Content-Length", str(length))):
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def wait_for_bytes(product: Product, person: Person, upload_id: str, least: int) -> int:
    deadline = time.monotonic() + 60
    while (received := product.services.uploads.get(person.id, upload_id).received) < least:
        assert time.monotonic() < deadline, f"only {received} bytes arrived"
        time.sleep(0.02)
    return received


def test_what_arrived_before_the_connection_broke_stays(product: Product, ann: Person, browser: TestClient) -> None:
    data = bytes(range(256)) * 20_000
    upload_id = begin(browser, len(data))
    with serve(product) as port:
        connection = start_put(port, ann, upload_id, 0, len(data))
        connection.send(data[:3_333_333])
        wait_for_bytes(product, ann, upload_id, 3 << 20)
        connection.close()
        assert wait_for_bytes(product, ann, upload_id, 3_333_333) == 3_333_333
        rest = start_put(port, ann, upload_id, 3_333_333, len(data) - 3_333_333)
        rest.send(data[3_333_333:])
        assert json.loads(rest.getresponse().read()) == {"offset": len(data)}
        rest.close()
    path = product.ports.files.upload_path(
        original_key(ann.id, product.services.uploads.get(ann.id, upload_id).upload.video_id)
    )
    assert path is not None
    assert path.read_bytes() == data


def test_a_new_connection_takes_over_from_one_that_hangs(product: Product, ann: Person, browser: TestClient) -> None:
    data = bytes(range(256)) * 20_000
    upload_id = begin(browser, len(data))
    with serve(product) as port:
        hanging = start_put(port, ann, upload_id, 0, len(data))
        hanging.send(data[: 2 << 20])
        wait_for_bytes(product, ann, upload_id, 2 << 20)
        fresh = start_put(port, ann, upload_id, 2 << 20, len(data) - (2 << 20))
        fresh.send(data[2 << 20 :])
        assert json.loads(fresh.getresponse().read()) == {"offset": len(data)}
        hanging.send(data[2 << 20 :])  # wakes up again
        answer = hanging.getresponse()
        assert answer.status == 409
        assert json.loads(answer.read())["offset"] == len(data)
        for connection in (hanging, fresh):
            connection.close()
    path = product.ports.files.upload_path(
        original_key(ann.id, product.services.uploads.get(ann.id, upload_id).upload.video_id)
    )
    assert path is not None
    assert path.read_bytes() == data


def test_a_disabled_account_sends_nothing_more(product: Product, ann: Person) -> None:
    boss = product.ports.database.users.get(ann.id)
    ben = sign_up(product, "ben")
    assert boss is not None
    with serve(product) as port:
        upload_id = begin(open_browser(product, ben), 8 << 20)
        connection = start_put(port, ben, upload_id, 0, 8 << 20)
        connection.send(bytes(2 << 20))
        wait_for_bytes(product, ben, upload_id, 2 << 20)
        product.services.auth.set_active(boss, ben.id, False)
        connection.send(bytes(6 << 20))
        assert connection.getresponse().status == 401
        connection.close()
    assert product.services.uploads.get(ben.id, upload_id).received == 2 << 20


def test_two_tabs_that_send_the_same_file_make_one_video(product: Product, ann: Person, clip: Path) -> None:
    data = clip.read_bytes()
    together = threading.Barrier(2)

    def send(_: int) -> tuple[str, dict[str, str]]:
        tab = open_browser(product, ann)
        together.wait()
        given = {"name": clip.name, "size": len(data), "fingerprint": "x", "options": {}}
        begun = tab.post("/api/uploads", json=given).json()
        one, offset = f"/api/uploads/{begun['id']}", begun["offset"]
        for _ in range(10_000):
            if offset == len(data):
                break
            answer = tab.put(f"{one}?offset={offset}", content=data[offset : offset + 3000]).json()
            offset = answer["offset"]
        return begun["id"], tab.post(f"{one}/complete").json()

    with ThreadPoolExecutor(2) as tabs:
        ids, done = zip(*tabs.map(send, range(2)), strict=True)
    assert len(set(ids)) == 1
    assert done[0] == done[1]
    assert product.services.videos.list_cards(ann.id, VideoQuery()).total == 1
    assert b"".join(product.ports.files.read(original_key(ann.id, done[0]["video_id"]))) == data


def test_a_large_file_passes_through_little_memory(product: Product, ann: Person, browser: TestClient) -> None:
    size, block = 300_000_000, bytes(1_000_000)
    upload_id = begin(browser, size)
    with serve(product) as port:
        warm = start_put(port, ann, upload_id, 0, 20_000_000)
        for _ in range(20):
            warm.send(block)
        assert warm.getresponse().read() == b'{"offset":20000000}'
        before = resident_bytes()
        connection = start_put(port, ann, upload_id, 20_000_000, size - 20_000_000)
        most = before
        for _ in range(280):
            connection.send(block)
            most = max(most, resident_bytes())
        assert json.loads(connection.getresponse().read()) == {"offset": size}
        warm.close()
        connection.close()
    print(f"memory while receiving 280 MB: {(most - before) / 1e6:+.1f} MB")
    assert most - before < 30_000_000


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    pytest.skip("this system does not tell how much memory a process uses")


def test_completing_goes_on_when_nobody_waits_for_it(
    product: Product, ann: Person, browser: TestClient, clip: Path
) -> None:
    data = clip.read_bytes()
    upload_id = begin(browser, len(data))
    browser.put(f"/api/uploads/{upload_id}?offset=0", content=data)
    with serve(product) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Cookie": f"{COOKIE}={ann.token}", "X-App": "1"}
        connection.request("POST", f"/api/uploads/{upload_id}/complete", headers=headers)
        connection.close()
        deadline = time.monotonic() + 60
        while product.services.videos.list_cards(ann.id, VideoQuery()).total == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(product.queue.waiting) == 1
