"""The worker's side of jobs: every step is a compare-and-set on who holds the lease."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from adapters.sentences import WORKER_LOST, describe_lost_worker
from adapters.sqlite import charges
from adapters.sqlite.line import find_positions, list_first
from adapters.sqlite.rows import dump_json, make_job, make_video
from adapters.sqlite.store import Store
from jobs.models import JobStatus, Json, ProcessingJob, Video
from jobs.ports import JobFinish


class SqliteLeases:
    """The part of `jobs.ports.Jobs` that workers and the recovery use."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, job_id: str) -> tuple[ProcessingJob, Video] | None:
        with self._store.read() as connection:
            job = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if job is None:
                return None
            video = connection.execute("SELECT * FROM videos WHERE id = ?", (job["video_id"],)).fetchone()
        return make_job(job), make_video(video)

    def claim(self, job_id: str, worker_id: str, *, lease_s: float) -> ProcessingJob | None:
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                UPDATE jobs SET status = 'running', worker_id = :worker, attempt = attempt + 1, stage = '',
                    progress = 0, started_at = :now, updated_at = :now, lease_until = :until
                WHERE id = :id AND NOT cancel_requested AND attempt < max_attempts
                    AND (status = 'queued' OR (status = 'running' AND lease_until < :now))
                RETURNING *
                """,
                {"id": job_id, "worker": worker_id, "now": now, "until": now + round(lease_s * 1000)},
            ).fetchone()
        return make_job(row) if row else None

    def beat(self, job_id: str, worker_id: str, *, stage: str, progress: float, lease_s: float) -> bool | None:
        now = self._store.now_ms()
        with self._store.write() as connection:
            row = connection.execute(
                """
                UPDATE jobs SET stage = ?, progress = ?, updated_at = ?, lease_until = ?
                WHERE id = ? AND worker_id = ? AND status = 'running' RETURNING cancel_requested
                """,
                (stage, min(1.0, max(0.0, progress)), now, now + round(lease_s * 1000), job_id, worker_id),
            ).fetchone()
        return bool(row["cancel_requested"]) if row else None

    def finish(self, job_id: str, worker_id: str, finish: JobFinish) -> bool:
        if not finish.status.is_final:
            raise ValueError(f"a job does not end as {finish.status}")
        with self._store.write() as connection:
            job = _find_held(connection, job_id, worker_id)
            if job is None:
                return _has_finished(connection, job_id, worker_id, finish)
            if finish.status is JobStatus.SUCCEEDED:
                _succeed(connection, job, finish, self._store.now_ms())
            else:
                end_job(
                    connection,
                    job_id,
                    finish.status,
                    self._store.now_ms(),
                    error_code=finish.error_code,
                    error_message=finish.error_message,
                )
        return True

    def release(self, job_id: str, worker_id: str, *, reason: str, counts: bool = True) -> ProcessingJob | None:
        with self._store.write() as connection:
            if not counts:
                connection.execute(
                    "UPDATE jobs SET max_attempts = max_attempts + 1 "
                    "WHERE id = ? AND worker_id = ? AND status = 'running'",
                    (job_id, worker_id),
                )
            job = _find_held(connection, job_id, worker_id)
            return _take_back(connection, job, self._store.now_ms(), reason) if job else None

    def requeue_expired(self) -> Sequence[ProcessingJob]:
        expired = "SELECT * FROM jobs WHERE status = 'running' AND lease_until < ? ORDER BY seq"
        now = self._store.now_ms()
        with self._store.read() as connection:  # most often there is none, and then nobody has to wait
            if connection.execute(expired, (now,)).fetchone() is None:
                return ()
        with self._store.write() as connection:
            rows = connection.execute(expired, (now,)).fetchall()
            return tuple(_take_back(connection, row, now, "the lease ran out") for row in rows)

    def list_queued(self, limit: int = 1000) -> Sequence[tuple[ProcessingJob, int]]:
        with self._store.read() as connection:
            rows = list_first(connection, self._store.now_ms(), limit)
        return tuple((make_job(row), row["duration_ms"]) for row in rows)

    def list_active_ids(self) -> frozenset[str]:
        with self._store.read() as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE status IN ('queued', 'running')").fetchall()
        return frozenset(row["id"] for row in rows)

    def position(self, job_id: str) -> int | None:
        with self._store.read() as connection:
            return find_positions(connection, self._store.now_ms(), [job_id]).get(job_id)

    def log(self, job_id: str, event: str, data: Json) -> None:
        """Add a line to a job's log; nothing happens when the job is gone."""
        with self._store.write() as connection:
            log_event(connection, job_id, self._store.now_ms(), event, data)

    def list_speeds(self, limit: int = 20) -> Sequence[float]:
        with self._store.read() as connection:
            rows = connection.execute(
                """
                SELECT (jobs.finished_at - jobs.started_at) * 1.0 / videos.duration_ms AS speed
                FROM jobs JOIN videos ON videos.id = jobs.video_id
                WHERE jobs.status = 'succeeded' AND jobs.finished_at IS NOT NULL AND videos.duration_ms > 0
                ORDER BY jobs.finished_at DESC, jobs.seq DESC LIMIT ?
                """,
                (limit,),
            ).fetchall()
        return tuple(row["speed"] for row in rows)


