"""Who is there to work."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sqlite.rows import dump_json, make_worker
from adapters.sqlite.store import Store
from adapters.times import to_ms
from jobs.models import WorkerInfo

_FORGET_AFTER_MS = 24 * 3600_000


class SqliteWorkers:
    """`jobs.ports.Workers`. One that was not seen for a day is forgotten."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def beat(self, worker: WorkerInfo) -> None:
        started, seen = to_ms(worker.started_at), to_ms(worker.seen_at)
        with self._store.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?)",
                (worker.id, worker.host, worker.pid, started, seen, dump_json(worker.info)),
            )
            connection.execute("DELETE FROM workers WHERE seen_at < ?", (self._store.now_ms() - _FORGET_AFTER_MS,))

    def list_alive(self, *, within_s: float) -> Sequence[WorkerInfo]:
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT * FROM workers WHERE seen_at >= ? ORDER BY started_at, id",
                (self._store.now_ms() - round(within_s * 1000),),
            ).fetchall()
        return tuple(map(make_worker, rows))

    def remove(self, worker_id: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM workers WHERE id = ?", (worker_id,))
