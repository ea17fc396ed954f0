"""Sources that are hard to show right: strange colours, fields, matrices, tracks and gaps; and readers for them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import SideData
from av.stream import Stream

from pipeline.ffmpeg import Feed, find_ffmpeg, run_ffmpeg
from pipeline.models import PipelineResult, RunContext
from pipeline.options import Captions, CutEngine, PipelineOptions
from pipeline.run import run_pipeline
from pipeline.timeline import Range, Timeline, round_half_up
from tests.media.encode import PLAIN, Film, SoundTrack, write_clip
from tests.media.measure import Sound

Plane = npt.NDArray[np.float64]
Rgb = tuple[int, int, int]

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "12")
CARD: tuple[Rgb, ...] = (
    (200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (200, 40, 200),
    (235, 235, 235), (20, 20, 20), (128, 128, 128),
)  # fmt: skip
"""Colours of the test card, left to right: two thirds of full saturation, so that no matrix clips them."""
_PATCH = 20
_LUMA_SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""H.273 matrix: the shares of red and blue in luma (BT.709, BT.601 twice, BT.2020)."""
_UNSAID = 2
_FULL_RANGE = 2


def ffmpeg(*args: object, cwd: Path, feeds: Sequence[Feed] = ()) -> None:
    """Run ffmpeg in ``cwd``; file names may be relative to it."""
    run_ffmpeg(["-v", "error", "-y", *map(str, args)], ffmpeg=find_ffmpeg(), cwd=cwd, feeds=feeds)


def process(
    source: Path,
    workdir: Path,
    *,
    kept: Sequence[Range] | None = None,
    rate: Fraction = Fraction(30),
    frames: int = 0,
    cut: bool = False,
    audio_track: int | None = None,
) -> PipelineResult:
    """Return the result of ``source``: uncut, cut by its silence, or playing ``kept`` of ``frames`` frames."""
    timeline = None
    if kept is not None:
        timeline = workdir / "wanted.v1.json"
        timeline.write_text(Timeline.from_kept(rate, frames, kept).to_json(source.name), encoding="utf-8")
    options = PipelineOptions(
        threshold=0.04, captions=Captions.NONE, cut_engine=CutEngine.BUILTIN, cut=cut, timeline=timeline,
        audio_track=audio_track,
    )  # fmt: skip
    return run_pipeline(source, options, RunContext(workdir=workdir))


def colour_card(path: Path, *options: str, frames: int = 9) -> Path:
    """Write the test card with ffmpeg's ``options`` for filter and codec, over a quiet tone."""
    width = _PATCH * len(CARD)
    picture = np.repeat(np.array(CARD, np.uint8), _PATCH, axis=0)[None].repeat(90, axis=0)
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x90", "-framerate", 30, "-i", "card"),
        *("-f", "lavfi", "-i", f"sine=440:duration={frames / 30}", *options, path),
        cwd=path.parent,
        feeds=[Feed(placeholder="card", blocks=lambda: [picture.tobytes()] * frames)],
    )
    return path


def read_planes(path: Path, number: int | None = None) -> tuple[av.VideoFrame, list[Plane]]:
    """Return one 8-bit planar frame of the first picture track (the middle one) and its planes as they are stored."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    frame = frames[len(frames) // 2 if number is None else number]
    assert frame.format.name in ("yuv420p", "yuvj420p", "gray"), frame.format.name
    planes = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return frame, [
        rows[: plane.height, : plane.width].astype(np.float64) for rows, plane in zip(planes, frame.planes, strict=True)
    ]


def card_luma(path: Path) -> list[float]:
    """Return the stored luma in the middle of each patch of the test card."""
    _, (luma, *_) = read_planes(path)
    return [float(luma[20:70, at + 6 : at + 14].mean()) for at in range(0, _PATCH * len(CARD), _PATCH)]


def card_colours(path: Path) -> list[Rgb]:
    """Return the colours that a player shows for the patches of a limited-range card, by the matrix the file names.

    A file that names none is read as BT.601, as everyone does with pictures this small.
    """
    frame, (_, blue, red) = read_planes(path)
    assert int(frame.color_range) != _FULL_RANGE
    matrix = int(frame.colorspace)
    kr, kb = _LUMA_SHARES[6 if matrix == _UNSAID else matrix]
    colours: list[Rgb] = []
    for number, luma in enumerate(card_luma(path)):
        at = number * _PATCH // 2
        cb, cr = ((float(plane[10:35, at + 3 : at + 7].mean()) - 128) / 224 for plane in (blue, red))
        y = (luma - 16) / 219
        r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        g = (y - kr * r - kb * b) / (1 - kr - kb)
        colours.append((round(255 * r), round(255 * g), round(255 * b)))
    return colours


def display_matrix(path: Path) -> tuple[int, int, int, int]:
    """Return a, b, c, d of the display matrix: x' = ax + cy, y' = bx + dy (ISO 14496-12, 6.2.2); identity if none."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        data = frame.side_data.get("DISPLAYMATRIX")
        if isinstance(data, SideData):
            a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])
            return a // 65536, b // 65536, c // 65536, d // 65536
    return 1, 0, 0, 1


