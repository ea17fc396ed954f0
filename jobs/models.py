"""The values of a job's life. Times are aware UTC datetimes, durations integer milliseconds, sizes bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

Json = Mapping[str, object]
T = TypeVar("T")


class Role(StrEnum):
    """What a person may do."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One account. Quotas of None take the machine's default, 0 means without limit."""

    id: str
    username: str
    full_name: str
    role: Role
    is_active: bool
    quota_minutes: int | None
    quota_bytes: int | None
    options: Json
    """Job options the person chose last, for the next upload."""
    token_version: int
    created_at: datetime

    @property
    def display_name(self) -> str:
        """The name shown in the top bar."""
        return self.full_name or self.username


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser."""

    id: str
    user_id: str
    token_version: int
    """The user's version when it was opened; an older one is void."""
    label: str
    """Browser and system in words, for the account page."""
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    tokens: str = field(default="", repr=False)
    """Of the session at a service that keeps passwords, sealed; empty where there is none."""


class LinkKind(StrEnum):
    """What a one-time link is for."""

    INVITATION = "invitation"
    RESET = "reset"

    def make_address(self, base_url: str, token: str) -> str:
        """Return where a page takes the link; ``base_url`` is without a slash at the end."""
        return f"{base_url}/?{self}={token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A one-time link; its token is stored as SHA-256 only."""

    id: str
    kind: LinkKind
    token_hash: str
    user_id: str | None
    """Whose password is reset; None for an invitation."""
    role: Role
    """Of the account an invitation makes."""
    note: str
    """For whom it is, in the administrator's words."""
    created_by: str
    """Id of an administrator; empty for whoever works on the machine."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Wrong tries against one account or from one address."""

    key: str
    failures: int
    locked_until: datetime | None
    last_failure_at: datetime


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the job any more."""
        return not TRANSITIONS[self]

    @property
    def is_active(self) -> bool:
        """Whether the job waits or runs."""
        return bool(TRANSITIONS[self])


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""What may follow what. Running goes back to queued when its worker was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingJob:
    """One version of a video being made, or made."""

    id: str
    user_id: str
    video_id: str
    status: JobStatus
    stage: str
    """A `pipeline.models.Stage` value; empty while queued."""
    progress: float
    """Overall, 0–1."""
    options: Json
    """Job options as `pipeline.options.parse_job_options` takes them."""
    result: Json
    """Of a success: duration_ms, size_bytes, cuts, words, cues, language, checks, notes, files (name to bytes)."""
    error_code: str
    error_message: str
    attempt: int
    """How often a worker has claimed it."""
    max_attempts: int
    stored_attempt: int
    """The attempt whose files stand in the store; 0 before there are any."""
    worker_id: str
    lease_until: datetime | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's log."""

    id: int
    job_id: str
    at: datetime
    event: str
    data: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What the probe found out about an original."""

    duration_ms: int
    width: int
    height: int
    fps: str
    """Rational as text, such as ``30000/1001``."""
    video_codec: str
    audio_tracks: int
    size_bytes: int
    sha256: str
    """Identity of the content: its SHA-256, or in a store elsewhere `RemoteFile.sha256`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One recording of one person, and what was made of it."""

    id: str
    user_id: str
    title: str
    note: str
    tags: tuple[str, ...]
    recorded_on: str
    """ISO date, or empty."""
    file_name: str
    """As it was uploaded; shown only, never a path."""
    facts: VideoFacts
    current_job_id: str | None
    """The newest succeeded job: what plays."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCard:
    """A video with the job that speaks for it in the list."""

    video: Video
    job: ProcessingJob
    """The newest job."""
    current: ProcessingJob | None
    """The job that plays, if any."""
    position: int | None = None
    """Place in line from 1, while queued."""
    remaining_s: int | None = None
    """Seconds of work left, when it can be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoQuery:
    """What the list shows."""

    search: str = ""
    states: frozenset[JobStatus] = frozenset()
    """Of the newest job; empty shows all."""
    sort: str = "newest"
    """``newest``, ``oldest``, ``title`` or ``longest``."""
    offset: int = 0
    limit: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A part of a longer list."""

    items: tuple[T, ...]
    total: int


class UploadState(StrEnum):
    """Where an upload stands."""

    RECEIVING = "receiving"
    CHECKING = "checking"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way in. Its video's id is fixed from the start, so completing it twice makes one video."""

    id: str
    user_id: str
    video_id: str
    name: str
    size_bytes: int
    fingerprint: str
    """Name, size and date as the browser tells them; finds the unfinished upload of the same file again."""
    options: Json
    state: UploadState
    job_id: str | None
    error_code: str
    error_message: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a person has used, and may. A limit of 0 is no limit."""

    used_ms: int
    limit_ms: int
    stored_bytes: int
    limit_bytes: int
    period_ends_at: datetime

    @property
    def left_ms(self) -> int | None:
        """Milliseconds left this month; None without limit."""
        return max(0, self.limit_ms - self.used_ms) if self.limit_ms else None

    @property
    def left_bytes(self) -> int | None:
        """Bytes left; None without limit."""
        return max(0, self.limit_bytes - self.stored_bytes) if self.limit_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker process, as it last reported itself."""

    id: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    info: Json
    """version, cores, gpus, device, compute_type, python, ffmpeg, missing, model, weights, disk_free_bytes; job_id
    while busy, is_draining once told to stop, waits_for (the id of a part) before the first job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A counter that only rises: how often, and of durations the seconds."""

    name: str
    """``wait`` of jobs that began, ``work`` on and ``video`` of those that succeeded, ``stage``; ``wait_le`` and
    ``work_le`` count those not above the label; ``ended``, ``failed`` and ``given_back`` count jobs."""
    label: str
    """Of a stage its name, of jobs their status, error code or the reason."""
    count: int
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the metrics tell of the database."""

    queued: int
    running: int
    longest_wait_s: float
    """Of the jobs that wait."""
    mean_wait_s: float
    videos: int
    video_s: float
    """Of all originals together."""
    original_bytes: int
    result_bytes: int
    tallies: tuple[Tally, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One object in the file store."""

    key: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file in a store elsewhere, as a process of ours reads it: ranges of a short-lived address; never log it."""

    url: str = field(repr=False)
    size_bytes: int
    sha256: str
    """Identity of the content, made by us of what the store has computed over it: the same bytes, sent in the same
    parts, have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPart:
    """One part of the product: working, or the sentence that mends it."""

    id: str
    """``database``, ``files``, ``queue``, ``workers``, ``tools``, ``weights`` or ``disk``."""
    name: str
    ok: bool
    text: str
    checked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator allows. 0 is no limit."""

    max_upload_bytes: int
    max_duration_ms: int
    quota_minutes: int
    quota_bytes: int
    retention_days: int
    """Days an original and its results are kept; 0 keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One file of a person's, ready to be sent: a local path, or a link to the file store."""

    name: str
    """Good file name for saving."""
    media_type: str
    size_bytes: int
    key: str
    extra: Json = field(default_factory=dict)
