"""Who finds the pauses: the real auto-editor where one works, else the built-in detector; words are safe from both."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.audio import Sound
from pipeline.autoeditor import SOUND, AutoEditor, build_command, open_auto_editor, run_auto_editor
from pipeline.cuts import CutRules, Flags, apply_margin, cut_silence, smooth, to_timeline
from pipeline.errors import DiskFull, ToolFailed, ToolMissing, ToolTimeout
from pipeline.levels import Levels
from pipeline.media import writing
from pipeline.models import Note, RunContext, Stage
from pipeline.options import CutEngine, PipelineOptions
from pipeline.timeline import Timeline, round_half_up
from pipeline.wav import write_levels, write_track

logger = logging.getLogger(__name__)

RULES_VERSION = "31.5.1"
"""The auto-editor whose rules the built-in detector follows."""
_FAILURES = (ToolMissing, ToolFailed, ToolTimeout, DiskFull)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A decision, and who made it."""

    timeline: Timeline
    """Of every frame that was listened to, on the grid of the levels; it may keep nothing."""
    engine: CutEngine
    engine_version: str
    note: Note | None = None
    """What the person has to know about the rules it was made by."""


class Cutter(Protocol):
    """Whoever finds the pauses of a sound."""

    def cut(self, sound: Sound, levels: Levels, rules: CutRules, timebase: Fraction, protected: Flags | None) -> Cut:
        """Return the cuts of ``sound``; frames in ``protected`` always play."""


def choose_cutter(options: PipelineOptions, ctx: RunContext) -> Cutter:
    """Return the cut engine for a run.

    By default (``auto``) that is an auto-editor which follows our rules, if one works; there the built-in detector
    steps in for whatever goes wrong. Where the person insists on ``auto-editor``, everything that is wrong with it is
    raised: `ToolMissing`, `ToolFailed` or `ToolTimeout`.
    """
    needed = options.cut and options.timeline is None
    if not needed or options.cut_engine is CutEngine.BUILTIN:
        return BuiltinCutter()
    try:
        tool = open_auto_editor(options.auto_editor, ctx.workdir)
    except _FAILURES as error:
        if options.cut_engine is CutEngine.AUTO_EDITOR:
            raise
        missing = isinstance(error, ToolMissing) and options.auto_editor is None
        logger.log(logging.INFO if missing else logging.WARNING, "the built-in detector cuts: %s", error.message)
        return BuiltinCutter()
    if options.cut_engine is CutEngine.AUTO_EDITOR:
        return AutoEditorCutter(tool, options, ctx)
    if tool.has_own_rules:
        logger.info("the built-in detector cuts: auto-editor %s follows older rules", tool.version)
        return BuiltinCutter()
    return FallbackCutter(AutoEditorCutter(tool, options, ctx))


class BuiltinCutter:
    """The detector of `pipeline.cuts`."""

    def cut(
        self,
        sound: Sound,  # noqa: ARG002 - its levels say it all
        levels: Levels,
        rules: CutRules,
        timebase: Fraction,
        protected: Flags | None,
    ) -> Cut:
        """Return the cuts; nothing can go wrong."""
        timeline = cut_silence(levels, rules, timebase, protected)
        return Cut(timeline=timeline, engine=CutEngine.BUILTIN, engine_version=RULES_VERSION)


class FallbackCutter:
    """auto-editor, and the built-in detector when that fails."""

    def __init__(self, first: AutoEditorCutter) -> None:
        self._first = first

    def cut(self, sound: Sound, levels: Levels, rules: CutRules, timebase: Fraction, protected: Flags | None) -> Cut:
        """Return the cuts; the log says who stepped in."""
        try:
            return self._first.cut(sound, levels, rules, timebase, protected)
        except _FAILURES as error:
            logger.warning("the built-in detector cuts: %s", error.message)
            logger.info("%s", error.detail)
            return BuiltinCutter().cut(sound, levels, rules, timebase, protected)


class AutoEditorCutter:
    """The real auto-editor, listening to the sound as we decoded and aligned it."""

    def __init__(self, tool: AutoEditor, options: PipelineOptions, ctx: RunContext) -> None:
        self._tool = tool
        self._options = options
        self._ctx = ctx

    def cut(self, sound: Sound, levels: Levels, rules: CutRules, timebase: Fraction, protected: Flags | None) -> Cut:
        """Return auto-editor's cuts with the words put back. Raises what `run_auto_editor` raises, and `DiskFull`."""
        kept = self._find_kept(sound, levels, rules, timebase)
        note = None
        if self._tool.has_own_rules:
            rules = replace(rules, min_cut=0)
            note = Note(
                code="cut_rules",
                text=f"auto-editor {self._tool.version} cut by its own rules: before it adds the air it drops sound "
                "under 3 frames and keeps pauses under 6 frames, so the shortest pause of your choice does not count.",
            )
        return Cut(
            timeline=to_timeline(protect(kept, protected, rules), timebase),
            engine=CutEngine.AUTO_EDITOR,
            engine_version=self._tool.version,
            note=note,
        )

    def _find_kept(self, sound: Sound, levels: Levels, rules: CutRules, timebase: Fraction) -> Flags:
        if len(levels) == 0:
            return flags_of(None, 0)
        folder, options = self._ctx.workdir / "auto-editor", self._options
        command = build_command(
            self._tool,
            timebase=timebase,
            threshold=rules.threshold,
            margin_ms=options.effective_margin_ms,
            min_cut_ms=options.min_cut_ms,
        )
        with writing(self._ctx.workdir):
            folder.mkdir()
        try:
            write_sound(sound, levels, timebase, folder / SOUND)
            timeline = run_auto_editor(
                self._tool,
                command,
                folder,
                timebase=timebase,
                frames=len(levels),
                on_progress=lambda share: self._ctx.report(Stage.CUT, share),
                should_cancel=self._ctx.should_cancel,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return flags_of(timeline, len(levels))


def write_sound(sound: Sound, levels: Levels, timebase: Fraction, path: Path) -> None:
    """Write what auto-editor is to listen to, as long as ``levels``.

    One track is written as it is. auto-editor takes the loudest of several in every frame, but a WAV holds one: there
    it gets that loudest level itself.
    """
    if len(sound.tracks) == 1:
        track = sound.tracks[0]
        samples = max(track.samples, round_half_up(len(levels) * track.rate / timebase))
        write_track(track, path, samples)
    else:
        logger.info("auto-editor gets the levels of %d tracks as one", len(sound.tracks))
        write_levels(levels, timebase, path)


def flags_of(timeline: Timeline | None, frames: int) -> Flags:
    """Return which of ``frames`` frames play; past the end of ``timeline`` it goes on as it ended."""
    kept = np.zeros(frames, dtype=np.bool_)
    if timeline is not None:
        for start, end in timeline.kept:
            kept[start : frames if end == timeline.frames else end] = True
    return kept


def protect(kept: Flags, protected: Flags | None, rules: CutRules) -> Flags:
    """Return ``kept`` with all of ``protected`` and its margin; cuts that this makes too short are filled.

    The built-in detector counts words as loud before it applies its rules; here the rules have been applied, so words
    are added with the margin they would have had.
    """
    if protected is None or not protected.any():
        return kept
    return smooth(kept | apply_margin(protected, rules.margin), rules.min_cut, 0) | protected
