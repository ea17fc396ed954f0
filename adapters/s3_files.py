"""Files in a bucket of Wasabi, or of any other S3 store."""

from __future__ import annotations

import hashlib
import mimetypes
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from botocore.config import Config
from botocore.exceptions import ClientError

from adapters.file_keys import check_folder, check_key
from adapters.s3_bucket import check_browsers
from adapters.s3_client import CONFIG, FOR_PAGES, ClientOfProcess
from adapters.s3_errors import UNKNOWN, answered, explain_code, get_code, is_missing, make_error
from adapters.s3_transfer import (
    Patience,
    complete_upload,
    fetch_file,
    measure_pieces,
    open_range,
    read_on,
    send_file,
)
from jobs.errors import Conflict, NotFound
from jobs.models import RemoteFile, StoredFile
from jobs.ports import OnProgress, ignore_progress

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        HeadObjectOutputTypeDef,
        MultipartUploadTypeDef,
        PartTypeDef,
    )

_UNTYPED = "application/octet-stream"
_MAX_PARTS, _MAX_PART_BYTES = 10_000, 5 << 30
_PAGE = 1000
_DELETE_AT_ONCE = 1000
_KNOWN_UPLOADS = 1000
_REMOTE_S = 3600
_READ_PATIENCE_S = 15.0
"""Somebody waits for what is read here."""
_WRITE_AGAIN_S = 900.0
"""Between two checks that write: Wasabi charges months for every file, however soon it is deleted."""
_LOOK_AGAIN_S = (0.2, 0.5, 1.0, 2.0)


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

        def make(address: str, config: Config = CONFIG) -> ClientOfProcess:
            return ClientOfProcess(
                endpoint=address,
                region=region,
                access_key_id=access_key_id,
                secret_access_key=secret_access_key,
                config=config,
            )

        self._client_of_process = make(endpoint, FOR_PAGES)
        self._patient_of_process = make(endpoint)
        self._public_of_process = make(public_endpoint)
        self._public_endpoint = public_endpoint
        self._origin = origin
        self._uploads: dict[str, str] = {}
        self._beginning = tuple(threading.Lock() for _ in range(16))
        self._written_at = -_WRITE_AGAIN_S

    @property
    def _client(self) -> S3Client:
        with answered():
            return self._client_of_process()

    @property
    def _patient(self) -> S3Client:
        """For transfers, and for what takes the store its time."""
        with answered():
            return self._patient_of_process()

    @property
    def _public(self) -> S3Client:
        """Signs addresses for browsers; sends nothing."""
        with answered():
            return self._public_of_process()

    # --- receiving ---

    def received(self, key: str) -> int:
        return sum(self.list_parts(key).values())

    def part_bytes(self, size_bytes: int) -> int | None:
        return measure_pieces(size_bytes)

    def list_parts(self, key: str) -> Mapping[int, int]:
        upload_id = self._find_upload(key)
        return {part["PartNumber"]: part["Size"] for part in self._list_parts(key, upload_id)} if upload_id else {}

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:
        if not (1 <= number <= _MAX_PARTS and 1 <= size_bytes <= _MAX_PART_BYTES):
            raise ValueError(f"part {number} of {size_bytes} bytes: S3 takes no such part")
        upload_id = self._uploads.get(key) or self._begin_upload(key)
        # The length is signed too, so that nobody can send more, or less, than was announced.
        return self._public.generate_presigned_url(
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

    def append(self, key: str, offset: int, data: bytes) -> None:  # noqa: ARG002
        raise Conflict("This upload goes to the file store in parts. Reload the page, then go on.", code="in_parts")

    def upload_path(self, key: str) -> Path | None:
        check_key(key)
        return None

    def finish_upload(self, key: str) -> None:
        if self._head(key) is None:
            upload_id = self._find_upload(key)
            parts = self._list_parts(key, upload_id) if upload_id else []
            if upload_id and parts:
                whole: list[CompletedPartTypeDef] = [
                    {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts
                ]
                try:
                    complete_upload(self._patient, self._bucket, key, upload_id, whole, only_new=True)
                except (Conflict, NotFound):  # another was quicker, and may not have ended yet
                    self._await_object(key)
            elif self._head(key) is None:
                raise NotFound(detail=key)
        self.discard_upload(key)

    def discard_upload(self, key: str) -> None:
        self._uploads.pop(check_key(key), None)
        for upload in self._list_multiparts(key):
            if upload["Key"] == key:
                with answered(), _ignoring_gone():
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload["UploadId"])

    def list_uploads(self) -> Iterator[StoredFile]:
        for upload in self._list_multiparts(""):
            parts = self._list_parts(upload["Key"], upload["UploadId"])
            yield StoredFile(
                key=upload["Key"],
                size_bytes=sum(part["Size"] for part in parts),
                modified_at=max([upload["Initiated"], *(part["LastModified"] for part in parts)]).astimezone(UTC),
            )

    # --- finished files ---

    def stat(self, key: str) -> StoredFile | None:
        found = self._head(key)
        if found is None:
            return None
        return StoredFile(key=key, size_bytes=found["ContentLength"], modified_at=found["LastModified"].astimezone(UTC))

    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        is_original = check_key(key).endswith("/original")
        if is_original and self._head(key) is not None:
            raise Conflict("An original is never replaced.", detail=key)
        send_file(
            self._patient,
            self._bucket,
            key,
            path,
            media_type=mimetypes.guess_type(key)[0] or _UNTYPED,
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
        read = open_range(self._patient, self._bucket, key, found["ETag"])
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
            url=self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_REMOTE_S
            ),
            size_bytes=found["ContentLength"],
            sha256=hashlib.sha256(identity.encode()).hexdigest(),
        )

    def link(self, key: str, *, file_name: str, media_type: str, download: bool, expires_s: int) -> str | None:
        return self._public.generate_presigned_url(
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
        read = open_range(self._client, self._bucket, key, found["ETag"])
        yield from read_on(read, 0, found["ContentLength"], Patience(lasts_s=_READ_PATIENCE_S))

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": _PAGE}
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
                answer = self._client.delete_objects(
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
        client = self._client
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
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
            try:
                if self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read() != data:
                    raise make_error(UNKNOWN, "what was written is not what is read")
            finally:
                self._client.delete_object(Bucket=self._bucket, Key=key)
            self._check_parts(key)
        self._written_at = time.monotonic()

    def _check_parts(self, key: str) -> None:
        """Begin an upload in parts and give it up: at many stores a key needs rights of their own for that."""
        bucket = self._bucket
        self._client.list_multipart_uploads(Bucket=bucket, Prefix=key, MaxUploads=1)
        upload_id = self._client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        try:
            self._client.list_parts(Bucket=bucket, Key=key, UploadId=upload_id, MaxParts=1)
        finally:
            self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)

    def _head(self, key: str) -> HeadObjectOutputTypeDef | None:
        with answered():
            try:
                return self._client.head_object(Bucket=self._bucket, Key=check_key(key))
            except ClientError as error:
                # The answer to a HEAD has no body that tells why, or whether the bucket is there; the one to this has.
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
                if not is_missing(error):
                    raise
                return None

    def _require(self, key: str) -> HeadObjectOutputTypeDef:
        found = self._head(key)
        if found is None:
            raise NotFound(detail=key)
        return found

    def _await_object(self, key: str) -> None:
        """Wait until an object is there that another is just completing. Raises `NotFound`."""
        for pause_s in _LOOK_AGAIN_S:
            if self._head(key) is not None:
                return
            time.sleep(pause_s)
        raise NotFound(detail=f"{key} was being completed, and is not there")

    def _begin_upload(self, key: str) -> str:
        """Return the upload of a key, and make it if there is none. Raises `Conflict` when the object is there."""
        with self._beginning[hash(key) % len(self._beginning)]:
            if (upload_id := self._uploads.get(key) or self._find_upload(key)) is not None:
                return upload_id
            if self._head(key) is not None:
                raise Conflict("This upload is whole already. Reload the page.", detail=key)
            with answered():
                made = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=_UNTYPED)
            first = self._find_upload(key) or made["UploadId"]
            if first != made["UploadId"]:  # another process was quicker
                with answered(), _ignoring_gone():
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=made["UploadId"])
            return first

    def _find_upload(self, key: str) -> str | None:
        """Return the upload of a key, as the store knows it now; of several, the first one for everybody."""
        found = [upload for upload in self._list_multiparts(check_key(key)) if upload["Key"] == key]
        self._uploads.pop(key, None)
        if not found:
            return None
        upload_id = min(found, key=lambda upload: (upload["Initiated"], upload["UploadId"]))["UploadId"]
        self._uploads[key] = upload_id
        while len(self._uploads) > _KNOWN_UPLOADS:
            with suppress(KeyError, StopIteration, RuntimeError):  # other threads do the same
                del self._uploads[next(iter(self._uploads))]
        return upload_id

    def _list_multiparts(self, prefix: str) -> Iterator[MultipartUploadTypeDef]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"PageSize": _PAGE}
        )
        with answered():
            for page in pages:
                yield from page.get("Uploads", [])

    def _list_parts(self, key: str, upload_id: str) -> list[PartTypeDef]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=upload_id, PaginationConfig={"PageSize": _PAGE}
        )
        parts: list[PartTypeDef] = []
        with answered(), _ignoring_gone():
            for page in pages:
                parts.extend(page.get("Parts", []))
        return parts


def describe_disposition(file_name: str, *, download: bool) -> str:
    """Return the header that gives a file its name, whatever letters that has."""
    kind, quoted = "attachment" if download else "inline", quote(file_name, safe="")
    return f'{kind}; filename="{file_name}"' if quoted == file_name else f"{kind}; filename*=utf-8''{quoted}"


@contextmanager
def _ignoring_gone() -> Iterator[None]:
    """Go on when an upload was completed or aborted meanwhile."""
    try:
        yield
    except ClientError as error:
        if get_code(error) != "NoSuchUpload":
            raise
