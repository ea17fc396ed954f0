"""Makes small real files with known truth: numbered frames, flashes with beeps, and the odd shapes people upload.

Every generator is seeded: the same call makes the same file. Times are presentation times of the container's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg
from pipeline.timeline import Range, round_half_up
from tests.media.codes import Pictures, Samples, beep, draw_pictures, tone

SIZE = (160, 90)
AUDIO_RATE = 48000
AWKWARD_NAME = 'it\'s a "test" – 50% [1,2] 🎬.mp4'
"""A file name with what shells, filter graphs and URLs stumble over."""

Frames = npt.NDArray[np.int64]
"""Numbers of frames."""

_PICTURE, _SOUND = "{picture}", "{sound}"
_BLOCK_FRAMES = 256
_BLOCK_S = 10
_FLASH_FRAMES = 2
_VFR_SHARE = 0.35
_FIRST_EVENT_S = 1.2
"""Nothing happens earlier, so that sound or picture may begin late."""
_NOISE_LEVEL = 0.001
"""-60 dB: what a quiet room leaves, far below every threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How a clip is written: the end of its name and ffmpeg's options for picture and sound."""

    suffix: str
    picture: tuple[str, ...]
    sound: tuple[str, ...] = ("-c:a", "aac", "-b:a", "128k")


def _x264(*options: str, gop: int = 60, bframes: int = 0, params: str = "scenecut=0") -> tuple[str, ...]:
    return (
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-pix_fmt", "yuv420p"),
        *("-g", str(gop), "-bf", str(bframes), "-x264-params", params),
        *options,
    )  # fmt: skip


_PCM = ("-c:a", "pcm_s16le")
_MPEG4 = ("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p", "-g", "60")

