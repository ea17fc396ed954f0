"""Playing and saving over HTTP: ranges are exact, names are good, links are for their owner while signed in."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from api.guard import COOKIE
from jobs.errors import StorageError
from jobs.models import Upload
from jobs.storage import original_key, result_key
from pipeline.models import RESULT_FILES
from tests.media.clips import silent_clip
from tests.product import Product, make_product
from tests.product.people import RESULTS, Person, finish_job, make_video, open_browser, sign_up

GB = 1_000_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson 4.mp4").path


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def ann(product: Product) -> Person:
    return sign_up(product, "ann")


@pytest.fixture
def browser(product: Product, ann: Person) -> TestClient:
    return open_browser(product, ann)


@pytest.fixture
def video(product: Product, ann: Person, clip: Path) -> Upload:
    made = make_video(product, ann.id, clip)
    assert made.job_id is not None
    finish_job(product, made.job_id)
    return made


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> tuple[TestClient, str]:
    """A browser and the id of a finished job, for tests that only read."""
    product = make_product(tmp_path_factory.mktemp("shelf"))
    person = sign_up(product, "ann")
    job_id = make_video(product, person.id, clip).job_id
    assert job_id is not None
    finish_job(product, job_id)
    return open_browser(product, person), job_id


@pytest.mark.parametrize("name", RESULT_FILES)
def test_each_result_file_is_sent_as_what_it_is(shelf: tuple[TestClient, str], name: str) -> None:
    browser, job_id = shelf
    address = f"/api/jobs/{job_id}/files/{name}"
    answer = browser.get(address)
    assert (answer.status_code, answer.content) == (200, RESULTS[name])
    assert answer.headers["content-disposition"].startswith("inline;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "html" not in answer.headers["content-type"]
    head = browser.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(RESULTS[name]))
    assert browser.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_a_download_has_a_good_name(product: Product, ann: Person, browser: TestClient, video: Upload) -> None:
    address = f"/api/jobs/{video.job_id}/files/video.mp4?download=1"
    assert browser.get(address).headers["content-disposition"] == "attachment; filename*=utf-8''Lesson%204.mp4"
    product.services.videos.rename(ann.id, video.video_id, 'Größe "1"\r\nX-Evil: 1; 日本')
    answer = browser.get(address)
    name = "Größe 1 X-Evil 1; 日本.mp4"
    assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{quote(name)}"
    assert "x-evil" not in answer.headers


def test_the_original_comes_back_as_it_was(browser: TestClient, video: Upload, clip: Path) -> None:
    answer = browser.get(f"/api/videos/{video.video_id}/original")
    assert (answer.status_code, answer.content) == (200, clip.read_bytes())
    assert answer.headers["content-type"] == "video/mp4"


def test_an_original_of_unknown_kind_is_never_shown(
    product: Product, ann: Person, browser: TestClient, clip: Path
) -> None:  # fmt: skip
    made = make_video(product, ann.id, clip, name="page.xhtml")
    answer = browser.get(f"/api/videos/{made.video_id}/original")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10000-", 10_000, None),
        ("bytes=-5", -5, None),
        ("bytes=0-999999", 0, None),
    ],
)
def test_ranges_are_exact(shelf: tuple[TestClient, str], asked: str, start: int, end: int | None) -> None:
    browser, job_id = shelf
    whole = RESULTS["video.mp4"]
    answer = browser.get(f"/api/jobs/{job_id}/files/video.mp4", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, whole[start:end])
    first = start % len(whole)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(whole)}"


def test_a_range_past_the_end_is_refused(shelf: tuple[TestClient, str]) -> None:
    browser, job_id = shelf
    answer = browser.get(f"/api/jobs/{job_id}/files/video.mp4", headers={"Range": "bytes=999999-"})
    assert answer.status_code == 416


def test_seeking_in_2_gigabytes_reads_only_what_was_asked_for(
    product: Product, ann: Person, browser: TestClient, video: Upload
) -> None:
    assert video.job_id is not None
    path = product.ports.files.local_path(result_key(ann.id, video.video_id, video.job_id, 1, "video.mp4"))
    assert path is not None
    places = [0, 123_456_789, GB, 2 * GB - 8]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(place.to_bytes(8, "big"))
    address = f"/api/jobs/{video.job_id}/files/video.mp4"
    assert browser.head(address).headers["content-length"] == str(2 * GB)
    before = resident_bytes()
    for place in places:
        answer = browser.get(address, headers={"Range": f"bytes={place}-{place + 7}"})
        assert (answer.status_code, answer.content) == (206, place.to_bytes(8, "big"))
    grown = resident_bytes() - before
    print(f"memory after four seeks in 2 GB: {grown / 1e6:+.1f} MB")
    assert grown < 20_000_000


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    pytest.skip("this system does not tell how much memory a process uses")


def test_the_archive_has_a_length_and_opens(browser: TestClient, video: Upload) -> None:
    address = f"/api/jobs/{video.job_id}/archive"
    answer = browser.get(address)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''Lesson%204.zip"
    assert answer.headers["content-length"] == str(len(answer.content))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.read("Lesson 4.mp4") == RESULTS["video.mp4"]
    head = browser.head(address)
    assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])


def list_addresses(video: Upload) -> list[str]:
    return [
        f"/api/videos/{video.video_id}/original",
        f"/api/jobs/{video.job_id}/archive",
        *(f"/api/jobs/{video.job_id}/files/{name}" for name in RESULT_FILES),
    ]


def test_links_are_for_their_owner_while_signed_in(
    product: Product, ann: Person, browser: TestClient, video: Upload
) -> None:
    ben = open_browser(product, sign_up(product, "ben"))
    nobody = open_browser(product, None)
    for address in list_addresses(video):
        assert ben.get(address).status_code == 404
        assert nobody.get(address).status_code == 401
        assert nobody.get(address, headers={"Cookie": f"{COOKIE}=forged"}).status_code == 401
        assert browser.get(address).status_code == 200
    identity = product.services.auth.identify(ann.token)
    assert identity is not None
    product.services.auth.logout(identity)
    for address in list_addresses(video):
        assert browser.get(address).status_code == 401


@pytest.mark.parametrize(
    "address",
    [
        "/api/jobs/{job}/files/secret.txt",
        "/api/jobs/{job}/files/..%2f..%2foriginal",
        "/api/jobs/{job}/files/report.json%00",
        "/api/jobs/..%2f{job}/files/report.json",
        "/api/videos/{job}/original",
        "/api/videos/../../etc/passwd/original",
    ],
)
def test_what_is_no_address_of_ours_is_not_there(shelf: tuple[TestClient, str], address: str) -> None:
    browser, job_id = shelf
    answer = browser.get(address.format(job=job_id))
    assert answer.status_code == 404
    assert b"root:" not in answer.content


def test_what_was_deleted_is_not_there(product: Product, ann: Person, browser: TestClient, video: Upload) -> None:
    product.services.videos.delete(ann.id, video.video_id)
    for address in list_addresses(video):
        assert browser.get(address).status_code == 404


def test_a_file_that_is_missing_on_the_disk_is_an_answer_too(
    product: Product, ann: Person, browser: TestClient, video: Upload
) -> None:
    product.ports.files.delete([original_key(ann.id, video.video_id)])
    answer = browser.get(f"/api/videos/{video.video_id}/original")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


# --- health, headers, accidents ---


def test_anybody_may_ask_whether_it_lives(product: Product) -> None:
    nobody = open_browser(product, None)
    assert nobody.get("/api/health").json() == {"alive": True}
    assert nobody.head("/api/health").status_code == 200


def test_readiness_tells_what_is_missing(product: Product) -> None:
    answer = open_browser(product, None).get("/api/ready")
    assert answer.status_code == 503
    parts = {part["id"]: part for part in answer.json()["parts"]}
    assert not answer.json()["ready"]
    assert parts["database"]["ok"]
    assert parts["files"]["ok"]
    assert not parts["workers"]["ok"]
    assert all(part["text"].endswith(".") for part in parts.values())
    told = {part["text"] for part in parts.values() if part["ok"]}
    assert told == {"It works."}, "versions, room and load are nobody else's business"


def test_every_answer_is_guarded(product: Product, browser: TestClient) -> None:
    for answer in (browser.get("/api/health"), browser.get("/api/videos/x/original"), browser.get("/nowhere")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in answer.headers
    secure = open_browser(product, None).get("/api/health", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ZeroDivisionError("secret detail"), 500, "internal"),
        (StorageError("files", "A sentence.", "secret"), 503, "files"),
    ],
)
def test_an_accident_is_a_sentence(
    browser: TestClient, video: Upload, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("jobs.videos.VideoService.open_original", fail)
    answer = browser.get(f"/api/videos/{video.video_id}/original")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
