"""A file store that takes connections and never answers holds up whoever asks for files, and nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

import api
from adapters.s3_files import S3Files
from api.guard import COOKIE
from tests.database import make_video
from tests.product import Product, make_product
from tests.product.people import sign_up

MANY = 60
"""More than there are threads."""


@pytest.fixture
def hanging() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server


@pytest.fixture
def product(tmp_path: Path, hanging: socket.socket) -> Product:
    address = f"http://127.0.0.1:{hanging.getsockname()[1]}"
    files = S3Files(
        bucket="videos", region="eu", endpoint=address, public_endpoint=address, access_key_id="id",
        secret_access_key="key",
    )  # fmt: skip
    return make_product(tmp_path, files=files)


def test_others_are_answered_meanwhile(product: Product, hanging: socket.socket) -> None:
    ann = sign_up(product, "ann")
    person = product.ports.database.users.get(ann.id)
    assert person is not None
    video, _ = make_video(product.ports.database, person)
    app = Starlette(routes=api.make_routes(lambda: product.services))

    async def ask() -> None:
        transport, cookies = httpx.ASGITransport(app), {COOKIE: ann.token}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", cookies=cookies, headers={"X-App": "1"}, timeout=None
        ) as client:
            address = f"/api/videos/{video.id}/original"
            waiting = [asyncio.create_task(client.get(address)) for _ in range(MANY)]
            await asyncio.sleep(1.0)
            login = await client.post("/auth/session", json={"ticket": "none"})
            assert login.status_code == 401
            assert not any(task.done() for task in waiting), "the store did not hang"
            hanging.close()  # which ends the connections too
            answers = await asyncio.gather(*waiting)
            assert {answer.status_code for answer in answers} == {503}

    asyncio.run(ask())
