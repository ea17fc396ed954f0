"""Health over the stores elsewhere: each way to fail has the sentence that mends it, which gives nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import api
from adapters.s3_bucket import prepare_bucket
from adapters.s3_files import S3Files
from adapters.supabase import SupabaseDatabase
from jobs import health
from jobs.admin import AdminService
from jobs.health import HealthChecks
from jobs.models import HealthPart, WorkerInfo
from jobs.ports import Database, FileStore, Ports
from tests.product import LIMITS, Product, make_product
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

ORIGIN = "https://videos.example.com"


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    made = make_product(tmp_path)
    yield made
    made.ports.database.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as long as it takes: how long that is, is looked at elsewhere."""
    monkeypatch.setattr(health, "CHECK_S", 60.0)


def look(
    product: Product, part: str, *, database: Database | None = None, files: FileStore | None = None
) -> HealthPart:
    """Return how a part is with another database or file store; nobody is told where these are."""
    ports: Ports = replace(
        product.ports, database=database or product.ports.database, files=files or product.ports.files
    )  # fmt: skip
    (found,) = HealthChecks(ports).check([part])
    return found


# --- the database ---


def open_database(
    project: LocalSupabase, *, secret_key: str = "", publishable_key: str = "", signing_key: str = ""
) -> SupabaseDatabase:
    return SupabaseDatabase(
        project.url,
        secret_key=secret_key or project.secret_key,
        publishable_key=publishable_key,
        signing_key=signing_key,
    )


@pytest.fixture(scope="session")
def project(local_supabase: LocalSupabase) -> LocalSupabase:
    return local_supabase.make_project("health")


def test_a_project_that_works(product: Product, project: LocalSupabase) -> None:
    database = open_database(project, publishable_key=project.publishable_key, signing_key=project.signing_key)
    part = look(product, "database", database=database)
    assert part.ok, part.text
    assert part.text.startswith("PostgreSQL ")
    database.close()


def test_a_wrong_key_is_named(product: Product, project: LocalSupabase) -> None:
    for key in ("sb_secret_wrong", project.publishable_key):
        database = open_database(project, secret_key=key)
        part = look(product, "database", database=database)
        assert not part.ok
        assert "SUPABASE_SECRET_KEY" in part.text and key not in part.text
        database.close()


def test_missing_tables_are_told_with_what_makes_them(product: Product, local_supabase: LocalSupabase) -> None:
    empty = local_supabase.make_project("bare", migrated=False)
    database = open_database(empty)
    part = look(product, "database", database=database)
    assert not part.ok
    assert "`make migrate`" in part.text
    database.close()
    empty.close()


@pytest.mark.parametrize("refuse", [False, True], ids=["broken", "away"])
def test_a_project_that_does_not_answer(product: Product, local_supabase: LocalSupabase, refuse: bool) -> None:
    project = local_supabase.make_project("away")
    database = open_database(project)
    project.stop_rest(refuse=refuse)
    part = look(product, "database", database=database)
    assert not part.ok
    assert "SUPABASE_URL" in part.text and project.url not in part.text
    project.start_rest()
    assert look(product, "database", database=database).ok
    database.close()
    project.close()


# --- the files ---


def open_files(store: LocalS3, bucket: str, **otherwise: str) -> S3Files:
    given = {
        "region": store.region,
        "endpoint": store.endpoint,
        "public_endpoint": store.endpoint,
        "access_key_id": store.access_key_id,
        "secret_access_key": store.secret_access_key,
        "origin": ORIGIN,
    }
    return S3Files(bucket=bucket, **{**given, **otherwise})


@pytest.fixture
def bucket(local_s3: LocalS3) -> str:
    """A bucket as ``make bucket`` leaves it."""
    name = local_s3.make_bucket("health")
    list(
        prepare_bucket(
            bucket=name,
            region=local_s3.region,
            endpoint=local_s3.endpoint,
            public_endpoint=local_s3.endpoint,
            access_key_id=local_s3.access_key_id,
            secret_access_key=local_s3.secret_access_key,
            origin=ORIGIN,
        )
    )
    return name


def test_a_bucket_that_works(product: Product, local_s3: LocalS3, bucket: str) -> None:
    part = look(product, "files", files=open_files(local_s3, bucket))
    assert part.ok, part.text


@pytest.mark.parametrize(
    ("otherwise", "named"),
    [
        ({"secret_access_key": "wrong"}, "WASABI_SECRET_ACCESS_KEY"),
        ({"access_key_id": "AKWRONG"}, "WASABI_ACCESS_KEY_ID"),
        ({"endpoint": "http://127.0.0.1:9"}, "WASABI_ENDPOINT"),
    ],
)
def test_wrong_settings_are_named(
    product: Product, local_s3: LocalS3, bucket: str, otherwise: dict[str, str], named: str
) -> None:
    part = look(product, "files", files=open_files(local_s3, bucket, **otherwise))
    assert not part.ok
    assert named in part.text
    assert bucket not in part.text and not any(value in part.text for value in otherwise.values())


def test_a_missing_bucket_and_browsers_that_may_not_upload_are_told_with_what_mends_it(
    product: Product, local_s3: LocalS3, bucket: str
) -> None:
    for name, origin in (("not-there", ORIGIN), (bucket, "https://moved.example.com")):
        part = look(product, "files", files=open_files(local_s3, name, origin=origin))
        assert not part.ok, name
        assert "`make bucket`" in part.text and name not in part.text


# --- what everybody may see ---


def test_outsiders_hear_what_mends_it_and_nothing_else(
    product: Product, project: LocalSupabase, local_s3: LocalS3
) -> None:
    bucket = local_s3.make_bucket("secret-name")
    database = open_database(project, secret_key="sb_secret_wrong")
    ports = replace(product.ports, database=database, files=open_files(local_s3, bucket, access_key_id="AKWRONG"))
    services = replace(product.services, admin=AdminService(ports, LIMITS))
    answer = TestClient(Starlette(routes=api.make_routes(lambda: services))).get("/api/ready")
    assert answer.status_code == 503
    parts = {part["id"]: part["text"] for part in answer.json()["parts"] if not part["ok"]}
    assert "SUPABASE_SECRET_KEY" in parts["database"]
    assert "WASABI_ACCESS_KEY_ID" in parts["files"]
    hidden = ("127.0.0.1", "localhost", bucket, "sb_secret_wrong", "AKWRONG", local_s3.secret_access_key, "Traceback")
    assert not [text for text in hidden if text in answer.text]
    database.close()


def test_with_everything_elsewhere_the_disk_is_the_workers(
    product: Product, project: LocalSupabase, local_s3: LocalS3, bucket: str
) -> None:
    database, now = open_database(project), datetime.now(UTC)
    info = {"disk_free_bytes": 77_000_000_000}
    database.workers.beat(WorkerInfo(id="w", host="studio", pid=1, started_at=now, seen_at=now, info=info))
    part = look(product, "disk", database=database, files=open_files(local_s3, bucket))
    assert (part.ok, part.text) == (True, "77 GB are free for work folders.")
    database.close()
