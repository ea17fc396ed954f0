"""What puts things right again: lost jobs, forgotten uploads, orphaned files. Safe to run anywhere, at any time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.log import about
from jobs.models import Limits, ProcessingJob, StoredFile, Upload
from jobs.ports import Ports
from jobs.quota import timeout_s_of
from jobs.storage import StorageManager, original_key, parse_key

logger = logging.getLogger(__name__)

FORGOTTEN = timedelta(hours=24)
"""An upload that nothing was added to for so long is not coming any more."""
SETTLED = timedelta(hours=1)
"""Younger files may belong to what is just being written, so they are left alone."""
THROTTLE_S = 24 * 3600
ENDED_UPLOAD_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep removed, or would remove."""

    uploads: int
    orphans: int
    expired_videos: int


class Recovery:
    """Runs in every worker's parent and in the web process; compare-and-set in the database makes that safe."""

    def __init__(self, ports: Ports, storage: StorageManager, limits: Limits) -> None:
        self._ports, self._storage, self._limits = ports, storage, limits

    def recover_jobs(self) -> int:
        """Give back jobs whose lease ran out, and hand every queued job to the queue (again); return how many."""
        jobs = self._ports.database.jobs
        for job in jobs.requeue_expired():
            with about(job_id=job.id, user_id=job.user_id):
                logger.warning("the worker was lost; the job is %s", job.status.value)
        queued = jobs.list_queued()
        for job in queued:
            self.enqueue(job)
        return len(queued)

    def enqueue(self, job: ProcessingJob) -> None:
        """Hand one waiting job to the workers; doing it again changes nothing."""
        found = self._ports.database.jobs.find(job.id)
        if found is not None:
            self._ports.queue.enqueue(job.id, job.attempt, timeout_s=timeout_s_of(found[1].facts.duration_ms))

    def sweep(self, *, dry_run: bool = False) -> Sweep:
        """Remove unfinished uploads older than a day, files no row knows, rows past their time.

        Work folders are each worker's own and tidied there (`jobs.workspace.tidy_folders`).
        """
        now = self._ports.now()
        uploads = self._sweep_uploads(now, dry_run=dry_run)
        # files first, then the rows that may know them: what is added in between is in the rows
        files = list(self._storage.list_all())
        orphans = [file.key for file in self._find_orphans(files, now)]
        if orphans and not dry_run:
            self._storage.delete(orphans)
        expired = self._expire_videos(now, dry_run=dry_run)
        if not dry_run:
            database = self._ports.database
            database.sessions.purge()
            database.links.purge()
            database.throttles.purge(older_than_s=THROTTLE_S)
            database.uploads.purge(older_than_s=ENDED_UPLOAD_S)
        swept = Sweep(uploads=uploads, orphans=len(orphans), expired_videos=expired)
        if uploads or orphans or expired:
            logger.info("%s: %s", "would sweep" if dry_run else "swept", swept)
        return swept

    def _sweep_uploads(self, now: datetime, *, dry_run: bool) -> int:
        """Remove uploads that nobody goes on with, and bytes that no upload knows; return how many."""
        received = list(self._ports.files.list_uploads())
        unfinished = self._ports.database.uploads.list_unfinished()
        forgotten = [upload for upload in unfinished if now - upload.updated_at > FORGOTTEN]
        known = {_key(upload) for upload in unfinished}
        strays = [file.key for file in received if file.key not in known and now - file.modified_at > SETTLED]
        if not dry_run:
            for upload in forgotten:
                if self._ports.database.uploads.delete(upload.user_id, upload.id):
                    self._ports.files.discard_upload(_key(upload))
            for key in strays:
                self._ports.files.discard_upload(key)
        return len(forgotten) + len(strays)

    def _find_orphans(self, files: list[StoredFile], now: datetime) -> Iterator[StoredFile]:
        """Yield files of videos that no longer exist, and of attempts that came to nothing."""
        database = self._ports.database
        people: dict[str, bool] = {}
        arriving = {upload.video_id for upload in database.uploads.list_unfinished()}
        videos: dict[str, bool] = {}
        stored: dict[str, int | None] = {}
        for file in files:
            ids = parse_key(file.key)
            if ids is None or ids[1] in arriving or now - file.modified_at <= SETTLED:
                continue
            user_id, video_id = ids
            if user_id not in people:
                people[user_id] = database.users.get(user_id) is not None
                if not people[user_id]:  # an account goes after its files: this is another, or a lost, database
                    logger.warning("files of a person the database does not know are kept: %s", user_id)
            if not people[user_id]:
                continue
            if video_id not in videos:
                videos[video_id] = database.videos.exists(video_id)
            if not videos[video_id]:
                yield file
                continue
            match file.key.split("/")[4:]:
                case ["job", job_id, attempt, _]:
                    if job_id not in stored:
                        stored[job_id] = self._find_stored_attempt(job_id)
                    if stored[job_id] is not None and attempt != str(stored[job_id]):
                        yield file

    def _find_stored_attempt(self, job_id: str) -> int | None:
        """Return the attempt whose files count, 0 for none; None while the job is not over."""
        found = self._ports.database.jobs.find(job_id)
        if found is None:
            return 0
        job, _ = found
        return job.stored_attempt if job.status.is_final else None

    def _expire_videos(self, now: datetime, *, dry_run: bool) -> int:
        """Delete what was made longer ago than the operator keeps it; return how many videos."""
        if not self._limits.retention_days:
            return 0
        database, before = self._ports.database, now - timedelta(days=self._limits.retention_days)
        count = 0
        while videos := database.videos.list_older(before):
            if dry_run:
                return len(videos)
            for video in videos:
                with about(video_id=video.id, user_id=video.user_id):
                    if not database.videos.delete(video.user_id, video.id):
                        return count  # somebody else deletes just now; the next sweep goes on
                    self._storage.delete_video(video.user_id, video.id)
                    logger.info("deleted after its time")
                count += 1
        return count


def _key(upload: Upload) -> str:
    return original_key(upload.user_id, upload.video_id)
