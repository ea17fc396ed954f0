"""Videos and the jobs that make them: what their owner may see and do."""

from __future__ import annotations

import logging
import re
import statistics
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import PurePath
from uuid import uuid4

from jobs.archive import Entry, measure_archive, stream_archive
from jobs.errors import Conflict, DomainError, NotFound, Refused, StorageError
from jobs.log import about
from jobs.models import (
    Download,
    JobEvent,
    JobStatus,
    Json,
    Limits,
    Page,
    ProcessingJob,
    Usage,
    Video,
    VideoCard,
    VideoQuery,
)
from jobs.ports import Ports
from jobs.quota import find_user, limit_ms_of, make_charge, read_options, read_usage, require_room, timeout_s_of
from jobs.storage import StorageManager, original_key, result_key
from pipeline.models import RESULT_FILES
from pipeline.options import PipelineOptions

logger = logging.getLogger(__name__)

WORKER_SILENT_S = 45
"""A worker that has said nothing for longer counts as gone."""
MAX_PAGE = 100
SORTS = ("newest", "oldest", "title", "longest")
MAX_TITLE_CHARS, MAX_NOTE_CHARS, MAX_TAGS, MAX_TAG_CHARS = 200, 5000, 20, 40
MAX_FILE_NAME_BYTES = 200
"""File systems take 255; parts are still added."""
TELLING_S = 20
"""Before so much work nobody can say how long the rest takes."""

MEDIA_TYPES: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".vtt": "text/vtt; charset=utf-8",
    ".srt": "application/x-subrip; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".jpg": "image/jpeg",
}
"""Of the result files."""
ORIGINAL_TYPES: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
}
"""Of originals, by their name; anything else is just bytes, so that no browser takes it for a page."""


