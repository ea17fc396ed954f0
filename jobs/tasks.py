"""What the process of one job does: claim it, run the pipeline, store what came out, say how it ended.

RQ calls `process_job` in a process forked off a worker. Whatever happens to that process, the jobs table decides: a
run that lost its lease changes nothing any more, and one that was killed begins again with the transcript it had.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.crew import SHARED_FROM_MS, RqCrew
from jobs.errors import DomainError, NotFound, StorageError, StoreUnavailable
from jobs.log import about
from jobs.machine import Machine, installed
from jobs.models import JobStatus, Json, ProcessingJob, Video
from jobs.ports import JobFinish, Ports
from jobs.storage import StorageManager, hash_transcript, original_key, transcript_key
from jobs.watch import LEASE_S, Watch
from jobs.workspace import SIGNATURE_FILE, hold_folder, require_room
from pipeline.errors import PipelineCancelled, PipelineError
from pipeline.fanout import run_shared
from pipeline.models import Progress, RunContext, Stage
from pipeline.options import OptionError
from pipeline.run import run_pipeline
from pipeline.transcribe import CHECKPOINT_FILE

logger = logging.getLogger(__name__)

FINISH_WAITS_S = (0.0, 1.0, 2.0, 5.0, 10.0, *[20.0] * 30)
"""Before each try to write down how a job ended: a database may be away for ten minutes, and no work is lost."""
FETCH_SHARE, STORE_SHARE = 0.08, 0.04
"""Of the whole, where files lie elsewhere: bringing the original, taking the result away."""
STORE_PATIENCE_S, STORE_PAUSE_S = 600.0, 15
"""A result waits so long for a store elsewhere, asked so often; making it again would take longer."""

_MAX_NAME_BYTES = 200
_OURS = "Your original is safe."
_SENTENCES = {
    "disk_full": f"The disk of this machine is full. {_OURS} Tell the administrator, then try again.",
    "files_full": f"The file store is full. {_OURS} Tell the administrator, then try again.",
    "out_unwritable": f"This machine can't write its files. {_OURS} Tell the administrator, then try again.",
    "tool_missing": f"This machine lacks a part it needs. {_OURS} Tell the administrator, then try again.",
    "source_gone": "The original can't be read any more. Upload it again; if it is lost again, tell the administrator.",
}
"""Said instead of the pipeline's sentence where that speaks to whoever runs the machine."""
_FULL = ("disk_full", "files_full")


