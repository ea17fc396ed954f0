"""A stranger on a bare account: clones, does what the README says, and gets the product; later without any network.

The first part takes minutes, most of them for the package index, so it is slow. Of what it shows, every run of
`.ci/run` shows the set-up on a bare account, and `tests/integration/test_run_command.py` what ``make run`` starts then;
alone it shows that one command does both, how much room it takes, and that all of it lies in the clone and the caches.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from config import PROJECT_ROOT
from tests.e2e.running import find_processes, plain_environment
from tests.product.machine import LONG_S, wait_for
from tests.servers.guarded import find_free_port

FIRST_S, STOP_S = 1500.0, 30.0
NEEDED_BYTES = 6_000_000_000
PATH = "/usr/local/bin:/usr/bin:/bin"
REACH = re.compile(r"PIP_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|TORCH.*|(https?|no|HTTPS?|NO)_(proxy|PROXY)")
"""What reaches the package index, and nothing else of this environment."""
CACHES = (".cache/mini-video-factory", ".cache/pip")

VISIT = """
import socket, sys, time, urllib.error, urllib.request
port, answer = sys.argv[1:]
def get(path):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}") as page:
        return page.status, page.read().decode()
while True:
    try:
        ready, page = get("/api/ready"), get("/")
        break
    except OSError:
        time.sleep(0.5)
try:
    socket.create_connection(("192.0.2.1", 9), timeout=3).close()
    network = "open"
except OSError as error:
    network = str(error)
with open(answer, "w") as file:
    print(ready[0], page[0], "<title>" in page[1], network, file=file)
"""
"""Waits for the product as a visitor on the same machine, and writes down what it saw."""

UNSHARE = ("unshare", *(() if os.getuid() == 0 else ("-r",)), "-n")
ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket() as probe:  # a new network has nothing, not even this machine itself
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Begins a program in a network that consists of the machine itself."""


@dataclass(frozen=True)
class Stranger:
    """An ordinary account with nothing in it."""

    name: str
    uid: int
    base: Path

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def clone(self) -> Path:
        return self.base / "clone"

    @property
    def temporary(self) -> Path:
        return self.base / "tmp"

    def command(self, line: str, settings: Mapping[str, str], *, alone: bool) -> list[str]:
        """Return the command that runs a line of the README in the clone, with or without a network."""
        reach = {name: value for name, value in os.environ.items() if REACH.fullmatch(name)}
        environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "USER": self.name,
            "LANG": "C.UTF-8",
            "PATH": PATH,
            **reach,
            **settings,
        }
        become = ["runuser", "-u", self.name, "--"] if os.getuid() == 0 else []
        pairs = [f"{name}={value}" for name, value in environment.items()]
        return [*(cut_off() if alone else []), *become, "env", "-i", *pairs, "bash", "-c", line]

    def processes(self) -> list[psutil.Process]:
        """Return what runs for this account, or at least in this clone."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                is_ours = process.uids().real == self.uid if os.getuid() == 0 else self._is_here(process)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _is_here(self, process: psutil.Process) -> bool:
        return str(self.base) in process.environ().get("HOME", "") or str(self.base) in " ".join(process.cmdline())


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A new account where we may make one, else this one with an empty home; all of it is removed afterwards."""
    if not shutil.which("make", path=PATH) or not has_python():
        pytest.skip(f"make, and Python 3.11 or newer with venv, are not all in {PATH}")
    base = Path(tempfile.mkdtemp(prefix="stranger-", dir="/var/tmp"))
    free = shutil.disk_usage(base).free
    if free < NEEDED_BYTES:
        base.rmdir()
        pytest.skip(f"{free / 1e9:.1f} GB are free under /var/tmp; {NEEDED_BYTES / 1e9:.0f} GB are needed")
    base.chmod(0o755)
    name = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        name = f"stranger-{os.getpid()}"
        subprocess.run(["useradd", "--no-create-home", "--home-dir", str(base / "home"), name], check=True)
    try:
        account = pwd.getpwnam(name)
        person = Stranger(name=name, uid=account.pw_uid, base=base)
        for folder in (person.home, person.clone, person.temporary):
            folder.mkdir()
        clone(person.clone)
        for path in [base / "home", base / "tmp", base / "clone", *person.clone.rglob("*")]:
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        yield person
        for process in person.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
    finally:
        if os.getuid() == 0:
            subprocess.run(["userdel", name], check=False, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)


def has_python() -> bool:
    """Tell whether an ordinary account has a Python that will do."""
    become = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
    check = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
    command = [*become, "env", "-i", f"PATH={PATH}", "python3", "-c", check]
    return subprocess.run(command, capture_output=True, cwd="/", check=False).returncode == 0


