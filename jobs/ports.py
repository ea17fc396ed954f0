"""What the life of a job needs from the outside: a database, a file store, a queue, a prober.

One contract suite runs over every implementation. Rules that hold for all of them:

- Methods that serve a person take that person's ``user_id`` first and see only that person's rows: a foreign id is
  answered like an unknown one (None, False, or nothing).
- Every method is one atomic step. Claims, beats, finishing and charges are compare-and-set: they tell by their return
  value whether they happened, and doing them twice happens once.
- Instances may be used from several threads; after a fork a process makes its own.
- They raise `StoreUnavailable` when the database or queue does not answer, `StorageError` when files can't be had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from jobs.models import (
    Figures,
    JobEvent,
    JobStatus,
    Json,
    Link,
    LinkKind,
    Page,
    ProcessingJob,
    RemoteFile,
    Role,
    Session,
    StoredFile,
    Throttle,
    Upload,
    UploadState,
    User,
    Video,
    VideoCard,
    VideoFacts,
    VideoQuery,
    WorkerInfo,
)

NIL = "00000000-0000-0000-0000-000000000000"
"""The id before every other, and nobody's."""

OnProgress = Callable[[float], None]
"""Is told which part of a transfer is done, 0–1; may be called from several threads."""


def ignore_progress(_fraction: float) -> None:
    """Be told, and do nothing."""


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


class Users(Protocol):
    """Accounts. A username is stored in lower case and unique."""

    def count(self) -> int: ...
    def create(
        self, *, username: str, full_name: str, role: Role, password_hash: str, only_if_first: bool = False,
        user_id: str | None = None,
    ) -> User | None:  # fmt: skip
        """Return the new user, with ``user_id`` where it is given; None when that or the name is taken, or when
        ``only_if_first`` and there is anyone already."""

    def get(self, user_id: str) -> User | None: ...
    def find(self, username: str) -> User | None: ...
    def password_hash(self, user_id: str) -> str | None: ...
    def set_password(self, user_id: str, password_hash: str) -> None:
        """Store a new hash and raise the token version, which ends every session."""

    def raise_token_version(self, user_id: str) -> None: ...
    def set_name(self, user_id: str, full_name: str) -> None: ...
    def set_role(self, user_id: str, role: Role) -> bool:
        """Return False, and change nothing, when it would leave no active administrator."""

    def set_active(self, user_id: str, is_active: bool) -> bool:
        """Raise the token version too when disabling. Return False when it would leave no active administrator."""

    def set_quota(self, user_id: str, *, minutes: int | None, size_bytes: int | None) -> None: ...
    def set_options(self, user_id: str, options: Json) -> None: ...
    def list_all(self, *, search: str = "", offset: int = 0, limit: int = 50) -> Page[User]: ...
    def delete(self, user_id: str) -> bool:
        """Delete the account and all its rows; False when others would be left without an active administrator."""


class Sessions(Protocol):
    """Signed-in browsers."""

    def open(
        self, user_id: str, *, token_version: int, label: str, expires_at: datetime, tokens: str = ""
    ) -> Session: ...
    def get(self, session_id: str) -> Session | None: ...
    def get_with_user(self, session_id: str) -> tuple[Session, User] | None:
        """Return a session with its person, in one step: every page and every request begins with it."""

    def touch(self, session_id: str) -> None: ...
    def set_tokens(self, session_id: str, tokens: str, *, instead_of: str) -> bool:
        """Store other tokens; True only when the session is there and still has ``instead_of``."""

    def list_open(self, user_id: str) -> Sequence[Session]: ...
    def close(self, user_id: str, session_id: str) -> None: ...
    def close_all(self, user_id: str) -> None: ...
    def purge(self) -> int:
        """Delete expired sessions; return how many."""


class Links(Protocol):
    """One-time links: invitations and password resets."""

    def create(
        self, kind: LinkKind, *, token_hash: str, user_id: str | None, role: Role, note: str, created_by: str,
        expires_at: datetime,
    ) -> Link: ...  # fmt: skip
    def find(self, token_hash: str) -> Link | None: ...
    def use(self, token_hash: str) -> bool:
        """Mark it used; True for exactly one caller, and never after it has expired."""

    def reopen(self, token_hash: str) -> None:
        """Undo `use`, for when what it was used for could not be done."""

    def list_open(self, kind: LinkKind) -> Sequence[Link]: ...
    def delete(self, link_id: str) -> None: ...
    def purge(self) -> int: ...


