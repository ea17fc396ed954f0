"""The recordings that are measured: a voice with pauses over a picture as a camera takes it. Cached, never fetched.

The picture is drawn by numpy: a textured wall under a slow camera, a speaker who sways and talks, and noise that is new
in every frame. Thirty seconds of it are encoded once at a camera's bit rate; all its movements end where they began, so
a talk of any length repeats them (whole closed GOPs, copied), and each talk brings its own sound.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.espeak import VOICE_RATE, Samples, speak
from pipeline.ffmpeg import Feed, run_ffmpeg
from pipeline.options import DEFAULT_PACE, PACES
from tests.media.speech import talk, trim_edges

RATE = 30
SIZE = (1920, 1080)
LOOP_S = 30
"""Talks are whole multiples of this."""
KEPT_SHARE = 0.4
NOISY_S = 10

_RECIPE = 1
"""Part of every file name; a change of what is made here raises it."""
_CAMERA_BITS = 10_000_000
_CAMERA_NOISE, _DARK_NOISE = 3.0, 5.0
"""Standard deviation of luma, in steps of 255: a lit room, and a phone in the dark."""
_ROOM_DBFS = -60.0
_MARGIN_S = sum(PACES[DEFAULT_PACE].margin_ms) / 1000
_SHORTEST_S = 0.25
_CANDIDATES = 8

Plane = npt.NDArray[np.int16]

_SUBJECTS = (
    "the camera", "our editor", "a good talk", "the second chapter", "this machine", "every picture", "the microphone",
    "my old teacher", "the whole team", "a short pause", "the audience", "one simple rule", "the finished video",
)  # fmt: skip
_VERBS = (
    "follows", "changes", "explains", "keeps", "removes", "measures", "repeats", "carries", "remembers", "improves",
    "opens", "needs",
)  # fmt: skip
_OBJECTS = (
    "the next question", "a long silence", "the first minute", "all the numbers", "a simple example", "the same idea",
    "every single word", "our last meeting", "a better answer", "the summer programme", "the quiet room",
)  # fmt: skip
_ENDINGS = (
    "", "today", "before lunch", "without any trouble", "when nobody is looking", "because the light is better",
    "in the middle of the afternoon", "as we have seen in the other recordings of this week",
)  # fmt: skip
_WORDS = (
    "Yes", "Right", "Good", "Perhaps", "Tomorrow", "Welcome", "Remember", "Seven", "Eleven", "Question", "Again",
    "Water", "Garden", "Window", "Monday", "Summer", "Music", "Paper", "Table", "Village", "Exactly", "Finally",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkSpec:
    """What a talk is like."""

    minutes: float
    pieces_per_10_minutes: int

    @property
    def seconds(self) -> int:
        """Length: whole repetitions of the picture."""
        return max(1, round(self.minutes * 60 / LOOP_S)) * LOOP_S

    @property
    def pieces(self) -> int:
        """Utterances with a pause worth cutting between them."""
        return max(2, round(self.pieces_per_10_minutes * self.seconds / 600))

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"talk-{self.seconds}s-{self.pieces}-r{_RECIPE}"


def make_talk(spec: TalkSpec, folder: Path, ffmpeg: Path) -> Path:
    """Return the talk as an MP4 in ``folder``, made unless it is there."""
    target = folder / f"{spec.name}.mp4"
    if target.is_file():
        return target
    picture = _make_picture(folder / f"picture-{LOOP_S}s-r{_RECIPE}.mp4", LOOP_S, _CAMERA_NOISE, ffmpeg)
    listing, partial = folder / f"{spec.name}.txt", folder / f"{spec.name}.part"
    listing.write_text(f"file '{picture.name}'\n" * (spec.seconds // LOOP_S), encoding="utf-8")
    sound = say(spec)
    run_ffmpeg(
        [
            *("-v", "error", "-y", "-f", "concat", "-i", listing.name),
            *("-f", "s16le", "-ar", str(VOICE_RATE), "-ch_layout", "mono", "-i", "{sound}"),
            *("-map", "0:v", "-map", "1:a", "-c:v", "copy"),
            *("-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2", "-f", "mp4", partial.name),
        ],
        ffmpeg=ffmpeg,
        cwd=folder,
        feeds=[Feed(placeholder="{sound}", blocks=lambda: [sound.tobytes()])],
    )
    listing.unlink()
    return partial.replace(target)


def make_noisy_clip(folder: Path, ffmpeg: Path) -> Path:
    """Return ten seconds of the same picture with the noise of a dark room, hardly compressed."""
    target = folder / f"noisy-{NOISY_S}s-r{_RECIPE}.mp4"
    return _make_picture(target, NOISY_S, _DARK_NOISE, ffmpeg, options=("-crf", "10"))


def say(spec: TalkSpec) -> Samples:
    """Return the sound of a talk, mono at `VOICE_RATE`: utterances and pauses, so that `KEPT_SHARE` of it is kept."""
    chance = random.Random(f"{spec.name}")
    wanted_s = max(_SHORTEST_S, KEPT_SHARE * spec.seconds / spec.pieces - _MARGIN_S)
    phrases = [_find_phrase(chance, wanted_s) for _ in range(spec.pieces)]
    silence_s = spec.seconds - sum(map(_length_s, phrases))
    weights = [chance.uniform(0.6, 1.4) for _ in range(spec.pieces + 1)]
    pauses_ms = [int(1000 * silence_s * weight / sum(weights)) for weight in weights]
    samples = talk(phrases, pauses_ms, noise_dbfs=_ROOM_DBFS, seed=1).samples
    missing = spec.seconds * VOICE_RATE - len(samples)
    return np.pad(samples, (0, max(0, missing)), mode="wrap")[: spec.seconds * VOICE_RATE]


def _find_phrase(chance: random.Random, wanted_s: float) -> str:
    phrases = [_make_phrase(chance, wanted_s) for _ in range(_CANDIDATES)]
    return min(phrases, key=lambda phrase: abs(_length_s(phrase) - wanted_s))


def _make_phrase(chance: random.Random, wanted_s: float) -> str:
    if wanted_s < 1:
        return f"{chance.choice(_WORDS)}."
    clauses = [
        " ".join(map(chance.choice, (_SUBJECTS, _VERBS, _OBJECTS, _ENDINGS))).strip()
        for _ in range(max(1, round(wanted_s / 3.4)))
    ]
    return f"{' and '.join(clauses).capitalize()}."


def _length_s(phrase: str) -> float:
    return len(trim_edges(speak(phrase))) / VOICE_RATE


def _make_picture(target: Path, seconds: int, noise: float, ffmpeg: Path, options: Sequence[str] = ()) -> Path:
    if target.is_file():
        return target
    partial = target.with_suffix(".part")
    camera = ("-b:v", str(_CAMERA_BITS), "-maxrate", str(_CAMERA_BITS * 6 // 5), "-bufsize", str(2 * _CAMERA_BITS))
    run_ffmpeg(
        [
            *("-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
            *("-video_size", f"{SIZE[0]}x{SIZE[1]}", "-framerate", str(RATE), "-i", "{picture}"),
            *("-c:v", "libx264", "-preset", "veryfast", "-g", str(2 * RATE), *(options or camera)),
            *("-f", "mp4", partial.name),
        ],
        ffmpeg=ffmpeg,
        cwd=target.parent,
        feeds=[Feed(placeholder="{picture}", blocks=lambda: draw_frames(seconds, noise))],
    )
    return partial.replace(target)


def draw_frames(seconds: int, noise: float) -> Iterator[bytes]:
    """Yield the frames of the picture, yuv420p; it ends as it began but for the noise, whose deviation is ``noise``."""
    width, height = SIZE
    dice = np.random.default_rng(7)
    reach = 32
    wall = [
        _draw_texture(dice, height + reach, width + reach, mean=130),
        _draw_texture(dice, (height + reach) // 2, (width + reach) // 2, mean=124, depth=0.2),
    ]
    speaker = _Speaker(dice)
    grain = [
        np.rint(dice.normal(0, deviation, (height // k + 200, width // k + 200))).astype(np.int16)
        for k, deviation in ((1, noise), (2, noise / 3), (2, noise / 3))
    ]
    for number in range(seconds * RATE):
        turn = 2 * np.pi * number / (seconds * RATE)
        right, down = (int(reach // 2 * (1 + wave)) // 2 * 2 for wave in (np.sin(turn), np.sin(2 * turn)))
        planes = [
            wall[0][down : down + height, right : right + width].copy(),
            *(wall[1][down // 2 :, right // 2 :][: height // 2, : width // 2] + shift for shift in (4, -6)),
        ]
        speaker.draw(planes, number, turn)
        frame = []
        for plane, film in zip(planes, grain, strict=True):
            top, left = (int(at) for at in dice.integers(0, 200, 2))
            plane += film[top : top + plane.shape[0], left : left + plane.shape[1]]
            frame.append(np.clip(plane, 16, 235).astype(np.uint8).tobytes())
        yield b"".join(frame)


def _draw_texture(dice: np.random.Generator, height: int, width: int, *, mean: int, depth: float = 1.0) -> Plane:
    """Return a surface with detail of every size: the finer, the fainter."""
    surface = np.full((height, width), float(mean))
    for cell, deviation in ((240, 30.0), (60, 12.0), (16, 7.0), (4, 4.0)):
        coarse = dice.normal(0, depth * deviation, (height // cell + 3, width // cell + 3))
        rows, columns = np.arange(height) / cell, np.arange(width) / cell
        wide = np.stack([np.interp(columns, np.arange(coarse.shape[1]), row) for row in coarse])
        upper = rows.astype(int)
        share = (rows - upper)[:, np.newaxis]
        surface += wide[upper] * (1 - share) + wide[upper + 1] * share
    return np.asarray(np.clip(np.rint(surface), 20, 230), dtype=np.int16)


class _Speaker:
    """Head and shoulders; sways through the whole picture, opens the mouth several times a second."""

    HEIGHT, WIDTH = 840, 760

    def __init__(self, dice: np.random.Generator) -> None:
        rows, columns = np.mgrid[0 : self.HEIGHT, 0 : self.WIDTH]
        head = np.hypot((rows - 300) / 260, (columns - 380) / 200)
        shoulders = np.hypot((rows - 900) / 380, (columns - 380) / 370)
        edge = np.clip((1 - np.minimum(head, shoulders)) * 40, 0, 1)
        self._cover = np.asarray(np.rint(edge * 64), dtype=np.int16)
        self._skin = _draw_texture(dice, self.HEIGHT, self.WIDTH, mean=150)
        self._skin[600:] -= 70
        self._mouth = np.hypot((rows - 420) / 34, (columns - 380) / 80) < 1

    def draw(self, planes: Sequence[Plane], number: int, turn: float) -> None:
        """Put the speaker into the planes of a frame."""
        down = int(270 + 10 * np.sin(5 * turn)) // 2 * 2
        right = int(560 + 40 * np.sin(3 * turn) + 12 * np.sin(11 * turn)) // 2 * 2
        skin = self._skin
        if number % 8 < 4:
            skin = skin.copy()
            skin[self._mouth] -= 60
        bright = planes[0][down : down + self.HEIGHT, right : right + self.WIDTH]
        bright += ((skin[: bright.shape[0]] - bright) * self._cover[: bright.shape[0]]) // 64
        for plane, tint in zip(planes[1:], (118, 142), strict=True):
            colour = plane[down // 2 :, right // 2 :][: self.HEIGHT // 2, : self.WIDTH // 2]
            colour += ((tint - colour) * self._cover[::2, ::2][: colour.shape[0]]) // 64