def process_job(job_id: str) -> None:
    """Make one video, if nobody else does; returns when the job has ended, or is not ours (any more)."""
    machine = installed()
    machine.bind()
    ports = machine.make_ports()
    try:
        with about(job_id=job_id), hold_folder(machine.work_root, job_id) as folder:
            if folder is None:  # the queue said it twice; if it was lost meanwhile, it soon stands in line again
                logger.info("a process of this machine has the job")
                return
            job = ports.database.jobs.claim(job_id, machine.worker_id, lease_s=LEASE_S)
            found = ports.database.jobs.find(job_id)
            if job is not None and found is not None:
                with about(user_id=job.user_id, video_id=job.video_id):
                    JobRun(machine, ports, job, found[1], folder).run()
            elif found is None or found[0].status.is_final or not any(folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
    except (StoreUnavailable, OSError) as error:  # the row still waits, or its lease runs out: recovery sees to both
        logger.warning("job %s can't be worked on now: %s", job_id, error)
    finally:
        ports.database.close()


class JobRun:
    """One attempt at a claimed job."""

    def __init__(self, machine: Machine, ports: Ports, job: ProcessingJob, video: Video, folder: Path) -> None:
        self._machine, self._ports, self._job, self._video, self._folder = machine, ports, job, video, folder
        self._storage = StorageManager(ports.files)
        self._jobs = ports.database.jobs
        self._began = time.monotonic()
        self._original_key = original_key(job.user_id, video.id)
        self._is_far = ports.files.local_path(self._original_key) is None
        self._has_result = False
        self._kept_transcript = ""
        """Key of what this attempt has stored for later ones."""

    def run(self) -> None:
        """Work, and end the job in the table; what the end leaves over is removed."""
        logger.info("attempt %d begins", self._job.attempt)
        with Watch(self._jobs, self._job, self._machine.worker_id) as watch:
            finish = self._decide(watch)
            watch.stand_down()
            if finish is None or finish.status is not JobStatus.SUCCEEDED:
                with suppress(OSError):
                    self._empty_folder()  # now: a disk that is full could not even take down how it ended
            is_over = self._is_gone() if finish is None else self._finish(finish)
        if is_over:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _decide(self, watch: Watch) -> JobFinish | None:
        """Work and return how the job ends; None when that is not ours to say (any more)."""
        try:
            return self._work(watch)
        except PipelineCancelled:
            return None if watch.is_lost else JobFinish(status=JobStatus.CANCELLED)
        except PipelineError as error:
            logger.warning("failed: %s (%s) %s", error.message, error.code, error.detail)
            return _fail(error.code, _SENTENCES.get(error.code, error.message))
        except NotFound:
            logger.warning("failed: the original is not in the store")
            return _fail("source_gone", _SENTENCES["source_gone"])
        except OptionError as error:
            return _fail("bad_options", str(error))
        except (StoreUnavailable, StorageError) as error:
            if error.code in _FULL:  # trying again at once would not help
                logger.warning("failed: %s %s", error.message, error.detail)
                return _fail(error.code, _SENTENCES[error.code])
            logger.warning("store out of reach, to be tried again: %s %s", error.message, error.detail)
            # A store elsewhere is away for as long as it is, which costs nothing until there is a result.
            counts = not self._is_far or self._has_result
            self._jobs.release(self._job.id, self._machine.worker_id, reason="store_unavailable", counts=counts)
            return None
        except Exception as error:  # every job ends with a sentence, whatever happened to it
            logger.exception("failed without a sentence of its own")
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                return _fail("disk_full", _SENTENCES["disk_full"])
            if type(error).__name__ == "JobTimeoutException":  # RQ's, which is none of our business otherwise
                return _fail(
                    "timeout", f"This took far too long and was stopped. {_OURS} Try again, or split the recording."
                )
            short = self._job.id[:4].upper()
            return _fail(
                "internal",
                f"Something broke on our side. {_OURS} Try again; if it fails once more, "
                f"tell the administrator: job {short}.",
            )

    def _work(self, watch: Watch) -> JobFinish:
        job, video = self._job, self._video
        options = self._machine.options_for(job)
        self._empty_folder()
        (self._folder / SIGNATURE_FILE).write_text(self._machine.worker_id, encoding="utf-8")
        source = self._fetch_source(watch)
        transcript = transcript_key(job.user_id, video.id, hash_transcript(video.facts.sha256, options))
        if options.transcribes:
            self._bring_transcript(transcript)

        def follow(progress: Progress) -> None:
            watch.follow(self._place(progress))  # first: what is stored next is no speech that a cancel may cut short
            if progress.stage is Stage.CUT and progress.fraction == 0 and options.transcribes:
                self._keep_transcript(transcript)

        ctx = RunContext(workdir=self._folder, on_progress=follow, should_cancel=watch.should_stop)
        if video.facts.duration_ms >= SHARED_FROM_MS:
            crew = RqCrew(self._machine, self._ports, job, video, source, options, ctx)
            result = run_shared(source, options, ctx, crew)
        else:
            result = run_pipeline(source, options, ctx)
        ctx.check_cancelled()
        self._has_result = True
        ctx.report(Stage.PUBLISH, 0.0)
        sizes = self._store(result.files, ctx)
        ctx.check_cancelled()
        ctx.report(Stage.PUBLISH, 1.0)
        return JobFinish(
            status=JobStatus.SUCCEEDED,
            result=summarise(result.report, sizes, seconds=time.monotonic() - self._began),
            stored_attempt=job.attempt,
        )

    def _empty_folder(self) -> None:
        """Leave only what was written down, and who has the job."""
        for path in self._folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in (CHECKPOINT_FILE, SIGNATURE_FILE):
                path.unlink()

    def _fetch_source(self, watch: Watch) -> Path:
        """Return a path of the original that ends in its owner's name for it, as the report will show it."""

        def follow(fraction: float) -> None:
            watch.follow(Progress(stage=Stage.PROBE, fraction=fraction, overall=FETCH_SHARE * fraction))

        if self._is_far:
            require_room(self._folder, self._video.facts.size_bytes)
        fetched = self._ports.files.fetch(
            self._original_key, self._folder / "original", should_cancel=watch.should_stop, on_progress=follow
        )
        if watch.should_stop():
            raise PipelineCancelled
        named = self._folder / "source" / clean_name(self._video.file_name)
        named.parent.mkdir()
        named.symlink_to(fetched)
        return named

    def _place(self, progress: Progress) -> Progress:
        """Return the progress of the pipeline as a part of the whole, which also has the ways from and to the store."""
        if not self._is_far:
            return progress
        if progress.stage is Stage.PUBLISH:
            return replace(progress, overall=1 - STORE_SHARE * (1 - progress.fraction))
        return replace(progress, overall=FETCH_SHARE + (1 - FETCH_SHARE - STORE_SHARE) * progress.overall)

    def _store(self, files: Mapping[str, Path], ctx: RunContext) -> dict[str, int]:
        """Store the result and return the size of each file; while a store elsewhere is away, wait for it."""

        def follow(fraction: float) -> None:
            ctx.check_cancelled()  # from within a transfer, which ends then
            ctx.report(Stage.PUBLISH, fraction)

        deadline = time.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                return self._storage.store_results(
                    self._job.user_id, self._video.id, self._job.id, self._job.attempt, files, on_progress=follow
                )
            except StorageError as error:
                if not self._is_far or error.code in _FULL or time.monotonic() > deadline:
                    raise
                logger.warning("the result can't be stored yet: %s %s", error.message, error.detail)
            for _ in range(STORE_PAUSE_S):
                ctx.check_cancelled()
                time.sleep(1.0)

    def _bring_transcript(self, key: str) -> None:
        """Begin with what an earlier job of the video has written down, where that is the same."""
        files = self._ports.files
        if files.stat(key) is None:
            return
        fetched = files.fetch(key, self._folder / "transcript.jsonl")
        shutil.copyfile(fetched, self._folder / CHECKPOINT_FILE)  # it is written to, and the stored one must not be

    def _keep_transcript(self, key: str) -> None:
        """Store what was written down, for later jobs of the video and for minutes that are charged once."""
        written, copy = self._folder / CHECKPOINT_FILE, self._folder / "transcript.jsonl"
        try:
            if written.is_file() and self._ports.files.stat(key) is None:
                shutil.copyfile(written, copy)
                self._ports.files.put(key, copy)
                self._kept_transcript = key
        except (StorageError, OSError) as error:
            logger.warning("the transcript is not kept: %s", error)

    def _finish(self, finish: JobFinish) -> bool:
        """End the job in the table, and return whether it is over; then only the files that count remain."""
        for wait_s in FINISH_WAITS_S:
            time.sleep(wait_s)
            try:
                done = self._jobs.finish(self._job.id, self._machine.worker_id, finish)
                break
            except StoreUnavailable as error:
                logger.warning("the end can't be written down yet: %s", error.detail)
        else:
            return False
        if not done:
            return self._is_gone()
        logger.info("%s after %.0f s", finish.status.value, time.monotonic() - self._began)
        try:
            self._storage.delete_attempts(
                self._job.user_id, self._video.id, self._job.id, but=finish.stored_attempt
            )  # fmt: skip
        except StorageError as error:
            logger.warning("files of other attempts are left to the sweep: %s", error.detail)
        return True

    def _is_gone(self) -> bool:
        """Withdraw what this attempt stored, unless it counts after all; return whether the job is over."""
        try:
            found = self._jobs.find(self._job.id)
            is_over = found is None or found[0].status.is_final
            if found is None or found[0].stored_attempt != self._job.attempt:
                self._storage.delete_attempt(
                    self._job.user_id, self._video.id, self._job.id, self._job.attempt, with_parts=is_over
                )
            if found is None and self._kept_transcript:  # the video was deleted meanwhile, with all that was there
                self._ports.files.delete([self._kept_transcript])
        except DomainError as error:
            logger.warning("what this attempt stored is left to the sweep: %s", error.detail)
            return False
        logger.info("the job is not ours any more")
        return is_over


def _fail(code: str, message: str) -> JobFinish:
    return JobFinish(status=JobStatus.FAILED, error_code=code, error_message=message)


def clean_name(name: str) -> str:
    """Return a person's name for a file as the last part of a path: one part, of printable characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char for char in last if char.isprintable()).strip().lstrip(".")
    stem, dot, extension = shown.rpartition(".")
    if dot and len(extension) <= 10:
        room = _MAX_NAME_BYTES - len(extension.encode()) - 1
        shown = stem.encode()[:room].decode(errors="ignore") + dot + extension
    return shown.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "video"


def summarise(report: Mapping[str, Any], sizes: Mapping[str, int], *, seconds: float) -> Json:
    """Return a report as the job's row keeps it (`ProcessingJob.result`)."""
    result, cuts, speech = report["result"], report["cuts"], report["speech"]
    return {
        "duration_ms": result["duration_ms"],
        "source_ms": report["source"]["duration_ms"],
        "size_bytes": result["size_bytes"],
        "width": result["width"],
        "height": result["height"],
        "fps": result["fps"],
        "cuts": cuts["count"],
        "removed_ms": cuts["removed_ms"],
        "words": speech["words"],
        "cues": speech["cues"],
        "language": speech["language"],
        "captions": result["captions"],
        "checks": [{"id": check["id"], "ok": check["ok"], "text": check["text"]} for check in report["qa"]],
        "notes": [{"code": note["code"], "text": note["text"]} for note in report["notes"]],
        "files": dict(sizes),
        "timings": {"seconds": round(seconds, 1), **{stage["name"]: stage["seconds"] for stage in report["stages"]}},
    }
