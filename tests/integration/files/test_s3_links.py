"""Reading from S3: links for browsers, addresses for the probe, and nothing for anybody else."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from adapters.s3_bucket import check_browsers, prepare_bucket
from adapters.s3_files import describe_disposition
from jobs.errors import NotFound, StorageError
from jobs.models import RemoteFile
from tests.integration.files.conftest import ORIGIN, Corner, open_s3
from tests.servers.weed import LocalS3

DATA = bytes(range(256)) * 16
FOREIGN = "https://evil.example.com"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def key(s3_corner: Corner, tmp_path: Path) -> str:
    """A file with `DATA`."""
    made = tmp_path / "made"
    made.write_bytes(DATA)
    key = s3_corner.key("preview.mp4")
    s3_corner.files.put(key, made)
    return key


def link(
    corner: Corner, key: str, *, name: str = "talk.mp4", download: bool = False, expires_s: int = 60
) -> str:  # fmt: skip
    url = corner.files.link(key, file_name=name, media_type="video/mp4", download=download, expires_s=expires_s)
    assert url is not None
    return url


def test_a_link_plays(s3_corner: Corner, key: str) -> None:
    answer = httpx.get(link(s3_corner, key))
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["content-disposition"] == 'inline; filename="talk.mp4"'


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, DATA[:10]),
        ("bytes=4000-", 206, DATA[4000:]),
        ("bytes=-7", 206, DATA[-7:]),
        (f"bytes=10-{len(DATA) * 2}", 206, DATA[10:]),
        (f"bytes={len(DATA)}-", 416, None),
    ],
)
def test_a_player_reads_ranges(s3_corner: Corner, key: str, asked: str, status: int, part: bytes | None) -> None:
    answer = httpx.get(link(s3_corner, key), headers={"Range": asked})
    assert answer.status_code == status
    assert part is None or answer.content == part


@pytest.mark.parametrize(
    "name",
    [
        "talk.mp4",
        "My talk (final).mp4",
        'He said "no".mp4',
        "Gespräch über Bären.mp4",
        "日本語の動画.mp4",
        "🎬 مقطع.mp4",
        "semi;colon, comma = 'quote' 100% & more + #1.mp4",
        "back\\slash and / slash.mp4",
        "x" * 180 + "ü" * 20 + ".mp4",
        "new\r\nX-Evil: 1.mp4",
    ],
)
def test_a_download_keeps_its_name(s3_corner: Corner, key: str, name: str) -> None:
    answer = httpx.get(link(s3_corner, key, name=name, download=True))
    assert answer.status_code == 200, answer.text
    told = answer.headers["content-disposition"]
    assert told == describe_disposition(name, download=True)
    assert "X-Evil" not in answer.headers
    found = re.fullmatch(r"attachment; filename(?:=\"([^\"]*)\"|\*=utf-8''(\S+))", told)
    assert found
    assert unquote(found[1] or found[2]) == name


def test_a_changed_link_is_refused(s3_corner: Corner, key: str) -> None:
    url, other = link(s3_corner, key), s3_corner.key("preview.mp4")
    for changed in (
        url.replace(key, other),
        url.replace("video%2Fmp4", "text%2Fhtml"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=600000"),
        url.replace("inline", "attachment"),
        url[:-4] + ("0000" if url[-4:] != "0000" else "1111"),
        url.partition("?")[0],
    ):
        assert changed != url
        assert httpx.get(changed).status_code == 403, changed
    assert httpx.put(url, content=b"x").status_code == 403
    assert httpx.delete(url).status_code == 403
    assert b"".join(s3_corner.files.read(key)) == DATA


def test_a_link_expires(s3_corner: Corner, key: str) -> None:
    url = link(s3_corner, key, expires_s=1)
    time.sleep(2.5)
    assert httpx.get(url).status_code == 403


def test_strangers_see_nothing(local_s3: LocalS3, bucket: str, local_corner: Corner) -> None:
    key = local_corner.key()
    local_corner.send(key, DATA)
    local_corner.files.finish_upload(key)
    base = f"{local_s3.endpoint}/{bucket}"
    for path in ("", "?list-type=2", "?uploads", "?cors", f"/{key}"):
        assert httpx.get(f"{base}{path}").status_code == 403, path
    assert httpx.put(f"{base}/{key}", content=b"x").status_code == 403
    assert httpx.post(f"{base}/{key}?uploads").status_code == 403
    assert httpx.delete(f"{base}/{key}").status_code == 403
    assert httpx.delete(base).status_code == 403
    assert b"".join(local_corner.files.read(key)) == DATA


def test_a_process_of_ours_reads_parts(s3_corner: Corner, key: str) -> None:
    remote = s3_corner.files.open_remote(key)
    assert remote is not None
    assert remote.size_bytes == len(DATA)
    assert httpx.get(remote.url, headers={"Range": "bytes=1-3"}).content == DATA[1:4]
    assert "Signature" not in repr(remote)
    with pytest.raises(NotFound):
        s3_corner.files.open_remote(s3_corner.key())


def test_the_same_bytes_have_the_same_identity(s3_corner: Corner) -> None:
    def identify(data: bytes) -> RemoteFile:
        key = s3_corner.key()
        s3_corner.send(key, data)
        s3_corner.files.finish_upload(key)
        remote = s3_corner.files.open_remote(key)
        assert remote is not None
        assert re.fullmatch("[0-9a-f]{64}", remote.sha256)
        return remote

    part = s3_corner.files.part_bytes(1)
    assert part is not None
    large = b"a" * part + b"end"  # of two parts
    assert identify(large).sha256 == identify(large).sha256
    identities = {identify(data).sha256 for data in (large, b"b" + large[1:], large + b"!", b"", b"a") if data}
    assert len(identities) == 4
    assert sha256(large).hexdigest() not in identities


# --- browsers ---


@pytest.fixture(scope="module")
def opened_bucket(local_s3: LocalS3) -> str:
    """A bucket that is prepared for browsers."""
    bucket = local_s3.make_bucket("opened")
    list(prepare(local_s3, bucket))
    return bucket


def prepare(
    store: LocalS3,
    bucket: str,
    *,
    dry_run: bool = False,
    origin: str = ORIGIN,
    as_reader: bool = False,
    public_endpoint: str = "",
) -> Iterator[str]:
    return prepare_bucket(
        bucket=bucket,
        region=store.region,
        endpoint=store.endpoint,
        public_endpoint=public_endpoint or store.endpoint,
        access_key_id=store.reader_key_id if as_reader else store.access_key_id,
        secret_access_key=store.reader_secret if as_reader else store.secret_access_key,
        origin=origin,
        dry_run=dry_run,
    )


def ask(store: LocalS3, bucket: str, *, origin: str, method: str) -> httpx.Response:
    return httpx.options(
        f"{store.endpoint}/{bucket}/user/x", headers={"Origin": origin, "Access-Control-Request-Method": method}
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_browsers_of_the_product_may_come(local_s3: LocalS3, opened_bucket: str, method: str) -> None:
    answer = ask(local_s3, opened_bucket, origin=ORIGIN, method=method)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert method in answer.headers["access-control-allow-methods"]


def test_a_browser_may_send_a_part_and_read_its_tag(local_s3: LocalS3, opened_bucket: str) -> None:
    files = open_s3(local_s3, opened_bucket)
    answer = httpx.put(files.sign_part("user/x", 1, 3, expires_s=60), content=b"abc", headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "ETag" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_pages_may_not(local_s3: LocalS3, opened_bucket: str, method: str) -> None:
    answer = ask(local_s3, opened_bucket, origin=FOREIGN, method=method)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_pages_of_the_product_may_not_delete(local_s3: LocalS3, opened_bucket: str) -> None:
    answer = ask(local_s3, opened_bucket, origin=ORIGIN, method="DELETE")
    assert "DELETE" not in answer.headers.get("access-control-allow-methods", "")


def test_the_check_tells_whether_browsers_may_upload(local_s3: LocalS3, opened_bucket: str) -> None:
    assert open_s3(local_s3, opened_bucket, origin=ORIGIN).check().endswith("Browsers may upload to it.")
    with pytest.raises(StorageError) as caught:
        open_s3(local_s3, opened_bucket, origin=FOREIGN).check()
    assert caught.value.code == "files_browsers"
    assert "`make bucket`" in caught.value.remedy
    assert "http" not in caught.value.remedy
    assert "can't be told" in check_browsers("http://127.0.0.1:1", opened_bucket, ORIGIN)


def test_the_check_leaves_nothing(local_s3: LocalS3, opened_bucket: str) -> None:
    open_s3(local_s3, opened_bucket).check()
    assert not local_s3.client.list_objects_v2(Bucket=opened_bucket).get("Contents")


# --- making the bucket ---


def test_a_bucket_is_made_and_told_about(local_s3: LocalS3) -> None:
    bucket = local_s3.make_bucket("made")
    local_s3.client.delete_bucket(Bucket=bucket)
    assert list(prepare(local_s3, bucket, dry_run=True)) == [
        f"The bucket {bucket} would be made in {local_s3.region}.",
        f"Browsers would be allowed to upload from {ORIGIN}.",
    ]
    assert bucket not in {one["Name"] for one in local_s3.client.list_buckets()["Buckets"]}
    assert list(prepare(local_s3, bucket)) == [
        f"The bucket {bucket} is made in {local_s3.region}.",
        f"Browsers are now allowed to upload from {ORIGIN}.",
        "Browsers may upload to it.",
        "Nobody can read it without a link of ours.",
    ]
    assert list(prepare(local_s3, bucket)) == [
        f"The bucket {bucket} is there.",
        f"Browsers are allowed to upload from {ORIGIN} already.",
        "Browsers may upload to it.",
        "Nobody can read it without a link of ours.",
    ]
    assert not local_s3.client.list_objects_v2(Bucket=bucket).get("Contents")


def test_rules_of_others_stay_and_ours_is_replaced(local_s3: LocalS3) -> None:
    bucket = local_s3.make_bucket("rules")
    other = {"ID": "theirs", "AllowedOrigins": ["https://them.example.com"], "AllowedMethods": ["GET"]}
    local_s3.client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [other]})
    told = list(prepare(local_s3, bucket, dry_run=True))
    assert told[-1] == f"Browsers would be allowed to upload from {ORIGIN}."
    assert len(local_s3.client.get_bucket_cors(Bucket=bucket)["CORSRules"]) == 1
    list(prepare(local_s3, bucket, origin="https://old.example.com"))
    list(prepare(local_s3, bucket))
    rules = local_s3.client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert [rule["AllowedOrigins"] for rule in rules] == [["https://them.example.com"], [ORIGIN]]


def test_a_key_without_the_right_is_told_so(local_s3: LocalS3, opened_bucket: str) -> None:
    with pytest.raises(StorageError) as caught:
        list(prepare(local_s3, opened_bucket, as_reader=True, origin=FOREIGN))
    assert caught.value.remedy == (
        "The access key may not set the CORS rules of the bucket: give it the right, or set them at the provider."
    )
    missing = f"{opened_bucket}-2"
    with pytest.raises(StorageError) as caught:
        list(prepare(local_s3, missing, as_reader=True))
    assert caught.value.remedy == "The access key may not make buckets: give it the right, or make it at the provider."


def test_rules_that_are_right_need_no_right_to_set_them(local_s3: LocalS3) -> None:
    """The rule is another's, and serves all the same; what the key can't do next is the next sentence."""
    bucket = local_s3.make_bucket("theirs")
    rule = {"AllowedOrigins": ["https://*.example.com"], "AllowedMethods": ["GET", "HEAD", "PUT"]}
    local_s3.client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    told = prepare(local_s3, bucket, as_reader=True)
    assert next(told) == f"The bucket {bucket} is there."
    assert next(told) == "Its CORS rules can't be changed with this access key, and need not be."
    assert next(told) == "Browsers may upload to it."
    with pytest.raises(StorageError) as caught:
        next(told)
    assert caught.value.code == "files_denied"


@pytest.mark.parametrize("public_endpoint", ["", NOWHERE])
def test_a_bucket_that_anybody_can_read_is_told(local_s3: LocalS3, public_endpoint: str) -> None:
    bucket = local_s3.make_bucket("open")
    everybody = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    local_s3.client.put_bucket_policy(Bucket=bucket, Policy=everybody)
    with pytest.raises(StorageError) as caught:
        list(prepare(local_s3, bucket, public_endpoint=public_endpoint))
    assert caught.value.code == "files_open"
    assert "take public access away" in caught.value.remedy


def test_nothing_is_vouched_for_that_was_not_looked_at(
    local_s3: LocalS3, opened_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = "Nobody can read it without a link of ours."
    unknown = "Whether strangers can read it at {} can't be told from here: the store does not answer there."
    told = list(prepare(local_s3, opened_bucket, public_endpoint=NOWHERE))
    assert told[-2:] == [closed, unknown.format("WASABI_PUBLIC_ENDPOINT")]
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(502))  # as a proxy that misses the store
    told = list(prepare(local_s3, opened_bucket, public_endpoint=NOWHERE))
    assert told[-2:] == [unknown.format(name) for name in ("WASABI_PUBLIC_ENDPOINT", "WASABI_ENDPOINT")]
    assert closed not in told
    assert not local_s3.client.list_objects_v2(Bucket=opened_bucket).get("Contents")
