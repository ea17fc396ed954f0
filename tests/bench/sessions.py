"""What many open lists cost: sessions that watch one running job, as browsers do, against the whole product.

Each session is a websocket that speaks Streamlit's protocol and keeps its timers, without drawing anything. Printed are
the web process's share of one core, and how long an update takes from the timer to its last message.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from config import PROJECT_ROOT
from jobs.models import JobStatus, UploadState, VideoFacts
from jobs.ports import Charge, JobFinish, Ports
from jobs.service import SignIn
from tests.e2e.running import Running, beside, rss_bytes, running_product, sign_up

SETTLE_S, WATCH_S = 10.0, 60.0
VIDEOS = 12
"""In the list: one of them is being made."""
LEASE_S = 3600.0
FACTS = VideoFacts(
    duration_ms=760_000, width=1920, height=1080, fps="30/1", video_codec="h264", audio_tracks=1,
    size_bytes=400_000_000, sha256="ef" * 32,
)  # fmt: skip


@dataclass
class Tab:
    """One open page, as its browser would keep it."""

    page_script_hash: str = ""
    timers: dict[str, float] = field(default_factory=dict)
    """Seconds between two updates, by fragment."""
    due: dict[str, float] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    received: int = 0
    """Bytes."""

    def hear(self, payload: bytes) -> None:
        """Take note of a message of the server."""
        self.received += len(payload)
        message = ForwardMsg.FromString(payload)
        now = time.perf_counter()
        match message.WhichOneof("type"):
            case "new_session":
                self.page_script_hash = message.new_session.page_script_hash
                if not message.metadata.run.fragment_ids:  # a run of the whole page: its timers begin anew
                    for kept in (self.timers, self.due, self.sent):
                        kept.clear()
            case "auto_rerun":
                timer = message.auto_rerun
                self.timers[timer.fragment_id] = timer.interval
                self.due.setdefault(timer.fragment_id, now + timer.interval)
            case "stop_auto_rerun":
                self.timers.pop(message.stop_auto_rerun.fragment_id, None)
                self.due.pop(message.stop_auto_rerun.fragment_id, None)
            case "script_finished":
                for fragment in set(message.metadata.run.fragment_ids) & self.sent.keys():
                    self.latencies.append(now - self.sent.pop(fragment))

    def take_due(self, now: float) -> list[str]:
        """Return the fragments to be asked for now, and set their timers on."""
        ready = [fragment for fragment, at in self.due.items() if at <= now]
        for fragment in ready:
            self.due[fragment] = now + self.timers[fragment]
            self.sent.setdefault(fragment, now)
        return ready


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was measured in one phase."""

    cpu_share: float
    """Of one core, by the web process."""
    latencies_ms: Sequence[float]
    bytes_per_s: float
    rss: int
    seconds: float

    def percentile(self, share: float) -> float:
        """Return a percentile of the updates in milliseconds; 0 when there were none."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def measure_sessions(count: int, say: Callable[[str], None], *, watch_s: float = WATCH_S) -> dict[str, Cost]:
    """Start the product, open ``count`` lists, and return their cost while a job runs and while none does."""
    cache = PROJECT_ROOT / "build" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessions-", dir=cache)))
        product = stack.enter_context(running_product(folder))
        services, ports = stack.enter_context(beside(product))
        person = sign_up(services, "ada")
        say(f"{count} sessions of one person with {VIDEOS} videos")
        tokens = [person.token] + [
            services.auth.login("ada", "ada: a password", address=f"192.0.2.{n % 200}").token for n in range(count - 1)
        ]
        job_id = make_videos(ports, person)
        costs: dict[str, Cost] = {}
        with working(ports, job_id):
            say("one job is active")
            costs["one job active"] = asyncio.run(watch(product, tokens, watch_s, expect_updates=True))
        finish = JobFinish(status=JobStatus.FAILED, error_code="timeout", error_message="The measurement is over.")
        ports.database.jobs.finish(job_id, "bench", finish)
        say("nothing is active")
        costs["nothing active"] = asyncio.run(watch(product, tokens, watch_s, expect_updates=False))
    return costs


def format_costs(costs: dict[str, Cost], count: int) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        f"| {count} sessions watching the list | CPU of one core | updates | p50 | p95 | sent | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cost in costs.items():
        cells = (
            name,
            f"{cost.cpu_share:.0%}",
            f"{len(cost.latencies_ms) / cost.seconds:.1f}/s",
            f"{cost.percentile(0.5):.0f} ms",
            f"{cost.percentile(0.95):.0f} ms",
            f"{cost.bytes_per_s / 1000:.0f} kB/s",
            f"{cost.rss / 1e6:.0f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def make_videos(ports: Ports, person: SignIn) -> str:
    """Give a person finished videos and one that a worker has; return its job's id."""
    jobs, job_id = ports.database.jobs, ""
    for number in range(VIDEOS):
        upload = ports.database.uploads.create(
            person.user.id, name=f"{number}.mp4", size_bytes=FACTS.size_bytes, fingerprint=str(number), options={}
        )
        ports.database.uploads.set_state(person.user.id, upload.id, UploadState.CHECKING)
        charge = Charge(key=str(number), limit_ms=0)
        _, job = ports.database.videos.create_with_job(
            upload, title=f"Lesson {number}", facts=FACTS, options={}, charge=charge, limit_bytes=0
        )
        job_id = job.id
        if jobs.claim(job_id, "bench", lease_s=LEASE_S) is None:
            raise RuntimeError("a worker was faster than the measurement")
        if number < VIDEOS - 1:
            jobs.finish(job_id, "bench", JobFinish(status=JobStatus.SUCCEEDED, result={"duration_ms": 485_000}))
    return job_id


