"""Videos, the jobs that make them, and who works on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jobs.models import (
    JobEvent,
    JobStatus,
    Json,
    Page,
    ProcessingJob,
    Upload,
    UploadState,
    Video,
    VideoCard,
    VideoFacts,
    VideoQuery,
    WorkerInfo,
)

NIL = "00000000-0000-0000-0000-000000000000"
"""The id before every other, and nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Minutes a job costs: the length of its video, as the row of it says, whoever asks. They are taken once per
    ``key``: a later job with the same transcript costs nothing.

    ``limit_ms`` is the person's limit for the month (0: none). The charge is given back when the job fails or is
    cancelled, unless another job of the person with the same key waits, runs or has succeeded.
    """

    key: str
    limit_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinish:
    """How a worker ends a job."""

    status: JobStatus
    """Succeeded, failed or cancelled."""
    error_code: str = ""
    error_message: str = ""
    result: Json | None = None
    """Of a success; it also becomes the video's current job, and `VideoStats` its searchable columns."""
    stored_attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers for the administrator. Durations are of originals."""

    queued: int
    running: int
    longest_wait_ms: int
    """Of jobs that started today, and of those still waiting."""
    succeeded_today: int
    processed_today_ms: int
    failed_today: int
    last_failure: str
    """Sentence of the newest failure today, or empty."""


class Uploads(Protocol):
    """Files on their way in."""

    def create(self, user_id: str, *, name: str, size_bytes: int, fingerprint: str, options: Json) -> Upload: ...
    def get(self, user_id: str, upload_id: str) -> Upload | None: ...
    def find_open(self, user_id: str, *, fingerprint: str, size_bytes: int) -> Upload | None:
        """Return the newest receiving upload of the same file."""

    def list_open(self, user_id: str) -> Sequence[Upload]: ...
    def touch(self, user_id: str, upload_id: str) -> None: ...
    def set_options(self, user_id: str, upload_id: str, options: Json) -> None: ...
    def set_state(
        self, user_id: str, upload_id: str, state: UploadState, *, error_code: str = "", error_message: str = ""
    ) -> bool: ...
    def delete(self, user_id: str, upload_id: str) -> bool: ...
    def list_unfinished(self) -> Sequence[Upload]:
        """Return everybody's receiving and checking uploads, oldest first; for the sweep."""

    def purge(self, *, older_than_s: int) -> int:
        """Delete the rows of done and refused uploads."""


class Videos(Protocol):
    """Recordings and what was made of them."""

    def create_with_job(
        self, upload: Upload, *, title: str, facts: VideoFacts, options: Json, charge: Charge, limit_bytes: int
    ) -> tuple[Video, ProcessingJob]:
        """Make the video and its first job, mark the upload done, take the charge: all or nothing.

        The ids are the upload's; doing it again returns what is there. Raises `QuotaExceeded`.
        """

    def get(self, user_id: str, video_id: str) -> Video | None: ...
    def get_card(self, user_id: str, video_id: str) -> VideoCard | None: ...
    def list_cards(self, user_id: str, query: VideoQuery) -> Page[VideoCard]: ...
    def set_title(self, user_id: str, video_id: str, title: str) -> bool: ...
    def set_details(self, user_id: str, video_id: str, *, note: str, tags: Sequence[str], recorded_on: str) -> bool: ...
    def delete(self, user_id: str, video_id: str) -> bool:
        """Delete the video, its jobs and their log. Charges of jobs that had not ended are given back."""

    def stored_bytes(self, user_id: str) -> int:
        """Return the bytes of originals and of results that are kept."""

    def exists(self, video_id: str) -> bool:
        """Tell whether anybody's video has this id; for the sweep."""

    def list_older(self, before: datetime, limit: int = 100) -> Sequence[Video]:
        """Return everybody's videos that were made before, for retention; never one with an active job."""

    def list_with_jobs(
        self, *, after: tuple[str, str] = (NIL, NIL), limit: int = 100
    ) -> Sequence[tuple[Video, Sequence[ProcessingJob]]]:
        """Return everybody's videos with all of their jobs, for what compares rows and files.

        They come in the order of the owner's id and then their own, which is that of the keys of their files, from
        behind ``after``, such a pair of ids.
        """


