"""Files on their way in, over the real database, real files and the real probe: nothing is lost, made twice or left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.local_files import LocalFiles
from jobs.errors import Conflict, DomainError, NotFound, QuotaExceeded, Refused, StorageError, StoreUnavailable
from jobs.models import RemoteFile, Upload, UploadState, VideoFacts, VideoQuery
from jobs.storage import original_key
from jobs.uploads import BEAT_S, UploadService
from pipeline.options import PipelineOptions
from tests.media.clips import headless_clip, silent_clip, text_file, truncated_clip
from tests.media.hard import ffmpeg
from tests.product import LIMITS, Product, make_product
from tests.product.people import add_user, make_video, receive_file


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return silent_clip(tmp_path_factory.mktemp("media") / "Lesson_4.mp4").path


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path)


@pytest.fixture
def ann(product: Product) -> str:
    return add_user(product, "ann")


def list_files(product: Product) -> list[str]:
    root = product.root / "files"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def count_videos(product: Product, user_id: str) -> int:
    return product.services.videos.list_cards(user_id, VideoQuery()).total


def restart(product: Product, *, files: Callable[[Path], LocalFiles] = LocalFiles) -> Product:
    """Return the product after its process died: everything in memory is gone."""
    again = make_product(product.root)
    again.clock.ahead = product.clock.ahead
    ports = replace(again.ports, files=files(product.root / "files"))
    services = replace(again.services, uploads=UploadService(ports, again.services.storage, LIMITS, PipelineOptions()))
    return replace(again, ports=ports, services=services)


def test_tabs_that_begin_the_same_file_at_once_share_its_upload(product: Product, ann: str) -> None:
    together = threading.Barrier(8)

    def begin(_: int) -> str:
        together.wait()
        begun = product.services.uploads.begin(ann, name="a.mp4", size_bytes=9, fingerprint="a:9", options={})
        return begun.upload.id

    with ThreadPoolExecutor(8) as tabs:
        assert len(set(tabs.map(begin, range(8)))) == 1


def test_the_upload_of_a_disabled_account_waits_until_it_is_forgotten(product: Product, clip: Path) -> None:
    add_user(product, "ann")  # the administrator
    ben = add_user(product, "ben")
    receive_file(product, ben, clip)
    product.ports.database.users.set_active(ben, False)
    product.clock.advance(minutes=5)
    assert product.services.uploads.complete_received() == 0
    assert count_videos(product, ben) == 0
    product.clock.advance(hours=25)
    assert product.services.recovery.sweep().uploads == 1
    assert list_files(product) == []


def test_an_account_that_goes_while_its_file_is_checked_leaves_nothing(
    product: Product, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_user(product, "ann")
    ben = add_user(product, "ben")
    upload = receive_file(product, ben, clip)
    finish = product.ports.files.finish_upload

    def finish_and_go(key: str) -> None:
        finish(key)
        product.services.videos.delete_all(ben)
        finish_again = product.root / "late"
        finish_again.write_bytes(clip.read_bytes())
        product.ports.files.put(key, finish_again)  # moved into its place a moment later
        product.ports.database.users.delete(ben)

    monkeypatch.setattr(product.ports.files, "finish_upload", finish_and_go)
    with pytest.raises(NotFound):
        product.services.uploads.complete(ben, upload.id)
    assert list_files(product) == []


# --- the whole way ---


def test_a_file_becomes_a_video_with_its_job(product: Product, ann: str, clip: Path) -> None:
    options = {"pace": "tight", "captions": "burned", "style": "bold"}
    done = make_video(product, ann, clip, options=options)

    assert done.state is UploadState.DONE
    card = product.services.videos.get_card(ann, done.video_id)
    assert card.video.title == "Lesson 4"
    assert card.video.file_name == "Lesson_4.mp4"
    assert card.video.facts == product.ports.prober.probe(clip)
    assert card.video.facts.size_bytes == clip.stat().st_size
    assert card.job.id == done.job_id
    assert card.job.options == options
    assert product.queue.waiting == [(card.job.id, 0)]
    assert list_files(product) == [original_key(ann, done.video_id)]
    assert b"".join(product.ports.files.read(original_key(ann, done.video_id))) == clip.read_bytes()
    assert product.services.videos.get_usage(ann).used_ms == card.video.facts.duration_ms
    assert product.services.uploads.list_open(ann) == []


def test_an_upload_goes_on_where_it_stopped_after_a_restart(product: Product, ann: str, clip: Path) -> None:
    data = clip.read_bytes()
    begin = {"name": clip.name, "size_bytes": len(data), "fingerprint": "x:1", "options": {}}
    first = product.services.uploads.begin(ann, **begin)  # type: ignore[arg-type]
    product.services.uploads.append(ann, first.upload.id, offset=0, data=data[:10_000])

    product = restart(product)
    again = product.services.uploads.begin(ann, **{**begin, "options": {"pace": "relaxed"}})  # type: ignore[arg-type]
    assert again.upload.id == first.upload.id
    assert again.received == 10_000
    with pytest.raises(Conflict):
        product.services.uploads.append(ann, first.upload.id, offset=9_999, data=b"x")
    with pytest.raises(Conflict):
        product.services.uploads.complete(ann, first.upload.id)
    product.services.uploads.append(ann, first.upload.id, offset=10_000, data=data[10_000:])
    done = product.services.uploads.complete(ann, first.upload.id)

    assert b"".join(product.ports.files.read(original_key(ann, done.video_id))) == data
    assert product.services.videos.get_card(ann, done.video_id).job.options == {"pace": "relaxed"}


def test_another_file_or_another_person_begins_anew(product: Product, ann: str) -> None:
    ben = add_user(product, "ben")
    begin = product.services.uploads.begin
    ids = {
        begin(user_id, name="a.mp4", size_bytes=size, fingerprint=fingerprint, options={}).upload.id
        for user_id, size, fingerprint in [
            *((ann, 10, "f"), (ann, 10, "g"), (ann, 11, "f"), (ben, 10, "f")),
            *((ann, 10, ""), (ann, 10, ""), (ann, 10, "f")),
        ]
    }
    assert len(ids) == 6


def test_the_last_options_count(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    product.services.uploads.set_options(ann, upload.id, {"captions": "none"})
    with pytest.raises(Refused, match="pace"):
        product.services.uploads.set_options(ann, upload.id, {"pace": "wild"})
    done = product.services.uploads.complete(ann, upload.id)
    assert product.services.videos.get_card(ann, done.video_id).job.options == {"captions": "none"}
    with pytest.raises(Conflict):
        product.services.uploads.set_options(ann, upload.id, {})


# --- idempotence ---


def test_completing_side_by_side_makes_one_video(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    other = restart(product)  # another process on the same data
    barrier = threading.Barrier(8)

    def complete(number: int) -> Upload:
        barrier.wait()
        return (product, other)[number % 2].services.uploads.complete(ann, upload.id)

    with ThreadPoolExecutor(8) as pool:
        done = set(map(repr, pool.map(complete, range(8))))

    assert len({product.services.uploads.complete(ann, upload.id).job_id}) == 1
    assert len(done) == 1
    assert count_videos(product, ann) == 1
    card = product.services.videos.list_cards(ann, VideoQuery()).items[0]
    assert [job.id for job in product.services.videos.list_versions(ann, upload.video_id)] == [card.job.id]
    assert product.services.videos.get_usage(ann).used_ms == card.video.facts.duration_ms
    assert {job for job, _ in (*product.queue.waiting, *other.queue.waiting)} == {card.job.id}
    assert list_files(product) == [original_key(ann, upload.video_id)]


class DyingFiles(LocalFiles):
    """A disk under a process that dies right after the original was stored."""

    def finish_upload(self, key: str) -> None:
        super().finish_upload(key)
        raise KeyboardInterrupt


def test_dying_between_any_two_steps_is_mended_by_completing_again(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    with pytest.raises(KeyboardInterrupt):
        restart(product, files=DyingFiles).services.uploads.complete(ann, upload.id)
    assert list_files(product) == [original_key(ann, upload.video_id)]
    assert count_videos(product, ann) == 0
    product.ports.database.uploads.set_state(ann, upload.id, UploadState.CHECKING)  # as SIGKILL leaves it

    product = restart(product)
    assert product.services.uploads.get(ann, upload.id).received == clip.stat().st_size
    done = product.services.uploads.complete(ann, upload.id)
    assert done.state is UploadState.DONE
    assert count_videos(product, ann) == 1
    assert list_files(product) == [original_key(ann, upload.video_id)]


class DeadQueue:
    """A queue whose server is gone."""

    def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:  # noqa: ARG002
        raise StoreUnavailable("no queue")

    def find_missing(self, jobs: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:  # noqa: ARG002
        raise StoreUnavailable("no queue")

    def forget(self, job_id: str, attempt: int) -> None:  # noqa: ARG002
        raise StoreUnavailable("no queue")

    def check(self) -> str:
        raise StoreUnavailable("no queue")


def test_without_a_queue_the_job_is_made_all_the_same(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    ports = replace(product.ports, queue=DeadQueue())
    service = UploadService(ports, product.services.storage, LIMITS, PipelineOptions())
    done = service.complete(ann, upload.id)
    assert done.job_id is not None
    assert [job.id for job, _ in product.ports.database.jobs.list_queued()] == [done.job_id]


class BrokenProber:
    """A machine on which nothing can be looked at just now."""

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        raise StorageError("probe_failed", "Not now.", str(source))


def test_a_check_that_can_not_be_made_now_is_made_later(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    ports = replace(product.ports, prober=BrokenProber())
    with pytest.raises(StorageError):
        UploadService(ports, product.services.storage, LIMITS, PipelineOptions()).complete(ann, upload.id)
    assert product.services.uploads.get(ann, upload.id).upload.state is UploadState.RECEIVING
    assert product.services.uploads.complete(ann, upload.id).state is UploadState.DONE


# --- when nobody calls complete ---


def test_a_received_file_whose_page_is_gone_is_completed(product: Product, ann: str, clip: Path) -> None:
    whole = receive_file(product, ann, clip, name="whole.mp4")
    broken = receive_file(product, ann, text_file(product.root / "text.mp4"), name="text.mp4")
    part = product.services.uploads.begin(ann, name="part.mp4", size_bytes=10, fingerprint="p", options={}).upload
    assert product.services.uploads.complete_received() == 0, "its page may still be there"

    product.clock.advance(seconds=61)
    assert product.services.uploads.complete_received() == 1
    states = {upload.name: product.services.uploads.get(ann, upload.id).upload for upload in (whole, broken, part)}
    assert states["whole.mp4"].state is UploadState.DONE
    assert states["text.mp4"].state is UploadState.REFUSED
    assert states["text.mp4"].error_message.startswith("This is not a video")
    assert states["part.mp4"].state is UploadState.RECEIVING
    assert product.services.uploads.complete_received() == 0


def test_a_check_that_goes_on_elsewhere_is_left_alone(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    product.ports.database.uploads.set_state(ann, upload.id, UploadState.CHECKING)
    product.clock.advance(seconds=45)
    product.ports.database.uploads.touch(ann, upload.id)  # what a living check does every BEAT_S
    product.clock.advance(seconds=45)
    assert BEAT_S < 45
    assert product.services.uploads.complete_received() == 0
    product.clock.advance(seconds=16)
    assert product.services.uploads.complete_received() == 1


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: truncated_clip(folder / "a.mp4"), "truncated"),
        (lambda folder: headless_clip(folder / "a.mp4"), "truncated"),
        (lambda folder: text_file(folder / "a.mp4"), "not_media"),
        (lambda folder: _only_sound(folder / "a.mp4"), "no_video"),
    ],
    ids=["truncated", "headless", "text", "no picture"],
)
def test_a_refused_file_leaves_nothing_but_its_sentence(
    product: Product, ann: str, tmp_path: Path, make: Callable[[Path], Path], code: str
) -> None:
    (tmp_path / "media").mkdir()
    upload = receive_file(product, ann, make(tmp_path / "media"))
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            product.services.uploads.complete(ann, upload.id)
        assert caught.value.code == code
        assert caught.value.message.endswith(".")
    row = product.services.uploads.get(ann, upload.id).upload
    assert (row.state, row.error_code, row.error_message) == (UploadState.REFUSED, code, caught.value.message)
    assert list_files(product) == []
    assert count_videos(product, ann) == 0
    assert product.queue.waiting == []
    assert product.services.videos.get_usage(ann).stored_bytes == 0
    with pytest.raises(Refused):
        product.services.uploads.append(ann, upload.id, offset=0, data=b"x")


def _only_sound(path: Path) -> Path:
    whole = silent_clip(path.with_name("whole.mp4")).path
    ffmpeg("-i", whole, "-vn", "-c", "copy", path, cwd=path.parent)
    return path


def test_a_file_that_is_too_long_is_refused_at_its_end(tmp_path: Path, clip: Path) -> None:
    product = make_product(tmp_path, limits=replace(LIMITS, max_duration_ms=2000))
    ann = add_user(product, "ann")
    with pytest.raises(Refused, match=r"3\.0 s long; at most 2\.0 s fit") as caught:
        make_video(product, ann, clip)
    assert caught.value.code == "too_long"
    assert list_files(product) == []


@pytest.mark.parametrize(
    ("name", "size", "options", "code"),
    [
        ("a.mp4", 0, {}, "empty"),
        ("a.mp4", -1, {}, "empty"),
        ("a.mp4", 1001, {}, "too_large"),
        ("a.pdf", 10, {}, "not_media"),
        ("a.mp4", 10, {"pace": "wild"}, "bad_options"),
        ("a.mp4", 10, {"shell": "rm"}, "bad_options"),
    ],
)
def test_what_can_be_told_before_the_first_byte_is_refused_then(
    tmp_path: Path, name: str, size: int, options: dict[str, object], code: str
) -> None:
    product = make_product(tmp_path, limits=replace(LIMITS, max_upload_bytes=1000))
    ann = add_user(product, "ann")
    with pytest.raises(Refused) as caught:
        product.services.uploads.begin(ann, name=name, size_bytes=size, fingerprint="f", options=options)
    assert caught.value.code == code
    assert product.services.uploads.list_open(ann) == []


def test_nobody_may_send_more_than_was_announced(product: Product, ann: str) -> None:
    upload = product.services.uploads.begin(ann, name="a.mp4", size_bytes=5, fingerprint="f", options={}).upload
    product.services.uploads.append(ann, upload.id, offset=0, data=b"123")
    with pytest.raises(Refused) as caught:
        product.services.uploads.append(ann, upload.id, offset=3, data=b"456")
    assert caught.value.status == 413
    assert product.services.uploads.get(ann, upload.id).received == 3


def test_storage_is_limited_together_with_what_is_on_its_way(product: Product, ann: str) -> None:
    product.ports.database.users.set_quota(ann, minutes=None, size_bytes=1000)
    begin = product.services.uploads.begin
    begin(ann, name="a.mp4", size_bytes=600, fingerprint="a", options={})
    with pytest.raises(QuotaExceeded, match="no room for this file"):
        begin(ann, name="b.mp4", size_bytes=500, fingerprint="b", options={})
    begin(ann, name="b.mp4", size_bytes=400, fingerprint="b", options={})


def test_a_video_that_costs_more_than_is_left_is_refused_and_gone(product: Product, ann: str, tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "long.mp4", frames=30 * 40).path
    product.ports.database.users.set_quota(ann, minutes=1, size_bytes=None)
    make_video(product, ann, clip, name="first.mp4")
    other = silent_clip(tmp_path / "other.mp4", frames=30 * 41).path
    with pytest.raises(QuotaExceeded):
        make_video(product, ann, other, name="second.mp4")
    assert count_videos(product, ann) == 1
    assert len(list_files(product)) == 1
    assert product.services.videos.get_usage(ann).used_ms == 40_000


def test_the_same_recording_again_is_not_charged_twice(product: Product, ann: str, clip: Path) -> None:
    make_video(product, ann, clip, name="one.mp4")
    make_video(product, ann, clip, name="two.mp4")
    assert count_videos(product, ann) == 2
    assert product.services.videos.get_usage(ann).used_ms == 3000


class FullDisk(LocalFiles):
    """A disk with little room left."""

    free = 0

    def free_bytes(self) -> int | None:
        return self.free


def test_a_disk_without_room_is_told_before_and_while_receiving(product: Product, ann: str) -> None:
    files = FullDisk(product.root / "files")
    ports = replace(product.ports, files=files)
    service = UploadService(ports, product.services.storage, LIMITS, PipelineOptions())
    files.free = 1_000_000_000 + 2_000_000
    begin = {"name": "a.mp4", "fingerprint": "f", "options": {}}
    with pytest.raises(Refused, match="no room for 2 MB") as caught:
        service.begin(ann, size_bytes=2_000_000, **begin)  # type: ignore[arg-type]
    assert caught.value.status == 507
    upload = service.begin(ann, size_bytes=1_000_000, **begin).upload  # type: ignore[arg-type]
    assert service.get_limits(ann).free_bytes == 500_000, "what is on its way is spoken for"
    files.free = 100_000_000
    with pytest.raises(StorageError, match="disk of this machine is full"):
        service.append(ann, upload.id, offset=0, data=b"x")
    files.free = 10**12
    assert service.append(ann, upload.id, offset=0, data=b"x") == 1


# --- cancelling ---


def test_a_cancelled_upload_is_gone(product: Product, ann: str, clip: Path) -> None:
    upload = receive_file(product, ann, clip)
    product.services.uploads.cancel(ann, upload.id)
    assert list_files(product) == []
    actions: list[Callable[[], object]] = [
        lambda: product.services.uploads.get(ann, upload.id),
        lambda: product.services.uploads.append(ann, upload.id, offset=0, data=b"x"),
        lambda: product.services.uploads.complete(ann, upload.id),
        lambda: product.services.uploads.cancel(ann, upload.id),
        lambda: product.services.uploads.set_options(ann, upload.id, {}),
    ]
    for action in actions:
        with pytest.raises(NotFound):
            action()


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


def test_cancelling_while_the_file_is_checked_does_not_wait(product: Product, ann: str, clip: Path) -> None:
    prober = SlowProber(product)
    ports = replace(product.ports, prober=prober)
    service = UploadService(ports, product.services.storage, LIMITS, PipelineOptions())
    upload = receive_file(product, ann, clip)
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(service.complete, ann, upload.id)
        assert prober.began.wait(60)
        service.cancel(ann, upload.id)
        prober.may_end.set()
        with pytest.raises(DomainError):
            checking.result(60)
    assert count_videos(product, ann) == 0
    assert list_files(product) == []
    assert product.queue.waiting == []


def test_a_finished_upload_can_not_be_cancelled(product: Product, ann: str, clip: Path) -> None:
    done = make_video(product, ann, clip)
    with pytest.raises(Conflict):
        product.services.uploads.cancel(ann, done.id)
    assert list_files(product) == [original_key(ann, done.video_id)]
    assert os.path.getsize(product.root / "files" / original_key(ann, done.video_id)) == clip.stat().st_size
