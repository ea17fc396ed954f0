"""Videos and their versions, over the real database and real files: seeing, changing, taking away."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.local_files import LocalFiles
from jobs.errors import Conflict, NotFound, QuotaExceeded, Refused, StorageError
from jobs.models import JobStatus, Upload, VideoQuery, WorkerInfo
from jobs.storage import StorageManager, original_key, video_prefix
from jobs.videos import VideoService
from pipeline.models import RESULT_FILES
from pipeline.options import PipelineOptions
from tests.media.clips import silent_clip
from tests.product import LIMITS, Product, make_product
from tests.product.people import RESULTS, add_user, end_job, finish_job, make_video, receive_file


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson 4.mp4").path


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def ann(product: Product) -> str:
    return add_user(product, "ann")


@pytest.fixture
def video(product: Product, ann: str, clip: Path) -> Upload:
    return make_video(product, ann, clip)


def list_files(product: Product) -> list[str]:
    root = product.root / "files"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def job_of(upload: Upload) -> str:
    assert upload.job_id is not None
    return upload.job_id


# --- seeing ---


def test_a_queued_job_shows_its_place_in_line(product: Product, ann: str, clip: Path) -> None:
    made = [make_video(product, ann, clip, name=f"{number}.mp4") for number in range(3)]
    cards = product.services.videos.list_cards(ann, VideoQuery(sort="oldest")).items
    assert [(card.video.id, card.position) for card in cards] == [
        (upload.video_id, place) for place, upload in enumerate(made, 1)
    ]


def test_a_running_job_shows_the_time_left_from_this_machines_history(
    product: Product, ann: str, clip: Path, video: Upload
) -> None:
    jobs = product.ports.database.jobs
    assert jobs.claim(job_of(video), "w", lease_s=600) is not None
    product.clock.advance(seconds=30)
    assert jobs.beat(job_of(video), "w", stage="render", progress=0.5, lease_s=600) is False
    assert product.services.videos.get_card(ann, video.video_id).remaining_s == 30

    other = make_video(product, ann, clip, name="other.mp4")
    assert jobs.claim(job_of(other), "v", lease_s=600) is not None
    product.clock.advance(seconds=10)
    assert product.services.videos.get_card(ann, other.video_id).remaining_s is None


def test_odd_queries_are_answered_all_the_same(product: Product, ann: str, video: Upload) -> None:
    page = product.services.videos.list_cards(ann, VideoQuery(sort="; drop", offset=-5, limit=10**9))
    assert [card.video.id for card in page.items] == [video.video_id]


def test_a_worker_that_fell_silent_is_none(product: Product) -> None:
    assert not product.services.videos.has_worker()
    now = product.clock()
    product.ports.database.workers.beat(
        WorkerInfo(id="w", host="h", pid=1, started_at=now, seen_at=now, info={})
    )  # fmt: skip
    assert product.services.videos.has_worker()
    product.clock.advance(seconds=60)
    assert not product.services.videos.has_worker()


# --- changing ---


def test_a_video_is_renamed_and_described(product: Product, ann: str, video: Upload) -> None:
    product.services.videos.rename(ann, video.video_id, "  A new   name ")
    product.services.videos.set_details(ann, video.video_id, note="n", tags=["a", "a"], recorded_on="2026-01-31")
    found = product.services.videos.get_card(ann, video.video_id).video
    assert (found.title, found.note, found.tags, found.recorded_on) == ("A new name", "n", ("a",), "2026-01-31")
    with pytest.raises(Refused):
        product.services.videos.rename(ann, video.video_id, "")


def test_a_queued_job_is_cancelled_at_once_and_can_be_tried_again(product: Product, ann: str, video: Upload) -> None:
    assert product.services.videos.cancel(ann, job_of(video)).status is JobStatus.CANCELLED
    assert product.queue.waiting == []
    assert product.services.videos.get_usage(ann).used_ms == 0

    again = product.services.videos.retry(ann, video.video_id)
    assert again.status is JobStatus.QUEUED
    assert product.queue.waiting == [(again.id, 0)]
    assert product.services.videos.get_usage(ann).used_ms == 3000
    with pytest.raises(Conflict):
        product.services.videos.retry(ann, video.video_id)


def test_a_running_job_is_asked_to_stop(product: Product, ann: str, video: Upload) -> None:
    jobs = product.ports.database.jobs
    assert jobs.claim(job_of(video), "w", lease_s=60) is not None
    assert product.services.videos.cancel(ann, job_of(video)).status is JobStatus.RUNNING
    assert jobs.beat(job_of(video), "w", stage="audio", progress=0.1, lease_s=60) is True


def test_a_failed_job_is_tried_again_with_its_options_and_once(product: Product, ann: str, clip: Path) -> None:
    video = make_video(product, ann, clip, options={"pace": "tight"})
    end_job(product, job_of(video), JobStatus.FAILED)
    again = product.services.videos.retry(ann, video.video_id)
    assert again.options == {"pace": "tight"}
    assert [job.id for job in product.services.videos.list_versions(ann, video.video_id)] == [again.id, job_of(video)]
    finish_job(product, again.id)
    with pytest.raises(Conflict):
        product.services.videos.retry(ann, video.video_id)


def test_another_version_with_the_same_speech_costs_nothing(product: Product, ann: str, video: Upload) -> None:
    with pytest.raises(Conflict):
        product.services.videos.process_again(ann, video.video_id, {"captions": "burned"})
    finish_job(product, job_of(video))
    used = product.services.videos.get_usage(ann).used_ms
    product.ports.database.users.set_quota(ann, minutes=0, size_bytes=None)

    again = product.services.videos.process_again(
        ann, video.video_id, {"captions": "burned", "pace": "tight"}, idempotency_key="k"
    )  # fmt: skip
    same = product.services.videos.process_again(
        ann, video.video_id, {"captions": "burned", "pace": "tight"}, idempotency_key="k"
    )  # fmt: skip
    assert again.id == same.id
    assert product.services.videos.get_usage(ann).used_ms == used
    finish_job(product, again.id)
    other = product.services.videos.process_again(ann, video.video_id, {"language": "de"})
    assert product.services.videos.get_usage(ann).used_ms == 2 * used
    assert product.services.videos.cancel(ann, other.id).status is JobStatus.CANCELLED
    with pytest.raises(Refused):
        product.services.videos.process_again(ann, video.video_id, {"pace": "wild"})


def test_another_version_that_costs_too_much_is_refused(product: Product, ann: str, tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "long.mp4", frames=30 * 40).path
    video = make_video(product, ann, clip)
    finish_job(product, job_of(video))
    product.ports.database.users.set_quota(ann, minutes=1, size_bytes=None)
    with pytest.raises(QuotaExceeded):
        product.services.videos.process_again(ann, video.video_id, {"vocabulary": "Tom"})


def test_another_version_needs_room(product: Product, ann: str, clip: Path) -> None:
    video = make_video(product, ann, clip)
    finish_job(product, job_of(video))
    stored = product.services.videos.get_usage(ann).stored_bytes
    product.ports.database.users.set_quota(ann, minutes=None, size_bytes=stored)
    with pytest.raises(QuotaExceeded, match=r"storage .* is full"):
        product.services.videos.process_again(ann, video.video_id, {"captions": "burned"})
    product.ports.database.users.set_quota(ann, minutes=None, size_bytes=stored + 1)
    assert product.services.videos.process_again(ann, video.video_id, {"captions": "burned"}).status is JobStatus.QUEUED


# --- deleting ---


def test_a_deleted_video_leaves_nothing(product: Product, ann: str, video: Upload) -> None:
    finish_job(product, job_of(video))
    again = product.services.videos.process_again(ann, video.video_id, {"pace": "tight"})
    assert len(list_files(product)) == 10
    product.services.videos.delete(ann, video.video_id)
    assert list_files(product) == []
    assert product.queue.waiting == [(job_of(video), 0)], "the first job was taken from the line by its worker"
    assert product.ports.database.jobs.find(again.id) is None
    for gone in (product.services.videos.get_card, product.services.videos.delete, product.services.videos.retry):
        with pytest.raises(NotFound):
            gone(ann, video.video_id)


def test_deleting_stops_the_worker_that_makes_it(product: Product, ann: str, video: Upload) -> None:
    jobs = product.ports.database.jobs
    assert jobs.claim(job_of(video), "w", lease_s=60) is not None
    product.services.videos.delete(ann, video.video_id)
    assert jobs.beat(job_of(video), "w", stage="audio", progress=0.1, lease_s=60) is None
    assert product.services.videos.get_usage(ann).used_ms == 0


class StuckFiles(LocalFiles):
    """A disk that deletes nothing just now."""

    def delete_all(self, prefix: str) -> int:
        raise StorageError("files", "Not now.", prefix)


def test_a_video_is_deleted_though_its_files_can_not_be(product: Product, ann: str, video: Upload) -> None:
    ports = replace(product.ports, files=StuckFiles(product.root / "files"))
    VideoService(ports, StorageManager(ports.files), LIMITS, PipelineOptions()).delete(ann, video.video_id)
    assert list_files(product) == [original_key(ann, video.video_id)]
    assert not product.ports.database.videos.exists(video.video_id), "so that a sweep finds the file"


def test_everything_of_a_person_goes(product: Product, ann: str, clip: Path, video: Upload) -> None:
    ben = add_user(product, "ben")
    kept = make_video(product, ben, clip)
    finish_job(product, job_of(video))
    receive_file(product, ann, clip, name="on its way.mp4")
    for number in range(3):
        make_video(product, ann, clip, name=f"{number}.mp4")
    product.services.videos.delete_all(ann)
    assert list_files(product) == [original_key(ben, kept.video_id)]
    assert product.services.videos.list_cards(ann, VideoQuery()).total == 0
    assert product.services.uploads.list_open(ann) == []
    assert product.services.videos.get_card(ben, kept.video_id).video.id == kept.video_id


# --- taking away ---


def test_files_are_saved_under_the_title(product: Product, ann: str, video: Upload) -> None:
    job_id = job_of(video)
    with pytest.raises(NotFound):
        product.services.videos.open_file(ann, job_id, "video.mp4")
    finish_job(product, job_id)
    product.services.videos.rename(ann, video.video_id, "Größe: 1/2")
    found = product.services.videos.open_file(ann, job_id, "video.mp4")
    assert (found.name, found.media_type, found.size_bytes) == ("Größe 1 2.mp4", "video/mp4", len(RESULTS["video.mp4"]))
    assert {product.services.videos.open_file(ann, job_id, name).media_type for name in RESULT_FILES} == {
        *("video/mp4", "text/vtt; charset=utf-8", "application/x-subrip; charset=utf-8", "text/plain; charset=utf-8"),
        *("application/json", "image/jpeg"),
    }
    for name in ("secret.txt", "../report.json", "", "video.mp4/.."):
        with pytest.raises(NotFound):
            product.services.videos.open_file(ann, job_id, name)
    original = product.services.videos.open_original(ann, video.video_id)
    assert (original.name, original.media_type) == ("Lesson 4.mp4", "video/mp4")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.MOV", "video/quicktime"),
        ("a.html.webm", "video/webm"),
        ("page.xhtml", "application/octet-stream"),
        ("no ending", "application/octet-stream"),
    ],
)
def test_an_original_is_never_sent_as_a_page(
    product: Product, ann: str, clip: Path, name: str, media_type: str
) -> None:  # fmt: skip
    video = make_video(product, ann, clip, name=name)
    assert product.services.videos.open_original(ann, video.video_id).media_type == media_type


def test_the_archive_holds_all_nine_files(product: Product, ann: str, video: Upload) -> None:
    finish_job(product, job_of(video))
    product.services.videos.rename(ann, video.video_id, "Lektion Ü")
    archive, blocks = product.services.videos.open_archive(ann, job_of(video))
    data = b"".join(blocks)
    assert archive.name == "Lektion Ü.zip"
    assert len(data) == archive.size_bytes
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert opened.read("Lektion Ü.mp4") == RESULTS["video.mp4"]
        assert opened.read("Lektion Ü transcript.json") == RESULTS["transcript.json"]
        assert len(set(opened.namelist())) == 9


# --- others' ---


def test_a_foreign_id_is_an_unknown_id(product: Product, ann: str, video: Upload) -> None:
    job_id = job_of(video)
    finish_job(product, job_id)
    ben = add_user(product, "ben")
    service = product.services.videos

    def actions(video_id: str, job_id: str) -> list[Callable[[], object]]:
        return [
            lambda: service.get_card(ben, video_id),
            lambda: service.list_versions(ben, video_id),
            lambda: service.rename(ben, video_id, "x"),
            lambda: service.set_details(ben, video_id, note="", tags=[], recorded_on=""),
            lambda: service.retry(ben, video_id),
            lambda: service.process_again(ben, video_id, {}),
            lambda: service.delete(ben, video_id),
            lambda: service.open_original(ben, video_id),
            lambda: service.cancel(ben, job_id),
            lambda: service.list_events(ben, job_id),
            lambda: service.open_file(ben, job_id, "video.mp4"),
            lambda: service.open_archive(ben, job_id),
        ]

    before = list_files(product)
    for ids in ((video.video_id, job_id), (str(uuid4()), str(uuid4())), ("../x", "' or 1=1")):
        for action in actions(*ids):
            with pytest.raises(NotFound):
                action()
    assert list_files(product) == before
    assert service.get_card(ann, video.video_id).video.title == "Lesson 4"
    assert any(key.startswith(video_prefix(ann, video.video_id)) for key in before)
