"""How loud every frame is, sample for sample by auto-editor's rule, and where noise ends and speech begins."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.audio import BLOCK_SAMPLES, Samples, Track
from pipeline.levels import (
    DEFAULT_THRESHOLD,
    FULL_SCALE,
    Levels,
    find_threshold,
    frame_bounds,
    join_levels,
    measure_levels,
    measure_waveform,
    quantise,
    to_db,
)

FPS = Fraction(30)
NTSC = Fraction(30000, 1001)
GRIDS = [
    (48000, FPS),
    (48000, NTSC),
    (44100, NTSC),
    (44100, Fraction(24000, 1001)),
    (96000, Fraction(60000, 1001)),
    (48000, Fraction(599, 20)),
    (44100, Fraction(599, 20)),
    (22050, Fraction(25)),
    (16000, Fraction(25)),
    (11025, Fraction(30)),
    (8000, Fraction(50)),
    (192000, Fraction(688, 25)),
]


def write_track(folder: Path, samples: Samples, rate: int) -> Track:
    """Store ``samples`` of shape (n, channels) as a decoded track."""
    path = folder / f"{rate}-{samples.shape[0]}-{samples.shape[1]}.s16"
    path.write_bytes(samples.astype("<i2").tobytes())
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    return Track(path=path, rate=rate, channels=samples.shape[1], layout=layout, samples=samples.shape[0])


def make_noise(samples: int, channels: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).integers(-32768, 32768, (samples, channels), dtype=np.int16)


# --- frames in samples ---


def take_chunks(samples: int, rate: int, timebase: Fraction) -> list[int]:
    """auto-editor's loop, one chunk after the other: the design's section 3, word for word."""
    exact, error, at, bounds = rate / timebase, Fraction(0), 0, [0]
    while samples - at >= ceil(exact):
        count = min(floor(exact + error + Fraction(1, 2)), ceil(exact))
        error = exact + error - count
        at += count
        bounds.append(at)
    return bounds if at == samples else [*bounds, samples]


@pytest.mark.parametrize(("rate", "timebase"), GRIDS)
def test_frames_begin_where_the_loop_puts_them(rate: int, timebase: Fraction) -> None:
    rng = random.Random(f"{rate}{timebase}")
    whole = ceil(rate / timebase)
    lengths = {0, 1, whole - 1, whole, whole + 1, 2 * whole - 1, 2 * whole, 20 * whole, 1000 * whole + 1}
    lengths |= {round(rate / timebase * frames) + by for frames in (1, 2, 3, 599, 1001) for by in (-1, 0, 1)}
    lengths |= {rng.randrange(300 * whole) for _ in range(40)}
    for samples in sorted(lengths):
        assert frame_bounds(samples, rate, timebase).tolist() == take_chunks(samples, rate, timebase), samples


def test_the_error_is_carried_on_over_hours() -> None:
    """44.1 kHz at 29.97 has 1471.47 samples a frame: after three hours the grid has lost none of them."""
    seconds = 3 * 3600
    frames = seconds * 30000 // 1001
    bounds = frame_bounds(seconds * 44100, 44100, NTSC)
    assert abs(int(bounds[frames]) - frames * 44100 * 1001 / 30000) <= 0.5
    assert bounds[-1] == seconds * 44100
    assert set(np.diff(bounds[:-1]).tolist()) == {1471, 1472}


# --- levels ---


def measure_slowly(samples: Samples, rate: int, timebase: Fraction) -> list[int]:
    bounds = take_chunks(len(samples), rate, timebase)
    levels = []
    for start, end in pairwise(bounds):
        peak = min(32767, max(abs(int(sample)) for sample in (samples[start:end].min(), samples[start:end].max())))
        levels.append(int(np.uint16(np.float32(peak) / np.float32(32767) * np.float32(65535) + np.float32(0.5))))
    return levels


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("rate", "timebase", "samples"),
    [
        (44100, NTSC, 3),
        (44100, NTSC, 5000),
        (48000, Fraction(599, 20), BLOCK_SAMPLES),
        (44100, NTSC, 2 * BLOCK_SAMPLES + 12345),  # blocks end inside frames
        (96000, Fraction(1, 4), BLOCK_SAMPLES * 2),  # a frame is longer than a block
    ],
)
def test_a_level_is_the_largest_sample_of_any_channel(
    tmp_path: Path, channels: int, rate: int, timebase: Fraction, samples: int
) -> None:
    # quiet noise with single loud samples, so that every sample of a frame decides some level
    noise = make_noise(samples, channels) // 64
    rng = random.Random(samples)
    for _ in range(200):
        noise[rng.randrange(samples), rng.randrange(channels)] = rng.choice([-32768, -32767, 32767, 9000, -20000])
    assert measure_levels(write_track(tmp_path, noise, rate), timebase).tolist() == measure_slowly(
        noise, rate, timebase
    )


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("channel", [0, 1])
def test_one_loud_sample_at_the_edge_of_a_frame_belongs_to_that_frame_alone(
    tmp_path: Path, place: str, channel: int
) -> None:
    samples = np.zeros((BLOCK_SAMPLES + 4800, 2), np.int16)
    frame = BLOCK_SAMPLES // 1600  # the one that the first block ends in
    samples[frame * 1600 if place == "first" else (frame + 1) * 1600 - 1, channel] = 16384
    levels = measure_levels(write_track(tmp_path, samples, 48000), FPS)
    assert np.flatnonzero(levels).tolist() == [frame]


@pytest.mark.parametrize(
    ("sample", "level"), [(0, 0), (1, 2), (-1, 2), (16384, 32769), (32767, 65535), (-32767, 65535), (-32768, 65535)]
)
def test_samples_are_levels_of_16_bits_and_the_lowest_one_saturates(tmp_path: Path, sample: int, level: int) -> None:
    track = write_track(tmp_path, np.full((1600, 1), sample, np.int16), 48000)
    assert measure_levels(track, FPS).tolist() == [level]


def test_an_empty_track_has_no_levels(tmp_path: Path) -> None:
    assert measure_levels(write_track(tmp_path, np.zeros((0, 2), np.int16), 48000), FPS).tolist() == []


def test_the_loudest_track_counts_and_the_longest_gives_the_length() -> None:
    one, other = np.array([5, 0, 7], np.uint16), np.array([1, 9], np.uint16)
    assert join_levels([one, other]).tolist() == [5, 9, 7]
    assert join_levels([one, other], frames=5).tolist() == [5, 9, 7, 0, 0]
    assert join_levels([one], frames=2).tolist() == [5, 0, 7]
    assert join_levels([]).tolist() == []
    assert one.tolist() == [5, 0, 7]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.0, 0),
        (0.02, 1311),  # 1310.7
        (0.04, 2621),  # 2621.4
        (10 ** (-28 / 20), 2609),  # 2608.995
        (10 ** (-19 / 20), 7353),  # 7353.2
        (0.5, 32768),  # 32767.5 goes up
        (1.0, 65535),
    ],
)
def test_thresholds_are_quantised_like_levels(level: float, expected: int) -> None:
    assert quantise(level) == expected


def test_decibels_count_from_full_scale() -> None:
    assert to_db(np.array([65535, 6554, 0], np.uint16)) == pytest.approx([0, -20, -96.33], abs=0.01)


# --- the waveform ---


def test_the_waveform_has_the_peak_of_every_tenth_of_a_second(tmp_path: Path) -> None:
    samples = np.zeros((48000, 2), np.int16)
    samples[4799, 0], samples[4800, 1], samples[30000, 0] = 32767, -32768, 256
    expected = [0] * 10
    expected[0], expected[1], expected[6] = 255, 255, 2
    assert measure_waveform([write_track(tmp_path, samples, 48000)]) == expected


def test_the_waveform_of_several_tracks_is_that_of_the_loudest(tmp_path: Path) -> None:
    one = write_track(tmp_path, np.full((4800, 1), 1280, np.int16), 48000)
    other = write_track(tmp_path, np.full((1600, 2), 2560, np.int16), 8000)
    assert measure_waveform([one, other]) == [20, 20]
    assert measure_waveform([]) == []


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_the_waveform_has_ten_peaks_a_second_at_every_rate(tmp_path: Path, rate: int) -> None:
    track = write_track(tmp_path, np.ones((rate * 60, 1), np.int16), rate)
    assert len(measure_waveform([track])) == 600


# --- the threshold of a recording ---


def from_db(decibels: NDArray[np.float64]) -> Levels:
    return np.asarray(np.rint(10 ** (decibels / 20) * FULL_SCALE), np.uint16)


def hiss(frames: int, db: float, seed: int) -> NDArray[np.float64]:
    """Peaks in dB of Gaussian noise, 1600 samples a frame, whose usual peak lies at ``db``."""
    peaks = np.abs(np.random.default_rng(seed).standard_normal((frames, 1600))).max(axis=1)
    return np.asarray(20 * np.log10(peaks / np.median(peaks)) + db, np.float64)


def talk_over(noise_db: float, seed: int = 1) -> tuple[Levels, NDArray[np.bool_]]:
    """Return a minute of speech (-20 to -8 dB) over noise, a second of pause after every two, and where it speaks."""
    noise = hiss(1800, noise_db, seed)
    speaks = np.arange(1800) % 90 < 60
    speech = np.random.default_rng(seed).uniform(-20, -8, 1800)
    return from_db(np.where(speaks, np.maximum(speech, noise), noise)), speaks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise_db", [-80, -60, -50, -45, -40, -36, -32, -28])
def test_the_threshold_parts_speech_from_its_noise(noise_db: float, seed: int) -> None:
    levels, speaks = talk_over(noise_db, seed)
    threshold = quantise(find_threshold(levels))
    assert int(levels[~speaks].max()) < threshold
    assert threshold < int(levels[speaks].min())


@pytest.mark.parametrize("levels", [np.zeros(0, np.uint16), np.zeros(300, np.uint16)], ids=["empty", "silent"])
def test_where_nothing_sounds_the_usual_threshold_is_taken(levels: Levels) -> None:
    assert find_threshold(levels) == DEFAULT_THRESHOLD == 0.04


@pytest.mark.parametrize(
    "levels",
    [
        np.full(300, 20000, np.uint16),
        np.full(300, 100, np.uint16),
        from_db(hiss(600, -60, 2)),
        from_db(hiss(600, -40, 3)),
        from_db(hiss(600, -6, 4)),
        from_db(np.random.default_rng(5).uniform(-18, -8, 600)),
    ],
    ids=["tone", "soft tone", "soft hiss", "hiss", "loud hiss", "speech without a pause"],
)
def test_where_there_is_nothing_to_tell_apart_the_threshold_lies_under_everything(levels: Levels) -> None:
    assert quantise(find_threshold(levels)) <= int(levels.min())


def test_a_microphone_that_was_off_at_first_says_nothing_about_the_noise() -> None:
    levels, speaks = talk_over(-36)
    muted = np.concatenate([np.zeros(900, np.uint16), levels])
    threshold = quantise(find_threshold(muted))
    assert int(levels[~speaks].max()) < threshold < int(levels[speaks].min())


def test_the_silence_of_a_gate_between_words_is_the_floor() -> None:
    levels, speaks = talk_over(-60)
    gated = np.where(speaks, levels, 0).astype(np.uint16)
    assert quantise(find_threshold(gated)) < int(levels[speaks].min()) // 4


def test_the_threshold_stays_within_its_limits() -> None:
    """A studio's floor at -80 dB would give -55 dB, where breath is loud; a street's at -24 dB would give -16 dB."""
    studio, _ = talk_over(-80)
    assert 20 * np.log10(find_threshold(studio)) == pytest.approx(-42)
    street = from_db(np.where(np.arange(900) % 90 < 60, 0.0, -24.0))
    assert 20 * np.log10(find_threshold(street)) == pytest.approx(-18)


@pytest.mark.parametrize("gap_db", range(8, 26))
def test_the_threshold_is_clear_of_the_noise_and_of_the_speech_or_under_both(gap_db: int) -> None:
    """6 dB over the floor and 10 dB under speech, as far as there is room for both; else nothing is cut by chance."""
    levels = from_db(np.where(np.arange(900) % 90 < 60, -14.0, hiss(900, -14.0 - gap_db, gap_db)))
    floor, speech = np.percentile(to_db(levels), 10), np.percentile(to_db(levels), 95)
    threshold = find_threshold(levels)
    if quantise(threshold) > int(levels.min()):
        threshold_db = 20 * np.log10(threshold)
        assert floor + 6 <= threshold_db + 0.01
        assert threshold_db - 0.01 <= speech - 10
