"""Files on their way straight into a bucket, over the real database, a real S3 store and the real probe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from adapters.s3_files import S3Files
from jobs.errors import AuthError, Conflict, NotFound, Refused, StorageError
from jobs.models import RemoteFile, Upload, UploadState, VideoFacts, VideoQuery
from jobs.storage import original_key
from jobs.uploads import UploadService
from pipeline.options import PipelineOptions
from tests.media.clips import silent_clip, text_file, truncated_clip
from tests.product import LIMITS, Product, make_product
from tests.product.bucket import MIB, begin_parts, list_bucket, make_large, open_bucket, send_parts
from tests.product.people import Person, add_user, open_browser, sign_up
from tests.servers.weed import LocalS3


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson_4.mp4").path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A video of three parts."""
    return make_large(clip, tmp_path_factory.mktemp("media") / "large.mp4", 40 * MIB + 5)


@pytest.fixture
def bucket(local_s3: LocalS3) -> Iterator[str]:
    name = local_s3.make_bucket("direct")
    yield name
    for key in list_bucket(local_s3, name):
        if not key.startswith("upload of "):
            local_s3.client.delete_object(Bucket=name, Key=key)


@pytest.fixture
def product(tmp_path: Path, local_s3: LocalS3, bucket: str) -> Product:
    return make_product(tmp_path, files=open_bucket(local_s3, bucket))


@pytest.fixture
def ann(product: Product) -> Person:
    return sign_up(product, "ann")


@pytest.fixture
def browser(product: Product, ann: Person) -> TestClient:
    return open_browser(product, ann)


@pytest.fixture
def listed(local_s3: LocalS3, bucket: str) -> Callable[[], list[str]]:
    return lambda: list_bucket(local_s3, bucket)


Listed = Callable[[], list[str]]


def restart(product: Product, files: S3Files) -> Product:
    """Return the product after its process died: everything in memory is gone."""
    again = make_product(product.root, files=files)
    again.clock.ahead = product.clock.ahead
    return again


def count_videos(product: Product, user_id: str) -> int:
    return product.services.videos.list_cards(user_id, VideoQuery()).total


# --- the whole way ---


def test_a_file_goes_to_the_bucket_and_becomes_a_video(
    product: Product, ann: Person, browser: TestClient, large: Path, listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    data = large.read_bytes()
    given = {"name": "Lesson 4.mp4", "size": len(data), "fingerprint": "x", "options": {"pace": "tight"}}
    begun = browser.post("/api/uploads", json=given).json()
    size = begun["part_bytes"]
    assert begun == {"id": begun["id"], "offset": 0, "part_bytes": size, "parts": [], "mode": "parts"}
    one, addresses = f"/api/uploads/{begun['id']}", []
    for number in (3, 1):
        answer = browser.get(f"{one}/parts/{number}")
        part = data[(number - 1) * size : number * size]
        assert answer.json()["size"] == len(part)
        assert answer.headers["cache-control"] == "no-store"
        addresses.append(answer.json()["url"])
        assert httpx.put(addresses[-1], content=part, timeout=60).status_code == 200
    again = browser.post("/api/uploads", json=given).json()
    assert (again["id"], again["parts"], again["offset"]) == (begun["id"], [1, 3], len(data) - size)
    assert browser.head(one).headers["upload-offset"] == str(len(data) - size)
    early = browser.post(f"{one}/complete")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "incomplete")
    addresses.append(browser.get(f"{one}/parts/2").json()["url"])
    assert httpx.put(addresses[-1], content=data[size : 2 * size], timeout=60).status_code == 200

    done = browser.post(f"{one}/complete")
    assert done.status_code == 200, done.text
    assert browser.post(f"{one}/complete").json() == done.json()
    assert browser.head(one).headers["upload-offset"] == str(len(data))
    card = product.services.videos.get_card(ann.id, done.json()["video_id"])
    assert (card.job.id, card.job.options) == (done.json()["job_id"], {"pace": "tight"})
    assert card.video.facts.duration_ms == 3000
    assert card.video.facts.size_bytes == len(data)
    assert listed() == [original_key(ann.id, card.video.id)]
    assert b"".join(product.ports.files.read(original_key(ann.id, card.video.id))) == data
    assert browser.get(f"{one}/parts/1").status_code == 409
    signatures = [address.partition("X-Amz-Signature=")[2][:64] for address in addresses]
    assert all(signatures)
    said = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # our own client
    assert said
    assert not [line for line in said for one in signatures if one in line], "an address was logged"


