"""The product over its embedded defaults, for tests: a real database and real files, a queue that only remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.local_files import LocalFiles
from adapters.prober import PipelineProber
from adapters.sqlite import SqliteDatabase
from jobs.models import Limits
from jobs.ports import FileStore, Passwords, Ports, Prober
from jobs.service import Services, SignUp, build_services
from pipeline.options import PipelineOptions

COOKIE_KEY = "a key for tests only, long enough to sign with"
LIMITS = Limits(
    max_upload_bytes=10_000_000_000, max_duration_ms=3 * 3600_000, quota_minutes=0, quota_bytes=0, retention_days=0
)


@dataclass
class Clock:
    """A clock that is set by hand; real time unless moved."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **length: float) -> None:
        self.ahead += timedelta(**length)


@dataclass
class RememberingQueue:
    """Stands in for RQ where a test wants to see what is handed to the workers; the real one is tested for itself."""

    waiting: list[tuple[str, int]] = field(default_factory=list)

    def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:  # noqa: ARG002
        if (job_id, attempt) not in self.waiting:
            self.waiting.append((job_id, attempt))

    def find_missing(self, jobs: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        return set(jobs) - set(self.waiting)

    def forget(self, job_id: str, attempt: int) -> None:
        if (job_id, attempt) in self.waiting:
            self.waiting.remove((job_id, attempt))

    def check(self) -> str:
        return "A list in memory."


@dataclass
class RememberingParts:
    """Stands in for RQ where nobody helps: every part that is offered waits until it is taken back."""

    waiting: list[tuple[str, int, str]] = field(default_factory=list)

    def offer(self, job_id: str, attempt: int, name: str, *, timeout_s: int) -> None:  # noqa: ARG002
        self.waiting.append((job_id, attempt, name))

    def take_back(self, job_id: str, attempt: int, name: str) -> bool:
        if (job_id, attempt, name) not in self.waiting:
            return False
        self.waiting.remove((job_id, attempt, name))
        return True

    def is_alive(self, job_id: str, attempt: int, name: str) -> bool:
        return (job_id, attempt, name) in self.waiting


@dataclass(frozen=True)
class Product:
    """Everything a test may look into."""

    services: Services
    ports: Ports
    queue: RememberingQueue
    clock: Clock
    root: Path


def make_product(
    root: Path,
    *,
    limits: Limits = LIMITS,
    sign_up: SignUp = SignUp.OPEN,
    prober: Prober | None = None,
    now: Callable[[], datetime] | None = None,
    passwords: Passwords | None = None,
    files: FileStore | None = None,
    metrics_token: str = "",
) -> Product:
    """Return the product with its data under ``root``; its files too, unless another store is given."""
    clock, queue = Clock(), RememberingQueue()
    machine = PipelineOptions(max_duration_ms=limits.max_duration_ms)
    ports = Ports(
        database=SqliteDatabase(root / "factory.sqlite3", now=now or clock),
        files=files or LocalFiles(root / "files"),
        queue=queue,
        parts=RememberingParts(),
        prober=prober or PipelineProber(machine),
        now=now or clock,
    )
    services = build_services(
        ports,
        limits=limits,
        machine_options=machine,
        cookie_key=COOKIE_KEY,
        sign_up=sign_up,
        passwords=passwords,
        metrics_token=metrics_token,
    )
    return Product(services=services, ports=ports, queue=queue, clock=clock, root=root)
