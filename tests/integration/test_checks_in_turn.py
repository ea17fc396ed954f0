"""Files that are checked: one of a person at a time, so that nobody's many files keep another's waiting."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
from starlette.applications import Starlette

import api
from api.guard import COOKIE
from api.uploads import CHECKS_AT_ONCE
from jobs.models import RemoteFile, VideoFacts
from tests.database import FACTS
from tests.product import make_product
from tests.product.people import Person, receive_file, sign_up


class PatientProber:
    """Looks at a file until it is let go, and at a small one not at all."""

    def __init__(self) -> None:
        self.looking: list[str] = []
        self.let_go = threading.Event()

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        assert isinstance(source, Path)
        if len(source.read_bytes()) > 1:
            self.looking.append(source.name)
            assert self.let_go.wait(60)
        return FACTS


def test_many_files_of_one_person_keep_nobody_waiting(tmp_path: Path) -> None:
    prober = PatientProber()
    product = make_product(tmp_path, prober=prober)
    app = Starlette(routes=api.make_routes(lambda: product.services))
    large, small = tmp_path / "large.mp4", tmp_path / "small.mp4"
    large.write_bytes(b"12")
    small.write_bytes(b"1")
    ann, bob = sign_up(product, "ann"), sign_up(product, "bob")
    of_ann = [receive_file(product, ann.id, large, name=f"{number}.mp4").id for number in range(CHECKS_AT_ONCE + 1)]
    of_bob = receive_file(product, bob.id, small).id

    async def complete(person: Person, upload_id: str) -> int:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://127.0.0.1",
            cookies={COOKIE: person.token},
            headers={"X-App": "1"},
            timeout=None,
        ) as client:
            return (await client.post(f"/api/uploads/{upload_id}/complete")).status_code

    async def story() -> None:
        waiting = [asyncio.create_task(complete(ann, upload_id)) for upload_id in of_ann]
        while not prober.looking:
            await asyncio.sleep(0.01)
        assert await complete(bob, of_bob) == 200
        assert len(prober.looking) == 1, "more than one file of a person is checked at a time"
        assert not any(task.done() for task in waiting)
        prober.let_go.set()
        assert set(await asyncio.gather(*waiting)) == {200}

    asyncio.run(story())
