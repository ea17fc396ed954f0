"""The whole way of a video while database, REST server and file store are stopped and started again in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.holding import Hold
from tests.e2e.journey import go_the_whole_way
from tests.e2e.running import Running, running_product
from tests.e2e.stage import Stage, make_stage


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Services that go away."""
    return make_stage(request, Hold(tmp_path_factory.mktemp("hold")), interrupted=True)


@pytest.fixture(scope="module")
def product_server(weights: Path, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The product on that stage."""
    assert weights.is_dir()
    with running_product(tmp_path_factory.mktemp("product"), **stage.environ, **stage.hold.environ) as product:
        yield product


def test_the_whole_way(page: Page, product_server: Running, stage: Stage, tmp_path: Path) -> None:
    go_the_whole_way(page, product_server, stage, tmp_path)
