"""The command ``python -m pipeline INPUT -o OUT``: exit 0 done, 2 usage, 3 refused, 4 failed, 130 interrupted."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from config import Settings, SettingsError, load_settings
from pipeline.errors import InputRefused, PipelineCancelled, PipelineError
from pipeline.limits import limit_process
from pipeline.media import reading
from pipeline.models import Note, Probe, Progress, RunContext
from pipeline.options import (
    PACES,
    Captions,
    CutEngine,
    OptionError,
    PipelineOptions,
    SpeechEngine,
    Style,
    parse_audio_track,
    parse_duration_ms,
    parse_job_options,
    parse_margin,
    parse_min_pause,
)
from pipeline.probe import probe
from pipeline.publish import publish_files, scratch_folder
from pipeline.remote import RangedFile, parse_address
from pipeline.report import describe_probe, format_json
from pipeline.run import find_cuts, run_pipeline
from pipeline.timeline import TimelineError

USAGE, INTERRUPTED = 2, 130
_PROBE_CPU_S, _PROBE_PACE, _PROBE_MEMORY = 120, 10_000_000, 4 << 30
"""What a probe may use: seconds of processor time, and one more for so many bytes; bytes of memory."""
_HASH_BLOCK = 1 << 20
_STAGE_WORDS = {
    "probe": "Checking the file",
    "audio": "Listening",
    "transcribe": "Writing down the speech",
    "cut": "Finding the pauses",
    "captions": "Making captions",
    "render": "Putting it together",
    "qa": "Last check",
    "publish": "Done",
}
_VALUED = {"--threshold", "--margin", "--min-pause"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _build_parser().parse_args(_bind_values(list(sys.argv[1:] if argv is None else argv)))
    teller = _JsonTeller() if arguments.json else _TerminalTeller()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = load_settings()
        logging.basicConfig(
            level=settings.log_level or "WARNING", format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        options = _read_options(arguments, settings)
        if arguments.probe:
            _probe(arguments, options, teller)
            return 0
        if arguments.out is None:
            raise OptionError("Where should the result go? Give a folder with -o OUT.")
        _process(arguments, options, teller)
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if (status := _tell_end(error, teller)) is None:
            raise
        return status


def _tell_end(error: BaseException, teller: _Teller) -> int | None:
    """Say why the command ends and return its exit status; None for what nobody foresaw."""
    if _is_interrupt(error):
        teller.fail("interrupted", "Stopped. Nothing was written.", INTERRUPTED)
        return INTERRUPTED
    if isinstance(error, OptionError | SettingsError | TimelineError):
        teller.fail("usage", str(error), USAGE)
        return USAGE
    if isinstance(error, PipelineError):
        logging.getLogger(__name__).info("%s: %s", error.code, error.detail, exc_info=True)
        teller.fail(error.code, error.message, error.exit_status)
        return error.exit_status
    return None


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error comes of somebody's wish to stop: within the loading of a library a signal ends as whatever
    that library makes of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | PipelineCancelled):
            return True
        error = error.__cause__ or error.__context__
    return False


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _probe(arguments: argparse.Namespace, options: PipelineOptions, teller: _Teller) -> None:
    """Print what the file is. It may be anybody's, so this process gives up what it does not need first."""
    remote = _read_address(arguments) if arguments.remote else None
    size = _size_of(arguments.input) if remote is None else remote.size_bytes
    limit_process(cpu_s=_PROBE_CPU_S + size // _PROBE_PACE, memory_bytes=_PROBE_MEMORY)
    teller.begin()
    try:
        if remote is None:
            found = probe(arguments.input, options)
        else:
            with remote:
                found = probe(remote, options)
    except MemoryError as error:
        raise InputRefused("not_media", "Reading this video takes too much memory. Export it as MP4.") from error
    about = describe_probe(found)
    if arguments.sha256:
        about["sha256"] = _hash_file(arguments.input)
    if remote is not None:
        about |= {"fetched_bytes": remote.fetched_bytes, "requests": remote.requests}
    teller.found(found, about)


def _read_address(arguments: argparse.Namespace) -> RangedFile:
    """Return the file elsewhere that standard input tells of: a command's own words can be seen by everybody."""
    for name in ("httpx", "httpcore"):  # they would write down the address
        logging.getLogger(name).setLevel(logging.WARNING)
    if arguments.sha256:
        raise OptionError("--sha256 reads a whole file; it does not go with --remote.")
    try:
        return parse_address(sys.stdin.readline(), arguments.input.name)
    except ValueError:
        raise OptionError('--remote needs {"url": …, "size_bytes": …} on standard input.') from None


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the probe says why
        return 0


def _hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with reading(path), path.open("rb", buffering=0) as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _process(arguments: argparse.Namespace, options: PipelineOptions, teller: _Teller) -> None:
    out: Path = arguments.out
    with scratch_folder(out) as workdir:
        ctx = RunContext(workdir=workdir, on_progress=teller.progress, on_note=teller.note)
        if arguments.cuts_only:
            timeline = find_cuts(arguments.input, options, ctx)
            target = workdir / "timeline.json"
            target.write_text(timeline.to_json(arguments.input.name), encoding="utf-8")
            publish_files({"timeline.json": target}, out)
        else:
            result = run_pipeline(arguments.input, options, ctx)
            publish_files(result.files, out)
    teller.done(out)


def _bind_values(argv: list[str]) -> list[str]:
    """Return ``argv`` with ``--threshold -28dB`` as ``--threshold=-28dB``: argparse takes the former for a flag."""
    bound: list[str] = []
    for argument in argv:
        if bound and bound[-1] in _VALUED and "--" not in bound[:-1]:
            bound[-1] += f"={argument}"
        else:
            bound.append(argument)
    return bound


def _read_options(arguments: argparse.Namespace, settings: Settings) -> PipelineOptions:
    """Return the options in force: the job's part checked by `parse_job_options`, the machine's part added."""
    job = parse_job_options(
        {
            "pace": arguments.pace,
            "threshold": arguments.threshold,
            "margin_ms": None if arguments.margin is None else parse_margin(arguments.margin),
            "min_pause_ms": None if arguments.min_pause is None else parse_min_pause(arguments.min_pause),
            "language": arguments.language,
            "vocabulary": arguments.vocabulary,
            "captions": arguments.captions,
            "style": arguments.style,
            "audio_track": parse_track(arguments.audio_track),
        }
    )
    limits = PipelineOptions()
    return replace(
        job,
        cut_engine=CutEngine(arguments.cut_engine),
        speech_engine=SpeechEngine(arguments.engine or settings.whisper_engine),
        model=arguments.model or settings.whisper_model,
        model_dir=arguments.model_dir or settings.whisper_model_dir,
        ffmpeg=settings.ffmpeg_binary,
        auto_editor=settings.auto_editor_binary,
        video_encoder=settings.video_encoder,
        cut=not arguments.no_cut,
        timeline=arguments.timeline,
        max_duration_ms=limits.max_duration_ms
        if arguments.max_duration is None
        else parse_duration_ms(arguments.max_duration, "longest duration"),
        max_pixels=arguments.max_pixels or limits.max_pixels,
    )


def parse_track(value: str) -> object:
    """Return a track choice as a job record holds it."""
    track = parse_audio_track(value)
    return "default" if track is None else "mix" if track == 0 else track


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Turn a raw talking video into a tight one with captions.",
        epilog="Exit status: 0 done, 2 usage, 3 refused input, 4 failed, 130 interrupted.",
    )
    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help="the video: MP4, MOV, AVI, MKV, WebM")
    add("-o", "--out", type=Path, metavar="OUT", help="folder for the nine files of the result")
    add("--pace", choices=list(PACES), help="how tight the cut is (default natural)")
    add("--threshold", metavar="LEVEL", help="sound from this level counts: auto (default), 4%%, -28dB or 0.04")
    add("--margin", metavar="S[,S]", help="air kept before and after speech, such as 0.2s or 0.2s,0.3s; beats --pace")
    add("--min-pause", metavar="S", help="shortest pause that is cut, such as 0.6s; beats --pace")
    add("--cut-engine", choices=list(CutEngine), default=CutEngine.AUTO, help="who finds the pauses (default auto)")
    add("--engine", choices=list(SpeechEngine), help="who writes down the speech (default faster-whisper)")
    add("--model", help="Whisper model: a name such as base, or a folder with CTranslate2 weights")
    add("--model-dir", type=Path, metavar="DIR", help="where weights are kept")
    add("--language", default="auto", metavar="CODE", help="spoken language: auto (default), en, de, fr, …")
    add("--vocabulary", default="", metavar="TEXT", help="names and terms to expect")
    add("--captions", choices=list(Captions), help="soft (default): a track; burned: in the picture; both; none")
    add("--style", choices=list(Style), help="look of burned captions (default clean)")
    add("--audio-track", default="default", metavar="default|mix|N", help="sound track to deliver, counted from 1")
    add("--timeline", type=Path, metavar="FILE", help="use these cuts (auto-editor timeline, version 1 or 3)")
    add("--cuts-only", action="store_true", help="write timeline.json alone, by auto-editor's own rules")
    add("--no-cut", action="store_true", help="keep everything, add captions only")
    add("--max-duration", metavar="S", help="refuse longer videos, such as 3600s (default 12 h)")
    add("--max-pixels", type=_positive, metavar="N", help="refuse larger pictures (default 8192 x 4320)")
    add(
        "--probe",
        action="store_true",
        help="print what the file is, as JSON, and stop; processor time, memory and writing are limited",
    )
    add("--sha256", action="store_true", help="with --probe: add the SHA-256 of the file")
    add(
        "--remote",
        action="store_true",
        help='with --probe: read the file by HTTP ranges; standard input says {"url": …, "size_bytes": …}',
    )
    add("--json", action="store_true", help="print progress, and what --probe found, as JSON lines")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


