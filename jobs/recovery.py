"""What puts things right again: lost jobs, forgotten uploads, orphaned files. Safe to run anywhere, at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import islice

from jobs.errors import DomainError, StoreUnavailable
from jobs.inventory import SETTLED, Shelf, list_arriving, list_rows, list_shelves, split_result_key
from jobs.log import about
from jobs.models import Limits, ProcessingJob, StoredFile, Upload, Video
from jobs.ports import Ports
from jobs.quota import timeout_s_of
from jobs.storage import StorageManager, is_part, original_key, parse_key, video_prefix

logger = logging.getLogger(__name__)

SETTLING = timedelta(seconds=30)
"""After this time every living worker has told a database that is back that it lives."""
FORGOTTEN = timedelta(hours=24)
"""An upload that nothing was added to for so long is not coming any more."""
FILES_EVERY = timedelta(hours=24)
"""Between two regular looks through all the files: listing a whole bucket takes time and costs money."""
MANY_ORIGINALS = 10
"""More originals than this without a row were hardly deleted by their owners: it is the rows that are missing."""
ORPHANS_A_DAY, DELETED_AT_ONCE = 10_000, 1000
THROTTLE_S = 24 * 3600
ENDED_UPLOAD_S = 7 * 24 * 3600

_TURN = "sweep:files"
_RACE_S = 12 * 3600
"""Two who take the turn within this time are one too many; clocks that differ by less do no harm."""


class WasteKind(StrEnum):
    """Why something is to go."""

    UPLOAD = "unfinished upload"
    ORPHAN = "file that no row needs"
    EXPIRED = "video past its time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """One thing that a sweep removes."""

    kind: WasteKind
    key: str
    """Of the file, or where a video's files begin."""
    size_bytes: int
    """Of what has arrived, of the file, or of the video's original."""
    since: datetime
    """When it was touched last, or made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep removed, or would remove."""

    uploads: int
    orphans: int
    expired_videos: int


def ignore_waste(_waste: Waste) -> None:
    """Be told, and do nothing."""


