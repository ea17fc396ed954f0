"""Sound decoded once: which tracks are delivered, where they end, and what the recogniser gets of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import Sound, choose_tracks, decode_audio
from pipeline.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.models import AudioStream, RunContext
from pipeline.probe import probe


def stream(index: int, *, is_default: bool = False) -> AudioStream:
    return AudioStream(
        index=index, codec="aac", sample_rate=48000, channels=1, layout="mono", language=None, is_default=is_default
    )


@pytest.mark.parametrize(
    ("asked", "chosen"), [(None, (1,)), (0, (0, 1, 2)), (1, (0,)), (2, (1,)), (3, (2,)), (4, (1,))]
)
def test_the_tracks_to_deliver(asked: int | None, chosen: tuple[int, ...]) -> None:
    assert choose_tracks([stream(1), stream(3, is_default=True), stream(4)], asked) == chosen


def test_without_a_default_the_first_track_is_delivered_and_of_none_none() -> None:
    assert choose_tracks([stream(1), stream(2)], None) == (0,)
    assert choose_tracks([], 1) == ()


def decode(folder: Path, sounds: list[str], *options: str) -> Sound:
    """Decode one second of picture with ``sounds`` (lavfi sources), all delivered."""
    args = ["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=30:duration=1"]
    for source in sounds:
        args += ["-f", "lavfi", "-i", source]
    maps = [part for number in range(len(sounds) + 1) for part in ("-map", str(number))]
    run_ffmpeg([*args, *maps, "-pix_fmt", "yuv420p", *options, "clip.mp4"], ffmpeg=find_ffmpeg(), cwd=folder)
    found = probe(folder / "clip.mp4")
    return decode_audio(
        folder / "clip.mp4",
        found.audio,
        origin=found.video.first_frame,
        duration_ms=found.duration_ms,
        delivered=range(len(sounds)),
        ctx=RunContext(workdir=folder),
    )


@pytest.mark.parametrize("length", [22050, 30001, 44100])
def test_what_fills_up_the_last_packet_is_no_sound(tmp_path: Path, length: int) -> None:
    """AAC comes in packets of 1024 samples; the container says how much of the last one counts."""
    sound = decode(tmp_path, [f"sine=sample_rate=44100,atrim=end_sample={length}"], "-c:a", "aac")
    assert sound.tracks[0].samples == length
    assert sound.tracks[0].path.stat().st_size == 2 * length


def test_two_loud_tracks_are_clipped_for_the_recogniser(tmp_path: Path) -> None:
    """Together they exceed 16 bits: wrapped samples would be noise."""
    loud = "aevalsrc=0.9*sin(2*PI*100*t):s=16000:d=1"
    sound = decode(tmp_path, [loud, loud], "-c:a", "alac")
    assert sound.speech is not None
    mixed = np.fromfile(sound.speech, "<i2").astype(np.int32)
    assert len(mixed) == sound.speech_samples == 16000
    wanted = np.clip(1.8 * 32768 * np.sin(2 * np.pi * 100 * np.arange(16000) / 16000), -32768, 32767)
    assert np.abs(mixed - wanted).max() < 10