def log_event(connection: sqlite3.Connection, job_id: str, now_ms: int, event: str, data: Json) -> None:
    """Add a line to a job's log, if there is such a job."""
    connection.execute(
        "INSERT INTO job_events (job_id, at, event, data) SELECT id, ?, ?, ? FROM jobs WHERE id = ?",
        (now_ms, event, dump_json(data), job_id),
    )


def end_job(
    connection: sqlite3.Connection,
    job_id: str,
    status: JobStatus,
    now_ms: int,
    *,
    error_code: str = "",
    error_message: str = "",
) -> ProcessingJob:
    """End an active job as failed or cancelled and give its minutes back; return it."""
    row = connection.execute(
        """
        UPDATE jobs SET status = ?, error_code = ?, error_message = ?, lease_until = NULL, updated_at = ?,
            finished_at = ?
        WHERE id = ? RETURNING *
        """,
        (status, error_code, error_message, now_ms, now_ms, job_id),
    ).fetchone()
    charges.give_back(connection, job_id)
    return make_job(row)


def _find_held(connection: sqlite3.Connection, job_id: str, worker_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE id = ? AND worker_id = ? AND status = 'running'", (job_id, worker_id)
    ).fetchone()
    return row


def _has_finished(connection: sqlite3.Connection, job_id: str, worker_id: str, finish: JobFinish) -> bool:
    """Tell whether this worker ended the job just so: it says so again when it did not hear our answer."""
    found = connection.execute(
        "SELECT 1 FROM jobs WHERE id = ? AND worker_id = ? AND status = ? AND error_code = ? AND stored_attempt = ?",
        (job_id, worker_id, finish.status, finish.error_code, finish.stored_attempt),
    ).fetchone()
    return found is not None


def _take_back(connection: sqlite3.Connection, job: sqlite3.Row, now_ms: int, reason: str) -> ProcessingJob:
    if job["cancel_requested"]:  # what ended is what was to end: nothing was lost
        return end_job(connection, job["id"], JobStatus.CANCELLED, now_ms)
    lost = {"reason": reason, "worker": job["worker_id"], "attempt": job["attempt"], "stage": job["stage"]}
    log_event(connection, job["id"], now_ms, WORKER_LOST, lost)
    if job["attempt"] >= job["max_attempts"]:
        return end_job(
            connection,
            job["id"],
            JobStatus.FAILED,
            now_ms,
            error_code=WORKER_LOST,
            error_message=describe_lost_worker(job["id"]),
        )
    row = connection.execute(
        """
        UPDATE jobs SET status = 'queued', worker_id = '', lease_until = NULL, started_at = NULL, stage = '',
            progress = 0, updated_at = ?
        WHERE id = ? RETURNING *
        """,
        (now_ms, job["id"]),
    ).fetchone()
    return make_job(row)


def _succeed(connection: sqlite3.Connection, job: sqlite3.Row, finish: JobFinish, now_ms: int) -> None:
    result = finish.result or {}
    files = result.get("files")
    sizes = files.values() if isinstance(files, dict) else ()
    stored = sum(size for size in sizes if isinstance(size, int))
    connection.execute(
        """
        UPDATE jobs SET status = 'succeeded', progress = 1, result = ?, stored_bytes = ?, stored_attempt = ?,
            lease_until = NULL, updated_at = ?, finished_at = ?
        WHERE id = ?
        """,
        (dump_json(result), stored, finish.stored_attempt, now_ms, now_ms, job["id"]),
    )
    language = result.get("language")
    counts = [result.get(name) for name in ("words", "cuts", "duration_ms", "size_bytes")]
    connection.execute(
        """
        UPDATE videos SET current_job_id = ?, updated_at = ?, language = ?, words = ?, cuts = ?, result_ms = ?,
            result_bytes = ?
        WHERE id = ?
        """,
        (
            job["id"],
            now_ms,
            language if isinstance(language, str) else "",
            *(count if isinstance(count, int) else None for count in counts),
            job["video_id"],
        ),
    )
    charges.hold(connection, job["id"])