@contextmanager
def working(ports: Ports, job_id: str) -> Iterator[None]:
    """Let the job go forward once a second, as its worker would."""
    over = threading.Event()

    def beat() -> None:
        for step in range(10_000):
            if over.wait(1.0):
                return
            ports.database.jobs.beat(job_id, "bench", stage="render", progress=step % 1000 / 1000, lease_s=LEASE_S)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def watch(product: Running, tokens: Sequence[str], watch_s: float, *, expect_updates: bool) -> Cost:
    """Open a page for each token, let them settle, and measure for ``watch_s``."""
    tabs = [Tab() for _ in tokens]
    ends = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for tab, token in zip(tabs, tokens, strict=True):
            group.create_task(keep_open(product, tab, token, ends))
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE_S)
        web = product.web()
        for tab in tabs:
            tab.latencies.clear()
            tab.received = 0
        before, began = cpu_seconds(web), time.perf_counter()
        await asyncio.sleep(watch_s)
        seconds = time.perf_counter() - began
        cost = Cost(
            cpu_share=(cpu_seconds(web) - before) / seconds,
            latencies_ms=[1000 * latency for tab in tabs for latency in tab.latencies],
            bytes_per_s=sum(tab.received for tab in tabs) / seconds,
            rss=rss_bytes(web),
            seconds=seconds,
        )
        idle = sum(not tab.latencies for tab in tabs)
        ends.set()
    if expect_updates and idle:
        raise RuntimeError(f"{idle} of {len(tabs)} sessions were never updated")
    return cost


async def keep_open(product: Running, tab: Tab, token: str, ends: asyncio.Event) -> None:
    """Be one browser until ``ends``."""
    address = f"{product.url.replace('http', 'ws', 1)}/_stcore/stream"
    headers = {"Cookie": f"mvf_session={token}"}
    protocols = [Subprotocol("streamlit")]
    async with connect(
        address, additional_headers=headers, subprotocols=protocols, max_size=None, compression=None, proxy=None
    ) as socket:
        await ask(socket, tab)
        listener = asyncio.create_task(listen(socket, tab))
        while not ends.is_set() and not listener.done():
            for fragment in tab.take_due(time.perf_counter()):
                await ask(socket, tab, fragment)
            await asyncio.sleep(0.02)
        if listener.done():
            listener.result()
            raise RuntimeError("the server closed a session")
        listener.cancel()


async def listen(socket: ClientConnection, tab: Tab) -> None:
    async for payload in socket:
        tab.hear(payload if isinstance(payload, bytes) else payload.encode())


async def ask(socket: ClientConnection, tab: Tab, fragment: str = "") -> None:
    """Ask for a run of the page, or of one of its fragments as its timer does."""
    message = BackMsg()
    state = message.rerun_script
    state.page_script_hash = tab.page_script_hash
    state.fragment_id = fragment
    state.is_auto_rerun = bool(fragment)
    state.context_info.timezone = "UTC"
    state.context_info.locale = "en"
    await socket.send(message.SerializeToString())


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)
