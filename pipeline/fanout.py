"""One long video made by many machines: decided on by one, its words and its picture made in parts by several.

The steps, each a function of files and small values that travel as JSON:

1. `shares.plan_shares`, `shares.transcribe_share` on each machine, `shares.merge_shares`: what is said.
2. Cuts and captions, as on one machine.
3. `chunks.plan_chunks`, `chunks.render_chunk` on each machine: the picture of each part.
4. `join.join_video`: the picture of all parts, and the sound, which is decoded and encoded once and whole.

Who offers parts to whom, and what happens when somebody does not bring one, is the crew's to know.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.burn import RTL_LANGUAGES
from pipeline.chunks import Chunk, plan_chunks
from pipeline.join import PartsMisfit, join_video
from pipeline.models import Cue, PipelineResult, RunContext, Transcript
from pipeline.options import PipelineOptions, VideoEncoder
from pipeline.render import RenderPlan
from pipeline.run import VideoProcessor
from pipeline.shares import WindowShare, cut_sound, merge_shares, plan_shares
from pipeline.timeline import Timeline
from pipeline.transcribe import CHECKPOINT_FILE

logger = logging.getLogger(__name__)


class Crew(Protocol):
    """The machines that make parts of one video; this one is among them."""

    @property
    def least_windows(self) -> int:
        """Windows of the speech that are worth a part."""

    @property
    def least_s(self) -> float:
        """Seconds of the result that are worth a part of its picture."""

    def count_parts(self) -> int:
        """Return in how many parts a step is worth sharing out just now; 1 where nobody would help."""

    def write_down(self, shares: Sequence[tuple[WindowShare, Path]]) -> Sequence[Path]:
        """Return for each share, whose sound lies beside it, the checkpoint file that it came to."""

    def render(self, chunks: Sequence[Chunk]) -> Sequence[Path]:
        """Return the picture of each chunk."""


def run_shared(source: Path, options: PipelineOptions, ctx: RunContext, crew: Crew) -> PipelineResult:
    """Return what `run.run_pipeline` returns, its words and its picture made by a crew.

    Everything else is done here: both steps are asked for when it is their turn, and put together. A transcription
    that was begun in ``ctx.workdir`` is finished here. Raises what `run.run_pipeline` and the crew raise.
    """
    return _SharedRun(source, options, ctx, crew).run()


class _SharedRun(VideoProcessor):
    """A run that has helpers for its two long steps."""

    def __init__(self, source: Path, options: PipelineOptions, ctx: RunContext, crew: Crew) -> None:
        super().__init__(source, options, ctx)
        self._crew = crew
        self._cues: tuple[Cue, ...] = ()
        self._language = ""

    def transcribe(self, speech: Path, weights: Path) -> Transcript:
        """Have the windows written down, and take what came of it for what was done before."""
        parts = self._crew.count_parts()
        if parts > 1 and not (self.ctx.workdir / CHECKPOINT_FILE).exists():
            shares = plan_shares(
                speech,
                self.sound.speech_samples,
                parts,
                weights=weights,
                options=self.options,
                ctx=self.ctx,
                least=self._crew.least_windows,
            )
            if len(shares) > 1:
                sounds = [
                    cut_sound(speech, each, self.ctx.workdir / f"share{at}.s16") for at, each in enumerate(shares)
                ]
                merge_shares(shares, self._crew.write_down(list(zip(shares, sounds, strict=True))), self.ctx)
        return super().transcribe(speech, weights)

    def render(self, timeline: Timeline, transcript: Transcript, cues: Sequence[Cue]) -> None:
        """Write the video and its poster."""
        self._cues, self._language = tuple(cues), transcript.language
        super().render(timeline, transcript, cues)

    def make_video(self, plan: RenderPlan, target: Path) -> None:
        """Have the picture made in parts, and put them together with the sound of the whole.

        A GPU of this machine's is quicker than parts by others would be.
        """
        parts = self._crew.count_parts() if plan.encoder is VideoEncoder.X264 else 1
        chunks = plan_chunks(
            plan.timeline,
            parts,
            probe=self.source_probe,
            cues=self._cues,
            style=self.burned_style,
            rtl=self._language in RTL_LANGUAGES,
            least_s=self._crew.least_s,
        )
        if len(chunks) > 1:
            pictures = self._crew.render(chunks)
            frames = [chunk.frames for chunk in chunks]
            try:
                join_video(plan, pictures, frames, target, ffmpeg_binary=self.ffmpeg, ctx=self.ctx)
                return
            except PartsMisfit as error:  # another ffmpeg somewhere: better late than never
                logger.warning("the picture is made once more, in one piece: %s", error.detail)
        super().make_video(plan, target)
