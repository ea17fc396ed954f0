"""Clients of S3, set up for Wasabi: one for each process."""

from __future__ import annotations

import hashlib
import logging
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import ClientError

from adapters.s3_errors import answered, is_missing

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    # Checksums only where S3 demands one: Wasabi refuses parts of an upload that carry those of today's S3.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=20,
)
FOR_PAGES = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 2}, read_timeout=10))
"""For small questions that somebody waits for: a store that hangs is told of soon."""
UNTYPED = "application/octet-stream"
PAGE = 1000
"""Entries of a list in one answer."""
_CHATTY = ("boto3", "botocore", "urllib3")
"""Loggers that write signatures and signed addresses when they are asked for everything."""
_CHECKSUM_HEADERS = ("x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm")


class ClientOfProcess:
    """Makes a client when it is first asked for, and another one after a fork. Clients are shared by threads."""

    def __init__(
        self, *, endpoint: str, region: str, access_key_id: str, secret_access_key: str, config: Config = CONFIG
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._config = config
        self._made: dict[int, S3Client] = {}

    def __call__(self) -> S3Client:
        """Return this process's client."""
        process = os.getpid()
        # Two threads may both make one; without a lock, which a fork could leave locked, both get the same.
        return self._made.get(process) or self._made.setdefault(process, self._make())

    def _make(self) -> S3Client:
        for name in _CHATTY:
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.INFO))
        session = Session(  # of its own, because the library's common one is not safe in threads
            aws_access_key_id=self._access_key_id,
            aws_secret_access_key=self._secret_access_key,
            region_name=self._region,
        )
        client: S3Client = session.client("s3", endpoint_url=self._endpoint, config=self._config)
        for operation in ("DeleteObjects", "PutBucketCors"):
            client.meta.events.register(f"before-sign.s3.{operation}", _send_md5)
        client.meta.events.register_last("before-parameter-build.s3", _stay_here)
        return client


class BucketClients:
    """One bucket, and the clients by which it is reached. Raises `StorageError` when one can't be made."""

    def __init__(
        self,
        name: str,
        *,
        region: str,
        endpoint: str,
        public_endpoint: str,
        access_key_id: str,
        secret_access_key: str,
    ) -> None:
        self.name = name

        def make(address: str, config: Config) -> ClientOfProcess:
            return ClientOfProcess(
                endpoint=address,
                region=region,
                access_key_id=access_key_id,
                secret_access_key=secret_access_key,
                config=config,
            )

        self._quick, self._patient = make(endpoint, FOR_PAGES), make(endpoint, CONFIG)
        self._public = make(public_endpoint, CONFIG)

    @property
    def quick(self) -> S3Client:
        """For small questions."""
        with answered():
            return self._quick()

    @property
    def patient(self) -> S3Client:
        """For transfers, and for what takes the store its time."""
        with answered():
            return self._patient()

    @property
    def public(self) -> S3Client:
        """Signs addresses for browsers; sends nothing."""
        with answered():
            return self._public()

    def find(self, key: str) -> HeadObjectOutputTypeDef | None:
        """Return what the store says of an object; None when it is not there."""
        client = self.quick
        with answered():
            try:
                return client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                # The answer to a HEAD has no body that tells why, or whether the bucket is there; the one to this has.
                client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
                if not is_missing(error):
                    raise
                return None


def _stay_here(context: dict[str, Any], **_: Any) -> None:
    """Keep the library from looking for the bucket in other regions: it never stops when none is named to it."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _send_md5(request: AWSRequest, **_: Any) -> None:
    """Send the checksum that every S3 store knows, in place of the newer one of S3 itself."""
    for header in _CHECKSUM_HEADERS:
        if header in request.headers:
            del request.headers[header]
    body = request.data if isinstance(request.data, bytes) else str(request.data).encode()
    if "Content-MD5" in request.headers:
        del request.headers["Content-MD5"]
    request.headers["Content-MD5"] = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
