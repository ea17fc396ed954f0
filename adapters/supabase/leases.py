"""The worker's side of jobs: every step is a compare-and-set on who holds the lease."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.sentences import LOST_WORKER
from adapters.supabase.client import Project
from adapters.supabase.rows import make_job, make_video
from jobs.models import Json, ProcessingJob, Video
from jobs.ports import JobFinish


class SupabaseLeases:
    """The part of `jobs.ports.Jobs` that workers and the recovery use."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def find(self, job_id: str) -> tuple[ProcessingJob, Video] | None:
        rows = self._project.select("jobs", {"id": job_id}, columns="*, video:videos(*)")
        return (make_job(rows[0]), make_video(rows[0]["video"])) if rows else None

    def claim(self, job_id: str, worker_id: str, *, lease_s: float) -> ProcessingJob | None:
        rows = self._project.call("claim_job", job_id=job_id, worker=worker_id, lease_s=lease_s)
        return make_job(rows[0]) if rows else None

    def beat(self, job_id: str, worker_id: str, *, stage: str, progress: float, lease_s: float) -> bool | None:
        answer: bool | None = self._project.call(
            "beat_job", again=True, job_id=job_id, worker=worker_id, stage=stage, progress=progress, lease_s=lease_s
        )
        return answer

    def finish(self, job_id: str, worker_id: str, finish: JobFinish) -> bool:
        if not finish.status.is_final:
            raise ValueError(f"a job does not end as {finish.status}")
        done = self._project.call(
            "finish_job",
            again=True,
            job_id=job_id,
            worker=worker_id,
            status=finish.status,
            error_code=finish.error_code,
            error_message=finish.error_message,
            result=finish.result or {},
            stored_attempt=finish.stored_attempt,
        )
        return bool(done)

    def release(self, job_id: str, worker_id: str, *, reason: str, counts: bool = True) -> ProcessingJob | None:
        rows = self._project.call(
            "release_job", job_id=job_id, worker=worker_id, reason=reason, counts=counts, sentence=LOST_WORKER
        )
        return make_job(rows[0]) if rows else None

    def requeue_expired(self) -> Sequence[ProcessingJob]:
        return tuple(map(make_job, self._project.call("requeue_expired_jobs", sentence=LOST_WORKER)))

    def list_queued(self, limit: int = 1000) -> Sequence[tuple[ProcessingJob, int]]:
        rows = self._project.call("list_queued_jobs", again=True, limit=limit)
        return tuple((make_job(row["job"]), int(row["duration_ms"])) for row in rows)

    def list_active_ids(self) -> frozenset[str]:
        return frozenset(self._project.call("list_active_job_ids", again=True))

    def position(self, job_id: str) -> int | None:
        place: int | None = self._project.call("get_position", again=True, job_id=job_id)
        return place

    def log(self, job_id: str, event: str, data: Json) -> None:
        """Add a line to a job's log; nothing happens when the job is gone."""
        self._project.call("log_job", job_id=job_id, event=event, data=data)

    def list_speeds(self, limit: int = 20) -> Sequence[float]:
        return tuple(map(float, self._project.call("list_speeds", again=True, limit=limit)))