class VideoService:
    """What a person may do with videos. Every method takes the person first; foreign ids are `NotFound`."""

    def __init__(self, ports: Ports, storage: StorageManager, limits: Limits, machine_options: PipelineOptions) -> None:
        self._ports, self._storage, self._limits, self._machine_options = ports, storage, limits, machine_options

    # --- seeing ---

    def list_cards(self, user_id: str, query: VideoQuery) -> Page[VideoCard]:
        """Return a page of the list, with places in line and time left filled in."""
        sort = query.sort if query.sort in SORTS else SORTS[0]
        query = replace(query, sort=sort, offset=max(0, query.offset), limit=min(max(1, query.limit), MAX_PAGE))
        page = self._ports.database.videos.list_cards(user_id, query)
        return Page(items=self._complete_cards(page.items), total=page.total)

    def get_card(self, user_id: str, video_id: str) -> VideoCard:
        """Return one video."""
        card = self._ports.database.videos.get_card(user_id, video_id)
        if card is None:
            raise NotFound
        return self._complete_cards([card])[0]

    def list_versions(self, user_id: str, video_id: str) -> Sequence[ProcessingJob]:
        """Return every job of a video, newest first."""
        self._find_video(user_id, video_id)
        jobs = self._ports.database.jobs.list_of_video(user_id, video_id)
        return sorted(jobs, key=lambda job: job.created_at, reverse=True)

    def list_events(self, user_id: str, job_id: str) -> Sequence[JobEvent]:
        """Return a job's log, oldest first."""
        self._find_job(user_id, job_id)
        return self._ports.database.jobs.list_events(user_id, job_id)

    def has_worker(self) -> bool:
        """Tell whether anybody is there to work."""
        return bool(self._ports.database.workers.list_alive(within_s=WORKER_SILENT_S))

    def get_usage(self, user_id: str) -> Usage:
        """Return minutes and storage used, and what is allowed."""
        return read_usage(self._ports, self._limits, user_id)

    # --- changing ---

    def rename(self, user_id: str, video_id: str, title: str) -> None:
        """Give a video another title (1 to 200 characters). Raises `Refused`."""
        if not self._ports.database.videos.set_title(user_id, video_id, check_title(title)):
            raise NotFound

    def set_details(self, user_id: str, video_id: str, *, note: str, tags: Sequence[str], recorded_on: str) -> None:
        """Store note, tags and recording date. Raises `Refused`."""
        if not self._ports.database.videos.set_details(
            user_id, video_id, note=check_note(note), tags=check_tags(tags), recorded_on=check_date(recorded_on)
        ):
            raise NotFound

    def cancel(self, user_id: str, job_id: str) -> ProcessingJob:
        """Ask for a job to stop: at once while it waits, within seconds while it runs."""
        job = self._ports.database.jobs.request_cancel(user_id, job_id)
        if job is None:
            raise NotFound
        if job.status is JobStatus.CANCELLED:
            self._forget(job)
        return job

    def retry(self, user_id: str, video_id: str) -> ProcessingJob:
        """Make the newest job once more, with its options. Raises `Conflict` unless that failed or was cancelled."""
        newest = next(iter(self.list_versions(user_id, video_id)), None)
        if newest is None:
            raise NotFound
        if newest.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            raise Conflict("Only a version that failed or was cancelled can be tried again.")
        return self._create(user_id, video_id, newest.options, f"retry-{newest.id}")  # two clicks are one retry

    def process_again(self, user_id: str, video_id: str, options: Json, *, idempotency_key: str = "") -> ProcessingJob:
        """Make another version with other options; the transcript is used again where it can be.

        Raises `Refused` for the options, `QuotaExceeded`, `Conflict` while another version waits or is being made.
        """
        require_room(self.get_usage(user_id))
        return self._create(user_id, video_id, options, idempotency_key or uuid4().hex)

    def delete(self, user_id: str, video_id: str) -> None:
        """Delete the video, its original and every result; a running job stops."""
        jobs = self.list_versions(user_id, video_id)
        with about(user_id=user_id, video_id=video_id):
            if not self._ports.database.videos.delete(user_id, video_id):
                raise NotFound
            for job in jobs:
                if job.status is JobStatus.QUEUED:
                    self._forget(job)
            try:
                count = self._storage.delete_video(user_id, video_id)
                logger.info("a video and its %d files are deleted", count)
            except StorageError as error:  # without rows they are orphans, which a sweep removes
                logger.warning("the files of a deleted video are still there: %s", error.detail)

    def delete_all(self, user_id: str) -> None:
        """Delete everything the person has, before the account goes. Raises `StorageError` when files stay behind."""
        for upload in self._ports.database.uploads.list_open(user_id):
            self._ports.database.uploads.delete(user_id, upload.id)
            self._ports.files.discard_upload(original_key(user_id, upload.video_id))
        while cards := self._ports.database.videos.list_cards(user_id, VideoQuery(limit=MAX_PAGE)).items:
            for card in cards:
                self.delete(user_id, card.video.id)
        self._storage.delete_user(user_id)

    # --- taking away ---

    def open_file(self, user_id: str, job_id: str, name: str) -> Download:
        """Return one result file, named after the video's title for saving."""
        job = self._find_finished(user_id, job_id)
        key = result_key(user_id, job.video_id, job.id, job.stored_attempt, name)
        title = self._find_video(user_id, job.video_id).title
        return self._describe(key, name_result(title, name), MEDIA_TYPES[PurePath(name).suffix])

    def open_original(self, user_id: str, video_id: str) -> Download:
        """Return the recording as it was uploaded."""
        video = self._find_video(user_id, video_id)
        suffix = PurePath(video.file_name).suffix.lower()
        media_type = ORIGINAL_TYPES.get(suffix, "application/octet-stream")
        return self._describe(original_key(user_id, video_id), clean_file_name(video.file_name), media_type)

    def open_archive(self, user_id: str, job_id: str) -> tuple[Download, Iterator[bytes]]:
        """Return the whole result as a ZIP (stored, not compressed): its name and exact size, and its bytes."""
        job = self._find_finished(user_id, job_id)
        title = self._find_video(user_id, job.video_id).title
        entries = []
        for name in RESULT_FILES:
            stored = self._ports.files.stat(result_key(user_id, job.video_id, job.id, job.stored_attempt, name))
            if stored is not None:
                entries.append(
                    Entry(
                        name=name_result(title, name),
                        size_bytes=stored.size_bytes,
                        modified_at=stored.modified_at,
                        read=_reader(self._ports.files.read, stored.key),
                    )
                )
        if not entries:
            raise NotFound
        archive = Download(
            name=f"{clean_file_name(title)}.zip", media_type="application/zip", size_bytes=measure_archive(entries),
            key="",
        )  # fmt: skip
        return archive, stream_archive(entries)

    # --- one at a time ---

    def _find_video(self, user_id: str, video_id: str) -> Video:
        video = self._ports.database.videos.get(user_id, video_id)
        if video is None:
            raise NotFound
        return video

    def _find_job(self, user_id: str, job_id: str) -> ProcessingJob:
        job = self._ports.database.jobs.get(user_id, job_id)
        if job is None:
            raise NotFound
        return job

    def _find_finished(self, user_id: str, job_id: str) -> ProcessingJob:
        job = self._find_job(user_id, job_id)
        if job.status is not JobStatus.SUCCEEDED or job.stored_attempt < 1:
            raise NotFound("This version has no result.")
        return job

    def _describe(self, key: str, name: str, media_type: str) -> Download:
        stored = self._ports.files.stat(key)
        if stored is None:
            raise NotFound
        return Download(name=name, media_type=media_type, size_bytes=stored.size_bytes, key=key)

    def _create(self, user_id: str, video_id: str, options: Json, idempotency_key: str) -> ProcessingJob:
        video = self._find_video(user_id, video_id)
        effective = read_options(options, self._machine_options)
        limit_ms = limit_ms_of(find_user(self._ports, user_id), self._limits)
        job = self._ports.database.jobs.create(
            user_id,
            video_id,
            options=dict(options),
            charge=make_charge(video.facts.sha256, effective, limit_ms=limit_ms),
            idempotency_key=idempotency_key,
        )
        if job is None:
            raise NotFound
        if job.status is JobStatus.QUEUED:
            self._enqueue(job, video)
        return job

    def _enqueue(self, job: ProcessingJob, video: Video) -> None:
        with about(user_id=job.user_id, video_id=video.id, job_id=job.id):
            try:
                self._ports.queue.enqueue(job.id, job.attempt, timeout_s=timeout_s_of(video.facts.duration_ms))
            except DomainError as error:
                logger.warning("the queue does not answer; recovery hands the job over: %s", error.detail)

    def _forget(self, job: ProcessingJob) -> None:
        """Take a job out of the line; when that fails, a worker finds that there is nothing to claim."""
        try:
            self._ports.queue.forget(job.id, job.attempt)
        except DomainError as error:
            with about(user_id=job.user_id, job_id=job.id):
                logger.info("the queue still holds a job that is over: %s", error.detail)

    def _complete_cards(self, cards: Iterable[VideoCard]) -> tuple[VideoCard, ...]:
        cards = tuple(cards)
        is_running = any(card.job.status is JobStatus.RUNNING for card in cards)
        speeds = self._ports.database.jobs.list_speeds() if is_running else ()
        return tuple(self._complete_card(card, speeds) for card in cards)

    def _complete_card(self, card: VideoCard, speeds: Sequence[float]) -> VideoCard:
        if card.job.status is JobStatus.QUEUED and card.position is None:
            return replace(card, position=self._ports.database.jobs.position(card.job.id))
        if card.job.status is JobStatus.RUNNING:
            left = estimate_remaining_s(card.job, card.video.facts.duration_ms, speeds, self._ports.now())
            return replace(card, remaining_s=left)
        return card


