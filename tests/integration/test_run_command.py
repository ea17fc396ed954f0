"""`make run` as a whole: it says where it is, keeps its parts and its data, and leaves nothing when it stops."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from config import PROJECT_ROOT, UNUSABLE
from jobs.models import JobStatus
from jobs.supervisor import find_faults
from tests.e2e.running import plain_environment
from tests.media.talks import short_talk, write_video
from tests.product.machine import LONG_S, Machine, running_machine, wait_for
from tests.servers.guarded import find_free_port


@pytest.fixture
def port() -> str:
    """Where the product is to be."""
    return str(find_free_port())


def stop(machine: Machine, number: signal.Signals = signal.SIGINT) -> None:
    """Stop the product as Ctrl-C does, and see that nothing of it is left."""
    process = machine.processes.pop("product")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.send_signal(number)
    process.send_signal(number)
    assert process.wait(LONG_S) == 0, machine.read_log()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


def is_logged(machine: Machine, sentence: str) -> bool:
    return sentence in machine.read_log()


def test_it_runs_a_job_and_starts_again_on_its_data(port: str, tmp_path: Path, weights: Path) -> None:
    assert weights.is_dir()
    talk = write_video(tmp_path / "talk.mp4", short_talk().samples)
    secret = "a secret for this test, which no log may show"
    with running_machine(tmp_path / "data", PORT=port, LOG_FORMAT="json", COOKIE_KEY=secret) as machine:
        machine.start_product()
        assert f"Open http://localhost:{port}\n" in machine.read_log()
        assert find_faults(machine.settings) == {}
        user = machine.make_user()
        _, job = machine.make_video(user, talk, {"captions": "none"})
        machine.enqueue(job)
        assert machine.wait_final(job).status is JobStatus.SUCCEEDED
        stop(machine)
        machine.start_product()
        assert machine.look(job).status is JobStatus.SUCCEEDED
        stop(machine, signal.SIGTERM)
        log = machine.read_log()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (begun,) = [line for line in lines if line["message"] == "attempt 1 begins"]
    assert (begun["job_id"], begun["user_id"], begun["logger"]) == (job.id, user.id, "jobs.tasks")
    assert secret not in log
    assert "Traceback" not in log
    assert [line for line in log.splitlines() if not line.startswith(("{", "Open "))] == []


def test_parts_that_crash_come_back(port: str, tmp_path: Path) -> None:
    with running_machine(tmp_path / "data", PORT=port) as machine:
        machine.start_product()
        for word, name in (("valkey-server", "the queue"), ("streamlit", "the web server"), ("jobs.worker", "worker")):
            old = machine.part(word)
            old.kill()
            told = f"{name} ended with status -9; it is started again"
            wait_for(partial(is_logged, machine, told), label=told)
            assert machine.part(word).pid != old.pid
            wait_for(lambda: not find_faults(machine.settings), label=f"{name} to work again")
        assert machine.read_log().count("Open http") == 1
        stop(machine)


def test_a_second_one_on_the_same_data_is_refused(port: str, tmp_path: Path) -> None:
    with running_machine(tmp_path / "data", PORT=port) as machine:
        machine.start_product()
        second = subprocess.run(
            machine.processes["product"].args,
            env=machine.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 2
        assert second.stderr.startswith("Mini Video Factory runs already on the data folder")
        assert f"open http://localhost:{port}" in second.stderr
        assert second.stderr.count("\n") == 1
        assert find_faults(machine.settings) == {}, "the first one goes on"


def test_a_web_server_alone_says_what_has_to_be_mended_first(tmp_path: Path) -> None:
    newer, file = tmp_path / "newer", tmp_path / "file"
    newer.mkdir()
    with closing(sqlite3.connect(newer / "factory.sqlite3")) as database:
        database.execute("PRAGMA user_version = 999")
    file.touch()
    cases: list[tuple[dict[str, str], str, int]] = [
        ({"COOKIE_KEY": "short"}, "COOKIE_KEY is too short", UNUSABLE),
        ({"DATA_DIR": str(newer)}, "was made by a newer version of this program", UNUSABLE),
        ({"DATA_DIR": str(file)}, "Check that the data folder is there", 1),  # which may come, so it is tried again
    ]
    servers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "streamlit", "run", str(PROJECT_ROOT / "app.py")),
                *("--server.address=127.0.0.1", f"--server.port={find_free_port()}", "--server.headless=true"),
            ],
            cwd=PROJECT_ROOT,
            env={**plain_environment(), "DATA_DIR": str(tmp_path / "data"), **settings},
            stderr=subprocess.PIPE,
            text=True,
        )
        for settings, _, _ in cases
    ]
    for server, (_, sentence, status) in zip(servers, cases, strict=True):
        try:
            _, said = server.communicate(timeout=LONG_S)
        finally:
            server.kill()
        assert server.returncode == status, said
        assert sentence in said.splitlines()[-1]
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("setting", "value", "sentence", "status"),
    [
        ("PORT", "http", "PORT is 'http'", 2),
        ("WHISPER_MODEL_DIR", "/proc/no/such/place", "Run `make weights` once", 1),
    ],
)
def test_what_has_to_be_mended_first_is_told(
    port: str, tmp_path: Path, setting: str, value: str, sentence: str, status: int
) -> None:
    with running_machine(tmp_path / "data", PORT=port) as machine:
        process = machine.start_supervisor(**{setting: value})
        assert process.wait(LONG_S) == status
        assert sentence in machine.read_log()
        assert "Traceback" not in machine.read_log()
