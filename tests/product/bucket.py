"""A product whose files live in a bucket of the local store, and what a browser does with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx

from adapters.s3_files import S3Files
from jobs.models import Json, Upload
from tests.product import Product
from tests.servers.weed import LocalS3

MIB = 1 << 20


def open_bucket(store: LocalS3, bucket: str, *, endpoint: str = "") -> S3Files:
    """Return a file store in a bucket."""
    return S3Files(
        bucket=bucket,
        region=store.region,
        endpoint=endpoint or store.endpoint,
        public_endpoint=endpoint or store.endpoint,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
    )


def list_bucket(store: LocalS3, bucket: str) -> list[str]:
    """Return all that is in a bucket: the keys of files, and of uploads that were begun."""
    listed = store.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    begun = store.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return sorted([*(one["Key"] for one in listed), *(f"upload of {one['Key']}" for one in begun)])


def begin_parts(product: Product, user_id: str, path: Path, *, name: str = "", options: Json | None = None) -> Upload:
    """Return an upload that was begun for a file."""
    size, name = path.stat().st_size, name or path.name
    return product.services.uploads.begin(
        user_id, name=name, size_bytes=size, fingerprint=f"{name}:{size}", options=options or {}
    ).upload


def send_parts(product: Product, upload: Upload, path: Path, numbers: Iterable[int] | None = None) -> None:
    """Send parts of a file as a browser does: all of them, or the given ones."""
    part_bytes = product.ports.files.part_bytes(upload.size_bytes)
    assert part_bytes is not None
    for number in numbers or range(1, -(-upload.size_bytes // part_bytes) + 1):
        address = product.services.uploads.open_part(upload.user_id, upload.id, number)
        with path.open("rb") as file:
            file.seek((number - 1) * part_bytes)
            answer = httpx.put(address.url, content=file.read(address.size_bytes), timeout=60)
        assert answer.status_code == 200, answer.text


def make_large(clip: Path, path: Path, size_bytes: int) -> Path:
    """Write a real video of exactly that size: the rest is a box that players skip."""
    data = clip.read_bytes()
    rest = size_bytes - len(data)
    path.write_bytes(
        data + rest.to_bytes(4, "big") + b"free" + bytes(range(256)) * ((rest - 8) // 256) + bytes((rest - 8) % 256)
    )
    return path
