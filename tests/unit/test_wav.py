"""WAV files as FFmpeg reads them back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.audio import BLOCK_SAMPLES, Track
from pipeline.errors import DiskFull
from pipeline.levels import FULL_SCALE, measure_levels
from pipeline.wav import wav_header, write_levels, write_track


def write_raw(path: Path, samples: np.ndarray, rate: int) -> Track:
    samples.astype("<i2").tofile(path)
    count, channels = samples.shape
    return Track(path=path, rate=rate, channels=channels, layout="", samples=count)


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [frame.to_ndarray().reshape(-1, stream.channels) for frame in container.decode(stream)]
        return stream.rate, np.concatenate(parts)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_track_is_written_as_it_is_and_padded(tmp_path: Path, channels: int) -> None:
    count = BLOCK_SAMPLES + 1000
    samples = np.random.default_rng(1).integers(-32768, 32768, (count, channels), dtype=np.int16)
    write_track(write_raw(tmp_path / "t.s16", samples, 44_100), tmp_path / "t.wav", count + 500)
    rate, read = read_wav(tmp_path / "t.wav")
    assert rate == 44_100
    assert np.array_equal(read[:count], samples)
    assert len(read) == count + 500
    assert not read[count:].any()


def test_a_track_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    track = Track(path=tmp_path / "t.s16", rate=48_000, channels=2, layout="stereo", samples=1 << 60)
    with pytest.raises(DiskFull, match="are needed"):
        write_track(track, tmp_path / "t.wav", track.samples)
    assert not (tmp_path / "t.wav").exists()


@pytest.mark.parametrize("data_bytes", [0xFFFF_FFFF - 36, 0xFFFF_FFFF - 35, 6_912_000_000])
def test_more_than_four_gigabytes_are_readable(tmp_path: Path, data_bytes: int) -> None:
    data_bytes -= data_bytes % 4
    header = wav_header(48_000, 2, data_bytes)
    with (tmp_path / "long.wav").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)  # a hole: it takes no room on the disk
    with av.open(str(tmp_path / "long.wav")) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.channels, stream.duration) == (48_000, 2, data_bytes // 4)


@pytest.mark.parametrize("length", [0xFFFF_FFFF - 36, 0xFFFF_FFFF - 35])
def test_the_form_changes_where_the_sizes_no_longer_fit(length: int) -> None:
    header = wav_header(48_000, 1, length)
    assert header[:4] == (b"RIFF" if length == 0xFFFF_FFFF - 36 else b"RF64")
    assert len(header) == (44 if header[:4] == b"RIFF" else 80)


@pytest.mark.parametrize("rate", ["30", "25", "24000/1001", "30000/1001", "60000/1001", "2997/100", "1", "240"])
def test_levels_are_measured_again_as_they_were(tmp_path: Path, rate: str) -> None:
    """Every level that 16-bit sound can have comes back, frame by frame."""
    timebase = Fraction(rate)
    peaks = np.random.default_rng(2).permutation(32768).astype(np.float32)[: 32768 if rate == "30" else 2000]
    levels = (peaks / np.float32(32767) * np.float32(FULL_SCALE) + np.float32(0.5)).astype(np.uint16)
    write_levels(levels, timebase, tmp_path / "levels.wav")
    sample_rate, samples = read_wav(tmp_path / "levels.wav")
    again = measure_levels(write_raw(tmp_path / "t.s16", samples, sample_rate), timebase)
    assert np.array_equal(again, levels)