def test_the_same_file_again_is_not_charged_twice(product: Product, ann: Person, large: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        upload = begin_parts(product, ann.id, large, name=name)
        send_parts(product, upload, large)
        product.services.uploads.complete(ann.id, upload.id)
    assert count_videos(product, ann.id) == 2
    assert product.services.videos.get_usage(ann.id).used_ms == 3000


def test_no_byte_goes_through_the_product(browser: TestClient, clip: Path) -> None:
    size = clip.stat().st_size
    begun = browser.post("/api/uploads", json={"name": "a.mp4", "size": size, "fingerprint": "x"}).json()
    answer = browser.put(f"/api/uploads/{begun['id']}?offset=0", content=clip.read_bytes())
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_parts")
    assert answer.json()["error"]["message"].startswith("Files go straight to the file store here.")
    assert browser.head(f"/api/uploads/{begun['id']}").headers["upload-offset"] == "0"


def test_there_are_as_many_parts_as_the_file_has(browser: TestClient) -> None:
    begun = browser.post("/api/uploads", json={"name": "a.mp4", "size": 40 * MIB, "fingerprint": "x"}).json()
    count = -(-40 * MIB // begun["part_bytes"])
    answers = [
        browser.get(f"/api/uploads/{begun['id']}/parts/{number}").status_code
        for number in (1, count, 0, count + 1, "-1", "x", "1.5", "9" * 30, "%C2%B2")
    ]
    assert answers == [200, 200] + [404] * 7


def test_only_the_owner_gets_addresses_and_only_while_allowed(product: Product, ann: Person, clip: Path) -> None:
    ben = sign_up(product, "ben")
    mine, theirs = (begin_parts(product, who.id, clip) for who in (ben, ann))
    browser = open_browser(product, ben)
    assert browser.get(f"/api/uploads/{mine.id}/parts/1").status_code == 200
    assert browser.get(f"/api/uploads/{theirs.id}/parts/1").status_code == 404
    assert open_browser(product, None).get(f"/api/uploads/{mine.id}/parts/1").status_code == 401
    product.ports.database.users.set_active(ben.id, False)
    assert browser.get(f"/api/uploads/{mine.id}/parts/1").status_code == 401
    with pytest.raises(AuthError):
        product.services.uploads.open_part(ben.id, mine.id, 1)


def test_an_address_takes_just_the_bytes_that_were_announced(product: Product, ann: Person, clip: Path) -> None:
    upload = begin_parts(product, ann.id, clip)
    address = product.services.uploads.open_part(ann.id, upload.id, 1)
    assert address.url not in repr(address)
    for data in (b"", clip.read_bytes() + b"x", clip.read_bytes()[:-1]):
        assert httpx.put(address.url, content=data, timeout=60).status_code == 403
    assert product.services.uploads.get(ann.id, upload.id).parts == ()


def test_going_on_keeps_an_upload_from_the_sweep(product: Product, ann: Person, clip: Path, listed: Listed) -> None:
    upload = begin_parts(product, ann.id, clip)
    for _ in range(3):
        product.clock.advance(hours=20)
        product.services.uploads.open_part(ann.id, upload.id, 1)
        assert product.services.recovery.sweep().uploads == 0
    product.clock.advance(hours=25)
    assert product.services.recovery.sweep().uploads == 1
    assert listed() == []


# --- idempotence ---


def test_dying_between_any_two_steps_is_mended(
    product: Product, ann: Person, clip: Path, local_s3: LocalS3, bucket: str, listed: Listed
) -> None:
    class DyingFiles(S3Files):
        def finish_upload(self, key: str) -> None:
            super().finish_upload(key)
            raise KeyboardInterrupt

    upload = begin_parts(product, ann.id, clip)
    send_parts(product, upload, clip)
    dying = open_bucket(local_s3, bucket)
    dying.__class__ = DyingFiles
    with pytest.raises(KeyboardInterrupt):
        restart(product, dying).services.uploads.complete(ann.id, upload.id)
    product.ports.database.uploads.set_state(ann.id, upload.id, UploadState.CHECKING)  # as SIGKILL leaves it
    assert listed() == [original_key(ann.id, upload.video_id)]

    product = restart(product, open_bucket(local_s3, bucket))
    found = product.services.uploads.get(ann.id, upload.id)
    assert (found.is_whole, found.parts) == (True, (1,))
    product.clock.advance(seconds=61)
    assert product.services.uploads.complete_received() == 1
    assert count_videos(product, ann.id) == 1
    assert listed() == [original_key(ann.id, upload.video_id)]


def test_completing_side_by_side_makes_one_video(
    product: Product, ann: Person, large: Path, local_s3: LocalS3, bucket: str, listed: Listed
) -> None:
    upload = begin_parts(product, ann.id, large)
    send_parts(product, upload, large)
    others = [product, *(restart(product, open_bucket(local_s3, bucket)) for _ in range(3))]
    barrier = threading.Barrier(len(others))

    def complete(other: Product) -> Upload:
        barrier.wait()
        return other.services.uploads.complete(ann.id, upload.id)

    with ThreadPoolExecutor(len(others)) as pool:
        done = {one.job_id for one in pool.map(complete, others)}
    assert len(done) == 1
    assert count_videos(product, ann.id) == 1
    assert listed() == [original_key(ann.id, upload.video_id)]


class CountingFiles(S3Files):
    """A bucket that counts how often it is asked for parts."""

    looks = 0

    def list_parts(self, key: str) -> dict[int, int]:
        self.looks += 1
        return dict(super().list_parts(key))


def test_an_upload_that_is_left_alone_is_looked_at_ever_more_rarely(
    tmp_path: Path, clip: Path, local_s3: LocalS3, bucket: str
) -> None:
    files = open_bucket(local_s3, bucket)
    files.__class__ = CountingFiles
    assert isinstance(files, CountingFiles)
    product = make_product(tmp_path, files=files)
    ann = add_user(product, "ann")
    upload = begin_parts(product, ann, clip)
    for _ in range(240):  # an hour
        product.clock.advance(seconds=15)
        assert product.services.uploads.complete_received() == 0
    assert files.looks <= 8
    send_parts(product, upload, clip)  # which touches the row
    product.clock.advance(seconds=45)
    assert product.services.uploads.complete_received() == 1


def test_a_page_that_is_drawn_often_asks_the_bucket_rarely(
    tmp_path: Path, clip: Path, local_s3: LocalS3, bucket: str
) -> None:
    files = open_bucket(local_s3, bucket)
    files.__class__ = CountingFiles
    assert isinstance(files, CountingFiles)
    product = make_product(tmp_path, files=files)
    ann = add_user(product, "ann")
    upload = begin_parts(product, ann, clip)
    for _ in range(20):
        assert [one.received for one in product.services.uploads.list_open(ann)] == [0]
    assert files.looks == 1
    send_parts(product, upload, clip)
    product.clock.advance(seconds=10)
    assert [one.received for one in product.services.uploads.list_open(ann)] == [clip.stat().st_size]


# --- refusals and failures ---


@pytest.mark.parametrize("make", [text_file, truncated_clip], ids=["text", "truncated"])
def test_a_refused_file_leaves_nothing_but_its_sentence(
    product: Product, ann: Person, tmp_path: Path, make: Callable[[Path], Path], listed: Listed
) -> None:
    (tmp_path / "media").mkdir()
    path = make(tmp_path / "media" / "a.mp4")
    upload = begin_parts(product, ann.id, path)
    send_parts(product, upload, path)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            product.services.uploads.complete(ann.id, upload.id)
        assert caught.value.message.endswith(".")
    row = product.services.uploads.get(ann.id, upload.id).upload
    assert (row.state, row.error_message) == (UploadState.REFUSED, caught.value.message)
    assert listed() == []
    assert count_videos(product, ann.id) == 0
    with pytest.raises(Refused):
        product.services.uploads.open_part(ann.id, upload.id, 1)


def test_a_part_of_another_size_is_told_and_everything_discarded(
    product: Product, ann: Person, clip: Path, listed: Listed
) -> None:
    upload = begin_parts(product, ann.id, clip)
    other = product.ports.files.sign_part(original_key(ann.id, upload.video_id), 1, 5, expires_s=60)
    assert httpx.put(other, content=b"12345").status_code == 200
    progress = product.services.uploads.get(ann.id, upload.id)
    assert (progress.received, progress.parts) == (0, ())
    with pytest.raises(Refused, match=r"has changed while it was uploaded\. Choose it again"):
        product.services.uploads.complete(ann.id, upload.id)
    assert listed() == []
    assert begin_parts(product, ann.id, clip).id != upload.id


def test_a_cancelled_upload_is_gone(product: Product, ann: Person, large: Path, listed: Listed) -> None:
    upload = begin_parts(product, ann.id, large)
    address = product.services.uploads.open_part(ann.id, upload.id, 1)
    send_parts(product, upload, large, [2])
    assert listed() == [f"upload of {original_key(ann.id, upload.video_id)}"]
    product.services.uploads.cancel(ann.id, upload.id)
    assert listed() == []
    late = httpx.put(address.url, content=large.read_bytes()[: address.size_bytes], timeout=60)
    assert late.status_code == 404
    assert listed() == []
    with pytest.raises(NotFound):
        product.services.uploads.open_part(ann.id, upload.id, 1)


class SlowProber:
    """A probe that waits until the test lets it go."""

    def __init__(self, product: Product) -> None:
        self._prober = product.ports.prober
        self.began, self.may_end = threading.Event(), threading.Event()

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        facts = self._prober.probe(source)
        self.began.set()
        assert self.may_end.wait(60)
        return facts


def test_cancelling_while_the_file_is_checked_leaves_nothing(
    product: Product, ann: Person, clip: Path, listed: Listed
) -> None:
    prober = SlowProber(product)
    service = UploadService(
        replace(product.ports, prober=prober), product.services.storage, LIMITS, PipelineOptions()
    )  # fmt: skip
    upload = begin_parts(product, ann.id, clip)
    send_parts(product, upload, clip)
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(service.complete, ann.id, upload.id)
        assert prober.began.wait(60)
        with pytest.raises(Conflict):
            service.open_part(ann.id, upload.id, 1)
        service.cancel(ann.id, upload.id)
        prober.may_end.set()
        with pytest.raises(NotFound):
            checking.result(60)
    assert count_videos(product, ann.id) == 0
    assert listed() == []


@pytest.mark.usefixtures("local_s3")  # else the reason is told why there is none
def test_a_store_that_is_away_costs_no_upload(tmp_path: Path, clip: Path) -> None:
    with LocalS3() as store:
        bucket = store.make_bucket()
        product = make_product(tmp_path, files=open_bucket(store, bucket))
        ann = sign_up(product, "ann")
        browser = open_browser(product, ann)
        upload = begin_parts(product, ann.id, clip)
        send_parts(product, upload, clip)
        store.stop()
        for method, rest in (("HEAD", ""), ("POST", "/complete")):
            answer = browser.request(method, f"/api/uploads/{upload.id}{rest}")
            assert answer.status_code == 503, (method, rest)
            assert method == "HEAD" or "file store does not answer" in answer.json()["error"]["message"]
        assert product.services.uploads.complete_received() == 0
        product.clock.advance(minutes=5)
        assert product.services.uploads.complete_received() == 0
        store.start()
        assert product.services.uploads.complete_received() == 1
        assert list_bucket(store, bucket) == [original_key(ann.id, upload.video_id)]


def test_parts_that_vanished_are_sent_again(product: Product, ann: Person, clip: Path) -> None:
    upload = begin_parts(product, ann.id, clip)
    send_parts(product, upload, clip)
    product.ports.files.discard_upload(original_key(ann.id, upload.video_id))  # as a store that clears up does
    with pytest.raises(Conflict) as caught:
        product.services.uploads.complete(ann.id, upload.id)
    assert caught.value.code == "incomplete"
    assert begin_parts(product, ann.id, clip).id == upload.id
    send_parts(product, upload, clip)
    assert product.services.uploads.complete(ann.id, upload.id).state is UploadState.DONE


def test_a_probe_that_can_not_read_now_refuses_nothing(
    product: Product, ann: Person, clip: Path, listed: Listed
) -> None:  # fmt: skip
    class CutFiles(S3Files):
        def open_remote(self, key: str) -> RemoteFile:
            found = super().open_remote(key)
            assert found is not None
            return replace(found, url=found.url.replace("Signature=", "Signature=0"))

    files = product.ports.files
    assert isinstance(files, S3Files)
    upload = begin_parts(product, ann.id, clip)
    send_parts(product, upload, clip)
    files.__class__ = CutFiles
    with pytest.raises(StorageError, match="can't be checked just now"):
        product.services.uploads.complete(ann.id, upload.id)
    assert product.services.uploads.get(ann.id, upload.id).upload.state is UploadState.RECEIVING
    files.__class__ = S3Files
    product.clock.advance(seconds=31)
    assert product.services.uploads.complete_received() == 1
    assert listed() == [original_key(ann.id, upload.video_id)]
