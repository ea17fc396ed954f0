"""The production test: the whole way of a video over everything that the compose file starts with ``local``.

Two workers, PostgreSQL below PostgREST, an S3 store that the browser uploads to, and a queue with a password, all of
them real.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.holding import Hold
from tests.e2e.journey import go_the_whole_way
from tests.e2e.production import Production
from tests.e2e.running import Product, beside
from tests.e2e.stage import Stage
from tests.product.machine import wait_for
from tests.servers.needed import started

WORKERS = 2


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Nothing happens to the services meanwhile."""
    return Stage(Hold(tmp_path_factory.mktemp("hold")))


@pytest.fixture(scope="module")
def production(weights: Path, stage: Stage) -> Iterator[Production]:
    """Everything, healthy."""
    assert weights.is_dir()
    with started(lambda: Production(workers=WORKERS, worker_environ=stage.hold.environ)) as running:
        yield running
        product = running.product
    product.wait_gone()


@pytest.fixture(scope="module")
def product_server(production: Production) -> Product:
    """What a person meets of it."""
    return production.product


def test_all_of_the_profile_runs(production: Production, product_server: Product) -> None:
    assert set(production.services) == {
        *("web", "worker", "redis", "postgres", "migrate", "postgrest", "supabase", "s3", "bucket")
    }
    with beside(product_server) as (_, ports):
        wait_for(lambda: len(ports.database.workers.list_alive(within_s=60)) == WORKERS, label="all workers")


def test_the_whole_way(page: Page, product_server: Product, stage: Stage, tmp_path: Path) -> None:
    go_the_whole_way(page, product_server, stage, tmp_path)
