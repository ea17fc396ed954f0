"""Uploads in parts that go from a browser straight to a bucket: begun, signed, listed, made whole or given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from adapters.s3_client import PAGE, UNTYPED, BucketClients
from adapters.s3_errors import answered, get_code
from adapters.s3_transfer import complete_upload
from jobs.errors import Conflict, NotFound
from jobs.models import StoredFile

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef, MultipartUploadTypeDef, PartTypeDef

_MAX_PARTS, _MAX_PART_BYTES = 10_000, 5 << 30
_KNOWN = 1000
_LOOK_AGAIN_S = (0.2, 0.5, 1.0, 2.0)


class S3Uploads:
    """The uploads of one bucket, at most one for a key. Keys are given as they were checked."""

    def __init__(self, clients: BucketClients) -> None:
        self._clients = clients
        self._bucket = clients.name
        self._ids: dict[str, str] = {}
        self._beginning = tuple(threading.Lock() for _ in range(16))

    def list_parts(self, key: str) -> Mapping[int, int]:
        """Return the sizes of the parts that are there, by their numbers."""
        upload_id = self._find(key)
        return {part["PartNumber"]: part["Size"] for part in self._list_parts(key, upload_id)} if upload_id else {}

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:
        """Return the address that takes one part of just this size, and begin the upload if there is none."""
        if not (1 <= number <= _MAX_PARTS and 1 <= size_bytes <= _MAX_PART_BYTES):
            raise ValueError(f"part {number} of {size_bytes} bytes: S3 takes no such part")
        upload_id = self._ids.get(key) or self._begin(key)
        # The length is signed too, so that nobody can send more, or less, than was announced.
        return self._clients.public.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
                "ContentLength": size_bytes,
            },
            ExpiresIn=expires_s,
        )

    def finish(self, key: str) -> None:
        """Make an object of the parts; nothing happens when it is there. Raises `NotFound` when there are none."""
        if self._clients.find(key) is None:
            upload_id = self._find(key)
            parts = self._list_parts(key, upload_id) if upload_id else []
            if upload_id and parts:
                whole: list[CompletedPartTypeDef] = [
                    {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts
                ]
                try:
                    complete_upload(self._clients.patient, self._bucket, key, upload_id, whole, only_new=True)
                except (Conflict, NotFound):  # another was quicker, and may not have ended yet
                    self._await_object(key)
            elif self._clients.find(key) is None:
                raise NotFound(detail=key)
        self.discard(key)

    def discard(self, key: str) -> None:
        """Give up every upload of a key."""
        self._ids.pop(key, None)
        for upload in self._list(key):
            if upload["Key"] == key:
                self._abort(key, upload["UploadId"])

    def list_all(self) -> Iterator[StoredFile]:
        """Yield every upload, with the bytes of its parts."""
        for upload in self._list(""):
            parts = self._list_parts(upload["Key"], upload["UploadId"])
            yield StoredFile(
                key=upload["Key"],
                size_bytes=sum(part["Size"] for part in parts),
                modified_at=max([upload["Initiated"], *(part["LastModified"] for part in parts)]).astimezone(UTC),
            )

    def _await_object(self, key: str) -> None:
        """Wait until an object is there that another is just completing. Raises `NotFound`."""
        for pause_s in _LOOK_AGAIN_S:
            if self._clients.find(key) is not None:
                return
            time.sleep(pause_s)
        raise NotFound(detail=f"{key} was being completed, and is not there")

    def _begin(self, key: str) -> str:
        """Return the upload of a key, and make it if there is none. Raises `Conflict` when the object is there."""
        with self._beginning[hash(key) % len(self._beginning)]:
            if (upload_id := self._ids.get(key) or self._find(key)) is not None:
                return upload_id
            if self._clients.find(key) is not None:
                raise Conflict("This upload is whole already. Reload the page.", detail=key)
            client = self._clients.quick
            with answered():
                made = client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=UNTYPED)
            first = self._find(key) or made["UploadId"]
            if first != made["UploadId"]:  # another process was quicker
                self._abort(key, made["UploadId"])
            return first

    def _abort(self, key: str, upload_id: str) -> None:
        client = self._clients.quick
        with answered(), _ignoring_gone():
            client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def _find(self, key: str) -> str | None:
        """Return the upload of a key, as the store knows it now; of several, the first one for everybody."""
        found = [upload for upload in self._list(key) if upload["Key"] == key]
        self._ids.pop(key, None)
        if not found:
            return None
        upload_id = min(found, key=lambda upload: (upload["Initiated"], upload["UploadId"]))["UploadId"]
        self._ids[key] = upload_id
        while len(self._ids) > _KNOWN:
            with suppress(KeyError, StopIteration, RuntimeError):  # other threads do the same
                del self._ids[next(iter(self._ids))]
        return upload_id

    def _list(self, prefix: str) -> Iterator[MultipartUploadTypeDef]:
        pages = self._clients.quick.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        with answered():
            for page in pages:
                yield from page.get("Uploads", [])

    def _list_parts(self, key: str, upload_id: str) -> list[PartTypeDef]:
        pages = self._clients.quick.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=upload_id, PaginationConfig={"PageSize": PAGE}
        )
        parts: list[PartTypeDef] = []
        with answered(), _ignoring_gone():
            for page in pages:
                parts.extend(page.get("Parts", []))
        return parts


@contextmanager
def _ignoring_gone() -> Iterator[None]:
    """Go on when an upload was completed or aborted meanwhile."""
    try:
        yield
    except ClientError as error:
        if get_code(error) != "NoSuchUpload":
            raise
