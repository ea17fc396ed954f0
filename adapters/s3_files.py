"""Files in a bucket of Wasabi, or of any other S3 store."""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from adapters.file_keys import check_folder, check_key
from adapters.s3_bucket import check_browsers
from adapters.s3_client import PAGE, UNTYPED, BucketClients
from adapters.s3_errors import UNKNOWN, answered, explain_code, make_error
from adapters.s3_transfer import Patience, fetch_file, measure_pieces, open_range, read_on, send_file
from adapters.s3_uploads import S3Uploads
from jobs.errors import Conflict, NotFound
from jobs.models import RemoteFile, StoredFile
from jobs.ports import OnProgress, ignore_progress

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

_DELETE_AT_ONCE = 1000
_REMOTE_S = 3600
_READ_PATIENCE_S = 15.0
"""Somebody waits for what is read here."""
_WRITE_AGAIN_S = 900.0
"""Between two checks that write: Wasabi charges months for every file, however soon it is deleted."""


class S3Files:
    """A file store in one bucket. Safe to be used by several threads and processes; makes a client after each fork."""

    def __init__(
        self,
        *,
        bucket: str,
        region: str,
        endpoint: str,
        public_endpoint: str,
        access_key_id: str,
        secret_access_key: str,
        origin: str = "",
    ) -> None:
        """Connect to nothing yet. ``origin`` is where browsers reach the product, for `check`; empty: not looked at."""
        self._bucket = bucket
        self._clients = BucketClients(
            bucket,
            region=region,
            endpoint=endpoint,
            public_endpoint=public_endpoint,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
        )
        self._uploads = S3Uploads(self._clients)
        self._public_endpoint = public_endpoint
        self._origin = origin
        self._written_at = -_WRITE_AGAIN_S

    # --- receiving ---

    def received(self, key: str) -> int:
        return sum(self.list_parts(key).values())

    def part_bytes(self, size_bytes: int) -> int | None:
        return measure_pieces(size_bytes)

    def list_parts(self, key: str) -> Mapping[int, int]:
        return self._uploads.list_parts(check_key(key))

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:
        return self._uploads.sign_part(check_key(key), number, size_bytes, expires_s=expires_s)

    def append(self, key: str, offset: int, data: bytes) -> None:  # noqa: ARG002
        raise Conflict("This upload goes to the file store in parts. Reload the page, then go on.", code="in_parts")

    def upload_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def finish_upload(self, key: str) -> None:
        self._uploads.finish(check_key(key))

    def discard_upload(self, key: str) -> None:
        self._uploads.discard(check_key(key))

    def list_uploads(self) -> Iterator[StoredFile]:
        return self._uploads.list_all()

    # --- finished files ---

    def stat(self, key: str) -> StoredFile | None:
        found = self._clients.find(check_key(key))
        if found is None:
            return None
        return StoredFile(key=key, size_bytes=found["ContentLength"], modified_at=found["LastModified"].astimezone(UTC))

    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        is_original = check_key(key).endswith("/original")
        if is_original and self._clients.find(check_key(key)) is not None:
            raise Conflict("An original is never replaced.", detail=key)
        send_file(
            self._clients.patient,
            self._bucket,
            key,
            path,
            media_type=mimetypes.guess_type(key)[0] or UNTYPED,
            only_new=is_original,
            on_progress=on_progress,
        )

    def fetch(
        self,
        key: str,
        path: Path,
        *,
        should_cancel: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> Path:
        found = self._require(key)
        read = open_range(self._clients.patient, self._bucket, key, found["ETag"])
        fetch_file(read, found["ContentLength"], path, should_cancel=should_cancel, on_progress=on_progress)
        return path

    def local_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def open_remote(self, key: str) -> RemoteFile | None:
        """Return an address for an hour on the endpoint of this machine.

        Its ``sha256`` is the SHA-256 of the text ``size:etag``: the store's tag is made of the MD5 of every part, and
        the size of parts depends on the size of the file alone, so the same bytes have the same identity.
        """
        found = self._require(key)
        identity = f"{found['ContentLength']}:{found['ETag']}"
        return RemoteFile(
            url=self._clients.quick.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_REMOTE_S
            ),
            size_bytes=found["ContentLength"],
            sha256=hashlib.sha256(identity.encode()).hexdigest(),
        )

    def link(self, key: str, *, file_name: str, media_type: str, download: bool, expires_s: int) -> str | None:
        return self._clients.public.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": check_key(key),
                "ResponseContentDisposition": describe_disposition(file_name, download=download),
                "ResponseContentType": media_type,
                "ResponseCacheControl": "private, no-cache",
            },
            ExpiresIn=expires_s,
        )

    def read(self, key: str) -> Iterator[bytes]:
        found = self._require(key)
        read = open_range(self._clients.quick, self._bucket, key, found["ETag"])
        yield from read_on(read, 0, found["ContentLength"], Patience(lasts_s=_READ_PATIENCE_S))

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        pages = self._clients.quick.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        with answered():
            for page in pages:
                for one in page.get("Contents", []):
                    if not one["Key"].startswith("."):
                        yield StoredFile(
                            key=one["Key"],
                            size_bytes=one["Size"],
                            modified_at=one["LastModified"].astimezone(UTC),
                        )

    def delete(self, keys: Iterable[str]) -> None:
        checked = map(check_key, keys)
        while batch := list(islice(checked, _DELETE_AT_ONCE)):
            with answered():
                answer = self._clients.quick.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            for error in answer.get("Errors", []):
                if error.get("Code") != "NoSuchKey":
                    raise explain_code(
                        error.get("Code", ""), f"{error.get('Key')} stays: {error.get('Code')} {error.get('Message')}"
                    )

    def delete_all(self, prefix: str) -> int:
        keys = (file.key for file in self.list_files(check_folder(prefix)))
        count = 0
        while batch := list(islice(keys, _DELETE_AT_ONCE)):
            self.delete(batch)
            count += len(batch)
        return count

    def free_bytes(self) -> int | None:
        return None

    def check(self) -> str:
        """Look into the bucket, ask it whether browsers may upload, and now and then do there all that is ever done."""
        client = self._clients.quick
        with answered():
            client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
        if time.monotonic() - self._written_at >= _WRITE_AGAIN_S:
            self._check_writing()
        if not self._origin:
            return "The bucket can be read and written."
        return (
            f"The bucket can be read and written. {check_browsers(self._public_endpoint, self._bucket, self._origin)}"
        )

    # --- the store ---

    def _check_writing(self) -> None:
        key, data = f".check/{uuid4()}", uuid4().hex.encode()
        with answered():
            self._clients.quick.put_object(Bucket=self._bucket, Key=key, Body=data)
            try:
                if self._clients.quick.get_object(Bucket=self._bucket, Key=key)["Body"].read() != data:
                    raise make_error(UNKNOWN, "what was written is not what is read")
            finally:
                self._clients.quick.delete_object(Bucket=self._bucket, Key=key)
            self._check_parts(key)
        self._written_at = time.monotonic()

    def _check_parts(self, key: str) -> None:
        """Begin an upload in parts and give it up: at many stores a key needs rights of their own for that."""
        bucket = self._bucket
        self._clients.quick.list_multipart_uploads(Bucket=bucket, Prefix=key, MaxUploads=1)
        upload_id = self._clients.quick.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        try:
            self._clients.quick.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1)
        finally:
            self._clients.quick.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)

    def _require(self, key: str) -> HeadObjectOutputTypeDef:
        found = self._clients.find(check_key(key))
        if found is None:
            raise NotFound(detail=key)
        return found


def describe_disposition(file_name: str, *, download: bool) -> str:
    """Return the header that gives a file its name, whatever letters that has."""
    kind, quoted = "attachment" if download else "inline", quote(file_name, safe="")
    return f'{kind}; filename="{file_name}"' if quoted == file_name else f"{kind}; filename*=utf-8''{quoted}"
