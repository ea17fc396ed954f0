"""Recordings, and the cards that show them with their jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from adapters.sentences import UPLOAD_REFUSED
from adapters.sqlite import charges
from adapters.sqlite.jobs import find_job, insert_job
from adapters.sqlite.line import find_positions
from adapters.sqlite.rows import dump_json, make_job, make_pattern, make_video
from adapters.sqlite.store import Store
from adapters.text import fold_text
from adapters.times import to_ms
from jobs.errors import Conflict, NotFound
from jobs.models import JobStatus, Json, Page, ProcessingJob, Upload, Video, VideoCard, VideoFacts, VideoQuery
from jobs.ports import NIL, Charge

_ORDERS = {
    "newest": "videos.created_at DESC, videos.seq DESC",
    "oldest": "videos.created_at, videos.seq",
    "title": "fold(videos.title), videos.created_at DESC, videos.seq DESC",
    "longest": "videos.duration_ms DESC, videos.created_at DESC, videos.seq DESC",
}

_TEXT = """
title || char(10) || note || char(10) || file_name || char(10)
|| coalesce((SELECT group_concat(value, char(10)) FROM json_each(tags)), '')
"""
_FOUND = rf"""
    AND NOT EXISTS (SELECT 1 FROM json_each(:patterns) AS pattern WHERE fold({_TEXT}) NOT LIKE pattern.value ESCAPE '\')
"""


class SqliteVideos:
    """`jobs.ports.Videos`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_with_job(
        self, upload: Upload, *, title: str, facts: VideoFacts, options: Json, charge: Charge, limit_bytes: int
    ) -> tuple[Video, ProcessingJob]:
        """As the port says. Raises `NotFound` when the upload is gone, `Conflict` when it was refused."""
        now, user_id, video_id = self._store.now(), upload.user_id, upload.video_id
        with self._store.write() as connection:
            video = _find_video(connection, user_id, video_id)
            job = find_job(connection, video_id, upload.id) if video else None
            if video is not None and job is not None:
                return video, job
            _check_upload(connection, upload)
            charges.check_room(connection, user_id, facts.size_bytes, limit_bytes)
            connection.execute(
                """
                INSERT INTO videos
                    (id, user_id, title, file_name, duration_ms, width, height, fps, video_codec, audio_tracks,
                     size_bytes, sha256, created_at, updated_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    video_id,
                    user_id,
                    title,
                    upload.name,
                    facts.duration_ms,
                    facts.width,
                    facts.height,
                    facts.fps,
                    facts.video_codec,
                    facts.audio_tracks,
                    facts.size_bytes,
                    facts.sha256,
                    to_ms(now),
                    to_ms(now),
                ),
            )
            job = insert_job(connection, user_id, video_id, options, charge, upload.id, now)
            connection.execute(
                "UPDATE uploads SET state = 'done', job_id = ?, updated_at = ? WHERE id = ?",
                (job.id, to_ms(now), upload.id),
            )
            video = _find_video(connection, user_id, video_id)
            assert video is not None
            return video, job

    def get(self, user_id: str, video_id: str) -> Video | None:
        with self._store.read() as connection:
            return _find_video(connection, user_id, video_id)

    def get_card(self, user_id: str, video_id: str) -> VideoCard | None:
        with self._store.read() as connection:
            row = _find_row(connection, user_id, video_id)
            return _make_cards(connection, [row], self._store.now_ms())[0] if row else None

    def list_cards(self, user_id: str, query: VideoQuery) -> Page[VideoCard]:
        """As the port says; a title matches when it, the note, tags or file name hold every word of the search."""
        words = fold_text(query.search).split()
        source = "videos JOIN jobs ON jobs.id = videos.newest_job_id" if query.states else "videos"
        where = "videos.user_id = :user"
        if query.states:
            where += " AND jobs.status IN (SELECT value FROM json_each(:states))"
        if words:
            where += _FOUND
        values = {
            "user": user_id,
            "states": dump_json(sorted(query.states)),
            "patterns": dump_json([make_pattern(word) for word in words]),
            "limit": query.limit,
            "offset": query.offset,
        }
        order = _ORDERS[query.sort]
        with self._store.read() as connection:
            total = connection.execute(f"SELECT count(*) FROM {source} WHERE {where}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT videos.* FROM {source} WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset", values
            ).fetchall()
            return Page(items=tuple(_make_cards(connection, rows, self._store.now_ms())), total=total)

    def set_title(self, user_id: str, video_id: str, title: str) -> bool:
        return self._set(user_id, video_id, title=title)

    def set_details(self, user_id: str, video_id: str, *, note: str, tags: Sequence[str], recorded_on: str) -> bool:
        return self._set(user_id, video_id, note=note, tags=dump_json(list(tags)), recorded_on=recorded_on)

    def _set(self, user_id: str, video_id: str, **values: str) -> bool:
        columns = "".join(f", {name} = ?" for name in values)
        with self._store.write() as connection:
            changed = connection.execute(
                f"UPDATE videos SET updated_at = ?{columns} WHERE id = ? AND user_id = ?",
                (self._store.now_ms(), *values.values(), video_id, user_id),
            )
            return changed.rowcount == 1

    def delete(self, user_id: str, video_id: str) -> bool:
        with self._store.write() as connection:
            if _find_row(connection, user_id, video_id) is None:
                return False
            active = connection.execute(
                "SELECT id FROM jobs WHERE video_id = ? AND status IN ('queued', 'running')", (video_id,)
            ).fetchone()
            if active is not None:
                charges.give_back(connection, active["id"])
            connection.execute("DELETE FROM videos WHERE id = ?", (video_id,))
        return True

    def stored_bytes(self, user_id: str) -> int:
        with self._store.read() as connection:
            return charges.sum_stored(connection, user_id)

    def exists(self, video_id: str) -> bool:
        with self._store.read() as connection:
            return connection.execute("SELECT 1 FROM videos WHERE id = ?", (video_id,)).fetchone() is not None

    def list_older(self, before: datetime, limit: int = 100) -> Sequence[Video]:
        with self._store.read() as connection:
            rows = connection.execute(
                """
                SELECT * FROM videos WHERE created_at < ? AND NOT EXISTS (
                    SELECT 1 FROM jobs WHERE video_id = videos.id AND status IN ('queued', 'running')
                )
                ORDER BY created_at, seq LIMIT ?
                """,
                (to_ms(before), limit),
            ).fetchall()
        return tuple(map(make_video, rows))

    def list_with_jobs(
        self, *, after: tuple[str, str] = (NIL, NIL), limit: int = 100
    ) -> Sequence[tuple[Video, Sequence[ProcessingJob]]]:
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT * FROM videos WHERE (user_id, id) > (?, ?) ORDER BY user_id, id LIMIT ?", (*after, limit)
            ).fetchall()
            jobs: dict[str, list[ProcessingJob]] = {row["id"]: [] for row in rows}
            for job in connection.execute(
                "SELECT * FROM jobs WHERE video_id IN (SELECT value FROM json_each(?)) ORDER BY seq",
                (dump_json(list(jobs)),),
            ):
                jobs[job["video_id"]].append(make_job(job))
        return tuple((make_video(row), tuple(jobs[row["id"]])) for row in rows)


def _find_row(connection: sqlite3.Connection, user_id: str, video_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM videos WHERE id = ? AND user_id = ?", (video_id, user_id)
    ).fetchone()
    return row


def _find_video(connection: sqlite3.Connection, user_id: str, video_id: str) -> Video | None:
    row = _find_row(connection, user_id, video_id)
    return make_video(row) if row else None


def _check_upload(connection: sqlite3.Connection, upload: Upload) -> None:
    row = connection.execute(
        "SELECT state FROM uploads WHERE id = ? AND user_id = ? AND video_id = ?",
        (upload.id, upload.user_id, upload.video_id),
    ).fetchone()
    if row is None or row["state"] == "done":
        raise NotFound(detail="the upload, or the video it became, was deleted")
    if row["state"] == "refused":
        raise Conflict(UPLOAD_REFUSED)


def _make_cards(connection: sqlite3.Connection, videos: Sequence[sqlite3.Row], now_ms: int) -> list[VideoCard]:
    ids = [row[name] for row in videos for name in ("newest_job_id", "current_job_id") if row[name]]
    found = connection.execute("SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (dump_json(ids),))
    jobs = {row["id"]: make_job(row) for row in found}
    waiting = [job.id for job in jobs.values() if job.status is JobStatus.QUEUED]
    positions = find_positions(connection, now_ms, waiting)
    return [
        VideoCard(
            video=make_video(row),
            job=jobs[row["newest_job_id"]],
            current=jobs.get(row["current_job_id"]),
            position=positions.get(row["newest_job_id"]),
        )
        for row in videos
    ]
