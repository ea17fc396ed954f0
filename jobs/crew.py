"""A long video made by several workers: who has the job offers parts of it, makes parts too, and puts all together.

It never waits for somebody who does not come. A part that nobody has begun is taken back out of the queue, one whose
maker is lost is made once more, and without a queue or helpers everything is made here.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from jobs.errors import DomainError, StoreUnavailable
from jobs.machine import Machine
from jobs.models import ProcessingJob, Video
from jobs.parts import Part, describe_part, is_whole, make_part
from jobs.ports import Ports
from jobs.quota import timeout_s_of
from jobs.storage import is_part, job_prefix, part_key
from pipeline.chunks import LEAST_S, Chunk
from pipeline.models import Progress, RunContext, Stage
from pipeline.options import PipelineOptions
from pipeline.shares import LEAST_WINDOWS, WindowShare

logger = logging.getLogger(__name__)

SHARED_FROM_MS = 10 * 60_000
"""Shorter originals are made by one worker: parts cost some seconds each, and other videos may wait."""
LEAST_PARTS = 20
"""Of a step: two or more for each of up to ten workers, so that a slow one holds nobody up for long. One more would
cost a two hundredth of the picture's time."""
PART_MS = 10 * 60_000
"""Of the original: a part of more would keep its maker from other people's videos for long."""
MOST_PARTS = 96
"""Each part of the picture looks at every packet of the source first."""
ALIVE_S = 30.0
"""A worker that was not seen for so long is no helper."""
POLL_S = 1.0
LOST_S = 5.0
"""A part that nobody seems to have for so long is made here. Between the queue and its maker it is nowhere for a
moment."""


def choose_parts(duration_ms: int) -> int:
    """Return in how many parts a step of an original is shared out, whoever is there: another attempt at the job, with
    other workers, then finds parts that were made before. Pure."""
    return min(MOST_PARTS, max(LEAST_PARTS, ceil(duration_ms / PART_MS)))


class RqCrew:
    """The workers that are there, as the `pipeline.fanout.Crew` of one job."""

    least_windows: int = LEAST_WINDOWS
    least_s: float = LEAST_S

    def __init__(
        self,
        machine: Machine,
        ports: Ports,
        job: ProcessingJob,
        video: Video,
        source: Path,
        options: PipelineOptions,
        ctx: RunContext,
    ) -> None:
        self._machine, self._ports, self._job, self._video = machine, ports, job, video
        self._source, self._options, self._ctx = source, options, ctx

    def count_parts(self) -> int:
        """Return in how many parts to share a step out now; 1 with neither other workers nor parts from before.

        Those that are busy count: some of them may be free before the end.
        """
        try:
            alive = self._ports.database.workers.list_alive(within_s=ALIVE_S)
        except StoreUnavailable:
            return 1
        has_others = any(worker.id != self._machine.worker_id for worker in alive)
        is_shared = has_others or (self._job.attempt > 1 and any(map(is_part, self.list_stored().values())))
        return choose_parts(self._video.facts.duration_ms) if is_shared else 1

    def write_down(self, shares: Sequence[tuple[WindowShare, Path]]) -> Sequence[Path]:
        """Return for each share, whose sound lies beside it, the checkpoint file that it came to."""
        parts = [describe_part(share, self._options) for share, _ in shares]
        sounds = {part.name: sound for part, (_, sound) in zip(parts, shares, strict=True)}
        return _Round(self, Stage.TRANSCRIBE, parts, sounds).run()

    def render(self, chunks: Sequence[Chunk]) -> Sequence[Path]:
        """Return the picture of each chunk."""
        return _Round(self, Stage.RENDER, [describe_part(chunk, self._options) for chunk in chunks], {}).run()

    # --- what a round needs ---

    def check_cancelled(self) -> None:
        """Raise `PipelineCancelled` when somebody wants the job to stop."""
        self._ctx.check_cancelled()

    def report(self, stage: Stage, fraction: float) -> None:
        """Tell how far a step is."""
        self._ctx.report(stage, fraction)

    def folder_of(self, part: Part) -> Path:
        """Return where everything of a part lies on this machine."""
        folder = self._ctx.workdir / "parts" / part.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def offer(self, part: Part, sound: Path | None) -> None:
        """Put what a part is into the store, and its id into the queue. Raises `StorageError`, `StoreUnavailable`."""
        spec = self.folder_of(part) / "spec"
        spec.write_bytes(part.to_bytes())
        if sound is not None and part.sound_name is not None:
            copy = self.folder_of(part) / "offered"  # a store may move what it is given
            shutil.copyfile(sound, copy)
            self._ports.files.put(self._key(part.sound_name), copy)
        self._ports.files.put(self._key(part.spec_name), spec)
        timeout_s = timeout_s_of(self._video.facts.duration_ms)
        self._ports.parts.offer(self._job.id, self._job.attempt, part.name, timeout_s=timeout_s)

    def take_back(self, part: Part) -> bool:
        """Take a part out of the queue; True too where the queue is away: made twice is better than not at all."""
        try:
            return self._ports.parts.take_back(self._job.id, self._job.attempt, part.name)
        except StoreUnavailable:
            return True

    def is_alive(self, part: Part) -> bool:
        """Tell whether somebody has a part."""
        try:
            return self._ports.parts.is_alive(self._job.id, self._job.attempt, part.name)
        except StoreUnavailable:
            return False

    def list_stored(self) -> Mapping[str, str]:
        """Return the keys of what any attempt at the job has stored, by file name; none when there is no answer."""
        prefix = job_prefix(self._job.user_id, self._video.id, self._job.id)
        try:
            return {file.key.rpartition("/")[2]: file.key for file in self._ports.files.list_files(prefix)}
        except DomainError as error:
            logger.warning("no parts can be seen: %s", error.detail)
            return {}

    def fetch(self, part: Part, key: str) -> Path | None:
        """Return what somebody else made of a part; None when it can't be had, or is not whole."""
        try:
            path = self._ports.files.fetch(
                key, self.folder_of(part) / part.result_name, should_cancel=self._ctx.should_cancel
            )
        except DomainError as error:
            logger.warning("a part can't be fetched: %s", error.detail)
            return None
        self.check_cancelled()
        return path if is_whole(part, path) else None

    def make(self, part: Part, sound: Path | None, ctx: RunContext) -> Path:
        """Make a part here. Raises what `run.run_pipeline` raises."""
        made = make_part(part, self._options, ctx, lambda: sound or self._source)
        if isinstance(part.work, WindowShare):
            self._keep(part, made)
        return made

    def own_context(self, part: Part, stage: Stage, begin: float, share: float) -> RunContext:
        """Return the context of a part that is made here: ``share`` of its step, which is as far as ``begin``."""

        def follow(progress: Progress) -> None:
            self.report(stage, begin + share * progress.fraction)

        return RunContext(workdir=self.folder_of(part), on_progress=follow, should_cancel=self._ctx.should_cancel)

    def _keep(self, part: Part, made: Path) -> None:
        """Store what was written down here, for the next attempt should this one be killed."""
        copy = self.folder_of(part) / "kept"
        try:
            shutil.copyfile(made, copy)
            self._ports.files.put(self._key(part.result_name), copy)
        except (DomainError, OSError) as error:
            logger.warning("a part of the transcript is not kept: %s", error)

    def _key(self, name: str) -> str:
        job = self._job
        return part_key(job.user_id, self._video.id, job.id, job.attempt, name)