def undo_matrix(shown: npt.NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """Return the stored picture of one that is ``shown`` by ``matrix`` (quarter turns and mirrors)."""
    a, b, c, d = matrix
    turned = a == 0
    flip_x, flip_y = ((c, b) if turned else (a, d)) if (a, b, c, d) else (1, 1)
    shown = shown[:, ::-1] if flip_x < 0 else shown
    shown = shown[::-1] if flip_y < 0 else shown
    return shown.T if turned else shown


def combing(luma: Plane) -> float:
    """Return by how much the lines differ from the mean of their neighbours: fields of two times do, wholes do not."""
    return float(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())


def burst_clip(path: Path, pattern: Sequence[tuple[float, int]]) -> tuple[Path, list[int]]:
    """Write frames on a grid of 60 a second: for each (seconds, step) one in ``step``; return their numbers, too."""
    numbers: list[int] = []
    at = 0
    for seconds, step in pattern:
        length = round(seconds * 60)
        numbers += range(at, at + length, step)
        at += length
    film = Film(numbers=np.array(numbers, np.int64), rate=Fraction(60), size=(160, 90))
    write_clip(path, film, [SoundTrack(end=Fraction(at, 60))], PLAIN)
    return path, numbers


def sound_clip(path: Path, samples: Sequence[str], *options: object, rate: int, layout: str, frames: int = 60) -> Path:
    """Write a small moving picture over one expression a channel (see ffmpeg's ``aevalsrc``)."""
    seconds = frames / 30
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=160x90:r=30:d={seconds}"),
        *("-f", "lavfi", "-i", f"aevalsrc='{'|'.join(samples)}':c={layout}:s={rate}:d={seconds}"),
        *(*X264, "-pix_fmt", "yuv420p", *options, path),
        cwd=path.parent,
    )
    return path


def drop_sound(source: Path, target: Path, gaps: Sequence[tuple[float, float]]) -> Path:
    """Write ``source`` without the sound packets that begin inside ``gaps`` (seconds)."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams: dict[int, Stream] = {}
        for stream in (*old.streams.video, *old.streams.audio):
            streams[stream.index] = new.add_stream_from_template(stream)
        for packet in old.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            time = float(packet.pts * packet.time_base)
            if packet.stream.type == "audio" and any(start <= time < end for start, end in gaps):
                continue
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return target


def channel_levels(path: Path, start: float, end: float) -> list[float]:
    """Return the level of each channel between two times, in dB of a full-scale sine's RMS."""
    blocks = []
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].codec_context.sample_rate
        for frame in container.decode(audio=0):
            blocks.append(frame.to_ndarray())
    heard = np.concatenate(blocks, axis=1)[:, round(start * rate) : round(end * rate)].astype(np.float64)
    return [float(20 * np.log10(np.sqrt(2 * np.mean(channel**2)) + 1e-9)) for channel in heard]


def tone_levels(sound: Sound, hertz: Sequence[float], start: float, end: float) -> list[float]:
    """Return how loud each of some tones is between two times, in dB of full scale."""
    heard = sound.between(start, end).astype(np.float64) / 32768
    window = np.hanning(len(heard))
    at = np.arange(len(heard)) / sound.sample_rate
    return [
        float(20 * np.log10(2 * abs(np.sum(heard * window * np.exp(-2j * np.pi * tone * at))) / window.sum() + 1e-9))
        for tone in hertz
    ]


def pitch(sound: Sound, start: float, end: float) -> float:
    """Return the frequency of the loudest tone between two times, to a few hundredths of a hertz."""
    heard = sound.between(start, end).astype(np.float64)
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), size))
    return float(int(spectrum.argmax()) * sound.sample_rate / size)


def high_pass(samples: npt.NDArray[np.float64], rate: int, hertz: float) -> npt.NDArray[np.float64]:
    """Return what of ``samples`` lies above ``hertz``: a click is there, slow waves are not."""
    spectrum = np.fft.rfft(samples)
    spectrum[: round_half_up(Fraction(hertz) * len(samples) / rate)] = 0
    return np.asarray(np.fft.irfft(spectrum, len(samples)), dtype=np.float64)
