"""The real auto-editor as a cut engine: found without being called, given our own sound, its words understood.

PyPI's package is a stub that downloads the program at its first run, so nothing is run here to find out what it is:
neither a stub nor a script of Python on PATH. ``make auto-editor`` is the one place that lets the stub download.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from pipeline.cuts import MIN_CLIP_MS, to_frames
from pipeline.errors import PipelineError, ToolFailed, ToolMissing
from pipeline.ffmpeg import run_tool
from pipeline.timeline import Timeline, TimelineError, read_timeline

logger = logging.getLogger(__name__)

OLDEST, OLDEST_OF_OUR_RULES = 28, 30
"""Major versions: the oldest whose command line we speak, and the oldest that follows the rules of `pipeline.cuts`."""
SOUND, TIMELINE = "audio.wav", "t.json"
NOTHING_KEPT = "Timeline is empty, nothing to do."

_VERSION_S, _FETCH_S = 10.0, 600.0
_BASE_S, _SHARE_S = 20.0, 0.02
"""It analyses ten minutes in 0.2 seconds of CPU; a run may take 20 seconds and 2 % of the sound's length."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NAME = "auto-editor"
_STUB = "auto-editor==29.3.1"
"""The last one on PyPI."""
_REMEDY = "Run make auto-editor, or set AUTO_EDITOR_BINARY to its path."
_CANT_FETCH = (
    "auto-editor can't be had here: its download from github.com failed. Nothing needs it, the built-in detector cuts "
    "by the same rules; to use the real one, fetch it elsewhere and set AUTO_EDITOR_BINARY to its path."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoEditor:
    """An auto-editor that runs."""

    program: Path
    version: str
    """As it says itself, such as ``31.5.1``."""

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers of the version."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version))

    @property
    def has_own_rules(self) -> bool:
        """Whether it cuts by other rules than `pipeline.cuts`: it smooths before the margin, in fixed frames."""
        return self.release[0] < OLDEST_OF_OUR_RULES


def look_behind(path: Path, *, named: bool) -> Path | None:
    """Return the program to run for an auto-editor at ``path``, or None when that is no program or only the stub.

    A script that pip made stands for what is installed beside it: the program that the stub fetched, or version 28,
    which was written in Python. Any other script of Python is trusted only when a person ``named`` it.
    """
    if not (path.is_file() and os.access(path, os.X_OK)):
        return None
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return path
    if b"auto_editor" not in head:
        return path if named or b"python" not in head.splitlines()[0] else None
    for package in path.resolve().parent.parent.glob("lib/python3*/site-packages/auto_editor"):
        if (fetched := look_behind(package / "bin" / _NAME, named=False)) is not None:
            return fetched
        if (package / "edit.py").is_file():
            return path
    return None


def find_programs(folders: Sequence[str] | None = None) -> Iterator[Path]:
    """Yield each installed auto-editor: what the stub package fetched, then those on PATH (or in ``folders``)."""
    for package in _stub_folders():
        if (program := look_behind(package / "bin" / _NAME, named=False)) is not None:
            yield program
    for folder in os.get_exec_path() if folders is None else folders:
        if os.path.isabs(folder) and (program := look_behind(Path(folder) / _NAME, named=False)) is not None:
            yield program


def _stub_folders() -> list[Path]:
    spec = find_spec("auto_editor")  # looks for the package, does not import it
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []


def open_auto_editor(explicit: Path | None, cwd: Path) -> AutoEditor:
    """Return the auto-editor that ``explicit`` names, else the newest that is installed.

    Raises `ToolMissing` when there is none, or none from version 28; what `run_tool` raises when one does not work.
    """
    if explicit is not None:
        program = look_behind(explicit, named=True)
        if program is None:
            raise ToolMissing(
                f"AUTO_EDITOR_BINARY names {explicit}, which is no auto-editor. Correct it, or leave it unset."
            )
        return _require_version(ask_version(program, cwd))
    working, failure = [], None
    for program in dict.fromkeys(find_programs()):
        try:
            working.append(ask_version(program, cwd))
        except PipelineError as error:
            logger.info("%s does not work: %s", program, error.message)
            failure = error
    if working:
        return _require_version(max(working, key=lambda each: each.release))
    raise failure or ToolMissing(f"auto-editor is not installed. {_REMEDY}")


def ask_version(program: Path, cwd: Path) -> AutoEditor:
    """Return what ``program`` says it is. Raises what `run_tool` raises."""
    command = [str(program), "--version"]
    try:
        output = run_tool(command, timeout_s=_VERSION_S, cwd=cwd)
    except ToolFailed as error:
        raise ToolFailed(f"{program} does not work. {_REMEDY}", error.detail) from error
    match = re.search(r"^(?:auto-editor )?(\d+(?:\.\d+)+)\S*$", _ANSI.sub("", output), re.MULTILINE)
    if match is None:
        raise ToolFailed(f"{program} does not say its version. {_REMEDY}", output)
    return AutoEditor(program=program, version=match[1])


def _require_version(tool: AutoEditor) -> AutoEditor:
    if tool.release[0] < OLDEST:
        raise ToolMissing(f"auto-editor {tool.version} is too old: version {OLDEST} or newer is needed. {_REMEDY}")
    return tool


def build_command(
    tool: AutoEditor, *, timebase: Fraction, threshold: float, margin_ms: tuple[int, int], min_cut_ms: int
) -> list[str]:
    """Return the command that makes `TIMELINE` of `SOUND`."""
    exact = None if tool.has_own_rules else timebase
    margin = [_format_seconds(part, exact) for part in margin_ms]
    command = [
        str(tool.program), SOUND,
        "--frame-rate", str(timebase),
        "--export", "v1",
        "-o", TIMELINE,
        "--edit", f"audio:threshold={_format_number(threshold, 12)}",
        "--margin", ",".join(dict.fromkeys(margin)),
        "--no-open",
        "--progress", "machine",
    ]  # fmt: skip
    if exact is not None:
        smooth = [_format_seconds(part, exact) for part in (min_cut_ms, MIN_CLIP_MS)]
        command += ["--smooth", ",".join(smooth), "--no-cache"]
    return command


def _format_seconds(duration_ms: int, exact: Fraction | None) -> str:
    """Return a duration; on the grid ``exact`` one that auto-editor takes for as many frames as we do.

    Earlier releases than 31.5.1 cut the fraction of a frame off, that one rounds: where the two differ, a quarter of
    a frame more than the whole frames we mean is the same to both.
    """
    if exact is not None and int(duration_ms / 1000 * float(exact)) != (frames := to_frames(duration_ms, exact)):
        more = Fraction(1, 4) if frames > 0 else Fraction(-1, 4)
        duration_ms = round((frames + more) / exact * 1000)
    return f"{_format_number(duration_ms / 1000, 3)}s"


def _format_number(value: float, places: int) -> str:
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def parse_progress(record: str) -> float | None:
    """Return the share 0–1 that a record ``TITLE~DONE~TOTAL~ETA`` says is done, or None when it says something else."""
    try:
        _, done, total, _ = _ANSI.sub("", record).strip().rsplit("~", 3)
        return min(1.0, max(0.0, float(done) / float(total)))
    except (ValueError, ZeroDivisionError):
        return None


def find_error(output: str) -> str | None:
    """Return the text of the last ``Error! …`` line, or None when there is none."""
    found = re.findall(r"^\s*Error! (.*?)\s*$", _ANSI.sub("", output), re.MULTILINE)
    return found[-1] if found else None


def run_auto_editor(
    tool: AutoEditor,
    command: Sequence[str],
    folder: Path,
    *,
    timebase: Fraction,
    frames: int,
    on_progress: Callable[[float], None] = lambda _: None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> Timeline | None:
    """Run ``command`` in ``folder`` and return the timeline it wrote, None when it keeps nothing.

    Raises `ToolFailed` when it fails or writes what is no timeline of ``frames`` frames, else what `run_tool` raises.
    """

    def follow(record: str) -> None:
        if (share := parse_progress(record)) is not None:
            on_progress(share)

    limit_s = _BASE_S + _SHARE_S * float(frames / timebase)
    sentence = f"auto-editor {tool.version} could not find the pauses. Choose --cut-engine builtin, or try again."
    try:
        output = run_tool(command, timeout_s=limit_s, cwd=folder, follow=follow, should_cancel=should_cancel)
    except ToolFailed as error:
        text = find_error(error.detail)
        if text == NOTHING_KEPT:
            return None
        raise ToolFailed(sentence, f"{text}\n{error.detail}" if text else error.detail) from error
    try:
        timeline = read_timeline(folder / TIMELINE, default_timebase=timebase)
    except TimelineError as error:
        raise ToolFailed(sentence, f"{error}\n{output}") from error
    if timeline.timebase != timebase or abs(timeline.frames - frames) >= timebase / 2:
        found = f"its timeline has {timeline.frames} frames at {timeline.timebase}, the sound {frames} at {timebase}"
        raise ToolFailed(sentence, f"{found}\n{output}")
    return timeline


def fetch(cwd: Path) -> None:
    """Install the stub and let it download its program; nothing of that is left when it fails.

    Raises what `run_tool` raises.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    for folder in _stub_folders():
        (folder / "bin" / _NAME).unlink(missing_ok=True)  # whatever is there does not work
    try:
        run_tool([*pip, "install", "--quiet", "--no-deps", _STUB], timeout_s=_FETCH_S, cwd=cwd)
        run_tool([sys.executable, "-m", "auto_editor", "--version"], timeout_s=_FETCH_S, cwd=cwd)
    except PipelineError:
        invalidate_caches()
        for folder in _stub_folders():
            (folder / "bin" / _NAME).unlink(missing_ok=True)
        run_tool([*pip, "uninstall", "--quiet", "--yes", _NAME], timeout_s=_FETCH_S, cwd=cwd)
        raise
    invalidate_caches()


def main(arguments: Sequence[str] | None = None) -> int:
    """Say which auto-editor is used, after fetching one where none is; 4 when none can be had: ``make auto-editor``."""
    named = [argument for argument in (sys.argv[1:] if arguments is None else arguments) if argument]
    explicit = Path(named[0]).expanduser().absolute() if named else None
    cwd = Path.cwd()
    try:
        try:
            tool = open_auto_editor(explicit, cwd)
        except PipelineError:
            if explicit is not None:
                raise
            print("Fetching auto-editor ...", flush=True)
            fetch(cwd)
            tool = open_auto_editor(None, cwd)
    except PipelineError as error:
        logger.info("%s", error.detail)
        print(_CANT_FETCH if explicit is None else error.message, file=sys.stderr)
        return error.exit_status
    use = "only --cut-engine auto-editor uses it: its rules are older" if tool.has_own_rules else "it finds the pauses"
    print(f"auto-editor {tool.version}: {tool.program} ({use})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