class _Teller:
    """Tells whoever started the command how it goes."""

    def begin(self) -> None:
        """Say that from here on it is the file's fault."""

    def found(self, found: Probe, about: Mapping[str, object]) -> None:  # noqa: ARG002
        """Say what the file is."""
        sys.stdout.write(format_json(about))

    def progress(self, progress: Progress) -> None:
        """Say how far the run is."""

    def note(self, note: Note) -> None:
        """Say something worth knowing about the result."""

    def done(self, out: Path) -> None:
        """Say that the result is there."""

    def fail(self, code: str, message: str, status: int) -> None:
        """Say why there is no result."""


class _JsonTeller(_Teller):
    """One JSON object a line, on standard output."""

    def __init__(self) -> None:
        self._last: tuple[str, float] = ("", -1.0)

    def begin(self) -> None:
        self._print(event="begin")

    def found(self, found: Probe, about: Mapping[str, object]) -> None:
        self._print(event="probe", **about, frame_rate=str(found.video.average_rate), size_bytes=found.size_bytes)

    def progress(self, progress: Progress) -> None:
        stage, overall = progress.stage.value, progress.overall
        if stage == self._last[0] and overall - self._last[1] < 0.005 and progress.fraction < 1:
            return
        self._last = (stage, overall)
        self._print(event="progress", stage=stage, fraction=round(progress.fraction, 4), overall=round(overall, 4))

    def note(self, note: Note) -> None:
        self._print(event="note", code=note.code, text=note.text)

    def done(self, out: Path) -> None:
        self._print(event="done", out=str(out))

    def fail(self, code: str, message: str, status: int) -> None:
        self._print(event="error", code=code, message=message, exit=status)

    def _print(self, **event: object) -> None:
        print(json.dumps(event, ensure_ascii=False), flush=True)


class _TerminalTeller(_Teller):
    """A bar on a terminal, a line a stage elsewhere; sentences on standard error."""

    _WIDTH = 30

    def __init__(self) -> None:
        self._stage = ""
        self._live = sys.stderr.isatty()

    def progress(self, progress: Progress) -> None:
        words = _STAGE_WORDS[progress.stage]
        if self._live:
            filled = round(progress.overall * self._WIDTH)
            bar = "█" * filled + "░" * (self._WIDTH - filled)
            sys.stderr.write(f"\r{bar} {progress.overall:4.0%}  {words:<24}")
            sys.stderr.flush()
        elif progress.stage != self._stage:
            print(words, file=sys.stderr, flush=True)
        self._stage = progress.stage

    def note(self, note: Note) -> None:
        self._line(note.text)

    def done(self, out: Path) -> None:
        self._line(f"Done: {out}")

    def fail(self, code: str, message: str, status: int) -> None:  # noqa: ARG002
        self._line(message)

    def _line(self, text: str) -> None:
        clear = "\r\033[K" if self._live else ""
        print(f"{clear}{text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
