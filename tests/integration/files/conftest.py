"""The file stores there are. Tests take a corner of one: the keys of a person nobody else has, removed afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from adapters.local_files import LocalFiles
from adapters.s3_files import S3Files
from config import load_settings
from jobs.ports import FileStore
from tests.servers.weed import LocalS3

ORIGIN = "https://videos.example.com"
LIVE = "TEST_LIVE_WASABI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corner:
    """Keys of one person, and what one needs to store something there."""

    prefix: str
    files: FileStore

    def key(self, name: str = "original") -> str:
        """Return the key of a file of a video."""
        return f"{self.prefix}video/{uuid4()}/{name}"

    def send(self, key: str, data: bytes) -> None:
        """Send an upload as a browser does, without finishing it."""
        part_bytes = self.files.part_bytes(len(data))
        if part_bytes is None:
            self.files.append(key, 0, data)
            return
        for number, start in enumerate(range(0, len(data), part_bytes), 1):
            part = data[start : start + part_bytes]
            answer = httpx.put(self.files.sign_part(key, number, len(part), expires_s=60), content=part)
            assert answer.status_code == 200, answer.text

    def list_uploads(self) -> dict[str, int]:
        """Return the bytes of this person's unfinished uploads."""
        return {file.key: file.size_bytes for file in self.files.list_uploads() if file.key.startswith(self.prefix)}


def open_s3(store: LocalS3, bucket: str, **otherwise: str) -> S3Files:
    """Return the adapter for a bucket of the local store."""
    given = {
        "bucket": bucket,
        "region": store.region,
        "endpoint": store.endpoint,
        "public_endpoint": store.endpoint,
        "access_key_id": store.access_key_id,
        "secret_access_key": store.secret_access_key,
    }
    return S3Files(**{**given, **otherwise})


def _open_local(request: pytest.FixtureRequest) -> FileStore:
    folder: Path = request.getfixturevalue("tmp_path")
    return LocalFiles(folder / "data" / "files")


def _open_s3(request: pytest.FixtureRequest) -> FileStore:
    return open_s3(request.getfixturevalue("local_s3"), request.getfixturevalue("bucket"))


def _open_live(_request: pytest.FixtureRequest) -> FileStore:
    wasabi = load_settings().wasabi
    assert wasabi, f"{LIVE} is set, and WASABI_* are not"
    return S3Files(
        bucket=wasabi.bucket,
        region=wasabi.region,
        endpoint=wasabi.endpoint,
        public_endpoint=wasabi.public_endpoint,
        access_key_id=wasabi.access_key_id,
        secret_access_key=wasabi.secret_access_key,
    )


IS_LIVE = os.environ.get(LIVE) == "1"
ELSEWHERE: Mapping[str, Callable[[pytest.FixtureRequest], FileStore]] = {
    "s3": _open_s3,
    **({"live": _open_live} if IS_LIVE else {}),
}
OPENERS: Mapping[str, Callable[[pytest.FixtureRequest], FileStore]] = {"local": _open_local, **ELSEWHERE}


@pytest.fixture(scope="session")
def bucket(local_s3: LocalS3) -> str:
    """An own bucket in the local store."""
    return local_s3.make_bucket("files")


def _make_corner(files: FileStore) -> Iterator[Corner]:
    corner = Corner(prefix=f"user/{uuid4()}/", files=files)
    yield corner
    files.delete_all(corner.prefix)
    for key in corner.list_uploads():
        files.discard_upload(key)


@pytest.fixture(params=OPENERS)
def corner(request: pytest.FixtureRequest) -> Iterator[Corner]:
    """A corner of every store."""
    yield from _make_corner(OPENERS[request.param](request))


@pytest.fixture(params=ELSEWHERE)
def s3_corner(request: pytest.FixtureRequest) -> Iterator[Corner]:
    """A corner of every store that is not on this machine."""
    yield from _make_corner(ELSEWHERE[request.param](request))


@pytest.fixture
def local_corner(request: pytest.FixtureRequest) -> Iterator[Corner]:
    """A corner of the S3 store that the tests start, for what is too rough, or too dear, for a live one."""
    yield from _make_corner(_open_s3(request))
