"""What the process of one part does: make a piece of a video that somebody else has in hand.

RQ calls `process_part` in a process forked off a worker that had nothing else to do. It never touches the job's row:
who has the job hears of the part by the file that it comes to, and makes it itself when there is none.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from jobs.errors import DomainError, NotFound
from jobs.log import about
from jobs.machine import Machine, installed
from jobs.models import ProcessingJob, Video
from jobs.parts import MAX_SPEC_BYTES, Part, make_part, parse_part
from jobs.ports import Ports
from jobs.storage import original_key, part_key
from jobs.watch import PartWatch
from jobs.workspace import hold_folder, name_folder, require_room
from pipeline.errors import PipelineCancelled, PipelineError
from pipeline.models import RunContext

logger = logging.getLogger(__name__)


def process_part(job_id: str, attempt: int, name: str) -> None:
    """Make one part of a video and store it, if it is still wanted; a part that can't be made is left to others."""
    machine = installed()
    machine.bind()
    ports = machine.make_ports()
    try:
        with about(job_id=job_id), hold_folder(machine.work_root, name_folder(job_id, machine.worker_id)) as folder:
            if folder is None:  # who has the job makes the part
                return
            found = ports.database.jobs.find(job_id)
            with PartWatch(ports.database.jobs, job_id, attempt) as watch:
                if found is None or not watch.look():
                    shutil.rmtree(folder, ignore_errors=True)
                    return
                with about(user_id=found[0].user_id, video_id=found[0].video_id):
                    PartRun(machine, ports, *found, folder, watch).run(name)
    except PipelineCancelled:
        logger.info("the part is not wanted any more")
    except (DomainError, PipelineError) as error:
        logger.warning("the part can't be made here: %s %s", error.message, error.detail)
    except Exception:  # whatever happened to it, who has the job makes the part
        logger.exception("the part can't be made here")
    finally:
        ports.database.close()


class PartRun:
    """The making of one part of an attempt at a job."""

    def __init__(
        self, machine: Machine, ports: Ports, job: ProcessingJob, video: Video, folder: Path, watch: PartWatch
    ) -> None:
        self._machine, self._ports, self._job, self._video = machine, ports, job, video
        self._folder, self._watch = folder, watch

    def run(self, name: str) -> None:
        """Make the part and store what it came to, unless that is not wanted any more by then."""
        options = self._machine.options_for(self._job)
        part = self._read(name)
        if not part.fits(options):
            logger.warning("a part of the speech wants %s %s, which is not ours", part.engine, part.model)
            return
        workdir = self._folder / "part"
        shutil.rmtree(workdir, ignore_errors=True)
        workdir.mkdir()
        logger.info("part %s begins", name[:14])
        ctx = RunContext(workdir=workdir, should_cancel=self._watch.should_stop)
        made = make_part(part, options, ctx, lambda: self._bring(part))
        ctx.check_cancelled()
        key = self._key(part.result_name)
        self._ports.files.put(key, made)
        shutil.rmtree(workdir, ignore_errors=True)
        if not self._watch.look():  # its end may have come between, with the removal of all that was there
            self._ports.files.delete([key])
            raise PipelineCancelled
        logger.info("part %s is made", name[:14])

    def _read(self, name: str) -> Part:
        key = self._key(f"{name}.json")
        stored = self._ports.files.stat(key)
        if stored is None or stored.size_bytes > MAX_SPEC_BYTES:
            raise NotFound
        return parse_part(b"".join(self._ports.files.read(key)))

    def _bring(self, part: Part) -> Path:
        """Return the sound of the part; or the source, which stays for the next part of the same job."""
        if part.sound_name is not None:
            return self._fetch(self._key(part.sound_name), self._folder / "part" / "sound")
        source = self._folder / "original"
        if source.is_file():
            return source
        key = original_key(self._job.user_id, self._video.id)
        if self._ports.files.local_path(key) is None:
            require_room(self._folder, self._video.facts.size_bytes)
        fetched = self._fetch(key, self._folder / "original.part")
        return fetched.rename(source) if fetched.parent == self._folder else fetched

    def _fetch(self, key: str, path: Path) -> Path:
        fetched = self._ports.files.fetch(key, path, should_cancel=self._watch.should_stop)
        if self._watch.should_stop():
            raise PipelineCancelled
        return fetched

    def _key(self, name: str) -> str:
        job = self._job
        return part_key(job.user_id, self._video.id, job.id, job.attempt, name)