class Jobs(Protocol):
    """Versions of videos being made. The methods without ``user_id`` are the worker's and the recovery's."""

    def create(
        self, user_id: str, video_id: str, *, options: Json, charge: Charge, idempotency_key: str
    ) -> ProcessingJob | None:
        """Make one more job for a video; None when there is no such video of this person.

        The same ``idempotency_key`` returns the same job. Raises `QuotaExceeded`, and `Conflict` while another job of
        the video waits or runs.
        """

    def get(self, user_id: str, job_id: str) -> ProcessingJob | None: ...
    def list_of_video(self, user_id: str, video_id: str) -> Sequence[ProcessingJob]: ...
    def list_events(self, user_id: str, job_id: str) -> Sequence[JobEvent]: ...
    def request_cancel(self, user_id: str, job_id: str) -> ProcessingJob | None:
        """Cancel a queued job at once, flag a running one; a final one stays. Return it as it then is."""

    def used_ms(self, user_id: str) -> int:
        """Return the milliseconds charged this calendar month (UTC)."""

    def has_charge(self, user_id: str, key: str) -> bool: ...

    # the worker's side
    def find(self, job_id: str) -> tuple[ProcessingJob, Video] | None: ...
    def claim(self, job_id: str, worker_id: str, *, lease_s: float) -> ProcessingJob | None:
        """Take a queued job, or one whose lease has run out; None when another has it, or it is to be cancelled.

        Raises ``attempt`` and starts progress again.
        """

    def beat(self, job_id: str, worker_id: str, *, stage: str, progress: float, lease_s: float) -> bool | None:
        """Prolong the lease. Return whether the job is to be cancelled; None when the lease was lost: stop."""

    def finish(self, job_id: str, worker_id: str, finish: JobFinish) -> bool:
        """End a running job; False when the lease was lost (the caller then removes what it stored).

        True also for who has ended it just so before: an answer may get lost on its way.
        """

    def release(self, job_id: str, worker_id: str, *, reason: str, counts: bool = True) -> ProcessingJob | None:
        """Give a running job back, because its process is known to be dead: to queued, or to its end.

        Cancelled when that was requested, failed (``worker_lost``) when its attempts are used up. An attempt that was
        stopped on purpose does not count: the job then has one more.
        """

    def requeue_expired(self) -> Sequence[ProcessingJob]:
        """Do what `release` does for every running job whose lease has run out; return them."""

    def list_queued(self, limit: int = 1000) -> Sequence[tuple[ProcessingJob, int]]:
        """Return the first jobs in line, in the order in which they are to be taken, each with the milliseconds of its
        original."""

    def list_active_ids(self) -> frozenset[str]: ...
    def position(self, job_id: str) -> int | None:
        """Return the place in line from 1; None when it does not wait."""

    def log(self, job_id: str, event: str, data: Json) -> None: ...
    def list_speeds(self, limit: int = 20) -> Sequence[float]:
        """Return seconds of work per second of original of the newest successes, newest first."""

    # the administrator's side: no titles, no content
    def list_all(
        self, *, states: frozenset[JobStatus] = frozenset(), offset: int = 0, limit: int = 50
    ) -> Page[ProcessingJob]: ...
    def totals(self, today: datetime) -> Totals:
        """Return the numbers since ``today``."""


class Workers(Protocol):
    """Who is there to work."""

    def beat(self, worker: WorkerInfo) -> None: ...
    def list_alive(self, *, within_s: float) -> Sequence[WorkerInfo]: ...
    def remove(self, worker_id: str) -> None: ...
