"""Files on their way in: begun, received in order, resumed, checked, and made into a video with its first job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from jobs.admission import UploadLimits, require_fit
from jobs.arrival import Arrivals, UploadProgress
from jobs.errors import AuthError, Conflict, DomainError, JobError, NotFound, QuotaExceeded, Refused, StorageError
from jobs.locks import NamedLocks
from jobs.log import about
from jobs.models import Json, Limits, Upload, UploadState, VideoFacts
from jobs.names import clean_name, make_title
from jobs.ports import Ports
from jobs.quota import (
    find_user,
    limit_bytes_of,
    limit_ms_of,
    make_charge,
    read_options,
    read_usage,
    timeout_s_of,
)
from jobs.storage import StorageManager, original_key
from pipeline.options import PipelineOptions

logger = logging.getLogger(__name__)

MAX_FINGERPRINT_CHARS = 600
RESERVE_BYTES = 1_000_000_000
"""Stays free on the disk beside what is announced, for work folders and the database."""
LAST_RESERVE_BYTES = 200_000_000
"""Nothing more is received when less is free."""
ROOM_FACTOR = 2
"""An original and its result."""
BEAT_S = 10.0
"""While a file is checked, its row says so this often; so others can tell a check from one that died."""
DEAD_CHECK = timedelta(seconds=60)
LEFT_ALONE = timedelta(seconds=30)
"""A page that lives completes its own upload within this time."""
ADDRESS_S = 3600
"""A part may begin on its way so long after its address was given."""
_LATER = "The file can't be checked just now. Try again in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAddress:
    """Where a browser sends one part, for a while; never log it."""

    url: str = field(repr=False)
    size_bytes: int


class UploadService:
    """What a person may do with uploads. Every method takes the person first."""

    def __init__(self, ports: Ports, storage: StorageManager, limits: Limits, machine_options: PipelineOptions) -> None:
        self._ports, self._storage, self._limits, self._machine_options = ports, storage, limits, machine_options
        self._locks, self._arrivals = NamedLocks(), Arrivals(ports)

    def get_limits(self, user_id: str) -> UploadLimits:
        """Return what may be uploaded now."""
        return UploadLimits(
            max_bytes=self._limits.max_upload_bytes,
            max_duration_ms=self._limits.max_duration_ms,
            usage=read_usage(self._ports, self._limits, user_id),
            free_bytes=self._free_bytes(),
        )

    def begin(self, user_id: str, *, name: str, size_bytes: int, fingerprint: str, options: Json) -> UploadProgress:
        """Begin an upload, or find the unfinished one of the same file, and return where to go on.

        Raises `Refused` (name, size, options, free disk) and `QuotaExceeded` before the first byte.
        """
        name = clean_name(name)
        read_options(options, self._machine_options)
        if len(fingerprint) > MAX_FINGERPRINT_CHARS:
            raise Refused("bad_fingerprint", "This file can't be told from others. Reload the page, then try again.")
        uploads = self._ports.database.uploads
        with self._locks.hold(f"begin {user_id}"):  # two tabs that choose the same file at once bring it once
            if fingerprint and (found := uploads.find_open(user_id, fingerprint=fingerprint, size_bytes=size_bytes)):
                uploads.set_options(user_id, found.id, options)
                return self.get(user_id, found.id)
            require_fit(
                name, size_bytes, self.get_limits(user_id), self._ports.database.uploads.list_open(user_id)
            )  # fmt: skip
            upload = uploads.create(
                user_id, name=name, size_bytes=size_bytes, fingerprint=fingerprint, options=dict(options)
            )  # fmt: skip
        with about(user_id=user_id, upload_id=upload.id):
            logger.info("an upload of %d bytes begins", size_bytes)
        return self._arrivals.begin(upload)

    def get(self, user_id: str, upload_id: str) -> UploadProgress:
        """Return how far an upload is. Raises `NotFound`."""
        return self._arrivals.measure(self._find(user_id, upload_id))

    def list_open(self, user_id: str) -> list[UploadProgress]:
        """Return the unfinished uploads, newest first, as far as they were a moment ago."""
        return [self._arrivals.glance(upload) for upload in self._ports.database.uploads.list_open(user_id)]

    def append(self, user_id: str, upload_id: str, *, offset: int, data: bytes) -> int:
        """Add bytes and return how many are there now. Raises `Conflict` when ``offset`` is not the end, `Refused`
        past the announced size, `StorageError` when the disk is full, `AuthError` once the account is disabled."""
        upload = self._find_receiving(user_id, upload_id)
        end = offset + len(data)
        if end > upload.size_bytes:
            raise Refused(
                "too_long_body",
                "More arrived than the file was said to have. It has changed meanwhile: choose it again.",
                status=413,
            )
        free = self._ports.files.free_bytes()
        if free is not None and free < LAST_RESERVE_BYTES + len(data):
            raise StorageError(
                "disk_full", "The disk of this machine is full. Ask the administrator to make room, then go on."
            )
        self._ports.files.append(_key(upload), offset, data)
        self._touch(upload)
        return end

    def open_part(self, user_id: str, upload_id: str, number: int) -> PartAddress:
        """Return where to send one part of a file that goes straight to a store elsewhere; ``number`` is from 1.

        Raises `NotFound` where there is no such part, `Conflict` when nothing is missing any more, `StorageError`,
        `AuthError` once the account is disabled.
        """
        with self._locks.hold(f"create {upload_id}"):  # nothing is opened for what is cancelled this moment
            upload = self._find_receiving(user_id, upload_id)
            plan = self._arrivals.plan(upload)
            if plan is None:
                raise NotFound
            size = plan.measure(number)
            url = self._ports.files.sign_part(_key(upload), number, size, expires_s=ADDRESS_S)
        self._touch(upload)
        return PartAddress(url=url, size_bytes=size)

    def complete(self, user_id: str, upload_id: str) -> Upload:
        """Check the received file and make the video and its job; return the upload with its ids.

        Idempotent, also side by side, and good for going on where a process died in the middle of it. Raises `Refused`
        with the pipeline's sentence (then nothing of it is left but the upload's row with that sentence),
        `QuotaExceeded`, `Conflict` while bytes are missing.
        """
        with about(user_id=user_id, upload_id=upload_id), self._locks.hold(f"check {upload_id}"):
            upload = self._find(user_id, upload_id)
            if upload.state is UploadState.DONE:
                return upload
            if upload.state is UploadState.REFUSED:
                raise Refused(upload.error_code, upload.error_message)
            progress = self._arrivals.measure(upload)
            if progress.is_other:
                return self._refuse(upload, _changed())
            if not progress.is_whole:
                raise _incomplete()
            return self._check_and_create(upload)

    def complete_received(self) -> int:
        """Complete everybody's uploads whose last byte is here but whose page is gone; return how many became videos.

        Whatever goes wrong with one is logged, and its row tells the person.
        """
        done, now = 0, self._ports.now()
        unfinished = self._ports.database.uploads.list_unfinished()
        self._arrivals.forget_others(unfinished)
        for upload in unfinished:
            alone = now - upload.updated_at
            if alone < (DEAD_CHECK if upload.state is UploadState.CHECKING else LEFT_ALONE):
                continue
            owner = self._ports.database.users.get(upload.user_id)
            if owner is None or not owner.is_active:
                continue
            try:
                if self._arrivals.is_left_whole(upload, alone):
                    self.complete(upload.user_id, upload.id)
                    done += 1
            except JobError as error:
                with about(user_id=upload.user_id, upload_id=upload.id):
                    logger.info("an upload that was left alone became no video: %s", error.message)
        return done

    def set_options(self, user_id: str, upload_id: str, options: Json) -> None:
        """Change how a video that still arrives is to come back. Raises `NotFound`, `Refused`, `Conflict`."""
        read_options(options, self._machine_options)
        upload = self._find(user_id, upload_id)
        if upload.state not in (UploadState.RECEIVING, UploadState.CHECKING):
            _require_receiving(upload)
        self._ports.database.uploads.set_options(user_id, upload_id, options)

    def cancel(self, user_id: str, upload_id: str) -> None:
        """Forget an unfinished upload and its bytes. Raises `NotFound`."""
        with self._locks.hold(f"create {upload_id}"):  # a check that runs need not end first: it finds no row
            upload = self._find(user_id, upload_id)
            if upload.state is UploadState.DONE:
                raise Conflict("This upload is a video already. Delete the video instead.")
            self._ports.database.uploads.delete(user_id, upload_id)
            self._discard(upload)

    def _find(self, user_id: str, upload_id: str) -> Upload:
        upload = self._ports.database.uploads.get(user_id, upload_id)
        if upload is None:
            raise NotFound
        return upload

    def _find_receiving(self, user_id: str, upload_id: str) -> Upload:
        """Return an upload that still takes bytes, of somebody who may still send them."""
        upload = self._find(user_id, upload_id)
        if not find_user(self._ports, user_id).is_active:  # a request may last longer than the right to make it
            raise AuthError
        _require_receiving(upload)
        return upload

    def _touch(self, upload: Upload) -> None:
        """Write down, now and then, that an upload goes on."""
        if self._ports.now() - upload.updated_at > timedelta(seconds=BEAT_S):
            self._ports.database.uploads.touch(upload.user_id, upload.id)

    def _discard(self, upload: Upload) -> None:
        """Remove what is here of an upload."""
        self._ports.files.discard_upload(_key(upload))
        self._ports.files.delete([_key(upload)])

    # --- before the first byte ---

    def _free_bytes(self) -> int | None:
        free = self._ports.files.free_bytes()
        if free is None:
            return None
        coming = sum(
            upload.size_bytes - self._arrivals.measure(upload).received
            for upload in self._ports.database.uploads.list_unfinished()
        )
        return max(0, free - coming - RESERVE_BYTES) // ROOM_FACTOR

    # --- after the last byte ---

    def _check_and_create(self, upload: Upload) -> Upload:
        self._set_state(upload, UploadState.CHECKING)
        try:
            with self._beating(upload):
                facts = self._probe(upload)
                with self._locks.hold(f"create {upload.id}"):
                    done = self._create(upload, facts)
        except (Refused, QuotaExceeded) as error:
            return self._refuse(upload, error)
        except NotFound:
            current = self._ports.database.uploads.get(upload.user_id, upload.id)
            if current is None:  # cancelled, or its person is gone: nobody would ever ask for the file
                self._discard(upload)
                raise
            if current.state is UploadState.REFUSED:  # by another process, which was faster
                raise Refused(current.error_code, current.error_message) from None
            self._step_back(upload)
            raise _incomplete() from None
        except BaseException:
            self._step_back(upload)
            raise
        return done

    def _refuse(self, upload: Upload, error: Refused | QuotaExceeded) -> Upload:
        """Write down why a file is refused, remove it, and raise ``error``; return the upload if it is a video."""
        if not self._set_state(upload, UploadState.REFUSED, error):
            current = self._find(upload.user_id, upload.id)
            if current.state is UploadState.DONE:  # another process was faster
                return current
        logger.info("refused: %s (%s) %s", error.message, error.code, error.detail)
        self._discard(upload)
        raise error

    def _probe(self, upload: Upload) -> VideoFacts:
        if self._arrivals.plan(upload) is not None:
            return self._probe_elsewhere(upload)
        path = self._path_of(upload)
        try:
            return self._ports.prober.probe(path)
        except StorageError:
            if (moved := self._path_of(upload)) == path:
                raise
            return self._ports.prober.probe(moved)  # another process was faster and has put it into its place

    def _probe_elsewhere(self, upload: Upload) -> VideoFacts:
        """Put the parts together, for only then they can be read, and look at the file."""
        self._ports.files.finish_upload(_key(upload))
        remote = self._ports.files.open_remote(_key(upload))
        if remote is None:
            raise StorageError("files", _LATER)
        if remote.size_bytes != upload.size_bytes:
            raise _changed()
        return self._ports.prober.probe(remote)

    def _path_of(self, upload: Upload) -> Path:
        files = self._ports.files
        path = files.upload_path(_key(upload)) or files.local_path(_key(upload))
        if path is None:
            raise StorageError("files", _LATER)
        return path

    def _create(self, upload: Upload, facts: VideoFacts) -> Upload:
        """Store the original, then make the rows: dying in between is mended by doing it all again."""
        user = find_user(self._ports, upload.user_id)
        current = self._find(upload.user_id, upload.id)  # its options may have changed until now
        options = read_options(current.options, self._machine_options)
        self._ports.files.finish_upload(_key(upload))
        video, job = self._ports.database.videos.create_with_job(
            current,
            title=make_title(current.name),
            facts=facts,
            options=current.options,
            charge=make_charge(facts.sha256, options, limit_ms=limit_ms_of(user, self._limits)),
            limit_bytes=limit_bytes_of(user, self._limits),
        )  # fmt: skip
        with about(video_id=video.id, job_id=job.id):
            logger.info("a video of %d s is here", facts.duration_ms // 1000)
            try:
                self._ports.queue.enqueue(job.id, job.attempt, timeout_s=timeout_s_of(facts.duration_ms))
            except DomainError as error:
                logger.warning("the queue does not answer; recovery hands the job over: %s", error.detail)
        return self._find(upload.user_id, upload.id)

    def _set_state(self, upload: Upload, state: UploadState, error: JobError | None = None) -> bool:
        code, message = (error.code, error.message) if error else ("", "")
        return self._ports.database.uploads.set_state(
            upload.user_id, upload.id, state, error_code=code, error_message=message
        )

    def _step_back(self, upload: Upload) -> None:
        """Say that the file waits to be checked again, unless its row has come to an end."""
        try:
            self._set_state(upload, UploadState.RECEIVING)
        except DomainError:  # the first failure is what is told; a check that died can be done again
            logger.warning("the row still says that the file is checked", exc_info=True)

    @contextmanager
    def _beating(self, upload: Upload) -> Iterator[None]:
        """Touch the row now and then while the file is checked."""
        stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(BEAT_S):
                try:
                    self._ports.database.uploads.touch(upload.user_id, upload.id)
                except DomainError:
                    logger.debug("a beat was lost", exc_info=True)

        thread = threading.Thread(target=beat, name="upload-check", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def _key(upload: Upload) -> str:
    return original_key(upload.user_id, upload.video_id)


def _incomplete() -> Conflict:
    return Conflict("The file has not arrived completely. Go on with the upload.", code="incomplete")


def _changed() -> Refused:
    return Refused("changed", "The file has changed while it was uploaded. Choose it again.")


def _require_receiving(upload: Upload) -> None:
    if upload.state is UploadState.REFUSED:
        raise Refused(upload.error_code, upload.error_message)
    if upload.state is not UploadState.RECEIVING:
        raise Conflict("This upload has all it needs.", code="not_receiving")
