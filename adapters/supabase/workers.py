"""Who is there to work."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.supabase.client import Project
from adapters.supabase.rows import format_time, make_worker
from jobs.models import WorkerInfo


class SupabaseWorkers:
    """`jobs.ports.Workers`. Who is alive is told by the database's clock; one not seen for a day is forgotten."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def beat(self, worker: WorkerInfo) -> None:
        self._project.call(
            "beat_worker",
            again=True,
            worker=worker.id,
            host=worker.host,
            pid=worker.pid,
            started_at=format_time(worker.started_at),
            seen_at=format_time(worker.seen_at),
            info=worker.info,
        )

    def list_alive(self, *, within_s: float) -> Sequence[WorkerInfo]:
        return tuple(map(make_worker, self._project.call("list_workers", again=True, within_s=within_s)))

    def remove(self, worker_id: str) -> None:
        self._project.call("remove_worker", again=True, worker=worker_id)
