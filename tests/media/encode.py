"""Writes test clips: one ffmpeg fed with drawn pictures and made samples, whatever the container and the codec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg
from pipeline.timeline import round_half_up
from tests.media.codes import Pictures, Samples, draw_pictures

AUDIO_RATE = 48000
NOISE_LEVEL = 0.001
"""-60 dB: what a quiet room leaves, far below every threshold."""

Frames = npt.NDArray[np.int64]
"""Numbers of frames."""

_PICTURE, _SOUND = "{picture}", "{sound}"
_BLOCK_FRAMES = 256
_BLOCK_S = 10
_FLASH_FRAMES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How a clip is written: the end of its name and ffmpeg's options for picture and sound."""

    suffix: str
    picture: tuple[str, ...]
    sound: tuple[str, ...] = ("-c:a", "aac", "-b:a", "128k")


def _x264(*, gop: int = 60, bframes: int = 0, params: str = "scenecut=0") -> tuple[str, ...]:
    return (
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-pix_fmt", "yuv420p"),
        *("-g", str(gop), "-bf", str(bframes), "-x264-params", params),
    )


_PCM = ("-c:a", "pcm_s16le")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p", "-g", "60")

PLAIN = Coding(suffix=".mp4", picture=_x264())
CODINGS = {
    "closed-gop-250": Coding(suffix=".mp4", picture=_x264(gop=250, bframes=3, params="scenecut=0:open-gop=0")),
    "open-gop-60": Coding(suffix=".mp4", picture=_x264(bframes=3, params="scenecut=0:open-gop=1:b-pyramid=normal")),
    "mpeg4-avi": Coding(suffix=".avi", picture=(*MPEG4, "-bf", "2", "-vtag", "XVID"), sound=_PCM),
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
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
class SoundTrack:
    """One sound track: what is heard when, from ``start`` to ``end`` on the container's clock."""

    rate: int = AUDIO_RATE
    start: Fraction = Fraction(0)
    end: Fraction
    marks: list[tuple[Fraction, Samples]] = field(default_factory=list)
    noise: float = NOISE_LEVEL

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


def write_clip(path: Path, film: Film, sounds: Sequence[SoundTrack], coding: Coding) -> None:
    """Write the file: one ffmpeg fed with raw pictures and samples; uneven times are encoded beforehand."""
    if path.suffix != coding.suffix:
        raise ValueError(f"{path.name} must end in {coding.suffix}")
    feeds = [Feed(placeholder=f"{_SOUND}{index}", blocks=sound.blocks) for index, sound in enumerate(sounds)]
    args = ["-itsoffset", f"{float(film.start):.6f}"]
    uneven = path.with_name(f"{path.stem}.uneven.mp4")
    if film.is_even:
        feeds.append(Feed(placeholder=_PICTURE, blocks=lambda: (block.tobytes() for block in film.blocks())))
        size = "x".join(map(str, film.stored_size))
        args += ["-f", "rawvideo", "-pix_fmt", "gray", "-video_size", size]
        args += ["-framerate", str(film.rate), "-i", _PICTURE]
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


def _encode_uneven(path: Path, film: Film) -> None:
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
