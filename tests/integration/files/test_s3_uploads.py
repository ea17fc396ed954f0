"""Uploads that go straight to S3: what a signed address allows, and what it does not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.s3_transfer import MAX_PARTS, PIECE_BYTES
from jobs.errors import Conflict, NotFound, StorageError
from tests.integration.files.conftest import Corner, open_s3
from tests.servers.weed import LocalS3

MIB = 1 << 20
PART = 5 * MIB
"""The smallest part that S3 takes, unless it is the last."""


def put(url: str, data: bytes) -> int:
    return httpx.put(url, content=data).status_code


def upload_id(url: str) -> str:
    (value,) = parse_qs(urlsplit(url).query)["uploadId"]
    return value


def test_parts_are_as_large_as_the_file_asks(s3_corner: Corner) -> None:
    measure = s3_corner.files.part_bytes
    for size in (1, PIECE_BYTES, PIECE_BYTES + 1, 10**10, 5 * 10**12):
        part = measure(size)
        assert part is not None
        assert part % MIB == 0
        assert -(-size // part) <= MAX_PARTS
        assert part == measure(size)
    assert measure(10**10) == 16 * MIB


@pytest.mark.parametrize("change", [-1, 1, MIB])
def test_nobody_sends_more_or_less_than_announced(s3_corner: Corner, change: int) -> None:
    key, files = s3_corner.key(), s3_corner.files
    url = files.sign_part(key, 1, MIB, expires_s=60)
    assert put(url, b"a" * (MIB + change)) == 403
    assert files.received(key) == 0
    assert put(url, b"a" * MIB) == 200
    assert files.received(key) == MIB


def test_nobody_sends_without_telling_how_much(s3_corner: Corner) -> None:
    key, files = s3_corner.key(), s3_corner.files
    url = files.sign_part(key, 1, MIB, expires_s=60)
    answer = httpx.put(url, content=(b"a" * MIB for _ in range(4)))  # in chunks, which have no length
    assert answer.status_code >= 400
    assert files.received(key) == 0


def test_a_signed_address_serves_for_one_part_of_one_upload(s3_corner: Corner) -> None:
    key, other, files = s3_corner.key(), s3_corner.key(), s3_corner.files
    url = files.sign_part(key, 1, 3, expires_s=60)
    files.sign_part(other, 1, 3, expires_s=60)
    for changed in (
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(key, other),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        url[:-4] + ("0000" if url[-4:] != "0000" else "1111"),
        url.partition("?")[0],
    ):
        assert changed != url
        assert put(changed, b"abc") == 403
    assert httpx.get(url).status_code == 403
    assert httpx.delete(url).status_code == 403
    assert files.received(key) == files.received(other) == 0


def test_a_signed_address_expires(s3_corner: Corner) -> None:
    key = s3_corner.key()
    url = s3_corner.files.sign_part(key, 1, 3, expires_s=1)
    time.sleep(2.5)
    assert put(url, b"abc") == 403
    assert s3_corner.files.received(key) == 0


@pytest.mark.parametrize(("number", "size"), [(0, 1), (10_001, 1), (1, 0), (1, (5 << 30) + 1)])
def test_a_part_that_s3_takes_of_nobody_is_not_signed(s3_corner: Corner, number: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such part"):
        s3_corner.files.sign_part(s3_corner.key(), number, size, expires_s=60)


def test_parts_come_in_any_order_and_again(s3_corner: Corner) -> None:
    key, files = s3_corner.key(), s3_corner.files
    assert put(files.sign_part(key, 2, 3, expires_s=60), b"end") == 200
    assert files.list_parts(key) == {2: 3}
    for letter in (b"x", b"a"):
        assert put(files.sign_part(key, 1, PART, expires_s=60), letter * PART) == 200
    assert files.list_parts(key) == {1: PART, 2: 3}
    assert files.received(key) == PART + 3
    files.finish_upload(key)
    assert b"".join(files.read(key)) == b"a" * PART + b"end"


def test_an_upload_goes_on_in_another_process(local_corner: Corner, local_s3: LocalS3, bucket: str) -> None:
    """Nothing that counts is kept in memory."""
    key, here, there = local_corner.key(), local_corner.files, open_s3(local_s3, bucket)
    first = here.sign_part(key, 1, PART, expires_s=60)
    assert put(first, b"a" * PART) == 200
    second = there.sign_part(key, 2, 3, expires_s=60)
    assert upload_id(first) == upload_id(second)
    assert put(second, b"end") == 200
    assert here.list_parts(key) == there.list_parts(key) == {1: PART, 2: 3}
    there.finish_upload(key)
    here.finish_upload(key)
    assert here.list_parts(key) == {}
    assert b"".join(here.read(key)) == b"a" * PART + b"end"


def test_many_ask_for_the_first_part_at_once(local_corner: Corner) -> None:
    key, files = local_corner.key(), local_corner.files
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda number: files.sign_part(key, number, 1, expires_s=60), range(1, 9)))
    assert len({upload_id(url) for url in urls}) == 1
    assert len([upload for upload in files.list_uploads() if upload.key == key]) == 1


def test_of_several_uploads_all_take_the_same_one(local_corner: Corner, local_s3: LocalS3, bucket: str) -> None:
    """Two processes may begin one at the same moment."""
    key = local_corner.key()
    made = [local_s3.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for _ in range(3)]
    stores = [open_s3(local_s3, bucket) for _ in range(3)]
    taken = {upload_id(files.sign_part(key, 1, 3, expires_s=60)) for files in stores}
    assert len(taken) == 1
    assert taken <= set(made)
    assert put(stores[0].sign_part(key, 1, 3, expires_s=60), b"abc") == 200
    stores[1].finish_upload(key)
    assert b"".join(stores[2].read(key)) == b"abc"
    assert not local_corner.list_uploads()


def test_an_upload_that_another_aborted_begins_again(local_corner: Corner, local_s3: LocalS3, bucket: str) -> None:
    key, here, there = local_corner.key(), local_corner.files, open_s3(local_s3, bucket)
    url = here.sign_part(key, 1, 3, expires_s=60)
    there.discard_upload(key)
    assert put(url, b"abc") == 404
    assert here.list_parts(key) == {}  # a browser that was refused asks what is there
    assert put(here.sign_part(key, 1, 3, expires_s=60), b"abc") == 200
    here.finish_upload(key)
    assert b"".join(here.read(key)) == b"abc"


def test_nothing_is_added_to_a_finished_upload(s3_corner: Corner) -> None:
    key, files = s3_corner.key(), s3_corner.files
    url = files.sign_part(key, 1, 3, expires_s=60)
    assert put(url, b"abc") == 200
    files.finish_upload(key)
    assert put(url, b"xyz") == 404
    with pytest.raises(Conflict):
        files.sign_part(key, 2, 3, expires_s=60)
    assert not s3_corner.list_uploads()
    assert b"".join(files.read(key)) == b"abc"


def test_what_was_begun_and_never_sent_can_not_be_finished(s3_corner: Corner) -> None:
    key, files = s3_corner.key(), s3_corner.files
    files.sign_part(key, 1, 3, expires_s=60)
    assert s3_corner.list_uploads() == {key: 0}
    with pytest.raises(NotFound):
        files.finish_upload(key)


def test_two_different_uploads_are_finished_side_by_side(local_corner: Corner, local_s3: LocalS3, bucket: str) -> None:
    """Whichever wins stays: the other never replaces it."""
    key, client = local_corner.key(), local_s3.client
    contents = {}
    for letter in (b"a", b"b"):
        made = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=made, PartNumber=1, Body=letter * 3)
        contents[made] = letter * 3
    stores = [open_s3(local_s3, bucket) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda files: files.finish_upload(key), stores))
    first = b"".join(local_corner.files.read(key))
    assert first in contents.values()
    stores[0].finish_upload(key)
    assert b"".join(local_corner.files.read(key)) == first
    assert not local_corner.list_uploads()


def test_bytes_are_not_taken_by_the_server_itself(s3_corner: Corner) -> None:
    with pytest.raises(Conflict):
        s3_corner.files.append(s3_corner.key(), 0, b"abc")


def send_parts(corner: Corner, key: str, count: int, data: bytes) -> None:
    with httpx.Client() as browser, ThreadPoolExecutor(8) as pool:

        def send(number: int) -> int:
            return browser.put(corner.files.sign_part(key, number, len(data), expires_s=600), content=data).status_code

        assert set(pool.map(send, range(1, count + 1))) == {200}


def test_more_parts_than_s3_lists_at_once(local_corner: Corner) -> None:
    key, files, count = local_corner.key(), local_corner.files, 1101
    send_parts(local_corner, key, count, b"tiny")
    assert files.list_parts(key) == dict.fromkeys(range(1, count + 1), 4)
    assert files.received(key) == 4 * count
    with pytest.raises(StorageError) as caught:  # S3 takes no parts as small as these
        files.finish_upload(key)
    assert "EntityTooSmall" in caught.value.detail
    assert files.stat(key) is None


@pytest.mark.slow
def test_an_upload_of_201_parts(local_corner: Corner) -> None:
    key, files = local_corner.key(), local_corner.files
    send_parts(local_corner, key, 201, b"a" * PART)
    files.finish_upload(key)
    stored = files.stat(key)
    assert stored is not None
    assert stored.size_bytes == 201 * PART


def test_a_put_of_many_parts_is_whole(local_corner: Corner, tmp_path: Path) -> None:
    key, made = local_corner.key("job/1/1/video.mp4"), tmp_path / "made"
    data = bytes(range(256)) * (PIECE_BYTES // 256) * 3 + b"end"
    made.write_bytes(data)
    fractions: list[float] = []
    local_corner.files.put(key, made, on_progress=fractions.append)
    assert b"".join(local_corner.files.read(key)) == data
    assert fractions == sorted(fractions)
    assert len(fractions) == 4
    assert fractions[-1] == 1.0
    assert not local_corner.list_uploads()
