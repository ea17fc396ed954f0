"""The bucket itself: made, closed to strangers, opened to the browsers of this product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import httpx
from botocore.exceptions import ClientError

from adapters.s3_client import ClientOfProcess
from adapters.s3_errors import DENIED, Trouble, answered, explain_code, get_code, make_error
from jobs.errors import StorageError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CORSRuleOutputTypeDef, CORSRuleTypeDef

RULE_ID = "mini-video-factory"
_ANSWER_S = 2.0

BROWSERS = Trouble(
    code="files_browsers",
    remedy="Browsers may not upload to the bucket from where the product is reached: check PUBLIC_URL, then run "
    "`make bucket`.",
)
OPEN = Trouble(
    code="files_open",
    remedy="Anybody can read what is in the bucket: take public access away from it at its provider.",
)


def make_rule(origin: str) -> CORSRuleTypeDef:
    """Return what browsers may do that show the product of ``origin``: send parts, and read what links name."""
    return {
        "ID": RULE_ID,
        "AllowedOrigins": [origin],
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "Content-Length", "Content-Range", "Accept-Ranges"],
        "MaxAgeSeconds": 3600,
    }


def check_browsers(endpoint: str, bucket: str, origin: str) -> str:
    """Ask the store what a browser asks it before an upload; return a sentence about it.

    The rules themselves may be hidden from our key, and a store can have some that nobody wrote. Raises `StorageError`.
    """
    asking = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    try:
        answer = httpx.options(f"{endpoint}/{quote(bucket)}/.check/{uuid4()}", headers=asking, timeout=_ANSWER_S)
    except httpx.HTTPError:
        return "Whether browsers may upload can't be told from here: WASABI_PUBLIC_ENDPOINT does not answer."
    allowed = answer.headers.get("Access-Control-Allow-Origin", "")
    methods = answer.headers.get("Access-Control-Allow-Methods", "")
    if not answer.is_success or allowed not in ("*", origin) or "PUT" not in methods:
        raise make_error(BROWSERS, f"{origin} may not PUT: HTTP {answer.status_code}, {allowed!r}, {methods!r}")
    return "Browsers may upload to it."


def prepare_bucket(
    *,
    bucket: str,
    region: str,
    endpoint: str,
    public_endpoint: str,
    access_key_id: str,
    secret_access_key: str,
    origin: str,
    dry_run: bool = False,
) -> Iterator[str]:
    """Make the bucket if it is missing, let browsers upload from ``origin``, and look whether it is closed to others.

    Yields a sentence for each thing done, or to be done in a dry run. Raises `StorageError`, whose ``remedy`` says what
    to do; what was done until then stays.
    """
    client = ClientOfProcess(
        endpoint=endpoint, region=region, access_key_id=access_key_id, secret_access_key=secret_access_key
    )()
    with answered():
        if not _is_there(client, bucket):
            yield f"The bucket {bucket} {'would be' if dry_run else 'is'} made in {region}."
            if dry_run:
                yield f"Browsers would be allowed to upload from {origin}."
                return
            _make(client, bucket, region)
        else:
            yield f"The bucket {bucket} is there."
    try:
        with answered():
            yield from _allow_browsers(client, bucket, origin, dry_run=dry_run)
    except StorageError as error:
        if error.code != DENIED.code:
            raise
        try:
            check_browsers(public_endpoint, bucket, origin)
        except StorageError:
            raise error from None
        yield "Its CORS rules can't be changed with this access key, and need not be."
    if dry_run:
        return
    yield check_browsers(public_endpoint, bucket, origin)
    with answered():
        yield from _check_closed(
            client, {public_endpoint: "WASABI_PUBLIC_ENDPOINT", endpoint: "WASABI_ENDPOINT"}, bucket
        )


def _is_there(client: S3Client, bucket: str) -> bool:
    try:
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if get_code(error) == "NoSuchBucket":
            return False
        raise
    return True


def _make(client: S3Client, bucket: str, region: str) -> None:
    try:
        if region == "us-east-1":  # the one that S3 takes for granted, and refuses to be told
            client.create_bucket(Bucket=bucket)
        else:
            client.create_bucket(
                Bucket=bucket,
                CreateBucketConfiguration={"LocationConstraint": region},  # type: ignore[typeddict-item]
            )
    except ClientError as error:
        if get_code(error) == "BucketAlreadyOwnedByYou":
            return
        if get_code(error) == "BucketAlreadyExists":
            raise make_error(_TAKEN, str(error)) from error
        raise _name_right(error, "make buckets", "make it at the provider") from error


def _allow_browsers(client: S3Client, bucket: str, origin: str, *, dry_run: bool) -> Iterator[str]:
    try:
        rules: list[CORSRuleOutputTypeDef] = client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if get_code(error) not in ("NoSuchCORSConfiguration", "NoSuchCORSConfigurationError"):
            raise _name_right(error, "read the CORS rules of the bucket", "set them at the provider") from error
        rules = []
    wanted = make_rule(origin)
    if wanted in rules:
        yield f"Browsers are allowed to upload from {origin} already."
        return
    if dry_run:
        yield f"Browsers would be allowed to upload from {origin}."
        return
    others = [rule for rule in rules if rule.get("ID") != RULE_ID]
    try:
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [*others, wanted]})
    except ClientError as error:
        raise _name_right(error, "set the CORS rules of the bucket", "set them at the provider") from error
    kept = f" {len(others)} other rules stay." if others else ""
    yield f"Browsers are now allowed to upload from {origin}.{kept}"


def _check_closed(client: S3Client, names: Mapping[str, str], bucket: str) -> Iterator[str]:
    """Look at the bucket, and at a file in it, as a stranger at each address of ``names``; yield what that shows."""
    key = f".check/{uuid4()}"
    client.put_object(Bucket=bucket, Key=key, Body=b"closed?")
    try:
        refusing = {address for address in names if _refuses(address, (f"{bucket}?list-type=2", f"{bucket}/{key}"))}
    finally:
        client.delete_object(Bucket=bucket, Key=key)
    if refusing:
        yield "Nobody can read it without a link of ours."
    for name in (name for address, name in names.items() if address not in refusing):
        yield f"Whether strangers can read it at {name} can't be told from here: the store does not answer there."


def _refuses(address: str, paths: Sequence[str]) -> bool:
    """Tell whether a stranger is refused every path; no refusal is silence, or what a proxy before the store says.

    Raises `StorageError` when a stranger gets one of them.
    """
    refused = 0
    for path in paths:
        try:
            answer = httpx.get(f"{address}/{path}", timeout=_ANSWER_S)
        except httpx.HTTPError:
            continue
        if answer.is_success:
            raise make_error(OPEN, f"{path} answers {answer.status_code} to anybody")
        refused += answer.is_client_error
    return refused == len(paths)


_TAKEN = Trouble(
    code="files_bucket",
    remedy="The bucket belongs to somebody else: take another name for WASABI_BUCKET.",
)


def _name_right(error: ClientError, right: str, otherwise: str) -> StorageError:
    """Return an error that says which right the key lacks, when that is what is wrong."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    explained = explain_code(get_code(error), f"{error} (HTTP {status})", status=status)
    if explained.code == DENIED.code:
        explained.remedy = f"The access key may not {right}: give it the right, or {otherwise}."
    return explained
