"""The whole way of a video over the whole product as ``make run`` starts it.

On the embedded defaults, and with state in PostgREST over PostgreSQL and files in an S3 server, each of which is
stopped and started again in its middle. The story is the same; only where the bytes travel differs. Over the same
services while nothing happens to them it is told by `test_production`, where workers have processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.holding import Hold
from tests.e2e.journey import go_the_whole_way
from tests.e2e.running import Running, running_product
from tests.e2e.stage import Stage, make_interrupted_stage


@pytest.fixture(scope="module", params=["embedded", "interrupted"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Where state and files live, and what happens to them."""
    hold = Hold(tmp_path_factory.mktemp("hold"))
    return Stage(hold) if request.param == "embedded" else make_interrupted_stage(request, hold)


@pytest.fixture(scope="module")
def product_server(weights: Path, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The product on that stage."""
    assert weights.is_dir()
    with running_product(tmp_path_factory.mktemp("product"), **stage.environ, **stage.hold.environ) as product:
        yield product


def test_the_whole_way(page: Page, product_server: Running, stage: Stage, tmp_path: Path) -> None:
    go_the_whole_way(page, product_server, stage, tmp_path)
