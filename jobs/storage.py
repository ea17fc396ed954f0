"""Where files lie: keys, made here and nowhere else, and what is done with a person's files as a whole.

    user/{user_id}/video/{video_id}/original
    …/preview.mp4
    …/transcript/{key}.jsonl
    …/job/{job_id}/{attempt}/{file}
    …/job/{job_id}/{attempt}/{part}.{suffix}    while several machines work on the attempt

Every id is checked before it becomes part of a key, so that no key can name another person's file or leave its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from jobs.errors import NotFound
from jobs.models import StoredFile
from jobs.ports import FileStore, OnProgress, ignore_progress
from pipeline.models import RESULT_FILES
from pipeline.options import PipelineOptions

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_HASH = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"(?:speech|picture)-[0-9a-f]{64}\.(?:json|s16|jsonl|mp4)")

ORIGINALS_PREFIX = "user/"


def user_prefix(user_id: str) -> str:
    """Return the beginning of every key of a person. Raises `NotFound` for what is no id."""
    return f"user/{_check_id(user_id)}/"


def video_prefix(user_id: str, video_id: str) -> str:
    """Return the beginning of every key of a video."""
    return f"{user_prefix(user_id)}video/{_check_id(video_id)}/"


def original_key(user_id: str, video_id: str) -> str:
    """Return the key of the recording as it was uploaded."""
    return f"{video_prefix(user_id, video_id)}original"


def job_prefix(user_id: str, video_id: str, job_id: str) -> str:
    """Return the beginning of every key of a job's results."""
    return f"{video_prefix(user_id, video_id)}job/{_check_id(job_id)}/"


def result_key(user_id: str, video_id: str, job_id: str, attempt: int, name: str) -> str:
    """Return the key of one of the nine result files."""
    if name not in RESULT_FILES or attempt < 1:
        raise NotFound
    return f"{job_prefix(user_id, video_id, job_id)}{attempt}/{name}"


def part_key(user_id: str, video_id: str, job_id: str, attempt: int, name: str) -> str:
    """Return the key of a file that belongs to a part of an attempt: what it is, its sound, or what it came to."""
    if not _PART.fullmatch(name) or attempt < 1:
        raise NotFound
    return f"{job_prefix(user_id, video_id, job_id)}{attempt}/{name}"


def is_part(key: str) -> bool:
    """Tell whether a key is that of a part's file, which nobody needs once the job is over."""
    return _PART.fullmatch(key.rpartition("/")[2]) is not None


def transcript_key(user_id: str, video_id: str, key: str) -> str:
    """Return the key of a transcript's windows; ``key`` is `hash_transcript`'s."""
    if not _HASH.fullmatch(key):
        raise NotFound
    return f"{video_prefix(user_id, video_id)}transcript/{key}.jsonl"


def hash_transcript(source_sha256: str, options: PipelineOptions) -> str:
    """Return what a transcript depends on, as one SHA-256: the source, engine, model, language and vocabulary.

    It is also what minutes are charged for. Without captions nothing is written down, and that has a key of its own.
    """
    inputs: list[object] = [source_sha256]
    if options.transcribes:
        model = Path(options.model).name  # where the weights lie does not change what they hear
        inputs += [options.speech_engine.value, model, options.language, options.vocabulary]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def parse_key(key: str) -> tuple[str, str] | None:
    """Return the user's and the video's id of a key, None when it is not one of ours."""
    match key.split("/"):
        case ["user", user_id, "video", video_id, _, *_] if _ID.fullmatch(user_id) and _ID.fullmatch(video_id):
            return user_id, video_id
    return None


def _check_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise NotFound
    return value


class StorageManager:
    """A person's files in whatever store there is."""

    def __init__(self, files: FileStore) -> None:
        self.files = files

    def store_results(
        self,
        user_id: str,
        video_id: str,
        job_id: str,
        attempt: int,
        files: Mapping[str, Path],
        *,
        on_progress: OnProgress = ignore_progress,
    ) -> dict[str, int]:
        """Store a finished attempt, its report last, and return the size of each file in bytes."""
        sizes = {name: path.stat().st_size for name, path in files.items()}
        total, done = sum(sizes.values()) or 1, 0

        def follow(fraction: float) -> None:
            on_progress((done + fraction * sizes[name]) / total)

        for name in sorted(files, key=lambda name: name == RESULT_FILES[-1]):
            self.files.put(result_key(user_id, video_id, job_id, attempt, name), files[name], on_progress=follow)
            done += sizes[name]
        return sizes

    def delete_attempts(self, user_id: str, video_id: str, job_id: str, *, but: int = 0) -> int:
        """Delete the files of a job's attempts except the result of attempt ``but``; return how many."""
        prefix = job_prefix(user_id, video_id, job_id)
        kept = f"{prefix}{but}/"
        found = (file.key for file in self.files.list_files(prefix))
        keys = [key for key in found if not key.startswith(kept) or is_part(key)]
        self.files.delete(keys)
        return len(keys)

    def delete_attempt(self, user_id: str, video_id: str, job_id: str, attempt: int, *, with_parts: bool) -> None:
        """Delete the files of one attempt; its parts, which the next one can use, only ``with_parts``."""
        prefix = f"{job_prefix(user_id, video_id, job_id)}{attempt}/"
        self.files.delete([file.key for file in self.files.list_files(prefix) if with_parts or not is_part(file.key)])

    def delete_video(self, user_id: str, video_id: str) -> int:
        """Delete the original and everything made of it; return how many files."""
        return self.files.delete_all(video_prefix(user_id, video_id))

    def delete_user(self, user_id: str) -> int:
        """Delete every file of a person; return how many."""
        return self.files.delete_all(user_prefix(user_id))

    def list_all(self) -> Iterator[StoredFile]:
        """Yield every finished file of everybody."""
        return self.files.list_files(ORIGINALS_PREFIX)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete single files."""
        self.files.delete(keys)
