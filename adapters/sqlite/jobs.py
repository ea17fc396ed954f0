"""The owner's and the administrator's side of jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from adapters.sentences import BEING_MADE
from adapters.sqlite import charges
from adapters.sqlite.leases import SqliteLeases, end_job, log_event
from adapters.sqlite.rows import dump_json, make_event, make_id, make_job
from adapters.times import to_ms
from jobs.errors import Conflict
from jobs.models import JobEvent, JobStatus, Json, Page, ProcessingJob
from jobs.ports import Charge, Totals


class SqliteJobs(SqliteLeases):
    """`jobs.ports.Jobs`."""

    def create(
        self, user_id: str, video_id: str, *, options: Json, charge: Charge, idempotency_key: str
    ) -> ProcessingJob | None:
        now = self._store.now()
        with self._store.write() as connection:
            video = connection.execute(
                "SELECT 1 FROM videos WHERE id = ? AND user_id = ?", (video_id, user_id)
            ).fetchone()
            if video is None:
                return None
            same = find_job(connection, video_id, idempotency_key)
            if same is not None:
                return same
            active = connection.execute(
                "SELECT 1 FROM jobs WHERE video_id = ? AND status IN ('queued', 'running')", (video_id,)
            ).fetchone()
            if active is not None:
                raise Conflict(BEING_MADE)
            return insert_job(connection, user_id, video_id, options, charge, idempotency_key, now)

    def get(self, user_id: str, job_id: str) -> ProcessingJob | None:
        with self._store.read() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ? AND user_id = ?", (job_id, user_id)).fetchone()
        return make_job(row) if row else None

    def list_of_video(self, user_id: str, video_id: str) -> Sequence[ProcessingJob]:
        """Return the jobs of a video, newest first."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT * FROM jobs WHERE video_id = ? AND user_id = ? ORDER BY seq DESC", (video_id, user_id)
            ).fetchall()
        return tuple(map(make_job, rows))

    def list_events(self, user_id: str, job_id: str) -> Sequence[JobEvent]:
        """Return the log of a job, oldest line first."""
        with self._store.read() as connection:
            rows = connection.execute(
                """
                SELECT job_events.* FROM job_events JOIN jobs ON jobs.id = job_events.job_id
                WHERE jobs.id = ? AND jobs.user_id = ? ORDER BY job_events.id
                """,
                (job_id, user_id),
            ).fetchall()
        return tuple(map(make_event, rows))

    def request_cancel(self, user_id: str, job_id: str) -> ProcessingJob | None:
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                UPDATE jobs SET cancel_requested = cancel_requested OR status IN ('queued', 'running')
                WHERE id = ? AND user_id = ? RETURNING *
                """,
                (job_id, user_id),
            ).fetchone()
            if row is None:
                return None
            job = make_job(row)
            if job.status is JobStatus.QUEUED:
                return end_job(connection, job_id, JobStatus.CANCELLED, now)
            if job.status is JobStatus.RUNNING:
                log_event(connection, job_id, now, "cancel_requested", {})
            return job

    def used_ms(self, user_id: str) -> int:
        with self._store.read() as connection:
            return charges.sum_used(connection, user_id, self._store.now())

    def has_charge(self, user_id: str, key: str) -> bool:
        with self._store.read() as connection:
            return charges.has_charge(connection, user_id, key)

    def list_all(
        self, *, states: frozenset[JobStatus] = frozenset(), offset: int = 0, limit: int = 50
    ) -> Page[ProcessingJob]:
        where = "status IN (SELECT value FROM json_each(:states))" if states else "true"
        values = {"states": dump_json(sorted(states)), "limit": limit, "offset": offset}
        with self._store.read() as connection:
            total = connection.execute(f"SELECT count(*) FROM jobs WHERE {where}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT * FROM jobs WHERE {where} ORDER BY created_at DESC, seq DESC LIMIT :limit OFFSET :offset",
                values,
            ).fetchall()
        return Page(items=tuple(map(make_job, rows)), total=total)

    def totals(self, today: datetime) -> Totals:
        values = {"today": to_ms(today), "now": self._store.now_ms()}
        with self._store.read() as connection:
            row = connection.execute(_TOTALS, values).fetchone()
        return Totals(
            queued=row["queued"],
            running=row["running"],
            longest_wait_ms=row["longest_wait_ms"],
            succeeded_today=row["succeeded_today"],
            processed_today_ms=row["processed_today_ms"],
            failed_today=row["failed_today"],
            last_failure=row["last_failure"],
        )


_TOTALS = """
SELECT
    (SELECT count(*) FROM jobs WHERE status = 'queued') AS queued,
    (SELECT count(*) FROM jobs WHERE status = 'running') AS running,
    (
        SELECT coalesce(max(wait), 0) FROM (
            -- a job that was lost waits anew
            SELECT :now - updated_at AS wait FROM jobs WHERE status = 'queued'
            UNION ALL SELECT started_at - created_at FROM jobs WHERE started_at >= :today AND attempt = 1
        )
    ) AS longest_wait_ms,
    (SELECT count(*) FROM jobs WHERE status = 'succeeded' AND finished_at >= :today) AS succeeded_today,
    (
        SELECT coalesce(sum(videos.duration_ms), 0) FROM jobs JOIN videos ON videos.id = jobs.video_id
        WHERE jobs.status = 'succeeded' AND jobs.finished_at >= :today
    ) AS processed_today_ms,
    (SELECT count(*) FROM jobs WHERE status = 'failed' AND finished_at >= :today) AS failed_today,
    coalesce((
        SELECT error_message FROM jobs WHERE status = 'failed' AND finished_at >= :today
        ORDER BY finished_at DESC, seq DESC LIMIT 1
    ), '') AS last_failure
"""


def find_job(connection: sqlite3.Connection, video_id: str, idempotency_key: str) -> ProcessingJob | None:
    """Return the job of a video that was made with this key."""
    row = connection.execute(
        "SELECT * FROM jobs WHERE video_id = ? AND idempotency_key = nullif(?, '')", (video_id, idempotency_key)
    ).fetchone()
    return make_job(row) if row else None


def insert_job(
    connection: sqlite3.Connection,
    user_id: str,
    video_id: str,
    options: Json,
    charge: Charge,
    idempotency_key: str,
    now: datetime,
) -> ProcessingJob:
    """Make a queued job and charge its minutes. Raises `QuotaExceeded`."""
    row = connection.execute(
        """
        INSERT INTO jobs (id, user_id, video_id, idempotency_key, charge_key, options, created_at, updated_at)
        VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?, ?) RETURNING *
        """,
        (make_id(), user_id, video_id, idempotency_key, charge.key, dump_json(options), to_ms(now), to_ms(now)),
    ).fetchone()
    charges.take(connection, user_id, row["id"], charge, now, to_ms(now))
    return make_job(row)
