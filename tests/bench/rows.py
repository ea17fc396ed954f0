"""The rows of the table: ours, the chains that people script, and the floor under any of them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av

from config import PROJECT_ROOT, load_settings
from pipeline.burn import FONT_FAMILY, place_font
from pipeline.ctranslate2_weights import read_dimensions, read_variables, to_whisper_state
from pipeline.encoders import CRF, PRESET
from pipeline.ffmpeg import find_ffmpeg
from pipeline.render import build_select
from pipeline.timeline import Range, Timeline, read_timeline
from pipeline.weights import find_weights
from tests.bench.meter import Usage, measure
from tests.bench.talk import RATE

TITLES = {
    "a": "ours, captions soft",
    "b": "ours, captions burned",
    "c": "scripted: x264 medium, `whisper`, burned by a second encode",
    "d": "scripted: x264 veryfast, faster-whisper, burned by a second encode",
    "e": "floor: one decode, one burned encode, faster-whisper with VAD",
}
_TERMS = 16
"""More than 100 terms in one sum are more than FFmpeg parses; in groups they are not."""
_CHECKPOINT = "base.pt"

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a row."""

    name: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one way to a finished video costs: its commands one after the other."""

    key: str
    steps: tuple[Step, ...]
    video_bytes: int
    frames: int
    """Pictures of the finished video."""
    stages: tuple[Mapping[str, float | str], ...] = ()
    """Of ours: what the report says."""
    beside: tuple[Step, ...] = ()
    """Measured for its own sake, not part of the sums."""

    @property
    def seconds(self) -> float:
        """Wall time."""
        return sum(step.usage.seconds for step in self.steps)

    @property
    def cpu_seconds(self) -> float:
        """Processor time."""
        return sum(step.usage.cpu_seconds for step in self.steps)

    @property
    def peak_bytes(self) -> int:
        """Memory of the largest step."""
        return max(step.usage.peak_bytes for step in self.steps)


@dataclass(slots=True, kw_only=True)
class Bench:
    """One talk, and where everything that measuring it needs lies."""

    source: Path
    cache: Path
    folder: Path
    """For results; the caller keeps or removes it."""
    say: Callable[[str], None]
    ffmpeg: Path = field(init=False)
    weights: Path = field(init=False)
    seconds: float = field(init=False)
    bit_rate: int = field(init=False)

    def __post_init__(self) -> None:
        settings = load_settings()
        self.ffmpeg = find_ffmpeg(settings.ffmpeg_binary)
        self.weights = find_weights("base", settings.whisper_model_dir)
        with av.open(str(self.source)) as container:
            self.seconds = (container.duration or 0) / 1_000_000
            self.bit_rate = container.bit_rate or 0

    def run(self, key: str) -> Row:
        """Measure one row. Raises `CommandFailed`."""
        match key:
            case "a":
                return self._run_ours(key, "soft")
            case "b":
                return self._run_ours(key, "burned")
            case "c":
                return self._run_scripted(key, ())
            case "d":
                return self._run_scripted(key, ("-preset", "veryfast"))
            case _:
                return self._run_floor(key)

    def warm_up(self) -> None:
        """Have source and libraries read once, so that the first row does not pay for a cold disk."""
        with open(self.source, "rb") as file:
            while file.read(1 << 24):
                pass
        self._step("libraries", [sys.executable, "-c", "import faster_whisper, whisper"], self.folder)

    def detect(self) -> dict[str, float]:
        """Return the CPU seconds of the cut decision by part."""
        figures = self.folder / "detector.json"
        self._step("detector", [*_part("detect"), self.source, figures], PROJECT_ROOT)
        return dict(json.loads(figures.read_text(encoding="utf-8")))

    def timeline(self) -> Timeline:
        """Return the cut list that every row but ours gets: ours, of the last run over this talk."""
        path, captions = self._cut_list()
        if not path.is_file() or not captions.is_file():
            self.say("first a run of ours that is not measured: the others need its cut list and captions")
            self._run_ours("a", "soft")
        return read_timeline(path, default_timebase=Fraction(RATE))

    def _cut_list(self) -> tuple[Path, Path]:
        return self.cache / f"{self.source.stem}.timeline.json", self.cache / f"{self.source.stem}.srt"

    def _step(self, name: str, command: Command, folder: Path, environ: Mapping[str, str] | None = None) -> Step:
        self.say(f"  {name} …")
        log = self.folder / "step.log"
        return Step(name=name, usage=measure(command, cwd=folder, log=log, environ=environ))

    def _run_ours(self, key: str, captions: str) -> Row:
        out = self.folder / key
        command: Command = [sys.executable, "-m", "pipeline", self.source, "-o", out, "--captions", captions]
        step = self._step("python -m pipeline", command, PROJECT_ROOT)
        for kept, made in zip(self._cut_list(), ("timeline.json", "captions.srt"), strict=True):
            shutil.copyfile(out / made, kept)
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        return _finish(key, [step], out / "video.mp4", stages=tuple(report["stages"]))

    def _run_scripted(self, key: str, preset: tuple[str, ...]) -> Row:
        kept = self.timeline().kept
        folder = self._make_folder(key)
        encode = ("-c:v", "libx264", *preset)
        terms = _select_by_time(kept)
        cut: Command = [
            *(self.ffmpeg, "-y", "-i", self.source),
            *("-vf", f"select='{terms}',setpts=N/FRAME_RATE/TB", "-af", f"aselect='{terms}',asetpts=N/SR/TB"),
            *(*encode, "-c:a", "aac", "cut.mp4"),
        ]
        burn: Command = [
            *(self.ffmpeg, "-y", "-i", "cut.mp4", "-vf", _draw("cut.srt")),
            *(*encode, "-c:a", "copy", "burned.mp4"),
        ]
        if key == "c":
            tools = folder / "bin"  # whisper calls an `ffmpeg` from the PATH
            tools.mkdir()
            (tools / "ffmpeg").symlink_to(self.ffmpeg)
            environ = {"PATH": f"{tools}:/usr/bin:/bin"}
            whisper = Path(sys.executable).with_name("whisper")
            hear: Command = [whisper, "cut.mp4", "--model", self._make_checkpoint(), "--output_format", "srt"]
            name, home = "whisper", folder
        else:
            environ = {}
            hear = [*_part("scripted"), folder / "cut.mp4", folder / "cut.srt", self.weights]
            name, home = "faster-whisper", PROJECT_ROOT
        steps = [
            self._step("cut and encode", cut, folder),
            self._step(name, hear, home, environ),
            self._step("burn", burn, folder),
        ]
        return _finish(key, steps, folder / "burned.mp4")

    def _run_floor(self, key: str) -> Row:
        timeline = self.timeline()
        folder = self._make_folder(key)
        shutil.copyfile(self._cut_list()[1], folder / "captions.srt")
        limit = max(min(2 * self.bit_rate, 12_000_000), 3_000_000)  # as ours, for 1080p30
        encode: Command = [
            *(self.ffmpeg, "-y", "-i", self.source),
            *("-vf", f"select='{build_select(timeline.kept)}',setpts=N/FRAME_RATE/TB,{_draw('captions.srt')}"),
            *("-af", f"aselect='{_select_by_time(timeline.kept)}',asetpts=N/SR/TB"),
            *("-c:v", "libx264", "-preset", PRESET, "-crf", str(CRF), "-g", str(5 * RATE)),
            *("-maxrate", str(limit), "-bufsize", str(2 * limit)),
            *("-c:a", "aac", "-b:a", "160k", "burned.mp4"),
        ]
        decode: Command = [self.ffmpeg, "-i", self.source, "-f", "null", "-"]
        steps = [
            self._step("decode, cut, burn, encode", encode, folder),
            self._step(
                "faster-whisper", [*_part("source"), self.source, folder / "source.srt", self.weights], PROJECT_ROOT
            ),
        ]
        beside = (self._step("decode alone", decode, folder),)
        return _finish(key, steps, folder / "burned.mp4", beside=beside)

    def _make_folder(self, key: str) -> Path:
        folder = self.folder / key
        folder.mkdir()
        place_font(folder)
        return folder

    def _make_checkpoint(self) -> Path:
        """Return our weights as a checkpoint that the command ``whisper`` takes as ``--model``; half precision, as
        OpenAI publishes its own."""
        target = self.folder / _CHECKPOINT
        if not target.is_file():
            import torch

            variables = read_variables(self.weights / "model.bin")
            state = {name: torch.from_numpy(array).half() for name, array in to_whisper_state(variables).items()}
            torch.save({"dims": read_dimensions(variables), "model_state_dict": state}, target)
        return target


def _part(name: str) -> list[str | Path]:
    return [sys.executable, "-m", "tests.bench.steps", name]


def _draw(srt: str) -> str:
    return f"subtitles={srt}:fontsdir=fonts:force_style='FontName={FONT_FAMILY}'"


def _select_by_time(kept: Sequence[Range]) -> str:
    """Return the sum of ``between()`` terms that people write, in groups that FFmpeg parses."""
    terms = [f"between(t,{(start - 0.5) / RATE:.4f},{(end - 0.5) / RATE:.4f})" for start, end in kept]
    groups = ["+".join(terms[at : at + _TERMS]) for at in range(0, len(terms), _TERMS)]
    return "+".join(f"({group})" for group in groups)


def _finish(
    key: str,
    steps: Sequence[Step],
    video: Path,
    *,
    stages: tuple[Mapping[str, float | str], ...] = (),
    beside: tuple[Step, ...] = (),
) -> Row:
    with av.open(str(video)) as container:
        frames = container.streams.video[0].frames
    return Row(
        key=key,
        steps=tuple(steps),
        video_bytes=video.stat().st_size,
        frames=frames,
        stages=stages,
        beside=beside,
    )
