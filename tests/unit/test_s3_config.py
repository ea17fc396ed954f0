"""What is sent to Wasabi. No local store notices a missing option, so the options themselves are looked at."""

from __future__ import annotations

import hashlib
import logging
import os
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from urllib3 import HTTPResponse

from adapters.s3_client import CONFIG, FOR_PAGES, ClientOfProcess
from adapters.s3_files import S3Files

ENDPOINT = "https://s3.eu-central-1.wasabisys.com"
KEYS = {"access_key_id": "AKEXAMPLE", "secret_access_key": "top-secret"}


def make_clients(config: Config = CONFIG) -> ClientOfProcess:
    return ClientOfProcess(
        endpoint=ENDPOINT,
        region="eu-central-1",
        access_key_id=KEYS["access_key_id"],
        secret_access_key=KEYS["secret_access_key"],
        config=config,
    )


@pytest.fixture
def client_of_process() -> ClientOfProcess:
    return make_clients()


def test_the_client_is_set_up_for_wasabi(client_of_process: ClientOfProcess) -> None:
    client = client_of_process()
    config: Any = client.meta.config
    assert client.meta.endpoint_url == ENDPOINT
    assert client.meta.region_name == "eu-central-1"
    assert config.signature_version == "s3v4"
    assert config.s3["addressing_style"] == "path"
    assert config.request_checksum_calculation == "when_required"
    assert config.response_checksum_validation == "when_required"
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 5
    assert config.connect_timeout == 5
    assert config.read_timeout == 60
    assert config.max_pool_connections == 20


def test_pages_wait_less_and_are_set_up_the_same() -> None:
    config: Any = make_clients(FOR_PAGES)().meta.config
    usual: Any = make_clients()().meta.config
    assert (config.read_timeout, config.retries["total_max_attempts"]) == (10, 2)
    for name in ("signature_version", "s3", "request_checksum_calculation", "response_checksum_validation"):
        assert getattr(config, name) == getattr(usual, name)


def test_the_environment_changes_none_of_it(
    monkeypatch: pytest.MonkeyPatch, client_of_process: ClientOfProcess
) -> None:
    for name, value in {
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_RETRY_MODE": "legacy",
        "AWS_ENDPOINT_URL_S3": "https://elsewhere.example.com",
        "AWS_DEFAULT_REGION": "us-west-1",
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
    }.items():
        monkeypatch.setenv(name, value)
    test_the_client_is_set_up_for_wasabi(client_of_process)


def capture(client_of_process: ClientOfProcess, call: Callable[[Any], object]) -> AWSPreparedRequest:
    """Return the request that a call would send."""
    client: Any = client_of_process()
    sent: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), HTTPResponse(BytesIO(), preload_content=False))

    client.meta.events.register("before-send.s3", answer)
    call(client)
    (request,) = sent
    return request


@pytest.mark.parametrize(
    "call",
    [
        lambda s3: s3.put_object(Bucket="b", Key="user/x", Body=b"abc"),
        lambda s3: s3.upload_part(Bucket="b", Key="user/x", UploadId="1", PartNumber=1, Body=b"abc"),
        lambda s3: s3.create_multipart_upload(Bucket="b", Key="user/x"),
        lambda s3: s3.get_object(Bucket="b", Key="user/x"),
        lambda s3: s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "user/x"}]}),
        lambda s3: s3.put_bucket_cors(Bucket="b", CORSConfiguration={"CORSRules": []}),
    ],
)
def test_no_checksum_goes_out_that_wasabi_refuses(
    client_of_process: ClientOfProcess, call: Callable[[Any], object]
) -> None:
    request = capture(client_of_process, call)
    names = {name.lower() for name in request.headers}
    assert not {name for name in names if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer"))}
    assert request.url.startswith(f"{ENDPOINT}/b")


def test_a_deletion_carries_the_checksum_that_every_store_knows(client_of_process: ClientOfProcess) -> None:
    request = capture(client_of_process, lambda s3: s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "x"}]}))
    assert isinstance(request.body, bytes)
    sent: Any = request.headers["Content-MD5"]
    assert sent == b64encode(hashlib.md5(request.body).digest())
    assert b"content-md5" in request.headers["Authorization"].lower()


def test_addresses_are_signed_for_the_public_endpoint() -> None:
    files = S3Files(
        bucket="b", region="eu-central-1", endpoint="http://10.0.0.9:8333", public_endpoint=ENDPOINT, **KEYS
    )  # fmt: skip
    link = files.link("user/x", file_name="x", media_type="video/mp4", download=True, expires_s=60)
    assert link is not None
    assert link.startswith(f"{ENDPOINT}/b/user/x?")
    assert "X-Amz-Expires=60" in link
    assert "checksum" not in link.lower()
    assert KEYS["secret_access_key"] not in link


def test_threads_share_a_client_and_processes_do_not(
    monkeypatch: pytest.MonkeyPatch, client_of_process: ClientOfProcess
) -> None:
    parents = client_of_process()
    assert client_of_process() is parents
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as after a fork
    assert client_of_process() is not parents


def test_signatures_are_logged_at_no_level(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, client_of_process: ClientOfProcess
) -> None:
    for name in ("boto3", "botocore", "urllib3"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        capture(client_of_process, lambda s3: s3.get_object(Bucket="b", Key="user/x"))
        client_of_process().generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "user/x"})
    assert "Signature" not in caplog.text
    assert "AKEXAMPLE" not in caplog.text
    assert KEYS["secret_access_key"] not in caplog.text


def test_keys_are_not_printed() -> None:
    files = S3Files(bucket="b", region="r-1", endpoint=ENDPOINT, public_endpoint=ENDPOINT, **KEYS)
    assert "top-secret" not in repr(files) + repr(make_clients())
