"""A whole machine for tests: the embedded queue, worker processes, database and files, all real, in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

from config import PROJECT_ROOT, Settings, load_settings
from jobs.models import Json, ProcessingJob, Role, User, Video, VideoFacts
from jobs.outside import make_ports, read_machine_options
from jobs.ports import Charge, Ports
from jobs.quota import timeout_s_of
from jobs.storage import StorageManager, hash_transcript, original_key
from pipeline.options import parse_job_options
from pipeline.probe import probe

T = TypeVar("T")

LONG_S = 300.0
"""The limit of a wait by which nothing is measured: no machine is so slow or so busy that it takes as long."""
STOP_S = 60.0
"""A process that was told to stop and still lives after this time is killed."""


def wait_for(
    what: Callable[[], T],
    *,
    within_s: float = LONG_S,
    every_s: float = 0.05,
    label: str = "",
    explain: Callable[[], object] = str,
) -> T:
    """Return the first true value of ``what``, which is asked every ``every_s`` seconds.

    Raises `AssertionError` when there is none within ``within_s`` seconds: ``label`` says what was waited for, and
    ``explain`` what there is instead.
    """
    began = time.monotonic()
    while not (value := what()):
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"not within {within_s:.0f} s: {label or what}\n{explain()}"
        time.sleep(every_s)
    return value


@dataclass
class Machine:
    """One data folder with what runs on it. Children of worker processes end with `stop`."""

    root: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings: Settings = load_settings({"DATA_DIR": str(self.root), **self.environ})
        self.ports: Ports = make_ports(self.settings, read_machine_options(self.settings))
        self.storage = StorageManager(self.ports.files)
        self.log = self.root / "log.txt"

    # --- what runs ---

    def start_valkey(self) -> subprocess.Popen[bytes]:
        """Start the embedded queue as the product does, and wait until it answers."""
        from jobs.supervisor import make_parts, ping_queue

        part = make_parts(self.settings)[0]
        path = Path(self.settings.redis_url.removeprefix("unix://"))
        self.processes["valkey"] = self._start(list(part.command))
        wait_for(lambda: ping_queue(path), label="valkey")
        return self.processes["valkey"]

    def start_worker(self, name: str = "worker", **environ: str) -> subprocess.Popen[bytes]:
        """Start a worker as the product does."""
        self.processes[name] = self._start([sys.executable, "-m", "jobs.worker"], environ)
        return self.processes[name]

    def start_product(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start everything as ``make run`` does, and wait until it says where it is."""
        before = self.read_log().count("Open http") if self.log.exists() else 0
        process = self.start_supervisor(**environ)
        wait_for(lambda: self.read_log().count("Open http") > before, label="the product's start")
        return process

    def start_supervisor(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start ``make run``."""
        self.processes["product"] = self._start([sys.executable, "-m", "jobs.supervisor"], environ)
        return self.processes["product"]

    def environment(self, **environ: str) -> dict[str, str]:
        """Return the environment of a process on this machine; its workers stop at once, unless told otherwise."""
        return {**os.environ, "DATA_DIR": str(self.root), "DRAIN_S": "0", **self.environ, **environ}

    def part(self, word: str) -> psutil.Process:
        """Return the part of the product whose command holds ``word``: valkey-server, streamlit or jobs.worker.

        One that is just started again is waited for.
        """

        def find() -> list[psutil.Process]:
            children = psutil.Process(self.processes["product"].pid).children()
            return [child for child in children if any(word in argument for argument in _command_of(child))]

        (found,) = wait_for(find, label=word)
        return found

    def _start(self, command: list[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=self.environment(**(environ or {})),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def family(self, name: str = "worker") -> list[psutil.Process]:
        """Return a process with all its descendants."""
        process = psutil.Process(self.processes[name].pid)
        return [process, *process.children(recursive=True)]

    def kill(self, name: str) -> None:
        """Kill one process alone, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End everything that was started here."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        self.ports.database.close()

    # --- what is in it ---

    def make_user(self, username: str = "ann") -> User:
        """Return a person with an account."""
        user = self.ports.database.users.create(
            username=username, full_name="", role=Role.USER, password_hash="no password"
        )
        assert user is not None
        return user

    def make_video(self, user: User, source: Path, options: Json | None = None) -> tuple[Video, ProcessingJob]:
        """Return a video as an upload of ``source`` makes it, with its first job, not yet handed to the queue."""
        options = options or {}
        size = source.stat().st_size
        upload = self.ports.database.uploads.create(
            user.id, name=source.name, size_bytes=size, fingerprint="", options=options
        )
        key = original_key(user.id, upload.video_id)
        self._receive(key, source.read_bytes())
        self.ports.files.finish_upload(key)
        found = probe(source, read_machine_options(self.settings))
        facts = VideoFacts(
            duration_ms=found.duration_ms,
            width=found.video.width,
            height=found.video.height,
            fps=str(found.video.average_rate),
            video_codec=found.video.codec,
            audio_tracks=len(found.audio),
            size_bytes=size,
            sha256="0" * 64,
        )
        machine = read_machine_options(self.settings)
        parsed = parse_job_options(options)
        charge = Charge(key=hash_transcript(facts.sha256, parsed), limit_ms=0)
        assert machine.model == parsed.model
        return self.ports.database.videos.create_with_job(
            upload, title=source.stem, facts=facts, options=options, charge=charge, limit_bytes=0
        )

    def _receive(self, key: str, data: bytes) -> None:
        files = self.ports.files
        part_bytes = files.part_bytes(len(data))
        if part_bytes is None:
            files.append(key, 0, data)
            return
        for number, start in enumerate(range(0, len(data), part_bytes), 1):
            part = data[start : start + part_bytes]
            address = files.sign_part(key, number, len(part), expires_s=60)
            httpx.put(address, content=part, timeout=60, trust_env=False).raise_for_status()

    def enqueue(self, job: ProcessingJob) -> None:
        """Hand a job to the workers."""
        self.ports.queue.enqueue(job.id, job.attempt, timeout_s=timeout_s_of(60_000))

    def look(self, job: ProcessingJob) -> ProcessingJob:
        """Return the job as its row is now."""
        found = self.ports.database.jobs.find(job.id)
        assert found is not None
        return found[0]

    def wait_final(self, job: ProcessingJob, *, within_s: float = LONG_S) -> ProcessingJob:
        """Return the job once it is over."""
        wait_for(lambda: self.look(job).status.is_final, within_s=within_s, label="the job's end")
        return self.look(job)

    def keys(self, user: User) -> list[str]:
        """Return the keys of a person's files below their videos."""
        return sorted(file.key for file in self.ports.files.list_files(f"user/{user.id}/"))

    def scratch(self) -> list[Path]:
        """Return what lies in work folders."""
        work = self.root / "work"
        return sorted(work.iterdir()) if work.is_dir() else []

    def read_log(self) -> str:
        """Return what the processes said."""
        return self.log.read_text("utf-8", "replace")


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended this moment
        return []


@contextmanager
def running_machine(root: Path, **environ: str) -> Iterator[Machine]:
    """Yield a machine whose processes end with the test; its log is printed for a test that fails."""
    root.mkdir(parents=True, exist_ok=True)
    machine = Machine(root, environ)
    try:
        yield machine
    except BaseException:
        if machine.log.exists():
            print(machine.read_log()[-6000:])
        raise
    finally:
        machine.stop()
