"""The owner's and the administrator's side of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.supabase.leases import SupabaseLeases
from adapters.supabase.rows import format_time, make_event, make_job
from jobs.models import JobEvent, JobStatus, Json, Page, ProcessingJob
from jobs.ports import Charge, Totals


class SupabaseJobs(SupabaseLeases):
    """`jobs.ports.Jobs`."""

    def create(
        self, user_id: str, video_id: str, *, options: Json, charge: Charge, idempotency_key: str
    ) -> ProcessingJob | None:
        rows = self._project.call(
            "create_job",
            again=bool(idempotency_key),
            user_id=user_id,
            video_id=video_id,
            options=options,
            charge_key=charge.key,
            limit_ms=charge.limit_ms,
            idempotency_key=idempotency_key,
        )
        return make_job(rows[0]) if rows else None

    def get(self, user_id: str, job_id: str) -> ProcessingJob | None:
        rows = self._project.select("jobs", {"id": job_id, "user_id": user_id}, person=user_id)
        return make_job(rows[0]) if rows else None

    def list_of_video(self, user_id: str, video_id: str) -> Sequence[ProcessingJob]:
        """Return the jobs of a video, newest first."""
        rows = self._project.select(
            "jobs", {"video_id": video_id, "user_id": user_id}, order=("seq.desc",), person=user_id
        )
        return tuple(map(make_job, rows))

    def list_events(self, user_id: str, job_id: str) -> Sequence[JobEvent]:
        """Return the log of a job, oldest line first."""
        rows = self._project.select(
            "job_events", {"job_id": job_id, "user_id": user_id}, order=("id",), person=user_id
        )  # fmt: skip
        return tuple(map(make_event, rows))

    def request_cancel(self, user_id: str, job_id: str) -> ProcessingJob | None:
        rows = self._project.call("request_cancel", again=True, user_id=user_id, job_id=job_id)
        return make_job(rows[0]) if rows else None

    def used_ms(self, user_id: str) -> int:
        return int(self._project.call("get_used_ms", person=user_id, again=True, user_id=user_id) or 0)

    def has_charge(self, user_id: str, key: str) -> bool:
        return bool(self._project.select("charges", {"user_id": user_id, "key": key}, columns="key", person=user_id))

    def list_all(
        self, *, states: frozenset[JobStatus] = frozenset(), offset: int = 0, limit: int = 50
    ) -> Page[ProcessingJob]:
        found = self._project.call("list_jobs", again=True, states=sorted(states), offset=offset, limit=limit)
        return Page(items=tuple(map(make_job, found["rows"])), total=found["total"])

    def totals(self, today: datetime) -> Totals:
        return Totals(**self._project.call("get_totals", again=True, today=format_time(today)))