def clone(target: Path) -> None:
    """Put the working tree there as a fresh clone would be, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={PROJECT_ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (PROJECT_ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_ROOT / name, target / name, follow_symlinks=False)


def read_commands(heading: str) -> list[str]:
    """Return the commands of the first shell block below a heading of the README, without their comments."""
    readme = (PROJECT_ROOT / "README.md").read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}$.*?^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no shell block below {heading!r}"
    return [line.partition(" #")[0].strip() for line in found[1].splitlines() if line.strip()]


@dataclass
class Disk:
    """The most room a folder has taken."""

    folder: Path
    peak: int = 0
    due: float = 0.0

    def glance(self) -> None:
        """Measure it, unless that was just now: it takes a second of a processor that others could use."""
        if time.monotonic() >= self.due:
            self.measure()
            self.due = time.monotonic() + 10.0

    def measure(self) -> int:
        """Return the room it takes now, and remember the most."""
        total = 0
        for root, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(root, name)).st_blocks * 512
        self.peak = max(self.peak, total)
        return total


def cut_off() -> list[str]:
    """Return the start of a command that runs without a network."""
    return [*UNSHARE, sys.executable, "-c", ALONE]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_stranger_gets_the_product(stranger: Stranger, show: Callable[[str], None]) -> None:
    disk = Disk(stranger.base)
    before = set(list_strays(stranger))  # of an account that had this number before
    [start, *_] = read_commands("Try it")
    assert start == "make run"
    [sample, *_] = read_commands("The command")

    def come(*, limit_s: float, alone: bool) -> float:
        port = find_free_port()
        took = visit(
            lambda line: stranger.command(line, {"PORT": str(port)}, alone=alone), start, port=port, alone=alone,
            cwd=stranger.clone, answer=stranger.temporary / "answer", log=stranger.base / f"run-{port}.log",
            glance=disk.glance, processes=stranger.processes, limit_s=limit_s,
        )  # fmt: skip
        disk.measure()
        return took

    took = come(limit_s=FIRST_S, alone=False)
    show(f"a stranger's first run: the page was there after {took:.0f} s, peak {disk.peak / 1e9:.2f} GB on disk")

    if (reason := why_not_alone()) is None:
        took = come(limit_s=LONG_S, alone=True)
        ended = subprocess.run(
            stranger.command(sample, {}, alone=True), cwd=stranger.clone, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert (stranger.clone / "out" / "video.mp4").stat().st_size > 0
        reason = f"it takes {took:.0f} s, and {sample!r} works"
    show(f"a stranger without a network: {reason}")

    assert sorted(set(list_strays(stranger)) - before) == []


def test_what_is_set_up_needs_no_network(weights: Path, tmp_path: Path, show: Callable[[str], None]) -> None:
    """A start of the product, and the sample of the README, from this checkout as it stands."""
    if (reason := why_not_alone()) is not None:
        pytest.skip(reason)
    assert weights.is_dir()
    data_dir, port = tmp_path / "data", find_free_port()
    environ = plain_environment() | {"DATA_DIR": str(data_dir), "PORT": str(port)}
    pairs = [f"{name}={value}" for name, value in environ.items()]

    def alone(line: str) -> list[str]:
        return [*cut_off(), "env", "-i", *pairs, "bash", "-c", line]

    took = visit(
        alone, read_commands("Try it")[0], port=port, alone=True, cwd=PROJECT_ROOT, answer=tmp_path / "answer",
        log=tmp_path / "log.txt", processes=lambda: find_processes(data_dir), limit_s=LONG_S,
    )  # fmt: skip
    show(f"the product without a network: the page was there after {took:.0f} s")
    sample = f"{read_commands('The command')[0]} OUT={tmp_path / 'out'}"
    ended = subprocess.run(
        alone(sample), cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=LONG_S, check=False
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "out" / "video.mp4").stat().st_size > 0


def visit(
    command: Callable[[str], list[str]],
    line: str,
    *,
    port: int,
    alone: bool,
    cwd: Path,
    answer: Path,
    log: Path,
    processes: Callable[[], Sequence[psutil.Process]],
    limit_s: float,
    glance: Callable[[], None] = lambda: None,
) -> float:
    """Start the product, wait until a visitor sees its page, stop it by Ctrl-C; return the seconds until the page.

    ``command`` runs a line for a shell as whoever starts it, ``processes`` are what is left of that, and ``glance`` is
    called meanwhile.
    """
    visitor = f"python3 -c '{VISIT}' {port} {answer} & "
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(f"{visitor}{line}"),
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:

        def is_over() -> bool:
            glance()
            return answer.exists() or process.poll() is not None

        wait_for(is_over, within_s=limit_s, every_s=0.5, label="the page", explain=lambda: log.read_bytes()[-4000:])
        took = time.monotonic() - began
        said = log.read_text("utf-8", "replace")
        assert answer.exists(), f"no page after {took:.0f} s; {line!r} said:\n{said[-4000:]}"
        wait_for(answer.read_text, label="what the visitor saw")
        ready, page, has_title, network = answer.read_text().strip().split(" ", 3)
        assert (ready, page, has_title) == ("200", "200", "True")
        assert not alone or network != "open", "the network was not cut off"
        assert f":{port}" in said, "it does not say where to open it"
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
        process.wait(LONG_S)
        wait_for(lambda: not processes(), within_s=STOP_S, explain=processes, label="the end of all of it")
        assert "Traceback" not in log.read_text("utf-8", "replace")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    answer.unlink()
    return took


def why_not_alone() -> str | None:
    """Return why a program can't be cut off from the network here; None when it can."""
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "not tried: there is no unshare here"
    return f"not tried: {done.stderr.strip()}" if done.returncode else None


def list_strays(stranger: Stranger) -> Sequence[str]:
    """Return the files of the stranger that lie neither in the clone nor in a cache of ours."""
    kept = [stranger.clone, *(stranger.home / name for name in CACHES)]
    places = [stranger.base]
    if os.getuid() == 0:  # whatever a new account owns was made just now
        places += [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")]
    strays: set[str] = set()
    for place in places:
        for root, folders, names in os.walk(place):
            folders[:] = [name for name in folders if Path(root, name) not in kept]
            for name in names:
                with suppress(FileNotFoundError):
                    path = Path(root, name)
                    if path.lstat().st_uid == stranger.uid and path.parent != stranger.base:
                        strays.add(str(path))
    return sorted(strays)
