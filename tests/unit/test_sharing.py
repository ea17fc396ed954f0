"""Parts of a video, in this process: what they are called, who makes them, and what becomes of what they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import jobs.crew
import jobs.tasks
from adapters.local_files import LocalFiles
from jobs.crew import LEAST_PARTS, MOST_PARTS, RqCrew, choose_parts
from jobs.errors import NotFound, StoreUnavailable
from jobs.helping import process_part
from jobs.machine import Machine, install
from jobs.models import JobStatus, Json, ProcessingJob, Role, User, Video, VideoFacts, WorkerInfo
from jobs.parts import Part, describe_part, parse_part
from jobs.ports import Charge, Ports
from jobs.recovery import Recovery
from jobs.storage import is_part, original_key, part_key, result_key
from jobs.tasks import process_job
from jobs.workspace import name_folder, tidy_folders
from pipeline.chunks import plan_chunks
from pipeline.models import RESULT_FILES, RunContext
from pipeline.options import PipelineOptions
from pipeline.probe import probe
from pipeline.shares import WindowShare
from pipeline.speech import Window
from pipeline.timeline import Timeline
from tests.media.talks import short_talk, write_video
from tests.product import LIMITS, Product, make_product

ME, OTHER = "this-worker", "another-worker"
LEAVING = "leaving"
SILENT: Json = {"captions": "none"}


@dataclass
class ActiveParts:
    """The queue of a worker that begins what is offered at once, as far as ``helps`` says; the rest waits."""

    helps: Callable[[str, int, str], bool]
    waiting: set[str]

    def offer(self, job_id: str, attempt: int, name: str, *, timeout_s: int) -> None:
        assert timeout_s > 0
        if not self.helps(job_id, attempt, name):
            self.waiting.add(name)

    def take_back(self, _job_id: str, _attempt: int, name: str) -> bool:
        is_ours = name in self.waiting
        self.waiting.discard(name)
        return is_ours

    def is_alive(self, _job_id: str, _attempt: int, name: str) -> bool:
        return name in self.waiting


class LostParts:
    """A queue that is away."""

    def offer(self, _job_id: str, _attempt: int, _name: str, *, timeout_s: int) -> None:
        raise StoreUnavailable(f"no queue for {timeout_s} s")

    def take_back(self, _job_id: str, _attempt: int, _name: str) -> bool:
        raise StoreUnavailable("no queue")

    def is_alive(self, _job_id: str, _attempt: int, _name: str) -> bool:
        raise StoreUnavailable("no queue")


class WatchedFiles(LocalFiles):
    """The real store, with something happening when a file was put."""

    after_put: Callable[[str], None] = staticmethod(lambda _: None)

    def put(self, key: str, path: Path, **more: object) -> None:
        super().put(key, path, **more)  # type: ignore[arg-type]  # passed on as it came
        self.after_put(key)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture
def files(tmp_path: Path) -> WatchedFiles:
    return WatchedFiles(tmp_path / "files")


@pytest.fixture
def product(tmp_path: Path, files: WatchedFiles) -> Product:
    return make_product(tmp_path, files=files)


@pytest.fixture
def user(product: Product) -> User:
    made = product.ports.database.users.create(username="ann", full_name="", role=Role.USER, password_hash="none")
    assert made is not None
    return made


@pytest.fixture(autouse=True)
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve seconds are worth sharing out, and nobody waits for long."""
    monkeypatch.setattr(jobs.tasks, "SHARED_FROM_MS", 1000)
    monkeypatch.setattr(RqCrew, "least_s", 1)
    monkeypatch.setattr(jobs.crew, "POLL_S", 0.01)
    monkeypatch.setattr(jobs.crew, "LOST_S", 0.1)


def make_job(product: Product, user: User, source: Path) -> tuple[Video, ProcessingJob]:
    """Return a video with its first job, queued."""
    size = source.stat().st_size
    upload = product.ports.database.uploads.create(
        user.id, name=source.name, size_bytes=size, fingerprint="", options=SILENT
    )
    key = original_key(user.id, upload.video_id)
    product.ports.files.append(key, 0, source.read_bytes())
    product.ports.files.finish_upload(key)
    facts = VideoFacts(
        duration_ms=12_000, width=320, height=180, fps="30", video_codec="h264", audio_tracks=1, size_bytes=size,
        sha256="a" * 64,
    )  # fmt: skip
    return product.ports.database.videos.create_with_job(
        upload, title="", facts=facts, options=SILENT, charge=Charge(key="k", limit_ms=0), limit_bytes=0
    )


