"""The supervisor over small programs written here: what it starts again, when it gives up, and that nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from config import PROJECT_ROOT, load_settings
from jobs.supervisor import (
    Refusal,
    make_parts,
    make_private,
    remove_socket_folder,
    require_port,
    take_data_folder,
)
from tests.product.machine import wait_for

WAITS = "import time; open({mark!r}, 'a').write('x'); time.sleep(600)"

PROGRAM = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from jobs import supervisor
from jobs.log import configure_logging
from jobs.supervisor import Part, Supervisor

configure_logging(level="INFO", as_json=False)
# The waits before a start pass quickly; what a slow machine needs its time for has as much as ever.
haste = 50
supervisor.time = SimpleNamespace(monotonic=lambda: haste * time.monotonic(), sleep=time.sleep)
supervisor.START_S *= haste
supervisor.IN_S *= haste
supervisor.STOP_S = 0.5
folder = Path(sys.argv[1])
parts = [
    Part(name=f"part {number}", command=[sys.executable, "-c", source], answers=(folder / f"mark{number}").exists)
    for number, source in enumerate(sys.argv[2:])
]
sys.exit(Supervisor(parts, announce=lambda: print("all here", flush=True)).run())
"""


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made = Supervised(tmp_path)
    yield made
    made.end()


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self, *sources: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.folder), *map(textwrap.dedent, sources)],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def waiting(self, number: int) -> str:
        """Return a program that marks its start and stays."""
        return WAITS.format(mark=str(self.mark(number)))

    def mark(self, number: int) -> Path:
        return self.folder / f"mark{number}"

    def starts(self, number: int) -> int:
        return self.mark(number).stat().st_size if self.mark(number).exists() else 0

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        if self.process is not None:
            self.process.communicate(timeout=60)


def require_gone(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f"still running: {alive}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_parts_start_and_stop_together(supervised: Supervised, number: signal.Signals) -> None:
    process = supervised.start(supervised.waiting(0), supervised.waiting(1))
    assert process.stdout is not None
    assert process.stdout.readline() == "all here\n"
    family = supervised.children()
    assert len(family) == 2
    process.send_signal(number)
    process.send_signal(number)  # impatience does no harm
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in errors
    require_gone(family)


def test_a_part_that_crashes_is_started_again(supervised: Supervised) -> None:
    process = supervised.start(supervised.waiting(0), supervised.waiting(1))
    assert process.stdout is not None
    assert process.stdout.readline() == "all here\n"
    supervised.children()[0].kill()
    wait_for(lambda: supervised.starts(0) == 2, within_s=30)
    assert supervised.starts(1) == 1, "the other one goes on"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, ""), "it is said once"
    assert "part 0 ended with status -9; it is started again in 1 s" in errors


def test_children_of_a_crashed_part_go_too(supervised: Supervised) -> None:
    mark = supervised.mark(0)
    supervised.start(f"""
        import os, subprocess, sys, time
        open({str(mark)!r}, "a").write("x")
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        time.sleep(600)
    """)
    wait_for(lambda: len(supervised.children()) == 2, within_s=30)
    part, child = supervised.children()
    part.kill()
    require_gone([child])


def test_a_part_that_never_stays_is_given_up(supervised: Supervised) -> None:
    process = supervised.start("import sys; sys.exit(3)", supervised.waiting(1))
    wait_for(lambda: supervised.starts(1), within_s=30)
    family = supervised.children()
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert "Part 0 ended with status 3, 5 times in a row, so everything was stopped." in errors
    assert "Traceback" not in errors
    require_gone(family)


def test_a_part_that_says_it_can_not_is_not_asked_twice(supervised: Supervised) -> None:
    process = supervised.start("import sys; print('Mend me.', file=sys.stderr); sys.exit(78)", supervised.waiting(1))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.count("Mend me.") == 1
    assert "Part 0 can't work on this machine yet: see above." in errors