PLAIN = Coding(suffix=".mp4", picture=_x264())
CODINGS = {
    "closed-gop-250": Coding(suffix=".mp4", picture=_x264(gop=250, bframes=3, params="scenecut=0:open-gop=0")),
    "open-gop-60": Coding(suffix=".mp4", picture=_x264(bframes=3, params="scenecut=0:open-gop=1:b-pyramid=normal")),
    "mpeg4-avi": Coding(suffix=".avi", picture=(*_MPEG4, "-bf", "2", "-vtag", "XVID"), sound=_PCM),
    "hevc": Coding(
        suffix=".mp4",
        picture=(
            *("-c:v", "libx265", "-preset", "ultrafast", "-crf", "20", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"),
            *("-x265-params", "log-level=error:keyint=60:bframes=3:open-gop=1:pools=2"),
        ),
    ),
    "mpeg-ts": Coding(suffix=".ts", picture=_x264(bframes=3)),
    "mjpeg-avi": Coding(suffix=".avi", picture=("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj422p"), sound=_PCM),
}
"""The ways of writing that a reader of frames may stumble over."""


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
    noise: float = _NOISE_LEVEL,
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
    sound = _Sound(
        rate=audio_rate,
        start=Fraction(audio_offset_ms, 1000),
        end=start + frames / rate,
        marks=[(event.time, beep(audio_rate)) for event in events],
        noise=noise,
    )
    _write(path, _Film(numbers=numbers, lit=lit, rate=rate, size=size, start=start), [sound], coding)
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
    film = _Film(numbers=numbers, rate=rate, size=size, start=start, rotation=rotation)
    _write(path, film, sounds, coding)
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
    return numbered_clip(path, frames=frames, size=(853, 479), coding=Coding(suffix=".mp4", picture=_MPEG4))


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
    _write(path, _Film(numbers=numbers, rate=rate, size=SIZE), sounds, coding)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Film:
    """The picture track: which numbers are shown, and how."""

    numbers: Frames
    lit: Frames = field(default_factory=lambda: np.zeros(0, np.int64))
    """Numbers at which a flash begins."""
    rate: Fraction
    size: tuple[int, int]
    """Displayed width and height."""
    start: Fraction = Fraction(0)
    rotation: int = 0

    @property
    def is_even(self) -> bool:
        """Whether no frame is missing."""
        return len(self.numbers) == int(self.numbers[-1]) + 1

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the stored pictures."""
        return (self.size[1], self.size[0]) if self.rotation % 180 else self.size

    def blocks(self) -> Iterator[Pictures]:
        """Yield the pictures as they are stored, some at a time."""
        lit = np.isin(self.numbers, self.lit[:, None] + np.arange(_FLASH_FRAMES))
        for first in range(0, len(self.numbers), _BLOCK_FRAMES):
            block = slice(first, first + _BLOCK_FRAMES)
            yield np.rot90(draw_pictures(self.numbers[block], lit[block], self.size), -self.rotation // 90, axes=(1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sound:
    """One sound track: what is heard when, from ``start`` to ``end`` on the container's clock."""

    rate: int = AUDIO_RATE
    start: Fraction = Fraction(0)
    end: Fraction
    marks: list[tuple[Fraction, Samples]] = field(default_factory=list)
    noise: float = _NOISE_LEVEL

    def blocks(self) -> Iterator[bytes]:
        """Yield the samples as s16, some seconds at a time."""
        random = np.random.default_rng(7)
        length = _BLOCK_S * self.rate
        hiss = np.clip(random.normal(0, self.noise / 3, length), -self.noise, self.noise) * 32767
        marks = [(round_half_up((time - self.start) * self.rate), samples) for time, samples in self.marks]
        total = round_half_up((self.end - self.start) * self.rate)
        for first in range(0, total, length):
            block = hiss[: min(length, total - first)].copy()
            for at, samples in marks:
                left, right = max(at, first), min(at + len(samples), first + len(block))
                if left < right:
                    block[left - first : right - first] += samples[left - at : right - at]
            yield np.clip(np.round(block), -32768, 32767).astype("<i2").tobytes()


def _tones(
    loud: Sequence[Range],
    *,
    rate: Fraction,
    end: Fraction,
    start: Fraction = Fraction(0),
    audio_rate: int = AUDIO_RATE,
) -> _Sound:
    """Return a sound track that is loud during the frames ``loud`` of a picture that begins at ``start``."""
    marks = [
        (start + first / rate, tone(audio_rate, round_half_up((last - first) / rate * audio_rate)))
        for first, last in loud
    ]
    return _Sound(rate=audio_rate, end=end, marks=marks)


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


def _write(path: Path, film: _Film, sounds: Sequence[_Sound], coding: Coding) -> None:
    """Write the file: one ffmpeg fed with raw pictures and samples; uneven times are encoded beforehand."""
    if path.suffix != coding.suffix:
        raise ValueError(f"{path.name} must end in {coding.suffix}")
    feeds = [Feed(placeholder=f"{_SOUND}{index}", blocks=sound.blocks) for index, sound in enumerate(sounds)]
    args = ["-itsoffset", f"{float(film.start):.6f}"]
    uneven = path.with_name(f"{path.stem}.uneven.mp4")
    if film.is_even:
        feeds.append(Feed(placeholder=_PICTURE, blocks=lambda: (block.tobytes() for block in film.blocks())))
        size = "x".join(map(str, film.stored_size))
        args += [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-video_size",
            size,
            "-framerate",
            str(film.rate),
            "-i",
            _PICTURE,
        ]
        outputs = ["-map", "0:v", "-fps_mode", "passthrough", *coding.picture]
    else:
        _encode_uneven(uneven, film)
        args += ["-i", str(uneven)]
        outputs = ["-map", "0:v", "-c:v", "copy"]
    for index, sound in enumerate(sounds):
        args += ["-f", "s16le", "-ar", str(sound.rate), "-ch_layout", "mono", "-i", f"{_SOUND}{index}"]
        outputs += ["-map", f"{index + 1}:a"]
        if sound.start:  # ffmpeg ignores -itsoffset for raw samples
            outputs += [f"-filter:a:{index}", f"asetpts=PTS+{float(sound.start):.6f}/TB"]
    _ffmpeg([*args, *outputs, *coding.sound, str(path)], path.parent, feeds)
    uneven.unlink(missing_ok=True)
    if film.rotation:
        lying = path.rename(path.with_name(f"{path.stem}.lying{path.suffix}"))
        turn = ["-display_rotation:v:0", str(film.rotation), "-i", str(lying)]
        _ffmpeg([*turn, "-map", "0", "-c", "copy", str(path)], path.parent)
        lying.unlink()


def _encode_uneven(path: Path, film: _Film) -> None:
    """Write the picture alone, each frame at its own place on the grid."""
    times = iter(film.numbers.tolist())
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=film.rate, options={"preset": "ultrafast", "crf": "20", "bf": "0"}
        )
        stream.width, stream.height = film.stored_size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / film.rate
        for block in film.blocks():
            for grey in block:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = next(times), 1 / film.rate
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _ffmpeg(args: Sequence[str], cwd: Path, feeds: Sequence[Feed] = ()) -> None:
    run_ffmpeg(["-v", "error", "-y", *args], ffmpeg=find_ffmpeg(), cwd=cwd, feeds=feeds)


def _box_start(data: bytes, kind: bytes) -> int:
    """Return where the top-level box ``kind`` of an MP4 begins."""
    at = 0
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == kind:
            return at
        at += int.from_bytes(data[at : at + 4])
    raise ValueError(f"no {kind.decode()} box")