def show_workers(product: Product, **jobs_of: str) -> None:
    """Have workers be seen, each with the job that it is busy with, with none, or about to leave."""
    now = datetime.now(UTC)
    for name, job_id in jobs_of.items():
        info: Json = {"is_draining": True} if job_id == LEAVING else {"job_id": job_id} if job_id else {}
        product.ports.database.workers.beat(
            WorkerInfo(id=name, host="h", pid=1, started_at=now, seen_at=now, info=info)
        )


def machine_of(ports: Ports, root: Path, worker_id: str, options: PipelineOptions | None = None) -> Machine:
    return Machine(
        worker_id=worker_id,
        make_ports=lambda: ports,
        options=options or PipelineOptions(),
        work_root=root / "work",
        parent_pid=None,
    )


def work_on(product: Product, ports: Ports, job: ProcessingJob) -> ProcessingJob:
    """Do what the process of a job does, somebody else being seen; return the job as it then is."""
    show_workers(product, other="")
    install(machine_of(ports, product.root, ME))
    process_job(job.id)
    return look(product, job)


def help_with(product: Product, ports: Ports, job_id: str, attempt: int, name: str) -> None:
    """Do what the process of a part does, in the middle of that of a job."""
    install(machine_of(ports, product.root, OTHER))
    process_part(job_id, attempt, name)
    install(machine_of(ports, product.root, ME))


def look(product: Product, job: ProcessingJob) -> ProcessingJob:
    found = product.ports.database.jobs.find(job.id)
    assert found is not None
    return found[0]


def stored(product: Product, job: ProcessingJob) -> list[str]:
    prefix = f"user/{job.user_id}/video/{job.video_id}/job/{job.id}/"
    return sorted(file.key.removeprefix(prefix) for file in product.ports.files.list_files(prefix))


NINE = sorted(f"1/{name}" for name in RESULT_FILES)


