"""The whole way of a video: probe, sound, speech, cuts, captions, render, check. Only here is their order fixed."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.audio import SPEECH_RATE, Sound, choose_tracks, decode_audio
from pipeline.burn import RTL_LANGUAGES, find_missing_glyphs, format_ass
from pipeline.captions import format_srt, format_text, format_track_vtt, format_vtt, iso639_2
from pipeline.cues import build_cues, map_words, shape_for
from pipeline.cuts import choose_rules
from pipeline.cutter import choose_cutter
from pipeline.encoders import choose_encoder, opens
from pipeline.errors import DiskFull, PipelineError, SourceGone
from pipeline.ffmpeg import find_ffmpeg
from pipeline.levels import Levels, find_threshold, join_levels, measure_levels, measure_waveform
from pipeline.media import writing
from pipeline.models import RESULT_FILES, Cue, Note, PipelineResult, Probe, QaCheck, RunContext, Stage, Transcript, Word
from pipeline.options import PipelineOptions, Style, VideoEncoder
from pipeline.probe import probe
from pipeline.qa import check_result, require_passed
from pipeline.render import RenderPlan, render_video, write_poster
from pipeline.report import CutSummary, StageTime, build_report, format_json, format_peaks, format_transcript
from pipeline.timeline import Timeline, TimelineError, read_timeline, round_half_up
from pipeline.transcribe import transcribe
from pipeline.weights import find_weights
from pipeline.words import protect_words, trim_words

logger = logging.getLogger(__name__)

_POSTER_AT_MS = 3000


def run_pipeline(source: Path, options: PipelineOptions, ctx: RunContext) -> PipelineResult:
    """Process ``source`` into the nine files of a result, inside ``ctx.workdir``.

    Raises `PipelineError` with the sentence for the person, or `PipelineCancelled`. The caller owns the workdir and
    removes it; the source is only read.
    """
    return VideoProcessor(source, options, ctx).run()


def find_cuts(source: Path, options: PipelineOptions, ctx: RunContext) -> Timeline:
    """Return the Timeline of ``source`` by auto-editor's rules alone: its threshold, no speech, average rate."""
    processor = VideoProcessor(source, options, ctx)
    levels = processor.listen()
    rate = processor.source_probe.video.average_rate
    rules = choose_rules(options, levels, rate, plain=True)
    return processor.cutter.cut(processor.sound, levels, rules, rate, protected=None).timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is decided about a result before its picture is made."""

    timeline: Timeline
    cuts: CutSummary
    transcript: Transcript
    cues: tuple[Cue, ...]
    """In output time."""


class VideoProcessor:
    """One run over one source; holds what the stages hand to each other."""

    def __init__(self, source: Path, options: PipelineOptions, ctx: RunContext) -> None:
        self.source = source
        self.options = options
        self.ctx = ctx
        self.notes: list[Note] = []
        self.stages: list[StageTime] = []
        self.ffmpeg = find_ffmpeg(options.ffmpeg)
        with self._stage(Stage.PROBE):
            self.source_probe = probe(source, options)
            self._identity = _identify(source)
        self._imported = self._read_imported()
        self.cutter = choose_cutter(options, ctx)
        self.sound = Sound(tracks=(), delivered=(), speech=None, speech_samples=0)

    def _read_imported(self) -> Timeline | None:
        """Return the cuts the person brought along, if any. Raises `TimelineError` now, not after an hour of work."""
        if self.options.timeline is None:
            return None
        video = self.source_probe.video
        timeline = read_timeline(self.options.timeline, default_timebase=video.average_rate)
        if not timeline.kept or timeline.to_ms(timeline.kept[0][0]) >= video.duration_ms:
            raise TimelineError(f"{self.options.timeline} keeps no frame of this video.")
        return timeline

    def run(self) -> PipelineResult:
        """Run every stage and return the finished files."""
        return self.finish(self.decide())

    def decide(self) -> Edit:
        """Run the stages up to the captions and return what they decided."""
        levels = self.listen()
        raw = self.write_down()
        timeline, cuts = self.decide_cuts(levels, raw.words)
        transcript = replace(
            raw, words=trim_words(raw.words, levels, self.source_probe.video.average_rate, find_threshold(levels))
        )
        return Edit(timeline=timeline, cuts=cuts, transcript=transcript, cues=self.make_captions(timeline, transcript))

    def finish(self, edit: Edit) -> PipelineResult:
        """Make the result that was decided on, of the sound that was heard, and return its files."""
        timeline, transcript, cues = edit.timeline, edit.transcript, edit.cues
        with writing(self.ctx.workdir):
            (self.ctx.workdir / "result").mkdir(exist_ok=True)
        self._require_source()
        self.render(timeline, transcript, cues)
        self._require_source()
        checks = self.check(timeline, cues)
        self.write_texts(timeline, transcript, cues)
        report = build_report(
            probe=self.source_probe,
            timeline=timeline,
            options=self.options,
            cuts=edit.cuts,
            transcript=transcript,
            cues=cues,
            checks=checks,
            notes=self.notes,
            stages=self.stages,
            video=self._file("video.mp4"),
        )
        with writing(self.ctx.workdir):
            self._file("report.json").write_text(format_json(report), encoding="utf-8")
        files = {name: self._file(name) for name in RESULT_FILES}
        return PipelineResult(files=files, report=report, notes=tuple(self.notes))

    def listen(self) -> Levels:
        """Decode the sound and return its level in every frame of the cut grid."""
        video, streams = self.source_probe.video, self.source_probe.audio
        self._require_room()
        with self._stage(Stage.AUDIO):
            if self.options.audio_track is not None and self.options.audio_track > max(1, len(streams)):
                self._note(
                    "audio_track", f"There is no sound track {self.options.audio_track}; the default one is used."
                )
            self.sound = decode_audio(
                self.source,
                streams,
                origin=video.first_frame,
                duration_ms=self.source_probe.duration_ms,
                delivered=choose_tracks(streams, self.options.audio_track),
                ctx=self.ctx,
            )
            levels = [measure_levels(track, video.average_rate) for track in self.sound.tracks]
        return join_levels(levels)

    def write_down(self) -> Transcript:
        """Return what is said, or an empty transcript when there is nothing to hear or nobody wants captions."""
        options, speech = self.options, self.sound.speech
        empty = Transcript(language="", probability=0.0, engine=options.speech_engine, model=options.model, words=())
        with self._stage(Stage.TRANSCRIBE):
            if speech is None or not options.transcribes:
                return empty
            transcript = self.transcribe(speech, find_weights(options.model, options.model_dir))
            if not transcript.words:
                self._note("no_speech", "We heard no speech, so there are no captions. Is the language right?")
            return transcript

    def transcribe(self, speech: Path, weights: Path) -> Transcript:
        """Return what ``speech`` says; many machines can share this step (`pipeline.fanout`)."""
        return transcribe(speech, self.sound.speech_samples, weights=weights, options=self.options, ctx=self.ctx)

    def decide_cuts(self, levels: Levels, words: Sequence[Word]) -> tuple[Timeline, CutSummary]:
        """Return the Timeline on the render grid, and who made it by which rules."""
        average, grid = self.source_probe.video.average_rate, self.source_probe.video.nominal_rate
        frames = count_frames(self.source_probe, self.sound)
        with self._stage(Stage.CUT):
            if self._imported is not None:
                return self._imported.retime(grid, frames), _unruled("timeline")
            if not self.sound.tracks:
                self._note("no_audio", "There is no sound, so nothing was cut and there are no captions.")
                return Timeline.uncut(grid, frames), _unruled("none")
            if not self.options.cut:
                return Timeline.uncut(grid, frames), _unruled("none")
            rules = choose_rules(self.options, levels, average)
            # the picture may outlast the sound: what follows is silence like any other
            levels = join_levels([levels], frames=int(frames * average / grid))
            protected = protect_words(words, levels, average, rules.threshold)
            cut = self.cutter.cut(self.sound, levels, rules, average, protected)
            timeline = cut.timeline.retime(grid, frames)
            if cut.note is not None:
                self._note(cut.note.code, cut.note.text)
            if not timeline.kept:
                self._note("all_silent", "The sound is silent throughout, so nothing was cut.")
                timeline = Timeline.uncut(grid, frames)
            elif not timeline.removed:
                self._note("nothing_cut", "There is no pause long enough to cut.")
            return timeline, CutSummary(
                engine=cut.engine,
                engine_version=cut.engine_version,
                threshold=round(rules.threshold, 5),
                threshold_mode=rules.threshold_mode,
                margin_ms=self.options.effective_margin_ms,
            )

    def make_captions(self, timeline: Timeline, transcript: Transcript) -> tuple[Cue, ...]:
        """Return the cues of the result, in output time."""
        video = self.source_probe.video
        with self._stage(Stage.CAPTIONS):
            return build_cues(
                map_words(transcript.words, timeline),
                shape=shape_for(video.width, video.height, self.burned_style),
                timebase=timeline.timebase,
                duration_ms=timeline.duration_ms,
                language=transcript.language,
                seams=timeline.seams,
            )

    def choose_encoder(self) -> VideoEncoder:
        """Return who encodes the picture; a note says where it is not who was wanted."""
        wanted = self.options.video_encoder
        chosen = choose_encoder(wanted, opens=partial(opens, ffmpeg=self.ffmpeg))
        if chosen is not wanted:
            self._note("encoder", f"The encoder {wanted} does not open on this machine, so {chosen} was used.")
        return chosen

    @property
    def burned_style(self) -> Style | None:
        """How captions are drawn into the picture; None when they are not."""
        return self.options.style if self.options.captions.in_picture else None

    def render(self, timeline: Timeline, transcript: Transcript, cues: Sequence[Cue]) -> None:
        """Write the video and its poster."""
        plan = RenderPlan(
            source=self.source,
            probe=self.source_probe,
            timeline=timeline,
            sound=self.sound,
            language=iso639_2(transcript.language),
            ass=self.draw_captions(transcript, cues),
            track_vtt=format_track_vtt(cues) if self.options.captions.as_track and cues else None,
            encoder=self.choose_encoder(),
        )
        with self._stage(Stage.RENDER):
            self.make_video(plan, self._file("video.mp4"))
            write_poster(
                self._file("video.mp4"),
                self._file("poster.jpg"),
                at_ms=min(_POSTER_AT_MS, timeline.duration_ms // 4),
                ffmpeg_binary=self.ffmpeg,
                ctx=self.ctx,
            )

    def draw_captions(self, transcript: Transcript, cues: Sequence[Cue]) -> str | None:
        """Return the captions to draw into the picture, if any."""
        video, style = self.source_probe.video, self.burned_style
        if style is None or not cues:
            return None
        if missing := find_missing_glyphs(cues, ffmpeg=self.ffmpeg, workdir=self.ctx.workdir):
            self._note("missing_font", f"No font on this machine can draw {missing[:20]}; install one for that script.")
        rtl = transcript.language in RTL_LANGUAGES
        return format_ass(cues, width=video.width, height=video.height, style=style, rtl=rtl)

    def make_video(self, plan: RenderPlan, target: Path) -> None:
        """Write the video itself; many machines can share this step, too."""
        render_video(plan, target, ffmpeg_binary=self.ffmpeg, ctx=self.ctx)

    def check(self, timeline: Timeline, cues: Sequence[Cue]) -> tuple[QaCheck, ...]:
        """Return the checks of the finished video. Raises `QaFailed` when a hard one failed."""
        with self._stage(Stage.QA):
            checks = check_result(
                self._file("video.mp4"),
                timeline=timeline,
                cues=cues,
                has_audio=bool(self.sound.delivered),
                ctx=self.ctx,
            )
            require_passed(checks)
            return checks

    def write_texts(self, timeline: Timeline, transcript: Transcript, cues: Sequence[Cue]) -> None:
        """Write every text file of the result but the report."""
        heard = [word for word in transcript.words if timeline.map_span(word.start_ms, word.end_ms) is not None]
        texts = {
            "captions.vtt": format_vtt(cues),
            "captions.srt": format_srt(cues),
            "transcript.txt": format_text(heard),
            "transcript.json": format_transcript(transcript),
            "timeline.json": timeline.to_json(self.source.name),
            "peaks.json": format_peaks(measure_waveform(self.sound.delivered)),
        }
        with writing(self.ctx.workdir):
            for name, text in texts.items():
                self._file(name).write_text(text, encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.ctx.workdir / "result" / name

    def _note(self, code: str, text: str) -> None:
        self.notes.append(Note(code=code, text=text))
        self.ctx.on_note(self.notes[-1])

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        """Report begin and end of a stage and keep its wall and CPU time, children included."""
        self.ctx.check_cancelled()
        self.ctx.report(stage, 0.0)
        wall, cpu = time.monotonic(), _cpu_seconds()
        try:
            yield
        except PipelineError:
            if stage is not Stage.PROBE:
                self._require_source()  # a source that went away explains every other failure
            raise
        self.ctx.report(stage, 1.0)
        seconds, cpu_seconds = time.monotonic() - wall, _cpu_seconds() - cpu
        self.stages.append(StageTime(name=stage, seconds=round(seconds, 3), cpu_seconds=round(cpu_seconds, 3)))
        logger.info("%s took %.2f s (%.2f s of CPU)", stage, seconds, cpu_seconds)

    def _require_source(self) -> None:
        """Raise `SourceGone` when the source is not the file that was probed."""
        if _identify(self.source) != self._identity:
            raise SourceGone

    def _require_room(self) -> None:
        """Raise `DiskFull` now rather than after an hour, when scratch and result can't fit."""
        seconds = self.source_probe.duration_ms / 1000
        scratch = sum(2 * stream.sample_rate * stream.channels for stream in self.source_probe.audio) * seconds
        needed = int(scratch + 2 * SPEECH_RATE * seconds + self.source_probe.size_bytes / 2)
        free = shutil.disk_usage(self.ctx.workdir).free
        if free < needed:
            raise DiskFull(str(self.ctx.workdir.parent), needed, free)


def count_frames(source: Probe, sound: Sound) -> int:
    """Return how many frames of the render grid a source has.

    All of its picture, and whole frames of sound beyond it: there the last picture stands. Less than a frame of sound
    (a codec's last packet) adds none.
    """
    rate = source.video.nominal_rate
    return max(1, round_half_up(source.video.duration_ms * rate / 1000), int(sound.seconds * rate))


def _unruled(engine: str) -> CutSummary:
    return CutSummary(engine=engine, engine_version="", threshold=None, threshold_mode="none", margin_ms=None)


def _identify(source: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(source)
    except OSError as error:
        raise SourceGone(detail=str(error)) from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in usage)
