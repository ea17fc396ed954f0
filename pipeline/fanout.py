"""One long video made by many machines: decided on by one, its picture made in parts by several, joined by one.

The steps, each a function of files and small values that travel as JSON:

1. `plan_speech`, `shares.transcribe_share` on each machine, `shares.merge_shares`: what is said.
2. `plan_result`, with the merged transcript in its workdir: cuts, captions, and which part keeps what.
3. `chunks.render_chunk` on each machine: the picture of one part.
4. `join_chunks`: the nine files, as `run.run_pipeline` makes them on one machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.burn import RTL_LANGUAGES
from pipeline.chunks import LEAST_S, Chunk, parse_chunk, plan_chunks
from pipeline.errors import SourceGone
from pipeline.join import join_video
from pipeline.models import Cue, Note, PipelineResult, RunContext, Transcript, Word
from pipeline.options import PipelineOptions
from pipeline.render import RenderPlan
from pipeline.report import CutSummary, StageTime
from pipeline.run import Edit, VideoProcessor
from pipeline.shares import LEAST_WINDOWS, WindowShare, cut_sound, plan_shares
from pipeline.timeline import parse_timeline
from pipeline.weights import find_weights

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is decided about a result, and who makes what of its picture."""

    edit: Edit
    chunks: tuple[Chunk, ...]
    notes: tuple[Note, ...]
    stages: tuple[StageTime, ...]
    """What deciding took."""

    def to_json(self) -> dict[str, object]:
        """Return the plan as a value for JSON: a megabyte for ten thousand words, so a file rather than a column."""
        edit = self.edit
        return {
            "version": PLAN_VERSION,
            "timeline": edit.timeline.to_json(""),
            "cuts": asdict(edit.cuts),
            "transcript": {
                **asdict(edit.transcript),
                "words": [[word.start_ms, word.end_ms, word.text, word.probability] for word in edit.transcript.words],
            },
            "cues": [[cue.start_ms, cue.end_ms, list(cue.lines)] for cue in edit.cues],
            "chunks": [chunk.to_json() for chunk in self.chunks],
            "notes": [asdict(note) for note in self.notes],
            "stages": [asdict(stage) for stage in self.stages],
        }


def parse_plan(document: Mapping[str, object]) -> Plan:
    """Return the plan that `Plan.to_json` wrote. Raises `ValueError` for anything else."""
    match document:
        case {
            "version": 1, "timeline": str(timeline), "cuts": dict(cuts), "transcript": dict(transcript),
            "cues": list(cues), "chunks": list(chunks), "notes": list(notes), "stages": list(stages),
        }:  # fmt: skip
            pass
        case _:
            raise ValueError(f"no plan of version {PLAN_VERSION}: {sorted(document)}")
    parsed = [parse_chunk(chunk) for chunk in chunks]
    try:
        margin = cuts["margin_ms"]
        words = tuple(
            Word(start_ms=int(start), end_ms=int(end), text=str(text), probability=float(probability))
            for start, end, text, probability in transcript["words"]
        )
        return Plan(
            edit=Edit(
                timeline=parse_timeline(timeline, default_timebase=parsed[0].timeline.timebase),
                cuts=CutSummary(**{**cuts, "margin_ms": None if margin is None else tuple(margin)}),
                transcript=Transcript(**{**transcript, "words": words}),
                cues=tuple(Cue(start_ms=int(start), end_ms=int(end), lines=tuple(lines)) for start, end, lines in cues),
            ),
            chunks=tuple(parsed),
            notes=tuple(Note(**note) for note in notes),
            stages=tuple(StageTime(**stage) for stage in stages),
        )
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"a plan that can't be read: {error!r}") from error


def plan_speech(
    source: Path, options: PipelineOptions, ctx: RunContext, *, parts: int, least: int = LEAST_WINDOWS
) -> tuple[tuple[WindowShare, Path], ...]:
    """Return the transcription of ``source`` in at most ``parts`` shares, each with its sound in ``ctx.workdir``.

    None when there is nothing to hear, nobody speaks or nobody wants captions. Raises what `run.run_pipeline` raises.
    """
    processor = VideoProcessor(source, options, ctx)
    processor.listen()
    sound = processor.sound
    if sound.speech is None or not options.transcribes:
        return ()
    shares = plan_shares(
        sound.speech,
        sound.speech_samples,
        parts,
        weights=find_weights(options.model, options.model_dir),
        options=options,
        ctx=ctx,
        least=least,
    )
    return tuple(
        (share, cut_sound(sound.speech, share, ctx.workdir / f"share{number}.s16"))
        for number, share in enumerate(shares)
    )


def plan_result(
    source: Path, options: PipelineOptions, ctx: RunContext, *, parts: int, least_s: float = LEAST_S
) -> Plan:
    """Decide on the result of ``source`` as a run on one machine would, and share its picture out in ``parts``.

    What `shares.merge_shares` wrote into ``ctx.workdir`` is not transcribed again. There are fewer chunks than that
    where the cuts or ``least_s`` (see `chunks.plan_chunks`) do not allow more. Raises what `run.run_pipeline` raises.
    """
    processor = VideoProcessor(source, options, ctx)
    edit = processor.decide()
    processor.draw_captions(edit.transcript, edit.cues)  # for its note only: each part draws its own
    chunks = plan_chunks(
        edit.timeline,
        parts,
        probe=processor.source_probe,
        cues=edit.cues,
        style=processor.burned_style,
        rtl=edit.transcript.language in RTL_LANGUAGES,
        least_s=least_s,
    )
    return Plan(edit=edit, chunks=chunks, notes=tuple(processor.notes), stages=tuple(processor.stages))


def join_chunks(
    source: Path, options: PipelineOptions, plan: Plan, parts: Sequence[Path], ctx: RunContext
) -> PipelineResult:
    """Return the finished result inside ``ctx.workdir``: ``parts`` are the pictures of the plan's chunks, in order.

    The sound is decoded and encoded here, once and whole; poster, checks, texts and report are those of a run on one
    machine. Raises what `run.run_pipeline` raises, `SourceGone` when ``source`` is not what was planned with, and
    `ToolFailed` when the parts do not fit together.
    """
    return _Joiner(source, options, plan, parts, ctx).run()


class _Joiner(VideoProcessor):
    """A run whose decisions are made and whose picture is there in parts."""

    def __init__(
        self, source: Path, options: PipelineOptions, plan: Plan, parts: Sequence[Path], ctx: RunContext
    ) -> None:
        super().__init__(source, options, ctx)
        self._plan, self._parts = plan, parts
        if any(chunk.video != self.source_probe.video for chunk in plan.chunks):
            raise SourceGone(detail=f"{source.name} is not the video that was planned with")

    def run(self) -> PipelineResult:
        """Hear the sound, join the parts, and return the finished files."""
        self.listen()
        self.notes = list(self._plan.notes)
        here = {stage.name for stage in self.stages}
        self.stages += [stage for stage in self._plan.stages if stage.name not in here]
        return self.finish(self._plan.edit)

    def draw_captions(self, transcript: Transcript, cues: Sequence[Cue]) -> str | None:  # noqa: ARG002 - as a run's
        """Return nothing: the parts have them in their pictures."""
        return None

    def make_video(self, plan: RenderPlan, target: Path) -> None:
        """Put the parts together."""
        frames = [chunk.frames for chunk in self._plan.chunks]
        join_video(plan, self._parts, frames, target, ffmpeg_binary=self.ffmpeg, ctx=self.ctx)