def test_a_helper_makes_what_it_is_offered_and_nothing_is_left(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    helped: list[str] = []

    def helps(job_id: str, attempt: int, name: str) -> bool:
        if len(helped) >= 2:
            return False
        help_with(product, ports, job_id, attempt, name)
        helped.append(name)
        return True

    parts = ActiveParts(helps, set())
    ports = replace(product.ports, parts=parts)
    done = work_on(product, ports, job)
    assert done.status is JobStatus.SUCCEEDED, done.error_message
    assert len(helped) == 2 and not parts.waiting
    assert stored(product, job) == NINE
    assert [path.name for path in (product.root / "work").iterdir()] == [name_folder(job.id, OTHER)]
    tidy_folders(product.root / "work", product.ports.database.jobs)
    assert not list((product.root / "work").iterdir())


def test_without_a_queue_one_makes_everything(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    done = work_on(product, replace(product.ports, parts=LostParts()), job)
    assert done.status is JobStatus.SUCCEEDED, done.error_message
    assert stored(product, job) == NINE


@pytest.mark.parametrize("leaves", [b"", b"no picture"], ids=["nothing", "something torn"])
def test_what_a_helper_does_not_bring_is_made_here(product: Product, user: User, talk: Path, leaves: bytes) -> None:
    _, job = make_job(product, user, talk)
    begun: list[str] = []

    def helps(job_id: str, attempt: int, name: str) -> bool:
        begun.append(name)
        if leaves:
            torn = product.root / "torn"
            torn.write_bytes(leaves)
            product.ports.files.put(part_key(user.id, job.video_id, job_id, attempt, f"{name}.mp4"), torn)
        return True

    done = work_on(product, replace(product.ports, parts=ActiveParts(helps, set())), job)
    assert done.status is JobStatus.SUCCEEDED, done.error_message
    assert len(begun) >= 2
    assert stored(product, job) == NINE


def test_progress_never_goes_back(product: Product, user: User, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, job = make_job(product, user, talk)
    told: list[float] = []
    beat = product.ports.database.jobs.beat

    def listen(*args: object, progress: float, **more: object) -> bool | None:
        told.append(progress)
        return beat(*args, progress=progress, **more)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(product.ports.database.jobs, "beat", listen)
    monkeypatch.setattr("jobs.watch.BEAT_S", 0.01)
    assert work_on(product, replace(product.ports, parts=LostParts()), job).status is JobStatus.SUCCEEDED
    assert told == sorted(told)
    assert len({round(one, 2) for one in told}) > 3


# --- whether a part is wanted ---


def offer_one(product: Product, ports: Ports, job: ProcessingJob, video: Video, talk: Path) -> Part:
    """Put one part of a running job into the store and the queue."""
    timeline = Timeline.from_kept(probe(talk, PipelineOptions()).video.nominal_rate, 300, [(10, 40), (60, 90)])
    (chunk,) = plan_chunks(timeline, 1, probe=probe(talk, PipelineOptions()))
    part = describe_part(chunk, PipelineOptions())
    crew = crew_of(product, ports, job, video, talk)
    crew.offer(part, None)
    return part


def crew_of(product: Product, ports: Ports, job: ProcessingJob, video: Video, talk: Path) -> RqCrew:
    folder = product.root / "own"
    folder.mkdir(exist_ok=True)
    ctx = RunContext(workdir=folder)
    return RqCrew(machine_of(ports, product.root, ME), ports, job, video, talk, PipelineOptions(), ctx)


def claim(product: Product, job: ProcessingJob) -> ProcessingJob:
    claimed = product.ports.database.jobs.claim(job.id, ME, lease_s=60)
    assert claimed is not None
    return claimed


def test_a_part_is_made_while_its_job_runs(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)
    job = claim(product, job)
    part = offer_one(product, product.ports, job, video, talk)
    help_with(product, product.ports, job.id, 1, part.name)
    assert f"1/{part.result_name}" in stored(product, job)


@pytest.mark.parametrize("ends", ["cancel", "release", "another attempt"])
def test_a_part_that_nobody_wants_is_not_begun(product: Product, user: User, talk: Path, ends: str) -> None:
    video, job = make_job(product, user, talk)
    job = claim(product, job)
    part = offer_one(product, product.ports, job, video, talk)
    if ends == "cancel":
        product.ports.database.jobs.request_cancel(user.id, job.id)
    else:
        product.ports.database.jobs.release(job.id, ME, reason="test")
    if ends == "another attempt":
        claim(product, job)
    help_with(product, product.ports, job.id, 1, part.name)
    assert f"1/{part.result_name}" not in stored(product, job)
    assert not list((product.root / "work").iterdir())


def test_a_part_that_comes_too_late_is_taken_away_again(
    product: Product, files: WatchedFiles, user: User, talk: Path
) -> None:
    video, job = make_job(product, user, talk)
    job = claim(product, job)
    part = offer_one(product, product.ports, job, video, talk)
    put: list[str] = []

    def end(key: str) -> None:
        put.append(key)
        product.ports.database.jobs.release(job.id, ME, reason="test")

    files.after_put = end
    help_with(product, product.ports, job.id, 1, part.name)
    assert [key.rpartition("/")[2] for key in put] == [part.result_name]
    assert f"1/{part.result_name}" not in stored(product, job)


def test_another_model_hears_other_words(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)
    job = claim(product, job)
    share = WindowShare(key="k", language="en", probability=1.0, windows={0: Window(pieces=((0, 16_000),))})
    part = describe_part(share, PipelineOptions(model="base"))
    assert part.fits(PipelineOptions(model="/elsewhere/base"))
    assert not part.fits(PipelineOptions(model="small"))
    sound = product.root / "sound"
    sound.write_bytes(bytes(32_000))
    crew_of(product, product.ports, job, video, talk).offer(part, sound)
    install(machine_of(product.ports, product.root, OTHER, PipelineOptions(model="small")))
    process_part(job.id, 1, part.name)
    assert f"1/{part.result_name}" not in stored(product, job)


# --- values ---


def test_a_part_is_called_by_what_it_is() -> None:
    share = WindowShare(key="k", language="en", probability=0.9, windows={3: Window(pieces=((5, 9), (12, 20)))})
    part = describe_part(share, PipelineOptions())
    assert parse_part(part.to_bytes()) == part
    assert part.name == parse_part(part.to_bytes()).name
    other = describe_part(replace(share, windows={4: share.windows[3]}), PipelineOptions())
    assert other.name != part.name
    with pytest.raises(ValueError, match="no part"):
        parse_part(b'{"version": 2}')


def test_keys_of_parts_stay_in_their_place(user: User) -> None:
    name = f"picture-{'0' * 64}.mp4"
    key = part_key(user.id, user.id, user.id, 1, name)
    assert is_part(key)
    assert not is_part(result_key(user.id, user.id, user.id, 1, "video.mp4"))
    for wrong in ("video.mp4", f"../{name}", f"picture-{'0' * 63}.mp4", f"{name}/x"):
        with pytest.raises(NotFound):
            part_key(user.id, user.id, user.id, 1, wrong)
    with pytest.raises(NotFound):
        part_key(user.id, user.id, "..", 1, name)


@pytest.mark.parametrize(
    ("minutes", "parts"), [(10, LEAST_PARTS), (200, LEAST_PARTS), (201, 21), (600, 60), (6000, MOST_PARTS)]
)
def test_the_length_alone_says_how_many_parts_there_are(minutes: int, parts: int) -> None:
    assert choose_parts(minutes * 60_000) == parts


def test_a_video_is_shared_where_there_are_others_or_parts_of_theirs(product: Product, user: User, talk: Path) -> None:
    video, job = make_job(product, user, talk)
    crew = crew_of(product, product.ports, job, video, talk)
    parts = choose_parts(video.facts.duration_ms)
    assert crew.count_parts() == 1
    show_workers(product, **{ME: job.id})
    assert crew.count_parts() == 1, "ourselves"
    leave_part(product, claim(product, job), 1)
    product.ports.database.jobs.release(job.id, ME, reason="test")
    again = crew_of(product, product.ports, claim(product, job), video, talk)
    assert again.count_parts() == parts, "nobody is left, but what they made is"
    show_workers(product, busy="another job")
    assert crew.count_parts() == parts, "it may be free soon"
    show_workers(product, **{f"worker{number}": "" for number in range(9)})
    assert crew.count_parts() == parts, "as many parts as another crew would make"


def test_who_is_left_alone_takes_over_what_a_helper_made(
    product: Product, user: User, talk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, job = make_job(product, user, talk)

    def make_one_and_die(job_id: str, attempt: int, name: str) -> bool:
        help_with(product, product.ports, job_id, attempt, name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_on(product, replace(product.ports, parts=ActiveParts(make_one_and_die, set())), job)
    install(machine_of(product.ports, product.root, ME))
    product.ports.database.jobs.release(job.id, ME, reason="test")
    product.ports.database.workers.remove("other")
    with caplog.at_level("INFO", "jobs.crew"):
        process_job(job.id)
    assert look(product, job).status is JobStatus.SUCCEEDED
    assert "0 by others, 1 before" in caplog.text


# --- what a crash leaves ---


def test_a_sweep_takes_parts_of_jobs_that_are_over(product: Product, user: User, talk: Path) -> None:
    _, job = make_job(product, user, talk)
    claim(product, job)
    leave_part(product, job, 1)
    product.clock.advance(hours=2)
    recovery = Recovery(product.ports, product.services.storage, LIMITS)
    assert recovery.sweep().orphans == 0, "the job runs"
    product.ports.database.jobs.release(job.id, ME, reason="test")
    assert work_on(product, product.ports, job).status is JobStatus.SUCCEEDED
    assert stored(product, job) == sorted(f"2/{name}" for name in RESULT_FILES)
    leave_part(product, job, 2)
    assert recovery.sweep().orphans == 1
    assert stored(product, job) == sorted(f"2/{name}" for name in RESULT_FILES)


def leave_part(product: Product, job: ProcessingJob, attempt: int) -> None:
    left = product.root / "left"
    left.write_bytes(b"a part")
    product.ports.files.put(part_key(job.user_id, job.video_id, job.id, attempt, f"speech-{'0' * 64}.s16"), left)