class Recovery:
    """Runs in every worker's parent and in the web process; compare-and-set in the database makes that safe."""

    def __init__(self, ports: Ports, storage: StorageManager, limits: Limits) -> None:
        self._ports, self._storage, self._limits = ports, storage, limits
        self._judge_from = ports.now()

    def recover_jobs(self) -> int:
        """Give back jobs whose lease ran out, and hand the queue what waits and is not in it; return how many wait.

        After the database was away leases are left alone for a while: they ran out under workers that live, and whose
        next beat makes them good again.
        """
        jobs = self._ports.database.jobs
        try:
            for job in jobs.requeue_expired() if self._ports.now() >= self._judge_from else ():
                with about(job_id=job.id, user_id=job.user_id):
                    logger.warning("the worker was lost; the job is %s", job.status.value)
            queued = jobs.list_queued()
        except StoreUnavailable:
            self._judge_from = self._ports.now() + SETTLING
            raise
        if queued:
            missing = self._ports.queue.find_missing((job.id, job.attempt) for job, _ in queued)
            for job, duration_ms in queued:
                if (job.id, job.attempt) in missing:  # handing over asks the queue several times, for each of hundreds
                    self._enqueue(job, duration_ms)
        return len(queued)

    def enqueue(self, job: ProcessingJob) -> None:
        """Hand one waiting job to the workers; doing it again changes nothing."""
        found = self._ports.database.jobs.find(job.id)
        if found is not None:
            self._enqueue(job, found[1].facts.duration_ms)

    def _enqueue(self, job: ProcessingJob, duration_ms: int) -> None:
        self._ports.queue.enqueue(job.id, job.attempt, timeout_s=timeout_s_of(duration_ms))

    def sweep(self, *, dry_run: bool = False, tell: Callable[[Waste], None] = ignore_waste) -> Sweep:
        """Remove unfinished uploads older than a day, files no row needs, rows past their time; ``tell`` each of them.

        Work folders are each worker's own and tidied there (`jobs.workspace.tidy_folders`).
        """
        now = self._ports.now()
        uploads = self._sweep_uploads(now, tell, dry_run=dry_run)
        orphans, found = 0, self._find_orphans(now)
        while some := list(islice(found, DELETED_AT_ONCE)):
            orphans += len(some)
            _tell_all(some, tell)
            if not dry_run:
                self._storage.delete(orphan.key for orphan in some)
        if dry_run:
            expired = _tell_all(self._find_expired(now), tell)
        else:
            expired = self._expire_videos(now, tell)
            self._purge_rows()
        return Sweep(uploads=uploads, orphans=orphans, expired_videos=expired)

    def sweep_regularly(self) -> Sweep:
        """Do what `sweep` does; the files once a day, by one of all processes, and not when rows seem to be lost."""
        now = self._ports.now()
        uploads = self._sweep_uploads(now, ignore_waste, dry_run=False)
        orphans = self._sweep_files(now) if self._take_turn(now) else 0
        expired = self._expire_videos(now, ignore_waste)
        self._purge_rows()
        swept = Sweep(uploads=uploads, orphans=orphans, expired_videos=expired)
        if uploads or orphans or expired:
            logger.info("swept: %s", swept)
        return swept

    # --- uploads ---

    def _sweep_uploads(self, now: datetime, tell: Callable[[Waste], None], *, dry_run: bool) -> int:
        """Remove uploads that nobody goes on with, and bytes that no upload knows; return how many."""
        files, uploads = self._ports.files, self._ports.database.uploads
        received = {file.key: file for file in files.list_uploads()}  # bytes first, then the rows that know them
        unfinished = {_key(upload): upload for upload in uploads.list_unfinished()}
        count = 0
        for key, upload in unfinished.items():
            if now - upload.updated_at > FORGOTTEN:
                count += 1
                size = received[key].size_bytes if key in received else 0
                tell(Waste(kind=WasteKind.UPLOAD, key=key, size_bytes=size, since=upload.updated_at))
                if not dry_run and uploads.delete(upload.user_id, upload.id):
                    files.discard_upload(key)
        is_known = self._remember_people()
        for key, file in received.items():
            if key not in unfinished and self._is_stray(key, now - file.modified_at, is_known):
                count += 1
                tell(Waste(kind=WasteKind.UPLOAD, key=key, size_bytes=file.size_bytes, since=file.modified_at))
                if not dry_run:
                    files.discard_upload(key)
        return count

    def _is_stray(self, key: str, age: timedelta, is_known: Callable[[str], bool]) -> bool:
        """Tell whether bytes that no upload knows are to go; large results of a worker arrive in parts, too."""
        ids = parse_key(key)
        if ids is None or age <= SETTLED or not is_known(ids[0]):
            return False
        if key == original_key(*ids):
            return True
        result = split_result_key(key)
        return age > FORGOTTEN and (result is None or self._find_stored_attempt(result[0]) is not None)

    # --- files ---

    def _take_turn(self, now: datetime) -> bool:
        """Tell whether nobody has looked through the files for a day; True for one process of all that ask."""
        throttles = self._ports.database.throttles
        last = throttles.get(_TURN)
        if last is not None and now - last.last_failure_at < FILES_EVERY:
            return False
        return throttles.add_failure(_TURN, forget_after_s=_RACE_S) == 1

    def _sweep_files(self, now: datetime) -> int:
        try:
            orphans = list(islice(self._find_orphans(now), ORPHANS_A_DAY))
            originals = sum(orphan.key.endswith("/original") for orphan in orphans)
            if originals > MANY_ORIGINALS:
                logger.warning(
                    "%d originals have no row, as after an older database was put back, so no file is removed: "
                    "`make sweep ARGS=--dry-run` lists them, `make sweep` removes them",
                    originals,
                )
                return 0
            self._storage.delete(orphan.key for orphan in orphans)
        except DomainError:
            self._ports.database.throttles.clear(_TURN)  # so that it is tried again in minutes, not tomorrow
            raise
        return len(orphans)

    def _find_orphans(self, now: datetime) -> Iterator[Waste]:
        """Yield files of videos that no longer exist, and of attempts that came to nothing."""
        arriving, is_known = list_arriving(self._ports), self._remember_people()
        for shelf in list_shelves(self._ports):
            old = [file for file in shelf.files if now - file.modified_at > SETTLED]
            if not (old and shelf.user_id) or shelf.video_id in arriving:
                continue
            for file in self._pick_orphans(shelf, old, is_known):
                yield Waste(
                    kind=WasteKind.ORPHAN, key=file.key, size_bytes=file.size_bytes, since=file.modified_at
                )  # fmt: skip

    def _pick_orphans(
        self, shelf: Shelf, files: Iterable[StoredFile], is_known: Callable[[str], bool]
    ) -> Iterable[StoredFile]:
        if shelf.video is not None:
            return [file for file in files if self._came_to_nothing(shelf, file.key)]
        # the shelf's rows may have been read before its files, so they are asked once more
        is_gone = is_known(shelf.user_id) and not self._ports.database.videos.exists(shelf.video_id)
        return files if is_gone else ()

    def _came_to_nothing(self, shelf: Shelf, key: str) -> bool:
        """Tell whether a file is of an attempt that does not count, of a job that is over."""
        result = split_result_key(key)
        if result is None:
            return False
        job_id, attempt = result
        counts = "" if is_part(key) else attempt
        if any(job.id == job_id and (job.status.is_active or str(job.stored_attempt) == counts) for job in shelf.jobs):
            return False
        stored = self._find_stored_attempt(job_id)
        return stored is not None and str(stored) != counts

    def _remember_people(self) -> Callable[[str], bool]:
        """Return what tells whether a person has an account here, and asks about each of them once."""

        @cache
        def is_known(user_id: str) -> bool:
            if self._ports.database.users.get(user_id) is not None:
                return True
            # an account goes after its files: this is another, or a lost, database
            logger.warning("files of a person the database does not know are kept: %s", user_id)
            return False

        return is_known

    def _find_stored_attempt(self, job_id: str) -> int | None:
        """Return the attempt whose files count, 0 for none; None while the job is not over."""
        found = self._ports.database.jobs.find(job_id)
        if found is None:
            return 0
        job, _ = found
        return job.stored_attempt if job.status.is_final else None

    # --- rows ---

    def _find_expired(self, now: datetime) -> Iterator[Waste]:
        """Yield the videos that `_expire_videos` would delete."""
        if not self._limits.retention_days:
            return
        before = now - timedelta(days=self._limits.retention_days)
        for video, jobs in list_rows(self._ports):
            if video.created_at < before and not any(job.status.is_active for job in jobs):
                yield _describe_expired(video)

    def _expire_videos(self, now: datetime, tell: Callable[[Waste], None]) -> int:
        """Delete what was made longer ago than the operator keeps it; return how many videos."""
        if not self._limits.retention_days:
            return 0
        database, before = self._ports.database, now - timedelta(days=self._limits.retention_days)
        count = 0
        while videos := database.videos.list_older(before):
            for video in videos:
                with about(video_id=video.id, user_id=video.user_id):
                    if not database.videos.delete(video.user_id, video.id):
                        return count  # somebody else deletes just now; the next sweep goes on
                    self._storage.delete_video(video.user_id, video.id)
                    logger.info("deleted after its time")
                tell(_describe_expired(video))
                count += 1
        return count

    def _purge_rows(self) -> None:
        database = self._ports.database
        database.sessions.purge()
        database.links.purge()
        database.throttles.purge(older_than_s=THROTTLE_S)
        database.uploads.purge(older_than_s=ENDED_UPLOAD_S)


def _tell_all(wastes: Iterable[Waste], tell: Callable[[Waste], None]) -> int:
    count = 0
    for waste in wastes:
        tell(waste)
        count += 1
    return count


def _describe_expired(video: Video) -> Waste:
    key = video_prefix(video.user_id, video.id)
    return Waste(kind=WasteKind.EXPIRED, key=key, size_bytes=video.facts.size_bytes, since=video.created_at)


def _key(upload: Upload) -> str:
    return original_key(upload.user_id, upload.video_id)
