"""Metrics as Prometheus reads them, from the real web server and from a product that is looked into."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

import api
from adapters.sqlite.figures import _NOW, _VIDEOS
from api.guard import public_route
from jobs import metrics
from jobs.errors import STORAGE_CODES, StorageError, StoreUnavailable
from jobs.metrics import MetricsService, describe_figures
from jobs.models import Figures, HealthPart, Tally, WorkerInfo
from jobs.ports import Database
from jobs.service import Services
from jobs.version import VERSION
from tests.database import FAILURE, make_person, make_video, process
from tests.e2e.web_server import WebServer
from tests.product import Product, make_product

TOKEN = "a-token-for-prometheus"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ä"]


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path, metrics_token=TOKEN)


def parse(text: str) -> dict[str, Metric]:
    """Return the families by name; each must have a name of ours, a type, and a text that helps."""
    found = {family.name: family for family in text_string_to_metric_families(text)}
    for family in found.values():
        assert family.name.startswith("mvf_") and family.type != "unknown", family
        assert family.documentation.endswith("."), family
    return found


def values(family: Metric, label: str = "") -> dict[str, float]:
    return {sample.labels.get(label, ""): sample.value for sample in family.samples}


def scrape(product: Product) -> dict[str, Metric]:
    """Return what is told now, whatever was told a moment ago."""
    product.services.metrics._told = (-metrics.CACHE_S, b"")
    return parse(product.services.metrics.render().decode())


def open_client(product: Product) -> TestClient:
    return TestClient(Starlette(routes=api.make_routes(lambda: product.services)))


# --- who may ask ---


def test_the_web_server_tells_whoever_has_the_token(tmp_path: Path) -> None:
    server = WebServer(tmp_path, METRICS_TOKEN=TOKEN)
    try:
        with httpx.Client(base_url=server.running.url, trust_env=False, timeout=30) as http:
            refused = [http.get("/metrics"), http.get("/metrics", headers={"Authorization": "Bearer wrong-token"})]
            assert [answer.status_code for answer in refused] == [401, 401]
            assert all("mvf_" not in answer.text for answer in refused)
            assert refused[0].headers["www-authenticate"] == "Bearer"
            answer = http.get("/metrics", headers=RIGHT)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain; version=")
            assert "set-cookie" not in answer.headers
            found = parse(answer.text)
            assert values(found["mvf_part_up"], "part") == {"database": 1, "files": 1, "queue": 0}
            assert values(found["mvf_jobs"], "status") == {"queued": 0, "running": 0}
            assert http.post("/metrics", headers={"X-App": "1", **RIGHT}).status_code == 405
    finally:
        server.kill()


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_token_opens_nothing(header: str, product: Product) -> None:
    answer = open_client(product).get("/metrics", headers={b"Authorization": header.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "wrong_token")
    assert TOKEN not in answer.text


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer wrong"])
def test_without_a_token_in_the_settings_there_is_nothing(header: str, tmp_path: Path) -> None:
    answer = open_client(make_product(tmp_path)).get("/metrics", headers={"Authorization": header})
    assert answer.status_code == 404


def test_a_scrape_is_no_login(product: Product) -> None:
    client = open_client(product)
    for _ in range(3):
        assert client.get("/metrics", headers=RIGHT).status_code == 200
        assert client.get("/metrics").status_code == 401
    with closing(sqlite3.connect(product.root / "factory.sqlite3")) as database:
        for table in ("sessions", "throttles"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


# --- what is told ---


def beat(product: Product, worker_id: str, **info: object) -> None:
    now = datetime.now(UTC)
    product.ports.database.workers.beat(
        WorkerInfo(id=worker_id, host="studio", pid=1, started_at=now, seen_at=now, info=info)
    )


def test_what_was_done_is_told(product: Product) -> None:
    database = product.ports.database
    ann = make_person(database, "ann-the-person")
    _, failed = make_video(database, ann, "A title nobody may read")
    process(database, failed, FAILURE)
    video, done = make_video(database, ann, "Another title")
    process(database, done)
    make_video(database, ann)
    beat(product, "one", version=VERSION, job_id=done.id)
    beat(product, "two", version="0.0.9")

    found = scrape(product)
    assert values(found["mvf_jobs"], "status") == {"queued": 1, "running": 0}
    assert values(found["mvf_jobs_ended"], "status") == {"succeeded": 1, "failed": 1, "cancelled": 0}
    assert values(found["mvf_job_failures"], "code") == {FAILURE.error_code: 1}
    assert values(found["mvf_workers"], "version") == {VERSION: 1, "0.0.9": 1}
    assert values(found["mvf_workers_busy"]) == {"": 1}
    assert values(found["mvf_videos"]) == {"": 3}
    assert values(found["mvf_processed_video_seconds"])[""] == pytest.approx(video.facts.duration_ms / 1000)
    waits = {sample.name: sample.value for sample in found["mvf_job_wait_seconds"].samples}
    assert waits["mvf_job_wait_seconds_count"] == 2
    text = product.services.metrics.render().decode()
    for secret in (ann.id, ann.username, done.id, video.id, "title", TOKEN, str(product.root)):
        assert secret not in text


def test_histograms_are_cumulative_and_stages_are_known() -> None:
    tallies = [
        Tally(name="wait", label="", count=5, total=700.5),
        Tally(name="wait_le", label="300", count=4, total=0),
        Tally(name="wait_le", label="60", count=3, total=0),
        Tally(name="stage", label="render", count=5, total=88.0),
        Tally(name="stage", label="no such stage", count=5, total=88.0),
        *(Tally(name="failed", label=f"code-{number:03}", count=1, total=0) for number in range(60)),
    ]
    figures = Figures(
        queued=0, running=0, longest_wait_s=0, mean_wait_s=0, videos=0, video_s=0, original_bytes=0, result_bytes=0,
        tallies=tuple(tallies),
    )  # fmt: skip
    found = {family.name: family for family in describe_figures(figures)}
    buckets = [
        (sample.labels["le"], sample.value)
        for sample in found["mvf_job_wait_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert buckets == [("60", 3), ("300", 4), ("+Inf", 5)]
    assert set(values(found["mvf_stage_seconds"], "stage")) == {"render"}
    codes = values(found["mvf_job_failures"], "code")
    assert len(codes) == 41 and codes["other"] == 20, "a label has few values"


def test_an_answer_serves_the_next_ones(product: Product) -> None:
    first = product.services.metrics.render()
    make_video(product.ports.database, make_person(product.ports.database))
    assert product.services.metrics.render() == first
    assert values(scrape(product)["mvf_jobs"], "status")["queued"] == 1


def test_a_database_that_is_away_is_told_too(product: Product) -> None:
    class Away:
        def read_figures(self) -> Figures:
            raise StoreUnavailable("away")

    parts = [replace(part, ok=part.id != "database") for part in product.services.admin.check_readiness()]
    database: Database = Away()  # type: ignore[assignment]
    found = parse(MetricsService(database, lambda: parts, token=TOKEN).render().decode())
    up: Mapping[str, float] = values(found["mvf_part_up"], "part")
    assert (up["database"], up["files"]) == (0, 1)
    assert "mvf_jobs" not in found


def test_errors_of_the_file_store_are_counted(product: Product) -> None:
    async def fail(_request: Request, _services: Services) -> Response:
        raise StorageError("files_busy", "The file store does not answer just now.")

    route = public_route("/api/fail", fail, lambda: product.services, methods=["GET"])
    client = TestClient(Starlette(routes=[route]))
    none = dict.fromkeys(STORAGE_CODES, 0)
    assert values(scrape(product)["mvf_storage_errors"], "code") == none, "else the first of a kind is no increase"
    for _ in range(3):
        assert client.get("/api/fail").status_code == 503
    assert values(scrape(product)["mvf_storage_errors"], "code") == none | {"files_busy": 3}


def test_an_error_is_counted_while_a_part_hangs(product: Product) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def hang() -> Sequence[HealthPart]:
        asked.set()
        goes_on.wait(60)
        return product.services.admin.check_readiness()

    service = MetricsService(product.ports.database, hang, token=TOKEN)
    with ThreadPoolExecutor(2) as pool:
        told = pool.submit(service.render)
        try:
            assert asked.wait(60)
            pool.submit(service.count_storage_error, "files_busy").result(30)
        finally:
            goes_on.set()
        found = parse(told.result(60).decode())
    assert values(found["mvf_storage_errors"], "code")["files_busy"] == 1


def test_no_job_that_is_over_is_looked_at(product: Product) -> None:
    with closing(sqlite3.connect(product.root / "factory.sqlite3")) as database:
        plans = [
            str(row[3])
            for query in (_NOW, _VIDEOS)
            for row in database.execute(f"EXPLAIN QUERY PLAN {query}", {"now": 0})
        ]
    scans = {plan for plan in plans if plan.startswith("SCAN jobs")}
    assert scans <= {"SCAN jobs USING COVERING INDEX jobs_stored"}, "it holds those alone that have a result"
    assert len(plans) > len(scans)