def estimate_remaining_s(
    job: ProcessingJob, duration_ms: int, speeds: Sequence[float], now: datetime
) -> int | None:  # fmt: skip
    """Return the seconds of work left of a running job; None while it can't be told.

    ``speeds`` are seconds of work per second of original, of this machine. The further the job is, the more its own
    pace counts beside them.
    """
    elapsed = (now - job.started_at).total_seconds() if job.started_at else 0.0
    if elapsed < TELLING_S:
        return None
    done = min(1.0, max(0.0, job.progress))
    own = elapsed / done * (1 - done) if done else 0.0
    if not speeds:
        return round(own) if done >= 0.1 else None
    usual = statistics.median(speeds) * duration_ms / 1000 * (1 - done)
    return round(done * own + (1 - done) * usual)


def check_title(title: str) -> str:
    """Return a title as it is stored. Raises `Refused`."""
    shown = " ".join("".join(char if char.isprintable() else " " for char in title).split())
    if not 1 <= len(shown) <= MAX_TITLE_CHARS:
        raise Refused("title", f"A title has 1 to {MAX_TITLE_CHARS} characters.")
    return shown


def check_note(note: str) -> str:
    """Return a note as it is stored. Raises `Refused`."""
    shown = "".join(char for char in note.replace("\r\n", "\n") if char.isprintable() or char in "\n\t").strip()
    if len(shown) > MAX_NOTE_CHARS:
        raise Refused("note", f"A note has at most {MAX_NOTE_CHARS} characters.")
    return shown


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags as they are stored: each once, in their order. Raises `Refused`."""
    shown = dict.fromkeys(" ".join("".join(filter(_is_tag_char, tag)).split()) for tag in tags)
    kept = tuple(tag for tag in shown if tag)
    if len(kept) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS for tag in kept):
        raise Refused("tags", f"A video has at most {MAX_TAGS} tags of at most {MAX_TAG_CHARS} characters each.")
    return kept


def _is_tag_char(char: str) -> bool:
    return char.isprintable() and char != ","


def check_date(value: str) -> str:
    """Return an ISO date, or the empty string. Raises `Refused`."""
    if not value:
        return ""
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise Refused("recorded_on", "This is no date. Give it as 2026-01-31, or leave it empty.") from error


def clean_file_name(name: str) -> str:
    """Return a name that every file system takes, at most `MAX_FILE_NAME_BYTES` long."""
    shown = "".join(char if char.isprintable() else " " for char in unicodedata.normalize("NFC", name))
    shown = " ".join(re.sub(r'[/\\:*?"<>|]+', " ", shown).split()).strip(" .")
    if len(shown.encode()) > MAX_FILE_NAME_BYTES:
        suffix = PurePath(shown).suffix
        suffix = suffix if len(suffix.encode()) <= 10 else ""
        kept = shown.removesuffix(suffix).encode()[: MAX_FILE_NAME_BYTES - len(suffix.encode())]
        shown = kept.decode("utf-8", "ignore").strip(" .") + suffix
    return shown or "Video"


def name_result(title: str, name: str) -> str:
    """Return the name a result file is saved under: ``Lesson 4.mp4``, ``Lesson 4 report.json``."""
    part, extension = name.split(".")
    base = clean_file_name(title)
    is_plain = part in ("video", "captions") or name == "transcript.txt"
    return f"{base}.{extension}" if is_plain else f"{base} {part}.{extension}"


def _reader(read: Callable[[str], Iterator[bytes]], key: str) -> Callable[[], Iterator[bytes]]:
    return lambda: read(key)
