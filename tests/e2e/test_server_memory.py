"""The web process holds no file in memory: 1 GiB goes in, is played and comes out, and it hardly grows."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from jobs.models import UploadState, VideoFacts
from jobs.ports import Charge, Ports
from jobs.service import SignIn
from tests.e2e.running import Running, beside, open_client, rss_bytes, sign_up

GIB = 1 << 30
NEEDED = 6 * GIB
MAY_GROW = 100_000_000
BLOCK = bytes(1 << 20)
FACTS = VideoFacts(
    duration_ms=60_000, width=320, height=180, fps="30/1", video_codec="h264", audio_tracks=1, size_bytes=GIB,
    sha256="cd" * 32,
)  # fmt: skip


@dataclass
class Watch:
    """The largest memory a process held while it was watched."""

    process: psutil.Process
    peak: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stopped.wait(0.02):
            self.peak = max(self.peak, rss_bytes(self.process))


@contextmanager
def watched(process: psutil.Process) -> Iterator[Watch]:
    watch = Watch(process)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stopped.set()
        thread.join()
    watch.peak = max(watch.peak, rss_bytes(process))


@pytest.fixture(scope="module")
def roomy(product_server: Running) -> Running:
    free = shutil.disk_usage(product_server.data_dir).free
    if free < NEEDED:
        pytest.skip(f"{free / 1e9:.1f} GB are free; two files of 1 GiB need {NEEDED / 1e9:.1f} GB")
    return product_server


def test_a_gigabyte_passes_through(roomy: Running, show: Callable[[str], None]) -> None:
    web = roomy.web()
    with beside(roomy) as (services, ports):
        person = sign_up(services, "ada")
        video_id = store_original(ports, person, roomy.data_dir / "original")
    with open_client(roomy, person.token) as client:
        for _ in range(3):  # what is imported and built at first use is no growth
            assert client.get("/api/health").status_code == 200
            assert client.get("/").status_code == 200
            assert client.head(f"/api/videos/{video_id}/original").headers["content-length"] == str(GIB)
        idle = rss_bytes(web)
        figures = {"idle": idle}
        with watched(web) as watch:
            upload(client)
        figures["upload"] = watch.peak
        with watched(web) as watch:
            play(client, f"/api/videos/{video_id}/original")
        figures["play"] = watch.peak
        with watched(web) as watch, ThreadPoolExecutor(2) as pool:
            sizes = pool.map(lambda _: download(roomy, person.token, f"/api/videos/{video_id}/original"), range(2))
            assert list(sizes) == [GIB, GIB]
        figures["two downloads"] = watch.peak
    sizes_in_words = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in figures.items())
    show(f"memory of the web process with 1 GiB: {sizes_in_words}")
    assert max(figures.values()) - idle < MAY_GROW, figures
    assert web.is_running(), "the web server was started again meanwhile"


def store_original(ports: Ports, person: SignIn, path: Path) -> str:
    """Put an original of 1 GiB there, with holes for its bytes, and return its video's id."""
    with path.open("wb") as file:
        file.truncate(GIB)
    upload = ports.database.uploads.create(
        person.user.id, name="long.mp4", size_bytes=GIB, fingerprint="long", options={}
    )  # fmt: skip
    assert ports.database.uploads.set_state(person.user.id, upload.id, UploadState.CHECKING)
    ports.files.put(f"user/{person.user.id}/video/{upload.video_id}/original", path)
    charge = Charge(key="free", limit_ms=0)
    video, job = ports.database.videos.create_with_job(
        upload, title="Long", facts=FACTS, options={}, charge=charge, limit_bytes=0
    )  # fmt: skip
    ports.database.jobs.request_cancel(person.user.id, job.id)
    return video.id


def upload(client: httpx.Client) -> None:
    """Upload 1 GiB in the pieces that the server asks for. It is no video, so it is refused at the end."""
    begun = client.post("/api/uploads", json={"name": "zeros.mp4", "size": GIB, "fingerprint": "zeros", "options": {}})
    assert begun.status_code == 200, begun.text
    address, piece = f"/api/uploads/{begun.json()['id']}", begun.json()["chunk_bytes"]
    at = 0
    while at < GIB:
        size = min(piece, GIB - at)
        blocks = (BLOCK[: min(len(BLOCK), size - start)] for start in range(0, size, len(BLOCK)))
        sent = client.put(address, params={"offset": at}, content=blocks, headers={"Content-Length": str(size)})
        assert sent.status_code == 200, sent.text
        at += size
        assert sent.json()["offset"] == at
    ended = client.post(f"{address}/complete")
    assert ended.status_code == 422, ended.text
    assert ended.json()["error"]["code"] == "not_media"


def play(client: httpx.Client, address: str) -> None:
    """Ask as a player does that is dragged to and fro: open-ended ranges, of which only the beginning is read."""
    for step in range(40):
        start = (step * 7919 % 1000) * (GIB // 1000)
        with client.stream("GET", address, headers={"Range": f"bytes={start}-"}) as answer:
            assert answer.status_code == 206
            assert answer.headers["content-range"] == f"bytes {start}-{GIB - 1}/{GIB}"
            read = 0
            for block in answer.iter_raw():
                read += len(block)
                if read > 1 << 20:
                    break


def download(product: Running, token: str, address: str) -> int:
    """Return how many bytes came."""
    with open_client(product, token) as client, client.stream("GET", address, params={"download": 1}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        return sum(len(block) for block in answer.iter_raw())
