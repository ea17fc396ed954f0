"""The values that every part of the pipeline shares. Times are integer milliseconds; names say so with ``_ms``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from pipeline.errors import PipelineCancelled

RESULT_FILES = (
    "video.mp4",
    "captions.vtt",
    "captions.srt",
    "transcript.txt",
    "transcript.json",
    "timeline.json",
    "peaks.json",
    "poster.jpg",
    "report.json",
)
"""The nine files of a result. ``report.json`` is published last: where it stands, the set is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStream:
    """One sound track of a source."""

    index: int
    """Absolute stream index in the container."""
    codec: str
    sample_rate: int
    channels: int
    layout: str
    language: str | None
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """The picture of a source, as it is shown."""

    index: int
    """Absolute stream index in the container; attached pictures count too."""
    codec: str
    width: int
    """Displayed pixels, after rotation and with square pixels, rounded down to even."""
    height: int
    average_rate: Fraction
    """Frames a second on the cut grid: the container's average, snapped (see ``probe.snap_average_rate``)."""
    nominal_rate: Fraction
    """Frames a second on the render grid; differs from ``average_rate`` only for variable-rate sources."""
    vfr: bool
    pixel_format: str
    color_transfer: str
    hdr: bool
    full_range: bool
    rotation: int
    """Degrees the picture is turned for display: 0, 90, 180 or 270, counter-clockwise."""
    sample_aspect: Fraction
    bit_rate: int
    """Bits a second, from the packets read."""
    first_frame: Fraction
    """Presentation time of the first decoded frame in container seconds: t = 0 of everything else."""
    frames: int
    """Packets of this stream."""
    duration_ms: int
    """From the first frame's start to the last frame's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a source is; made without trusting its name."""

    name: str
    """Base name of the file."""
    format: str
    size_bytes: int
    duration_ms: int
    """From the first video frame to the end of the longest stream."""
    video: VideoStream
    audio: tuple[AudioStream, ...]

    @property
    def pixels(self) -> int:
        """Displayed pixels of one frame."""
        return self.video.width * self.video.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One spoken word in source time. ``text`` keeps its leading space, so joined words are the running text."""

    start_ms: int
    end_ms: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said in a source, and who says so."""

    language: str
    """ISO 639-1 code as Whisper names it; empty when there was no speech."""
    probability: float
    engine: str
    model: str
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One caption in output time: one or two lines, shown from ``start_ms`` until ``end_ms``."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


class Stage(StrEnum):
    """The steps of a job in the order they run; also ``jobs.stage``."""

    PROBE = "probe"
    AUDIO = "audio"
    TRANSCRIBE = "transcribe"
    CUT = "cut"
    CAPTIONS = "captions"
    RENDER = "render"
    QA = "qa"
    PUBLISH = "publish"


STAGE_WEIGHTS = {
    Stage.PROBE: 0.01,
    Stage.AUDIO: 0.01,
    Stage.TRANSCRIBE: 0.09,
    Stage.CUT: 0.005,
    Stage.CAPTIONS: 0.005,
    Stage.RENDER: 0.78,
    Stage.QA: 0.09,
    Stage.PUBLISH: 0.01,
}
"""Share of the whole a stage takes; wall time of ten minutes of 1080p (docs/benchmarks.md), rounded. Sums to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is: within its stage and overall, both 0–1."""

    stage: Stage
    fraction: float
    overall: float

    @classmethod
    def at(cls, stage: Stage, fraction: float) -> Progress:
        """Return the progress of ``stage`` at ``fraction``, clamped to 0–1, with the overall share worked out."""
        fraction = min(1.0, max(0.0, fraction))
        before = 0.0
        for other, weight in STAGE_WEIGHTS.items():
            if other is stage:
                return cls(stage=stage, fraction=fraction, overall=min(1.0, before + weight * fraction))
            before += weight
        raise AssertionError(f"stage {stage} has no weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something worth saying about a result that was delivered all the same."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QaCheck:
    """One check of the finished result."""

    id: str
    ok: bool
    hard: bool
    """A failed hard check fails the job."""
    value: float
    limit: float
    unit: str
    text: str


def _ignore_progress(_: Progress) -> None:
    return None


def _ignore_note(_: Note) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a run may use and whom it asks: scratch room, a listener for progress, a question about cancelling."""

    workdir: Path
    """A private folder of the caller's, on the disk that receives the result; left for the caller to remove."""
    on_progress: Callable[[Progress], None] = field(default=_ignore_progress)
    should_cancel: Callable[[], bool] = field(default=_never)
    on_note: Callable[[Note], None] = field(default=_ignore_note)

    def report(self, stage: Stage, fraction: float) -> None:
        """Tell the listener how far ``stage`` is."""
        self.on_progress(Progress.at(stage, fraction))

    def check_cancelled(self) -> None:
        """Raise `PipelineCancelled` when somebody asked us to stop."""
        if self.should_cancel():
            raise PipelineCancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult:
    """A finished run: where its files lie (inside the workdir) and what to say about them."""

    files: dict[str, Path]
    report: dict[str, object]
    notes: tuple[Note, ...]