def test_a_part_that_does_not_stop_is_killed(supervised: Supervised) -> None:
    mark = supervised.mark(0)
    process = supervised.start(f"""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open({str(mark)!r}, "a").write("x")
        time.sleep(600)
    """)
    wait_for(lambda: supervised.starts(0), within_s=30)
    family = supervised.children()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "part 0 did not stop, so it is killed" in errors
    require_gone(family)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_nothing_outlives_a_supervisor_that_is_killed(supervised: Supervised) -> None:
    process = supervised.start(supervised.waiting(0), supervised.waiting(1))
    wait_for(lambda: supervised.starts(0) and supervised.starts(1), within_s=30)
    family = supervised.children()
    process.kill()
    require_gone(family)


# --- before anything starts ---


def test_one_product_for_each_data_folder(tmp_path: Path) -> None:
    settings = load_settings({"DATA_DIR": str(tmp_path / "data"), "PORT": "8634"})
    lock = take_data_folder(settings)
    try:
        with pytest.raises(Refusal, match=r"runs already on the data folder .*: open http://localhost:8634, stop it"):
            take_data_folder(load_settings({"DATA_DIR": str(tmp_path / "data"), "PORT": "8635"}))
    finally:
        os.close(lock)
    os.close(take_data_folder(settings))


def test_a_data_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refusal, match=r"^The data folder .* can't be written \(.*\)\. Give yourself the right"):
        take_data_folder(load_settings({"DATA_DIR": str(tmp_path / "file")}))


@pytest.mark.parametrize("name", ["factory.sqlite3", "files"])
def test_what_somebody_else_left_in_the_data_folder_is_told(tmp_path: Path, name: str) -> None:
    if os.getuid() == 0:
        pytest.skip("an administrator of the machine may write everything")
    settings = load_settings({"DATA_DIR": str(tmp_path)})
    os.close(take_data_folder(settings))
    (tmp_path / "lost+found").mkdir(mode=0o000)
    os.close(take_data_folder(settings))
    if name == "files":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    (tmp_path / name).chmod(0o500)
    with pytest.raises(Refusal, match=rf"can't be written \(Permission denied: .*{name}\)\. Give yourself the right"):
        take_data_folder(settings)


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refusal, match=rf"^Port {port} is taken by another program\..*PORT={port + 1} make run"):
            require_port(load_settings({"PORT": str(port)}))
    require_port(load_settings({"PORT": str(port)}))


@pytest.mark.parametrize("host", ["192.0.2.7", "no such host"])
def test_an_address_of_somebody_else_is_told(host: str) -> None:
    with pytest.raises(Refusal, match=r"^HOST is .*, which is no address of this machine\."):
        require_port(load_settings({"HOST": host, "PORT": "8634"}))


def test_the_queue_is_ours_alone(tmp_path: Path) -> None:
    settings = load_settings({"DATA_DIR": str(tmp_path)})
    queue = make_parts(settings)[0].command
    options = dict(zip(queue[1::2], queue[2::2], strict=True))
    assert options["--port"] == "0", "it listens on no network"
    assert options["--unixsocketperm"] == "600"
    assert options["--appendonly"] == "yes"
    folder = Path(options["--unixsocket"]).parent
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Refusal, match="belongs to somebody else"):
        make_private(tmp_path / "link")


def test_another_queue_is_not_started(tmp_path: Path) -> None:
    settings = load_settings({"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://queue.example.com", "WORKERS": "2"})
    assert [part.name for part in make_parts(settings)] == ["the web server", "worker 1", "worker 2"]


def test_a_socket_outside_the_data_folder_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outside = load_settings({"DATA_DIR": str(tmp_path / ("d" * 100))})
    outside.data_dir.mkdir()
    make_parts(outside)
    (folder,) = tmp_path.glob("mini-video-factory-*")
    remove_socket_folder(outside)
    assert not folder.exists()
    (tmp_path / "run").mkdir()
    remove_socket_folder(load_settings({"DATA_DIR": str(tmp_path)}))
    assert (tmp_path / "run").is_dir()
