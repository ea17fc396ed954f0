"""The test material, read back before anything is cut: what it says must be true, or no other test means much."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tests.media import clips
from tests.media.codes import UNREADABLE, draw_pictures, read_picture
from tests.media.encode import CODINGS, Coding
from tests.media.measure import (
    beep_times,
    find_beeps,
    find_flashes,
    flash_times,
    read_frames,
    read_numbers,
    read_sound,
)

EVENTS, DURATION_S = 8, 20
HALF_MS = 0.0005


@pytest.mark.parametrize("size", [(160, 90), (90, 160), (853, 479), (64, 48)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_drawn_number_reads_as_itself(size: tuple[int, int]) -> None:
    numbers = np.array([0, 1, 2, 0x55555, 0xAAAAA, (1 << 20) - 1, 123456])
    lit = np.arange(len(numbers)) % 2 == 0
    for picture, number, is_lit in zip(draw_pictures(numbers, lit, size), numbers, lit, strict=True):
        assert read_picture(picture) == (number, is_lit)


def test_a_picture_that_is_no_frame_is_unreadable() -> None:
    one, other = draw_pictures(np.array([1000, 2047]), np.array([False, False]), (160, 90))
    blend = ((one.astype(np.int64) + other) // 2).astype(np.uint8)
    for picture in (np.zeros_like(one), np.full_like(one, 255), blend, one[::-1]):
        assert read_picture(picture).number == UNREADABLE


@pytest.mark.parametrize("shape", clips.SHAPES.values(), ids=clips.SHAPES)
def test_flashes_and_beeps_are_where_the_truth_says(shape: clips.Shape, tmp_path: Path) -> None:
    clip = shape.make(tmp_path, n_events=EVENTS, duration_s=DURATION_S)
    frames = read_frames(clip.path)
    assert [frame.number for frame in frames] == list(clip.numbers)
    origin = frames[0].time - clip.picture_start  # MPEG-TS begins where it likes
    assert [frame.time - origin for frame in frames] == [clip.time_of(number) for number in clip.numbers]
    truth = [float(event.time + origin) for event in clip.events]
    assert flash_times(frames) == pytest.approx(truth, abs=1e-6)
    assert find_beeps(clip.path) == pytest.approx(truth, abs=HALF_MS)
    assert len(clip.events) == EVENTS


def test_late_starts_are_in_the_file(tmp_path: Path) -> None:
    sound_late = clips.SHAPES["sound-late"].make(tmp_path, n_events=EVENTS, duration_s=DURATION_S)
    sound = read_sound(sound_late.path)
    assert read_frames(sound_late.path)[0].time == 0
    assert float(sound.start) == pytest.approx(0.8, abs=0.025)  # AAC's priming precedes it
    assert np.abs(sound.between(sound.start, sound.start + Fraction(1, 100))).max() <= 100
    picture_late = clips.SHAPES["picture-late"].make(tmp_path, n_events=EVENTS, duration_s=DURATION_S)
    assert read_frames(picture_late.path)[0].time == Fraction(1, 2)
    assert read_sound(picture_late.path).start == 0


def test_a_variable_rate_is_uneven(tmp_path: Path) -> None:
    clip = clips.SHAPES["vfr"].make(tmp_path, n_events=EVENTS, duration_s=DURATION_S)
    assert 0.25 < 1 - len(clip.numbers) / clip.grid_frames < 0.45
    assert {after - before for before, after in pairwise(clip.numbers)} >= {1, 2, 3, 4}
    assert {event.frame for event in clip.events} <= set(clip.numbers)
    assert clip.shown_at(clip.numbers[5]) == clip.numbers[5]
    hole = next(before for before, after in pairwise(clip.numbers) if after > before + 1)
    assert clip.shown_at(hole + 1) == hole


def test_events_at_given_moments(tmp_path: Path) -> None:
    moments = [500, 1234, 3000]
    clip = clips.flash_beep_clip(
        tmp_path / "clip.mp4", rate=Fraction(25), duration_s=4, events_ms=moments, audio_rate=44100, noise=0
    )
    assert [event.time_ms for event in clip.events] == [520, 1240, 3000]
    assert find_flashes(clip.path) == pytest.approx([0.52, 1.24, 3.0], abs=1e-6)
    assert find_beeps(clip.path) == pytest.approx([0.52, 1.24, 3.0], abs=HALF_MS)


def test_a_beep_that_lost_its_start_is_no_beep(tmp_path: Path) -> None:
    clip = clips.flash_beep_clip(tmp_path / "clip.mp4", rate=Fraction(30), duration_s=4, events_ms=[1000, 2000])
    sound = read_sound(clip.path)
    samples = sound.samples.copy()
    samples[: round(1.030 * sound.sample_rate)] = 0
    assert beep_times(sound._replace(samples=samples)) == pytest.approx([2.0], abs=HALF_MS)


def test_the_same_call_makes_the_same_clip(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (
        clips.SHAPES["vfr"].make(tmp_path / name, n_events=EVENTS, duration_s=DURATION_S) for name in ("one", "other")
    )
    assert one.events == other.events
    assert one.numbers == other.numbers
    assert one.path.read_bytes() == other.path.read_bytes()


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
def test_numbers_read_back_from_every_coding(coding: Coding, tmp_path: Path) -> None:
    clip = clips.numbered_clip(tmp_path / f"clip{coding.suffix}", coding=coding)
    frames = read_frames(clip.path)
    assert [frame.number for frame in frames] == list(range(300))
    assert [frame.time - frames[0].time for frame in frames] == pytest.approx([n / 30 for n in range(300)], abs=1e-4)
    sound = read_sound(clip.path)
    for first, last in clip.loud:
        heard = sound.between(frames[0].time + first / clip.rate, frames[0].time + last / clip.rate)
        assert np.abs(heard).max() > 10_000
    quiet = sound.between(frames[0].time, frames[0].time + Fraction(1, 2))
    assert np.abs(quiet).max() < 200


def test_codings_are_what_they_are_called(tmp_path: Path) -> None:
    """Leading pictures make a GOP open; pictures out of order are B-frames."""
    leading, keys = {}, {}
    for name, coding in CODINGS.items():
        path = clips.numbered_clip(tmp_path / f"{name}{coding.suffix}", coding=coding, audio=False).path
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        with av.open(str(path)) as container:
            kinds = {PictureType(frame.pict_type) for frame in container.decode(video=0)}
        assert (PictureType.B in kinds) is (name != "mjpeg-avi"), name
        keys[name] = sum(packet.is_keyframe for packet in packets)
        after_key = [(a, b) for a, b in pairwise(packets) if a.is_keyframe and a.pts is not None and b.pts is not None]
        leading[name] = sum(1 for key, packet in after_key if (packet.pts or 0) < (key.pts or 0))
    assert keys["closed-gop-250"] == 2 and leading["closed-gop-250"] == 0
    assert keys["open-gop-60"] >= 5 and leading["open-gop-60"] >= 4
    assert leading["hevc"] >= 1


def test_special_clips(tmp_path: Path) -> None:
    mute = clips.mute_clip(tmp_path / "mute.mp4")
    with av.open(str(mute.path)) as container:
        assert not container.streams.audio
    silent = clips.silent_clip(tmp_path / "silent.mp4")
    assert np.abs(read_sound(silent.path).samples).max() < 100
    odd = clips.odd_size_clip(tmp_path / "odd.mp4", frames=10)
    assert read_numbers(odd.path) == list(range(10))
    with av.open(str(odd.path)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (853, 479)
    single = clips.one_frame_clip(tmp_path / "one.mp4")
    assert read_numbers(single.path) == [0]
    awkward = clips.numbered_clip(tmp_path / clips.AWKWARD_NAME, frames=5)
    assert read_numbers(awkward.path) == list(range(5))
    long = clips.long_sound_clip(tmp_path / "long.mp4")
    assert len(read_frames(long.path)) == 90
    assert float(read_sound(long.path).end) == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_clip_asks_to_be_turned(degrees: int, tmp_path: Path) -> None:
    clip = clips.rotated_clip(tmp_path / "turned.mp4", degrees=degrees, frames=10)
    assert read_numbers(clip.path) == list(range(10))
    with av.open(str(clip.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == ((90, 160) if degrees == 180 else (160, 90))
        assert frame.rotation % 360 == degrees


def test_two_tracks_are_loud_in_turn(tmp_path: Path) -> None:
    clip, german = clips.two_track_clip(tmp_path / "two.mp4")
    with av.open(str(clip.path)) as container:
        assert [stream.metadata["language"] for stream in container.streams.audio] == ["eng", "deu"]
    for track, own, other in ((0, clip.loud, german), (1, german, clip.loud)):
        sound = read_sound(clip.path, track=track)
        (first, last), (first_other, last_other) = own[0], other[0]
        assert np.abs(sound.between(first / clip.rate, last / clip.rate)).max() > 10_000
        assert np.abs(sound.between(first_other / clip.rate, last_other / clip.rate)).max() < 100


def test_broken_files_are_broken(tmp_path: Path) -> None:
    assert clips.zero_byte_file(tmp_path / "zero.mp4").stat().st_size == 0
    for path in (clips.text_file(tmp_path / "text.mp4"), clips.headless_clip(tmp_path / "headless.mp4")):
        with pytest.raises(av.error.InvalidDataError):
            av.open(str(path))
    truncated = clips.truncated_clip(tmp_path / "truncated.mp4")
    shown = []
    with av.open(str(truncated)) as container, pytest.raises(StopIteration):
        frames = container.decode(video=0)
        while True:
            shown.append(next(frames))
    assert 0 < len(shown) < 300
