"""Makes small real files with known truth: numbered frames, flashes with beeps, and the odd shapes people upload.

Every generator is seeded: the same call makes the same file. Times are presentation times of the container's clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.timeline import Range, round_half_up
from tests.media.codes import beep, tone
from tests.media.encode import (
    AUDIO_RATE,
    CODINGS,
    MPEG4,
    NOISE_LEVEL,
    PLAIN,
    Coding,
    Film,
    Frames,
    SoundTrack,
    write_clip,
)

SIZE = (160, 90)
AWKWARD_NAME = 'it\'s a "test" – 50% [1,2] 🎬.mp4'
"""A file name with what shells, filter graphs and URLs stumble over."""

_VFR_SHARE = 0.35
_FIRST_EVENT_S = 1.2
"""Nothing happens earlier, so that sound or picture may begin late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A flash and a beep that begin at the same instant."""

    frame: int
    """Number drawn into the first lit frame."""
    time: Fraction
    """Presentation time in seconds."""

    @property
    def time_ms(self) -> float:
        """Presentation time in milliseconds."""
        return float(self.time * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A file and the truth about it."""

    path: Path
    rate: Fraction
    """Frames a second of the grid its frames lie on."""
    grid_frames: int
    """Frames of that grid, from the first frame shown to the last."""
    numbers: tuple[int, ...]
    """Numbers of the frames that are in the file: all of the grid, but for a variable rate."""
    picture_start: Fraction = Fraction(0)
    """Presentation time of frame 0."""

    def time_of(self, frame: int) -> Fraction:
        """Return when ``frame`` of the grid begins."""
        return self.picture_start + frame / self.rate

    def shown_at(self, frame: int) -> int:
        """Return the number seen while ``frame`` of the grid lasts: the newest frame that is not later."""
        at = int(np.searchsorted(self.numbers, frame, side="right")) - 1
        return self.numbers[max(0, at)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashBeep(Clip):
    """A clip of flashes with beeps in silence."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedClip(Clip):
    """A clip of numbered frames with tones here and there."""

    loud: tuple[Range, ...]
    """Frames during which a tone sounds, of the first sound track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A shape of source that picture and sound could drift apart in."""

    rate: Fraction
    audio_offset_ms: int = 0
    video_offset_ms: int = 0
    vfr: bool = False
    audio_rate: int = AUDIO_RATE
    coding: Coding = PLAIN

    @property
    def tolerance_s(self) -> float:
        """By how much a cut may move a flash against its beep: half a frame, a frame where the rate varies."""
        return float((1 if self.vfr else Fraction(1, 2)) / self.rate)

    def make(self, folder: Path, *, n_events: int, duration_s: float, seed: int = 1) -> FlashBeep:
        """Write the clip of flashes and beeps that has this shape into ``folder``."""
        return flash_beep_clip(
            folder / f"clip{self.coding.suffix}",
            rate=self.rate,
            n_events=n_events,
            duration_s=duration_s,
            audio_offset_ms=self.audio_offset_ms,
            video_offset_ms=self.video_offset_ms,
            vfr=self.vfr,
            audio_rate=self.audio_rate,
            coding=self.coding,
            seed=seed,
        )


SHAPES = {
    "30": Shape(rate=Fraction(30)),
    "29.97": Shape(rate=Fraction(30000, 1001)),
    "23.976": Shape(rate=Fraction(24000, 1001)),
    "25": Shape(rate=Fraction(25)),
    "50": Shape(rate=Fraction(50)),
    "60": Shape(rate=Fraction(60)),
    "vfr": Shape(rate=Fraction(30), vfr=True),
    "sound-late": Shape(rate=Fraction(30), audio_offset_ms=800),
    "picture-late": Shape(rate=Fraction(30), video_offset_ms=500),
    "44.1-kHz-late": Shape(rate=Fraction(30000, 1001), video_offset_ms=333, audio_rate=44100),
    "mpeg-ts": Shape(rate=Fraction(25), coding=CODINGS["mpeg-ts"]),
}
"""Every shape that must stay in sync."""


def flash_beep_clip(
    path: Path,
    *,
    rate: Fraction,
    n_events: int = 40,
    duration_s: float = 120,
    events_ms: Sequence[float] | None = None,
    audio_rate: int = AUDIO_RATE,
    audio_offset_ms: int = 0,
    video_offset_ms: int = 0,
    vfr: bool = False,
    size: tuple[int, int] = SIZE,
    noise: float = NOISE_LEVEL,
    coding: Coding = PLAIN,
    seed: int = 1,
) -> FlashBeep:
    """Write a clip in which flashes and beeps begin together, on the presentation time of a frame.

    The moments are irregular, one in each ``n_events``-th of ``duration_s``, half of that or more apart; ``events_ms``
    names them instead (after the first picture, moved to the nearest frame). The sound begins ``audio_offset_ms`` late,
    the picture ``video_offset_ms`` late (moved to the nearest frame, too). With ``vfr`` a third of the frames is
    missing, more in some stretches than in others.
    """
    random = np.random.default_rng(seed)
    frames = math.floor(Fraction(duration_s) * rate)
    if events_ms is None:
        lit = _scatter_events(random, n_events, frames, rate)
    else:
        lit = np.array([round_half_up(Fraction(ms) * rate / 1000) for ms in events_ms], np.int64)
    numbers = _drop_frames(random, frames, keep=lit) if vfr else np.arange(frames)
    start = _whole_frames(video_offset_ms, rate)
    events = tuple(Event(frame=int(frame), time=start + int(frame) / rate) for frame in lit)
    sound = SoundTrack(
        rate=audio_rate,
        start=Fraction(audio_offset_ms, 1000),
        end=start + frames / rate,
        marks=[(event.time, beep(audio_rate)) for event in events],
        noise=noise,
    )
    write_clip(path, Film(numbers=numbers, lit=lit, rate=rate, size=size, start=start), [sound], coding)
    return FlashBeep(
        path=path, rate=rate, grid_frames=frames, numbers=tuple(numbers.tolist()), picture_start=start, events=events
    )


def numbered_clip(
    path: Path,
    *,
    rate: Fraction = Fraction(30),
    frames: int = 300,
    size: tuple[int, int] = SIZE,
    coding: Coding = PLAIN,
    audio: bool = True,
    loud: Sequence[Range] | None = None,
    audio_rate: int = AUDIO_RATE,
    video_offset_ms: int = 0,
    vfr: bool = False,
    sound_s: float | None = None,
    rotation: int = 0,
    seed: int = 1,
) -> NumberedClip:
    """Write a clip of numbered frames, with tones during the frames ``loud`` (irregular stretches when not given).

    ``sound_s`` is the length of the sound from the container's start; the picture's when not given. ``rotation`` turns
    the stored pictures and asks the player to turn them back; ``size`` is the one displayed.
    """
    random = np.random.default_rng(seed)
    numbers = _drop_frames(random, frames, keep=np.array([0])) if vfr else np.arange(frames)
    start = _whole_frames(video_offset_ms, rate)
    end = start + frames / rate if sound_s is None else Fraction(sound_s)
    if not audio:
        loud = ()
    elif loud is None:
        loud = _scatter_loud(random, frames, rate)
    sounds = [_tones(loud, rate=rate, audio_rate=audio_rate, start=start, end=end)] if audio else []
    film = Film(numbers=numbers, rate=rate, size=size, start=start, rotation=rotation)
    write_clip(path, film, sounds, coding)
    return NumberedClip(
        path=path,
        rate=rate,
        grid_frames=frames,
        numbers=tuple(numbers.tolist()),
        picture_start=start,
        loud=tuple(loud),
    )


def mute_clip(path: Path, *, frames: int = 90) -> NumberedClip:
    """Write a clip without a sound track."""
    return numbered_clip(path, frames=frames, audio=False)


def silent_clip(path: Path, *, frames: int = 90) -> NumberedClip:
    """Write a clip whose sound track holds nothing but faint noise."""
    return numbered_clip(path, frames=frames, loud=())


def odd_size_clip(path: Path, *, frames: int = 60) -> NumberedClip:
    """Write a clip of 853x479 pixels: MPEG-4 part 2, which has no need of even sides."""
    return numbered_clip(path, frames=frames, size=(853, 479), coding=Coding(suffix=".mp4", picture=MPEG4))


def rotated_clip(path: Path, *, degrees: int = 90, frames: int = 90) -> NumberedClip:
    """Write a portrait clip that lies on its side and asks to be turned counter-clockwise for display, as phones do."""
    return numbered_clip(path, frames=frames, size=(SIZE[1], SIZE[0]), rotation=degrees)


def two_track_clip(path: Path, *, frames: int = 240) -> tuple[NumberedClip, tuple[Range, ...]]:
    """Write a clip with an English and a German sound track that are loud in turn; the second's ranges come along."""
    rate = Fraction(30)
    quarter = frames // 4
    english, german = [(quarter // 2, quarter)], [(quarter * 5 // 2, quarter * 3)]
    sounds = [_tones(loud, rate=rate, end=frames / rate) for loud in (english, german)]
    languages = ("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu")
    coding = Coding(suffix=".mp4", picture=PLAIN.picture, sound=(*PLAIN.sound, *languages))
    numbers = np.arange(frames)
    write_clip(path, Film(numbers=numbers, rate=rate, size=SIZE), sounds, coding)
    clip = NumberedClip(path=path, rate=rate, grid_frames=frames, numbers=tuple(numbers.tolist()), loud=tuple(english))
    return clip, tuple(german)


def one_frame_clip(path: Path, *, audio: bool = False) -> NumberedClip:
    """Write a clip of a single frame."""
    return numbered_clip(path, frames=1, audio=audio, loud=[(0, 1)])


def long_sound_clip(path: Path, *, frames: int = 90, sound_s: float = 5.0) -> NumberedClip:
    """Write a clip whose sound goes on, loud to its end, after the picture has ended."""
    last = math.floor(sound_s * 30)
    return numbered_clip(path, frames=frames, loud=[(frames // 3, frames // 2), (last - 30, last)], sound_s=sound_s)


def zero_byte_file(path: Path) -> Path:
    """Write an empty file."""
    path.touch()
    return path


def text_file(path: Path) -> Path:
    """Write a text that calls itself a video."""
    path.write_text("This is not a video.\n" * 200, encoding="utf-8")
    return path


def truncated_clip(path: Path, *, share: float = 0.6) -> Path:
    """Write a clip whose index is whole and whose media data end early, as after a copy that was interrupted."""
    front = Coding(suffix=".mp4", picture=(*PLAIN.picture, "-movflags", "+faststart"))
    numbered_clip(path, frames=300, coding=front)
    data = path.read_bytes()
    body = _box_start(data, b"mdat")
    path.write_bytes(data[: body + int((len(data) - body) * share)])
    return path


def headless_clip(path: Path) -> Path:
    """Write a clip without its index (``moov``), as after a recording that was never closed."""
    numbered_clip(path, frames=90)
    data = path.read_bytes()
    path.write_bytes(data[: _box_start(data, b"moov")])
    return path


def _tones(
    loud: Sequence[Range],
    *,
    rate: Fraction,
    end: Fraction,
    start: Fraction = Fraction(0),
    audio_rate: int = AUDIO_RATE,
) -> SoundTrack:
    """Return a sound track that is loud during the frames ``loud`` of a picture that begins at ``start``."""
    marks = [
        (start + first / rate, tone(audio_rate, round_half_up((last - first) / rate * audio_rate)))
        for first, last in loud
    ]
    return SoundTrack(rate=audio_rate, end=end, marks=marks)


def _whole_frames(offset_ms: int, rate: Fraction) -> Fraction:
    """Return ``offset_ms`` in seconds, moved to the nearest time that a picture of this rate can have."""
    return round_half_up(Fraction(offset_ms, 1000) * rate) / rate


def _scatter_events(random: np.random.Generator, count: int, frames: int, rate: Fraction) -> Frames:
    """Return the first lit frame of each event: one in the middle half of each ``count``-th of the frames."""
    slot = frames / count
    earliest, latest = (np.arange(count) + 0.25) * slot, (np.arange(count) + 0.75) * slot
    earliest[0] = max(earliest[0], _FIRST_EVENT_S * rate)
    if earliest[0] >= latest[0]:
        raise ValueError(f"{count} events do not fit into {frames} frames")
    return np.floor(random.uniform(earliest, latest)).astype(np.int64)


def _scatter_loud(random: np.random.Generator, frames: int, rate: Fraction) -> tuple[Range, ...]:
    """Return stretches of 0.1 to 0.8 s of frames with pauses of 0.7 to 1.6 s between them."""
    loud: list[Range] = []
    at = 0
    while True:
        first = at + math.ceil(random.uniform(0.7, 1.6) * rate)
        at = first + math.ceil(random.uniform(0.1, 0.8) * rate)
        if at > frames:
            return tuple(loud)
        loud.append((first, at))


def _drop_frames(random: np.random.Generator, frames: int, *, keep: Frames) -> Frames:
    """Return the frames left when a share of them, swelling and sinking, is dropped; the ends and ``keep`` stay."""
    share = _VFR_SHARE * (1 + 0.6 * np.sin(np.arange(frames) / 40))
    stays = random.random(frames) >= share
    stays[[0, -1]] = True
    stays[keep] = True
    return np.flatnonzero(stays).astype(np.int64)


def _box_start(data: bytes, kind: bytes) -> int:
    """Return where the top-level box ``kind`` of an MP4 begins."""
    at = 0
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == kind:
            return at
        at += int.from_bytes(data[at : at + 4])
    raise ValueError(f"no {kind.decode()} box")
