"""Rows and files side by side, video by video: what looks after both stores reads them through here.

Both come in the same order, so one is merged with the other and neither is ever held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from jobs.models import JobStatus, ProcessingJob, StoredFile, Video
from jobs.ports import NIL, Ports
from jobs.storage import ORIGINALS_PREFIX, parse_key, result_key, user_prefix, video_prefix
from pipeline.models import RESULT_FILES

SETTLED = timedelta(hours=1)
"""Younger files may belong to what is just being written, so nothing is concluded from them."""
ROWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What there is of one video; without a row where only files are, without files where only the row is."""

    user_id: str
    """Empty, as is the video's, for a file whose key is none of ours."""
    video_id: str
    files: tuple[StoredFile, ...]
    video: Video | None
    jobs: tuple[ProcessingJob, ...]


def list_shelves(ports: Ports, *, user_id: str = "") -> Iterator[Shelf]:
    """Yield everybody's shelves, or one person's, in the order of their keys.

    The two stores change meanwhile: whoever finds something odd looks again (`read_shelf`) before believing it.
    """
    prefix = user_prefix(user_id) if user_id else ORIGINALS_PREFIX
    rows = list_rows(ports, user_id=user_id)
    row = next(rows, None)
    for ids, group in groupby(ports.files.list_files(prefix), key=lambda file: parse_key(file.key)):
        files = tuple(group)
        if ids is None:
            yield Shelf(user_id="", video_id="", files=files, video=None, jobs=())
            continue
        while row is not None and _ids_of(row[0]) < ids:
            yield _put_up(row, ())
            row = next(rows, None)
        if row is not None and _ids_of(row[0]) == ids:
            yield _put_up(row, files)
            row = next(rows, None)
        else:
            yield Shelf(user_id=ids[0], video_id=ids[1], files=files, video=None, jobs=())
    while row is not None:
        yield _put_up(row, ())
        row = next(rows, None)


def read_shelf(ports: Ports, user_id: str, video_id: str) -> Shelf:
    """Return what there is of a video now: the files first, so that the rows already know them."""
    files = tuple(ports.files.list_files(video_prefix(user_id, video_id)))
    video = ports.database.videos.get(user_id, video_id)
    jobs = ports.database.jobs.list_of_video(user_id, video_id) if video else ()
    return Shelf(user_id=user_id, video_id=video_id, files=files, video=video, jobs=tuple(jobs))


def list_arriving(ports: Ports) -> frozenset[str]:
    """Return the ids of the videos whose originals are on their way in."""
    return frozenset(upload.video_id for upload in ports.database.uploads.list_unfinished())


def list_rows(ports: Ports, *, user_id: str = "") -> Iterator[tuple[Video, Sequence[ProcessingJob]]]:
    """Yield everybody's videos, or one person's, with their jobs, in the order of their keys."""
    after = (user_id or NIL, NIL)
    while page := ports.database.videos.list_with_jobs(after=after, limit=ROWS_AT_ONCE):
        for video, jobs in page:
            if user_id and video.user_id != user_id:
                return
            yield video, jobs
        after = _ids_of(page[-1][0])


def list_results(
    ids: tuple[str, str, str], status: object, stored_attempt: object, result: object
) -> Mapping[str, int]:
    """Return the keys of the files that a job counts on, with their sizes in bytes; ``ids`` as in `result_key`.

    The other values are those of its row, whichever way that was read.
    """
    match status, stored_attempt, result:
        case JobStatus.SUCCEEDED, int(attempt), {"files": {**sizes}} if attempt > 0:
            return {
                result_key(*ids, attempt, name): size
                for name, size in sizes.items()
                if name in RESULT_FILES and isinstance(size, int)
            }
    return {}


def split_result_key(key: str) -> tuple[str, str] | None:
    """Return the job's id and the attempt in the key of a result; None for any other key."""
    match key.split("/")[4:]:
        case ["job", job_id, attempt, _]:
            return job_id, attempt
    return None


def is_transcript(key: str) -> bool:
    """Tell whether a key is that of a transcript, which is kept for later versions and counts for nobody's quota."""
    return key.split("/")[4:5] == ["transcript"]


def _ids_of(video: Video) -> tuple[str, str]:
    return video.user_id, video.id


def _put_up(row: tuple[Video, Sequence[ProcessingJob]], files: tuple[StoredFile, ...]) -> Shelf:
    video, jobs = row
    return Shelf(user_id=video.user_id, video_id=video.id, files=files, video=video, jobs=tuple(jobs))
