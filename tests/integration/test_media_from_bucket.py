"""Playing and saving what lies in a bucket: links for their owner while signed in, the rest by way of us."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from jobs.models import Upload
from jobs.storage import original_key
from pipeline.models import RESULT_FILES
from tests.media.clips import silent_clip
from tests.product import Product, make_product
from tests.product.bucket import begin_parts, open_bucket, send_parts
from tests.product.people import RESULTS, Person, finish_job, open_browser, sign_up
from tests.servers.weed import LocalS3

LINKED = ("video.mp4",)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson 4.mp4").path


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, local_s3: LocalS3) -> Product:
    return make_product(
        tmp_path_factory.mktemp("product"), files=open_bucket(local_s3, local_s3.make_bucket("media"))
    )  # fmt: skip


@pytest.fixture(scope="module")
def ann(product: Product) -> Person:
    return sign_up(product, "ann")


@pytest.fixture(scope="module")
def browser(product: Product, ann: Person) -> TestClient:
    return open_window(product, ann)


@pytest.fixture(scope="module")
def video(product: Product, ann: Person, clip: Path) -> Upload:
    """One that tests only look at."""
    return make_video(product, ann, clip)


@pytest.fixture(scope="module")
def renamed(product: Product, ann: Person, clip: Path) -> Upload:
    """One with a name that no header could carry as it is."""
    made = make_video(product, ann, clip)
    product.services.videos.rename(ann.id, made.video_id, 'Größe "1"\r\nX-Evil: 1; 日本')
    return made


def open_window(product: Product, person: Person | None) -> TestClient:
    """Return a browser that shows where it is sent."""
    window = open_browser(product, person)
    window.follow_redirects = False
    return window


def make_video(product: Product, person: Person, clip: Path, *, name: str = "") -> Upload:
    upload = begin_parts(product, person.id, clip, name=name)
    send_parts(product, upload, clip)
    made = product.services.uploads.complete(person.id, upload.id)
    assert made.job_id is not None
    finish_job(product, made.job_id)
    return made


@pytest.mark.parametrize("name", [name for name in RESULT_FILES if name not in LINKED])
def test_what_a_page_shows_comes_from_our_own_address(browser: TestClient, video: Upload, name: str) -> None:
    address = f"/api/jobs/{video.job_id}/files/{name}"
    answer = browser.get(address)
    assert (answer.status_code, answer.content) == (200, RESULTS[name])
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["content-length"] == str(len(RESULTS[name]))
    assert answer.headers["content-disposition"].startswith("inline;")
    assert "html" not in answer.headers["content-type"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = browser.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = browser.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(RESULTS[name]))


def test_the_video_is_linked(browser: TestClient, video: Upload, local_s3: LocalS3) -> None:
    address = f"/api/jobs/{video.job_id}/files/video.mp4"
    answer = browser.get(address, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
    link = answer.headers["location"]
    assert urlsplit(link).netloc == urlsplit(local_s3.endpoint).netloc
    whole = httpx.get(link)
    assert (whole.status_code, whole.content) == (200, RESULTS["video.mp4"])
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-disposition"].startswith("inline;")
    part = httpx.get(link, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, RESULTS["video.mp4"][10:20])
    head = browser.head(address)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(RESULTS["video.mp4"])))
    assert head.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("name", RESULT_FILES)
def test_a_download_has_a_good_name(browser: TestClient, renamed: Upload, name: str) -> None:
    answer = browser.get(f"/api/jobs/{renamed.job_id}/files/{name}?download=1")
    assert answer.status_code == 302
    saved = httpx.get(answer.headers["location"])
    assert (saved.status_code, saved.content) == (200, RESULTS[name])
    shown = quote("Größe 1 X-Evil 1; 日本", safe="")
    assert saved.headers["content-disposition"].startswith(f"attachment; filename*=utf-8''{shown}")
    assert "x-evil" not in saved.headers


def test_the_original_comes_back_as_it_was(browser: TestClient, video: Upload, clip: Path) -> None:
    for rest, kind in (("", "inline"), ("?download=1", "attachment")):
        answer = browser.get(f"/api/videos/{video.video_id}/original{rest}")
        saved = httpx.get(answer.headers["location"])
        assert saved.content == clip.read_bytes()
        assert saved.headers["content-type"] == "video/mp4"
        assert saved.headers["content-disposition"] == f"{kind}; filename*=utf-8''Lesson%204.mp4"


def test_an_original_of_unknown_kind_is_never_shown(
    product: Product, ann: Person, browser: TestClient, clip: Path
) -> None:  # fmt: skip
    made = make_video(product, ann, clip, name="page.xhtml")
    saved = httpx.get(browser.get(f"/api/videos/{made.video_id}/original").headers["location"])
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment;")


def test_the_archive_has_a_length_and_opens(browser: TestClient, video: Upload) -> None:
    answer = browser.get(f"/api/jobs/{video.job_id}/archive")
    assert answer.headers["content-length"] == str(len(answer.content))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("Lesson 4.mp4") == RESULTS["video.mp4"]


def list_addresses(video: Upload) -> list[str]:
    return [
        f"/api/videos/{video.video_id}/original",
        f"/api/jobs/{video.job_id}/archive",
        *(f"/api/jobs/{video.job_id}/files/{name}" for name in RESULT_FILES),
        *(f"/api/jobs/{video.job_id}/files/{name}?download=1" for name in RESULT_FILES),
    ]


def test_a_link_is_made_for_the_owner_alone(product: Product, clip: Path) -> None:
    cleo = sign_up(product, "cleo")
    window, video = open_window(product, cleo), make_video(product, cleo, clip)
    ben, nobody = open_window(product, sign_up(product, "ben")), open_window(product, None)
    for address in list_addresses(video):
        for person, status in ((ben, 404), (nobody, 401)):
            answer = person.get(address)
            assert (answer.status_code, answer.headers.get("location")) == (status, None)
        assert window.get(address).status_code in (200, 302)
    identity = product.services.auth.identify(cleo.token)
    assert identity is not None
    product.services.auth.logout(identity)
    for address in list_addresses(video):
        assert window.get(address).status_code == 401


def test_what_was_deleted_is_not_there(product: Product, ann: Person, browser: TestClient, clip: Path) -> None:
    video = make_video(product, ann, clip)
    product.services.videos.delete(ann.id, video.video_id)
    for address in list_addresses(video):
        assert browser.get(address).status_code == 404


def test_a_file_that_is_missing_in_the_bucket_is_an_answer_too(
    product: Product, ann: Person, browser: TestClient, clip: Path
) -> None:
    video = make_video(product, ann, clip)
    product.ports.files.delete([original_key(ann.id, video.video_id)])
    answer = browser.get(f"/api/videos/{video.video_id}/original")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_link_is_good_for_a_while_only(
    browser: TestClient, video: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("api.media.LINK_S", 1)
    link = browser.get(f"/api/jobs/{video.job_id}/files/video.mp4").headers["location"]
    deadline = time.monotonic() + 30
    while (status := httpx.get(link).status_code) != 403:
        assert (status, time.monotonic() < deadline) == (200, True)
        time.sleep(0.2)
    monkeypatch.undo()
    fresh = browser.get(f"/api/jobs/{video.job_id}/files/video.mp4").headers["location"]
    assert httpx.get(fresh).status_code == 200


@pytest.mark.usefixtures("local_s3")  # which says why there is none
def test_a_store_that_is_away_is_told_in_a_sentence(tmp_path: Path, clip: Path) -> None:
    with LocalS3() as store:
        product = make_product(tmp_path, files=open_bucket(store, store.make_bucket()))
        ann = sign_up(product, "ann")
        browser, video = open_browser(product, ann), make_video(product, ann, clip)
        store.stop()
        for address in (f"/api/jobs/{video.job_id}/files/report.json", f"/api/videos/{video.video_id}/original"):
            answer = browser.get(address, follow_redirects=False)
            assert answer.status_code == 503
            assert "file store does not answer" in answer.json()["error"]["message"]