class _Round:
    """One step of a job that is shared out, from the first offer to the last part."""

    def __init__(self, crew: RqCrew, stage: Stage, parts: Sequence[Part], sounds: Mapping[str, Path]) -> None:
        self._crew, self._stage, self._parts, self._sounds = crew, stage, parts, sounds
        self._made: dict[str, Path] = {}
        self._in_line: list[Part] = []
        """Offered, and begun by nobody as far as we know."""
        self._away: list[Part] = []
        """Begun by others."""
        self._here: list[Part] = []
        """Ours to make."""
        self._missed: dict[str, float] = {}
        """Since when nobody has a part that was begun."""

    def run(self) -> list[Path]:
        """Return what each part came to. Raises what `run.run_pipeline` raises."""
        self._take_over()
        before, ours = len(self._made), 0
        try:
            self._offer()
            while len(self._made) < len(self._parts):
                self._crew.check_cancelled()
                self._collect()
                self._crew.report(self._stage, self._fraction())
                part = self._pick()
                if part is not None:
                    self._make(part)
                    ours += 1
                elif len(self._made) < len(self._parts):
                    time.sleep(POLL_S)
        finally:
            for part in self._in_line:
                self._crew.take_back(part)
        others = len(self._parts) - before - ours
        logger.info("%s: %d parts made here, %d by others, %d before", self._stage.value, ours, others, before)
        return [self._made[part.name] for part in self._parts]

    def _take_over(self) -> None:
        """Take what an attempt that was killed has left in the store."""
        stored = self._crew.list_stored()
        for part in self._parts:
            self._take(part, stored)

    def _offer(self) -> None:
        """Hand the parts that are left to the workers, as far as store and queue take them."""
        left = [part for part in self._parts if part.name not in self._made]
        for number, part in enumerate(left):
            self._crew.check_cancelled()
            try:
                self._crew.offer(part, self._sounds.get(part.name))
            except DomainError as error:
                logger.warning("no more parts can be offered: %s %s", error.message, error.detail)
                self._here = left[number:]
                return
            self._in_line.append(part)

    def _collect(self) -> None:
        """Take in what others have made."""
        stored = self._crew.list_stored() if self._in_line or self._away else {}
        for parts in (self._in_line, self._away):
            parts[:] = [part for part in parts if not self._take(part, stored)]

    def _take(self, part: Part, stored: Mapping[str, str]) -> bool:
        key = stored.get(part.result_name)
        path = None if key is None else self._crew.fetch(part, key)
        if path is not None:
            self._made[part.name] = path
        return path is not None

    def _pick(self) -> Part | None:
        """Return a part to make here: one that is ours, the last one in line, or one whose maker is lost."""
        if self._here:
            return self._here.pop()
        while self._in_line:
            part = self._in_line.pop()  # the others begin at the head
            if self._crew.take_back(part):
                return part
            self._away.append(part)
        now = time.monotonic()
        for part in self._away:
            if self._crew.is_alive(part):
                self._missed.pop(part.name, None)
            elif now - self._missed.setdefault(part.name, now) > LOST_S:
                logger.warning("nobody has part %s any more, so it is made here", part.name[:14])
                self._away.remove(part)
                return part
        return None

    def _make(self, part: Part) -> None:
        logger.info("part %s is made here", part.name[:14])
        total = sum(each.weight for each in self._parts)
        ctx = self._crew.own_context(part, self._stage, self._fraction(), part.weight / total)
        self._made[part.name] = self._crew.make(part, self._sounds.get(part.name), ctx)

    def _fraction(self) -> float:
        done = sum(part.weight for part in self._parts if part.name in self._made)
        return done / sum(part.weight for part in self._parts)
