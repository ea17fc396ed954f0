"""The health of each part of the product: working, or the sentence that mends it.

Checks run in threads of their own, one for each part at a time. A part that hangs is waited for once: until its check
comes back, everybody hears at once that it does not answer, and no other part is kept from being checked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime

from jobs.errors import DomainError, LoginUnavailable, StorageError
from jobs.models import HealthPart, WorkerInfo
from jobs.ports import Passwords, Ports
from jobs.version import VERSION

logger = logging.getLogger(__name__)

ALIVE_S = 35.0
"""A worker says every ten seconds that it is there; after three it did not, it is not."""
CHECK_S = 4.0
"""A part that takes longer to answer does not work."""
FILES_ELSEWHERE_S = 20.0
"""How long the answer of a working file store elsewhere serves: each look is several requests over the network."""
LOW_DISK_BYTES = 5_000_000_000

NAMES = {
    "database": "Database",
    "logins": "Logins",
    "files": "Files",
    "queue": "Queue",
    "workers": "Workers",
    "tools": "Tools",
    "weights": "Speech weights",
    "disk": "Disk",
}
_STORES = ("database", "logins", "files", "queue")
"""Parts whose own error may tell what mends them; the others only hear of a database that does not answer."""
MENDED_BY = {
    "database": "The database does not answer. Check that the data folder is there, can be written and is not full; "
    "if SUPABASE_URL is set, that this project runs.",
    "logins": LoginUnavailable.remedy,
    "files": "Files can't be written or read. Check that the data folder can be written and is not full; "
    "if WASABI_BUCKET is set, that this bucket can be reached.",
    "queue": "The queue does not answer. Start the product again; if REDIS_URL is set, check that server.",
    "workers": "Nobody can tell while the database does not answer.",
    "tools": "Nobody can tell while no worker is running.",
    "weights": "Nobody can tell while no worker is running.",
    "disk": "The free room can't be read. Check that the data folder is there.",
}
_NO_WORKER = "No worker is running, so videos wait. Start the product again, or run `make worker`."


def explain_closed_store(error: DomainError) -> tuple[str, str]:
    """Return the id of the part that could not be opened at a start, and the sentence that mends it."""
    part = "files" if isinstance(error, StorageError) else "database"
    return part, error.remedy or MENDED_BY[part]


class _Fault(Exception):
    """A part does not work; the text is the sentence that mends it."""


@dataclass(slots=True)
class _Look:
    """One look at a part, under way or over."""

    answer: Future[str]
    at: datetime
    began: float = field(default_factory=time.monotonic)
    likely: str = ""
    """What mends the part, by the look before: a store that is away may fail only after we stopped waiting for it."""


class HealthChecks:
    """Looks at the parts. Safe to be asked by many at once."""

    def __init__(self, ports: Ports, passwords: Passwords | None = None) -> None:
        self._ports = ports
        self._checks: Mapping[str, Callable[[], str]] = {
            "database": ports.database.check,
            **({"logins": passwords.check_service} if passwords else {}),
            "files": ports.files.check,
            "queue": ports.queue.check,
            "workers": self._check_workers,
            "tools": self._check_tools,
            "weights": self._check_weights,
            "disk": self._check_disk,
        }
        self._pool = ThreadPoolExecutor(max_workers=len(NAMES), thread_name_prefix="health")
        self._looks: dict[str, _Look] = {}
        self._told: dict[str, str] = {}
        """What the log says is wrong with a part."""
        self._mutex = threading.Lock()

    @property
    def parts(self) -> Sequence[str]:
        """The ids of the parts there are, in their order."""
        return tuple(self._checks)

    def check(self, ids: Sequence[str]) -> Sequence[HealthPart]:
        """Return how these parts are, looked at side by side and within `CHECK_S`; never raises for one that fails."""
        with self._mutex:
            looks = {part: self._look_at(part) for part in ids}
        return tuple(self._judge(part, look) for part, look in looks.items())

    def _look_at(self, part: str) -> _Look:
        """Return the look that is under way or still serves, else a new one."""
        look = self._looks.get(part)
        if look is None or (look.answer.done() and not self._serves(part, look)):
            likely = _read_remedy(part, look) if look else ""
            look = _Look(answer=self._pool.submit(self._checks[part]), at=self._ports.now(), likely=likely)
            self._looks[part] = look
        return look

    def _serves(self, part: str, look: _Look) -> bool:
        is_elsewhere = part == "files" and self._ports.files.free_bytes() is None
        is_young = time.monotonic() - look.began < FILES_ELSEWHERE_S
        return is_elsewhere and is_young and look.answer.exception() is None

    def _judge(self, part: str, look: _Look) -> HealthPart:
        ok, wrong = False, ""
        try:
            text, ok = look.answer.result(max(0.0, look.began + CHECK_S - time.monotonic())), True
        except _Fault as fault:
            text = str(fault)
        except FutureTimeout:
            wrong, text = f"no answer within {CHECK_S:.0f} s", look.likely or MENDED_BY[part]
        except DomainError as error:
            text = _read_remedy(part, look) or MENDED_BY[part]
            if part in _STORES:  # what the others lack is the database, which speaks for itself
                wrong = f"{error} {error.detail}"
        except Exception as error:  # noqa: BLE001 - a check that breaks says that its part does not work
            wrong, text = f"{type(error).__name__} {error}", MENDED_BY[part]
        self._tell(part, wrong)
        return HealthPart(id=part, name=NAMES[part], ok=ok, text=text, checked_at=look.at)

    def _tell(self, part: str, wrong: str) -> None:
        """Log what is wrong with a part once, until something else is, or nothing."""
        with self._mutex:
            is_news = wrong != self._told.get(part, "")
            self._told[part] = wrong
        if is_news and wrong:
            logger.warning("%s does not work: %s", part, wrong)

    # --- the checks that are ours ---

    def _list_workers(self, otherwise: str) -> Sequence[WorkerInfo]:
        workers = self._ports.database.workers.list_alive(within_s=ALIVE_S)
        if not workers:
            raise _Fault(otherwise)
        return workers

    def _check_workers(self) -> str:
        workers = self._list_workers(_NO_WORKER)
        text = "1 is running." if len(workers) == 1 else f"{len(workers)} are running."
        others = sum(worker.info.get("version") != VERSION for worker in workers)
        return f"{text} Of another version than this web server: {others}." if others else text

    def _check_tools(self) -> str:
        workers = self._list_workers(MENDED_BY["tools"])
        for worker in workers:
            missing = worker.info.get("missing")
            if isinstance(missing, list) and missing:
                raise _Fault(
                    f"The ffmpeg on {worker.host} lacks {', '.join(map(str, missing))}. "
                    "Leave FFMPEG_BINARY unset to use ours, then start again."
                )
        return "; ".join(sorted({str(worker.info.get("ffmpeg") or "ffmpeg") for worker in workers})) + "."

    def _check_weights(self) -> str:
        workers = self._list_workers(MENDED_BY["weights"])
        for worker in workers:
            if not worker.info.get("weights"):
                raise _Fault(  # anybody may read this, so it names no machine
                    "The speech weights are missing where a worker runs. Run `make weights` there, then start again."
                )
        return "; ".join(sorted({str(worker.info.get("model") or "") for worker in workers})) + "."

    def _check_disk(self) -> str:
        """Look at the disk of the files; with files elsewhere, at those where videos are made."""
        free = self._ports.files.free_bytes()
        if free is not None:
            if free < LOW_DISK_BYTES:
                raise _Fault(f"Only {free / 1e9:.1f} GB are free. Delete videos, or give the data folder more room.")
            return f"{free / 1e9:.0f} GB are free."
        workers = self._list_workers("Nobody can tell while no worker is running.")
        free, host = min((_read_free(worker), worker.host) for worker in workers)
        if free < LOW_DISK_BYTES:
            raise _Fault(f"Only {free / 1e9:.1f} GB are free for work folders on {host}. Make room there.")
        return f"{free / 1e9:.0f} GB are free for work folders."


def _read_remedy(part: str, look: _Look) -> str:
    """Return what a store itself says that mends it, in a look that is over; empty when it says nothing."""
    error = look.answer.exception()
    return error.remedy if part in _STORES and isinstance(error, DomainError) else ""


def _read_free(worker: WorkerInfo) -> int:
    free = worker.info.get("disk_free_bytes")
    return free if isinstance(free, int) else 0