class Throttles(Protocol):
    """Counters of wrong tries, by account and by address."""

    def get(self, key: str) -> Throttle | None: ...
    def add_failure(self, key: str, *, forget_after_s: int) -> int:
        """Count one more try and return the count; starts at 1 again after ``forget_after_s`` without any."""

    def lock(self, key: str, until: datetime) -> None: ...
    def clear(self, key: str) -> None: ...
    def purge(self, *, older_than_s: int) -> int: ...


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


class Database(Protocol):
    """All tables."""

    @property
    def users(self) -> Users: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def links(self) -> Links: ...
    @property
    def throttles(self) -> Throttles: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def videos(self) -> Videos: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def workers(self) -> Workers: ...
    def check(self) -> str:
        """Return a sentence about the working database, for the health page. Raises `StoreUnavailable`."""

    def require_tables(self) -> None:
        """Raise `DatabaseUnusable` when the tables are of another version than this program, `StoreUnavailable`."""

    def read_figures(self) -> Figures:
        """Return what the metrics tell; a hundred thousand jobs are no burden."""

    def get_secret(self, name: str, make: Callable[[], str]) -> str:
        """Return the secret of this installation with that name, made once for everybody."""

    def close(self) -> None: ...


class FileStore(Protocol):
    """Files by key. Keys are made by `jobs.storage` only; an original is never overwritten."""

    # receiving: bytes are kept apart from finished files until `finish_upload`. A store on this machine takes them in
    # order by `append`; one elsewhere takes parts straight from the browser, at addresses that are signed here.
    def received(self, key: str) -> int:
        """Return how many bytes of an upload are there."""

    def part_bytes(self, size_bytes: int) -> int | None:
        """Return how large the parts of such an upload are (the last may be smaller), always the same for a size; None
        where bytes are taken by `append`."""

    def list_parts(self, key: str) -> Mapping[int, int]:
        """Return the bytes of each part that is there, by its number from 1."""

    def sign_part(self, key: str, number: int, size_bytes: int, *, expires_s: int) -> str:
        """Return the address to which a browser PUTs one part of exactly so many bytes. Raises `NotFound` where there
        are no parts."""

    def append(self, key: str, offset: int, data: bytes) -> None:
        """Add bytes at the end of an upload. Raises `Conflict` when ``offset`` is not its end."""

    def upload_path(self, key: str) -> Path | None:
        """Return where the received bytes lie on this machine, for the probe; None when they lie elsewhere."""

    def finish_upload(self, key: str) -> None:
        """Turn the received bytes into the file ``key``; once it is there, doing it again changes nothing.

        Raises `NotFound` when there is neither.
        """

    def discard_upload(self, key: str) -> None: ...
    def list_uploads(self) -> Iterator[StoredFile]:
        """Yield uploads that were begun and not finished."""

    # finished files
    def stat(self, key: str) -> StoredFile | None: ...
    def put(self, key: str, path: Path, *, on_progress: OnProgress = ignore_progress) -> None:
        """Store a local file whole or not at all; the local file may be moved away. Raises `Conflict` for an original
        that is there."""

    def fetch(
        self,
        key: str,
        path: Path,
        *,
        should_cancel: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> Path:
        """Return a local path with the file's bytes, read-only: ``path``, filled, or where they already lie.

        Stops early, with part of them, when it is to cancel. Raises `NotFound`.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the path of a file that lies on this machine, for sending it; None when a link must serve."""

    def open_remote(self, key: str) -> RemoteFile | None:
        """Return how a process on this machine reads parts of a file that lies elsewhere; None when it lies here.

        Raises `NotFound`.
        """

    def link(self, key: str, *, file_name: str, media_type: str, download: bool, expires_s: int) -> str | None:
        """Return a short-lived address of the file; None when it lies on this machine."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the file in blocks. Raises `NotFound`."""

    def list_files(self, prefix: str) -> Iterator[StoredFile]: ...
    def delete(self, keys: Iterable[str]) -> None: ...
    def delete_all(self, prefix: str) -> int:
        """Delete everything below ``prefix`` (which ends in ``/``); return how many."""

    def free_bytes(self) -> int | None:
        """Return the room that is left; None when there is no end to it."""

    def check(self) -> str:
        """Write, read and delete a file; return a sentence about it. Raises `StorageError`."""


class Queue(Protocol):
    """Tells workers that a job waits. Knows ids only; losing all of it loses nothing."""

    def enqueue(self, job_id: str, attempt: int, *, timeout_s: int) -> None:
        """Hand a job to the workers; doing it again while it waits changes nothing."""

    def forget(self, job_id: str, attempt: int) -> None: ...
    def check(self) -> str:
        """Return a sentence about the working queue. Raises `StoreUnavailable`."""


class Parts(Protocol):
    """Offers parts of a long video to workers that have nothing else to do. Knows ids only.

    Losing all of it loses nothing: who offered a part makes it, when nobody else does.
    """

    def offer(self, job_id: str, attempt: int, name: str, *, timeout_s: int) -> None:
        """Hand a part to the workers; doing it again changes nothing."""

    def take_back(self, job_id: str, attempt: int, name: str) -> bool:
        """Withdraw a part that nobody has begun; True for exactly one of all who try."""

    def is_alive(self, job_id: str, attempt: int, name: str) -> bool:
        """Tell whether a part that was offered still waits or is being made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A session at a service that keeps passwords; never log them."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    """Is good for one renewal."""
    expires_at: datetime
    """From when on it has to be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the right password is answered with."""

    user_id: str
    tokens: Tokens | None
    """None where nobody else keeps sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A login name that has just got its password. An account here is to be made with it."""

    user_id: str | None
    """The account must have this id; None leaves it to the database."""
    password_hash: str | None
    """To be stored with the account; None where somebody else keeps it."""


class Passwords(Protocol):
    """Who knows passwords: our own table, or a service. It decides nothing else about a person.

    Names and new passwords are checked and cleaned before they come here. A service may have rules of its own: all
    methods raise `Refused` by field, `TooManyTries`, and `LoginUnavailable` when it does not answer.
    """

    @property
    def by_email(self) -> bool:
        """Whether login names are e-mail addresses."""

    def check(self, name: str, password: str, *, address: str) -> Proof | None:
        """Return the proof of a right pair; None for every other one, known or not. Raises `AuthError` when the pair is
        right and may still not be used."""

    def sign_in(self, name: str, password: str, *, address: str) -> Tokens | None:
        """Open a session with a pair that is right; None where nobody else keeps sessions."""

    def add(self, name: str, password: str | None) -> Added | None:
        """Give a new login name its password; None when the name is taken.

        Without a password nobody can log in until `replace`, and a name that a service knows already is taken over.
        """

    def replace(self, user: User, password: str) -> str | None:
        """Set another password, which ends every session of the person there.

        Return the hash to store with the account; None where somebody else keeps it.
        """

    def set_active(self, user_id: str, is_active: bool) -> None:
        """Bar a person, or let them in again."""

    def remove(self, user_id: str) -> None:
        """Forget a person. Nothing happens when there is none."""

    def renew(self, tokens: Tokens) -> Tokens | None:
        """Return fresh tokens; None when the session, or the person, is not welcome there any more."""

    def end(self, tokens: Tokens, *, everywhere: bool) -> bool:
        """End this session there, or all of the person's; return whether these tokens were still good for it."""

    def check_service(self) -> str:
        """Return a sentence for the health page; empty where there is no service."""


class Prober(Protocol):
    """Looks at an untrusted file, in a process of its own with limits."""

    def probe(self, source: Path | RemoteFile) -> VideoFacts:
        """Return what the file is. Raises `Refused` with the sentence of the pipeline for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside, as one value the composition roots make."""

    database: Database
    files: FileStore
    queue: Queue
    parts: Parts
    prober: Prober
    now: Callable[[], datetime]
