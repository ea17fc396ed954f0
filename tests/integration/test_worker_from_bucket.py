"""A real worker whose files lie in a real S3 store: brought and taken away with progress, over a wire that can stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.models import JobStatus, ProcessingJob, User, Video
from jobs.storage import original_key
from jobs.tasks import FETCH_SHARE, STORE_SHARE
from pipeline.models import RESULT_FILES
from tests.media.talks import short_talk, write_video
from tests.product.bucket import MIB, list_bucket, make_large
from tests.product.machine import LONG_S, Machine, running_machine, wait_for
from tests.servers.proxy import CuttingProxy
from tests.servers.weed import LocalS3


class HoldingProxy(CuttingProxy):
    """A wire to the store that stands still once so many bytes came back, or once something is asked for."""

    def __init__(self, endpoint: str, *, after_bytes: int) -> None:
        self._go_on, self.is_held = threading.Event(), threading.Event()
        self._left, self._at = after_bytes, b""
        super().__init__(endpoint)

    def go_on(self, *, until: bytes = b"") -> None:
        """Let everything pass, or everything until this is asked for."""
        held, self._go_on = self._go_on, threading.Event()
        self._left, self._at = 1 << 62, until
        self.is_held.clear()
        held.set()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:  # the store is away
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                if sink.getpeername() != self._target:
                    self._left -= len(block)
                if self._left <= 0 or (self._at and self._at in block):
                    gate = self._go_on
                    self.is_held.set()
                    gate.wait(LONG_S)
                sink.sendall(block)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, talk: Path) -> Path:
    return make_large(talk, tmp_path_factory.mktemp("talk") / "large.mp4", 70 * MIB)


@pytest.fixture
def bucket(local_s3: LocalS3) -> str:
    return local_s3.make_bucket("worker")


@pytest.fixture
def machine(tmp_path: Path, local_s3: LocalS3, bucket: str) -> Iterator[Machine]:
    with running_machine(tmp_path / "data", **local_s3.environment(bucket)) as made:
        made.start_valkey()
        yield made


def make_job(machine: Machine, source: Path) -> tuple[User, Video, ProcessingJob]:
    user = machine.make_user()
    video, job = machine.make_video(user, source, {"captions": "none"})
    machine.enqueue(job)
    return user, video, job


def test_a_job_is_made_from_the_bucket_into_the_bucket(
    machine: Machine, talk: Path, local_s3: LocalS3, bucket: str
) -> None:
    user, video, job = make_job(machine, talk)
    machine.start_worker()
    done = machine.wait_final(job)
    assert (done.status, done.stored_attempt) == (JobStatus.SUCCEEDED, 1), machine.read_log()
    prefix = f"user/{user.id}/video/{video.id}"
    wanted = [f"{prefix}/original", *(f"{prefix}/job/{job.id}/1/{name}" for name in RESULT_FILES)]
    assert [key for key in list_bucket(local_s3, bucket) if "/transcript/" not in key] == sorted(wanted)
    sizes = {name: machine.ports.files.stat(f"{prefix}/job/{job.id}/1/{name}") for name in RESULT_FILES}
    assert done.result["files"] == {name: stored.size_bytes for name, stored in sizes.items() if stored}
    wait_for(lambda: not machine.scratch(), label="an empty work folder")
    assert "Traceback" not in machine.read_log()
    assert "X-Amz-Signature" not in machine.read_log()


def test_the_bar_moves_while_the_original_comes_and_the_result_goes(
    machine: Machine, large: Path, local_s3: LocalS3
) -> None:
    with HoldingProxy(local_s3.endpoint, after_bytes=25 * MIB) as wire:
        _, _, job = make_job(machine, large)
        machine.start_worker(WASABI_ENDPOINT=wire.endpoint)
        assert wire.is_held.wait(LONG_S)
        wait_for(lambda: 0 < machine.look(job).progress < FETCH_SHARE, label="a bar that moves")
        assert machine.look(job).stage == "probe"
        wire.go_on(until=b"/report.json")
        assert wire.is_held.wait(LONG_S)
        wait_for(lambda: machine.look(job).stage == "publish", label="the last stage")
        wait_for(lambda: 1 - STORE_SHARE < machine.look(job).progress < 1, label="a bar near its end")
        wire.go_on()
        assert machine.wait_final(job).status is JobStatus.SUCCEEDED, machine.read_log()


def test_a_cancel_stops_what_is_brought(machine: Machine, large: Path, local_s3: LocalS3) -> None:
    with HoldingProxy(local_s3.endpoint, after_bytes=25 * MIB) as wire:
        user, _, job = make_job(machine, large)
        machine.start_worker(WASABI_ENDPOINT=wire.endpoint)
        assert wire.is_held.wait(LONG_S)
        machine.ports.database.jobs.request_cancel(user.id, job.id)
        done = machine.wait_final(job)
        assert done.status is JobStatus.CANCELLED
        wait_for(lambda: not machine.scratch(), label="an empty work folder")


@pytest.mark.usefixtures("local_s3")  # which says why there is none
def test_a_store_that_goes_away_meanwhile_fails_nothing(tmp_path: Path, large: Path) -> None:
    with (
        LocalS3() as store,
        HoldingProxy(store.endpoint, after_bytes=25 * MIB) as wire,
        running_machine(tmp_path / "data", **store.environment(store.make_bucket())) as machine,
    ):
        machine.start_valkey()
        user, video, job = make_job(machine, large)
        machine.start_worker(WASABI_ENDPOINT=wire.endpoint)
        assert wire.is_held.wait(LONG_S)
        store.stop()
        wire.go_on()
        wait_for(lambda: "store is away" in machine.read_log(), label="a worker that notices")
        store.start()
        done = machine.wait_final(job)
        assert (done.status, done.stored_attempt) == (JobStatus.SUCCEEDED, done.attempt), machine.read_log()
        assert machine.ports.files.stat(original_key(user.id, video.id)) is not None
