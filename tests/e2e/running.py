"""The whole product as a person starts it: the supervisor with its own data, port and log, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from config import PROJECT_ROOT, load_settings
from jobs.outside import make_ports, read_limits, read_machine_options
from jobs.ports import Ports
from jobs.service import Services, SignIn, SignUp, build_services
from tests.product.machine import LONG_S, wait_for
from tests.servers.guarded import find_free_port

LAST_LINES = 60
GONE_S = 30.0
"""A process that was told to end, or whose parent has, is gone within, on a busy machine too."""


class Trouble(AssertionError):
    """The product did not do what it should; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Product:
    """A product that runs. ``data_dir`` and ``temporary`` belong to it alone."""

    port: int
    data_dir: Path
    temporary: Path
    log: Path
    environ: Mapping[str, str] = field(repr=False)
    """What it was started with."""

    @property
    def files_host(self) -> str:
        """Host and port that files are brought to and fetched from: the product's own, unless a bucket has them."""
        wasabi = load_settings(self.environ).wasabi
        return urlsplit(wasabi.public_endpoint if wasabi else self.url).netloc

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def read_log(self) -> str:
        """Return all it has said."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def processes(self) -> list[psutil.Process]:
        """Return every living process of it, orphans too: those that carry its data folder."""
        return find_processes(self.data_dir)

    def web(self) -> psutil.Process:
        """Return the process that listens on the port."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                listening = [one.laddr.port for one in process.net_connections("tcp") if one.status == "LISTEN"]
                if self.port in listening:
                    return process
        raise Trouble(self.explain("nothing listens on its port"))

    def work_files(self) -> list[Path]:
        """Return what lies in work folders and temporary places now."""
        folders = (self.data_dir / "work", self.data_dir / "tmp", self.temporary)
        return sorted(path for folder in folders if folder.is_dir() for path in folder.rglob("*") if path.is_file())

    def wait_gone(self) -> None:
        """Wait until no process of it lives. Raises `AssertionError`."""
        wait_for(
            lambda: not self.processes(),
            within_s=GONE_S,
            label="the end of all its processes",
            explain=lambda: [command_of(process) for process in self.processes()],
        )

    def explain(self, what: str) -> str:
        """Return ``what`` with the last lines of its log."""
        lines = self.read_log().splitlines()[-LAST_LINES:]
        return "\n".join([f"The product: {what}", "--- its log ends so:", *lines])


@dataclass(frozen=True)
class Running(Product):
    """A product that was started by one process."""

    process: subprocess.Popen[bytes]

    def wait_ready(self) -> None:
        """Wait until every part answers. Raises `Trouble` when it ends, `AssertionError` when it takes too long."""
        last = ""

        def is_ready() -> bool:
            nonlocal last
            if self.process.poll() is not None:
                raise Trouble(self.explain(f"it ended with status {self.process.returncode}"))
            with suppress(httpx.TransportError):
                answer = httpx.get(f"{self.url}/api/ready", timeout=5, trust_env=False)
                last = answer.text
                return answer.status_code == 200
            return False

        wait_for(is_ready, label="all of it answers", explain=lambda: self.explain(last))

    def stop(self) -> int:
        """Stop it as Ctrl-C does and return its exit status. Raises `AssertionError` when a process is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(LONG_S)
        except subprocess.TimeoutExpired:
            raise Trouble(self.explain("it did not stop")) from None
        self.wait_gone()
        return status

    def kill_everything(self) -> None:
        """End whatever is left, so that one failed test does not disturb the next."""
        for process in [*self.processes()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()


def start_product(folder: Path, **settings: str) -> Running:
    """Start the product with its data in ``folder/data`` and return at once. ``settings`` are environment variables."""
    data_dir, temporary, log = folder / "data", folder / "tmp", folder / "product.log"
    temporary.mkdir(parents=True, exist_ok=True)
    port = int(settings.get("PORT") or find_free_port())
    values = {
        "DATA_DIR": str(data_dir),
        "PORT": str(port),
        "TMPDIR": str(temporary),
        "WHISPER_MODEL_DIR": str(load_settings().whisper_model_dir),
        "SIGNUP": "open",
        "PYTHONUNBUFFERED": "1",
    }
    environ = plain_environment() | values | settings
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.supervisor"],
            cwd=PROJECT_ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(process=process, port=port, data_dir=data_dir, temporary=temporary, log=log, environ=environ)


@contextmanager
def running_product(folder: Path, **settings: str) -> Iterator[Running]:
    """Start the product, wait until it is ready, and stop it at the end; nothing of it may be left then."""
    product = start_product(folder, **settings)
    try:
        product.wait_ready()
        yield product
        product.stop()
    except BaseException:
        print("\n".join(["--- the product's log:", *product.read_log().splitlines()[-LAST_LINES:]]))
        raise
    finally:
        product.kill_everything()


def plain_environment() -> dict[str, str]:
    """Return this environment without settings of the product, and without what ``make`` hands to what it starts."""
    example = (PROJECT_ROOT / ".env.example").read_text("utf-8")
    ours = {line.lstrip("# ").partition("=")[0] for line in example.splitlines() if "=" in line}
    ours |= {"ARGS", "IN", "OUT", "VIDEO_IN", "VIDEO_OUT", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def find_processes(mark: Path) -> list[psutil.Process]:
    """Return the living processes whose command or environment names ``mark``, other than this one."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(mark) in " ".join(process.cmdline()) or process.environ().get("DATA_DIR") == str(mark):
                found.append(process)
    return found


def find_job_processes(product: Product) -> list[psutil.Process]:
    """Return what works on jobs now: the children of the worker, and their programs."""
    workers = [process for process in product.processes() if "jobs.worker" in command_of(process)]
    parents = {worker.pid for worker in workers}
    found: list[psutil.Process] = []
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            if worker.ppid() in parents:
                found.append(worker)
            found += [child for child in worker.children() if child.pid not in parents]
    return found


def command_of(process: psutil.Process) -> list[str]:
    """Return the command line; empty when the process has ended."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.cmdline()
    return []


def rss_bytes(process: psutil.Process) -> int:
    """Return the memory a process holds now."""
    return int(process.memory_info().rss)


def open_client(product: Product, token: str = "") -> httpx.Client:
    """Return a client of the routes, signed in by ``token`` (a cookie's value) unless that is empty."""
    cookies = {"mvf_session": token} if token else {}
    return httpx.Client(
        base_url=product.url, cookies=cookies, headers={"X-App": "1"}, timeout=120, trust_env=False
    )  # fmt: skip


@contextmanager
def beside(product: Product) -> Iterator[tuple[Services, Ports]]:
    """Yield the services over a running product's own data, as one more process beside its web server."""
    settings = load_settings(product.environ)
    machine = read_machine_options(settings)
    ports = make_ports(settings, machine)
    try:
        yield (
            build_services(
                ports,
                limits=read_limits(settings),
                machine_options=machine,
                cookie_key=settings.cookie_key,
                sign_up=SignUp.OPEN,
            ),
            ports,
        )
    finally:
        ports.database.close()


def sign_up(services: Services, name: str) -> SignIn:
    """Return a new person, signed in; the first one is the administrator."""
    if not services.auth.has_users():
        return services.auth.create_administrator(username=name, full_name=name.title(), password=f"{name}: a password")
    return services.auth.register(
        username=name, full_name=name.title(), password=f"{name}: a password", address="192.0.2.1"
    )
