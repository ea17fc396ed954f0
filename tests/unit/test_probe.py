"""Rates and boxes: which grid a file is cut and rendered on, and whether its end is missing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.errors import InputRefused, SourceGone
from pipeline.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.options import PipelineOptions
from pipeline.probe import _walk_boxes, find_nominal_rate, is_variable_rate, probe, snap_average_rate

FILM, NTSC, NTSC60 = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)

# --- the cut grid ---


@pytest.mark.parametrize(
    ("average", "rate"),
    [
        ("30", "30"),
        ("25", "25"),
        ("29.97", "30000/1001"),
        ("30000/1001", "30000/1001"),
        ("2997/100", "30000/1001"),
        ("29.966", "30000/1001"),
        ("23.976", "24000/1001"),
        ("24000/1001", "24000/1001"),
        ("59.94", "60000/1001"),
        ("60000/1001", "60000/1001"),
        ("59.95", "1199/20"),  # next to it is not it
        ("29.952", "599/20"),  # iPhone 5
        ("29.988", "2999/100"),
        ("27.521", "688/25"),
        ("22.131", "2213/100"),
        ("30.00003", "30"),
        ("16.6", "83/5"),
        ("120", "120"),
        ("1/2", "1/2"),
        ("0.001", "30"),  # a rate of 0.00 is none
        ("0", "30"),
        ("-30", "30"),
    ],
)
def test_the_average_is_rounded_to_two_places_and_ntsc_is_exact(average: str, rate: str) -> None:
    assert snap_average_rate(Fraction(average)) == Fraction(rate)


def test_an_unknown_average_is_30() -> None:
    assert snap_average_rate(None) == 30


# --- the render grid ---


def in_ticks(rate: Fraction, ticks_per_s: int, frames: int = 300) -> list[float]:
    """Return the frame durations of a constant rate in a container that counts in ``ticks_per_s``."""
    times = [round(frame / rate * ticks_per_s) for frame in range(frames + 1)]
    return [(b - a) / ticks_per_s for a, b in pairwise(times)]


def with_drops(durations: Sequence[float], share: float) -> list[float]:
    """Return ``durations`` with a share of the frames left out: the one before lasts longer."""
    rng, left = random.Random(4), [durations[0]]
    for duration in durations[1:]:
        if rng.random() < share:
            left[-1] += duration
        else:
            left.append(duration)
    return left


@pytest.mark.parametrize(
    ("name", "durations", "average", "rate"),
    [
        # the design's table: average, durations as the camera meant them
        ("iPhone 5", with_drops(in_ticks(Fraction(30), 600), 0.002), Fraction(599, 20), Fraction(30)),
        ("iPad", with_drops(in_ticks(Fraction(30), 600), 0.001), Fraction(2996, 100), Fraction(30)),
        ("iPhone 6", in_ticks(Fraction(30), 600), Fraction(2999, 100), Fraction(30)),
        ("Android 4K", in_ticks(Fraction(60), 90000), Fraction(6006, 100), Fraction(60)),
        ("webcam-like", with_drops(in_ticks(Fraction(30), 90000), 0.26), Fraction(2213, 100), Fraction(30)),
        ("HDR10", with_drops(in_ticks(Fraction(30), 90000), 0.08), Fraction(688, 25), Fraction(30)),
        ("35 % dropped", with_drops(in_ticks(Fraction(30), 90000), 0.35), Fraction(2001, 100), Fraction(30)),
        ("60 fps bursts in a screen recording", [1 / 60] * 300 + [1.0] * 13, Fraction(166, 10), Fraction(60)),
        # nothing standard
        ("15 fps", in_ticks(Fraction(15), 90000), Fraction(15), Fraction(15)),
        ("28 fps", in_ticks(Fraction(28), 90000), Fraction(28), Fraction(28)),
        ("a slide show", [2.0, 7.0, 3.5], Fraction(1, 4), Fraction(1, 4)),
        ("one frame", [], Fraction(25), Fraction(25)),
        # too many for anyone
        ("120 fps", in_ticks(Fraction(120), 90000), Fraction(120), Fraction(60)),
        ("240 fps, no durations", [], Fraction(240), Fraction(60)),
    ],
)  # fmt: skip
def test_the_render_grid_is_the_rate_the_camera_meant(
    name: str, durations: list[float], average: Fraction, rate: Fraction
) -> None:
    assert find_nominal_rate(durations, average) == rate, name


@pytest.mark.parametrize("ticks_per_s", [1000, 90000, 1_000_000])
@pytest.mark.parametrize(
    "rate", [FILM, Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(48), Fraction(50), NTSC60, Fraction(60)]
)
def test_every_standard_rate_is_found_in_every_clock(rate: Fraction, ticks_per_s: int) -> None:
    """Matroska counts whole milliseconds: 30 frames a second are 33, 33, 34, and 29.97 a mix of 33 and 34."""
    assert find_nominal_rate(in_ticks(rate, ticks_per_s, 1001), Fraction(10)) == rate


def test_milliseconds_are_what_the_last_test_says() -> None:
    assert in_ticks(Fraction(30), 1000)[:3] == [0.033, 0.034, 0.033]
    assert set(in_ticks(NTSC, 1000)) == {0.033, 0.034}


@pytest.mark.parametrize(("off", "found"), [(0.004, True), (-0.004, True), (0.006, False), (-0.006, False)])
def test_half_a_percent_beside_a_standard_rate_is_still_it(off: float, found: bool) -> None:
    rate = Fraction(25)
    durations = [1 / (25 * (1 + off))] * 100
    assert find_nominal_rate(durations, Fraction(7)) == (rate if found else 7)


@pytest.mark.parametrize(
    ("durations", "variable"),
    [
        ([], False),
        ([1.0], False),
        ([1 / 30] * 100, False),
        ([0.033, 0.033, 0.034] * 40, False),  # the clock's steps
        ([1 / 30] * 99 + [0.1], False),  # one frame lost in a hundred
        ([1 / 30] * 98 + [0.1, 0.1], True),
        ([1 / 30] * 98 + [0.01, 0.01], True),
        ([0.1, 0.12] * 50, False),  # within a fifth
        ([0.1] * 70 + [0.121] * 30, True),
        (with_drops(in_ticks(Fraction(30), 90000), 0.35), True),
    ],
)
def test_a_rate_is_variable_when_more_than_one_frame_in_a_hundred_is_odd(
    durations: list[float], variable: bool
) -> None:
    assert is_variable_rate(durations) is variable


# --- boxes ---


def box(kind: bytes, payload: int = 0, *, size: int | None = None, wide: bool = False) -> bytes:
    """Return an ISO BMFF box with ``payload`` bytes; ``size`` is what its header claims, ``wide`` in 64 bits."""
    length = payload + (16 if wide else 8) if size is None else size
    header = (1).to_bytes(4) + kind + length.to_bytes(8) if wide else length.to_bytes(4) + kind
    return header + bytes(payload)


FTYP, MOOV, MDAT = box(b"ftyp", 16), box(b"moov", 100), box(b"mdat", 500)


@pytest.mark.parametrize(
    ("data", "boxes"),
    [
        (FTYP + MOOV + MDAT, [(b"ftyp", 24), (b"moov", 132), (b"mdat", 640)]),
        (FTYP + MDAT, [(b"ftyp", 24), (b"mdat", 532)]),
        (box(b"wide") + MDAT + MOOV, [(b"wide", 8), (b"mdat", 516), (b"moov", 624)]),
        (MDAT + MOOV, [(b"mdat", 508), (b"moov", 616)]),
        (FTYP + box(b"mdat", 500, wide=True), [(b"ftyp", 24), (b"mdat", 540)]),
        (FTYP + box(b"mdat", 4, size=2**33, wide=True), [(b"ftyp", 24), (b"mdat", 24 + 2**33)]),
        (FTYP + box(b"mdat", 50, size=900), [(b"ftyp", 24), (b"mdat", 924)]),
        (FTYP + box(b"mdat", 50, size=0), [(b"ftyp", 24), (b"mdat", 82)]),  # up to the end of the file
        (FTYP + b"\0\0\0", [(b"ftyp", 24)]),
        (FTYP + (3).to_bytes(4) + b"moov", [(b"ftyp", 24)]),
        (FTYP + (99).to_bytes(4) + b"\xff\xfe\xfd\xfc" + bytes(9), [(b"ftyp", 24)]),
        (FTYP + box(b"moov", size=8), [(b"ftyp", 24), (b"moov", 32)]),
        (b"RIFF" + (100).to_bytes(4, "little") + b"AVI LIST" + bytes(92), []),
        (b"\x1a\x45\xdf\xa3" + bytes(60), []),
        (b"ftyp", []),
        (b"", []),
    ],
)
def test_boxes_are_walked_with_their_ends(data: bytes, boxes: list[tuple[bytes, int]]) -> None:
    assert list(_walk_boxes(BytesIO(data), len(data))) == boxes


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Half a second of picture and sound; ftyp, moov, mdat in this order."""
    folder = tmp_path_factory.mktemp("clip")
    args = ["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=30", "-f", "lavfi", "-i", "sine"]
    args += ["-t", "0.5", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "clip.mp4"]
    run_ffmpeg(args, ffmpeg=find_ffmpeg(), cwd=folder)
    return (folder / "clip.mp4").read_bytes()


def write(folder: Path, data: bytes) -> Path:
    path = folder / "talk.mp4"
    path.write_bytes(data)
    return path


def find_box(data: bytes, kind: bytes) -> tuple[int, int]:
    """Return where a top-level box of ``data`` begins and ends."""
    at = 0
    for name, end in _walk_boxes(BytesIO(data), len(data)):
        if name == kind:
            return at, end
        at = end
    raise AssertionError(f"no {kind!r}")


def refuse(path: Path, options: PipelineOptions | None = None) -> str:
    with pytest.raises(InputRefused) as caught:
        probe(path, options)
    assert caught.value.message.endswith(".")
    return caught.value.code


def test_a_whole_file_is_described(tmp_path: Path, clip: bytes) -> None:
    found = probe(write(tmp_path, clip))
    assert (found.name, found.size_bytes, found.duration_ms) == ("talk.mp4", len(clip), 500)
    assert (found.video.width, found.video.height, found.video.frames) == (64, 48, 15)
    assert (found.video.average_rate, found.video.nominal_rate) == (Fraction(30), Fraction(30))
    assert not found.video.vfr
    assert [(stream.codec, stream.sample_rate, stream.channels) for stream in found.audio] == [("aac", 44100, 1)]


@pytest.mark.parametrize(
    "data",
    [FTYP, FTYP + MDAT, MDAT, box(b"wide") + MDAT, FTYP + box(b"mdat", 500, wide=True), FTYP + box(b"mdat", 9, size=0)],
)
def test_a_file_without_its_index_is_truncated(tmp_path: Path, data: bytes) -> None:
    assert refuse(write(tmp_path, data)) == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        FTYP + MOOV + box(b"mdat", 50, size=900),
        FTYP + MOOV + box(b"mdat", 50, size=2**33, wide=True),
        FTYP + MOOV + MDAT[:-1],
        FTYP + MOOV[:-1],
        FTYP[:-1],
    ],
)
def test_a_box_past_the_end_of_the_file_is_truncated(tmp_path: Path, data: bytes) -> None:
    assert refuse(write(tmp_path, data)) == "truncated"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_every_cut_off_copy_is_truncated(tmp_path: Path, clip: bytes, share: float) -> None:
    assert refuse(write(tmp_path, clip[: int(len(clip) * share)])) == "truncated"


@pytest.mark.parametrize("shape", ["64 bits", "up to the end", "index last"])
def test_the_ways_to_write_a_size_are_all_understood(tmp_path: Path, clip: bytes, shape: str) -> None:
    ftyp, moov = (clip[slice(*find_box(clip, kind))] for kind in (b"ftyp", b"moov"))
    start, end = find_box(clip, b"mdat")
    payload = clip[start + 8 : end]
    # The index holds absolute offsets: what is written otherwise must begin where the old one did.
    head = clip[:start]
    if shape == "64 bits":
        assert b"free" in head, "room for eight more bytes"
        at = head.index(b"free") - 4
        data = head[:at] + (1).to_bytes(4) + b"mdat" + (16 + len(payload)).to_bytes(8) + payload
        assert data.index(payload) == start + 8
    elif shape == "up to the end":
        data = head + (0).to_bytes(4) + b"mdat" + payload
    else:
        data = ftyp + box(b"free", len(moov) - 8) + clip[len(ftyp) + len(moov) : end] + moov
    assert probe(write(tmp_path, data)).video.frames == 15


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"\0" * 7,
        b"\0" * 4096,
        b"\xff" * 4096,
        bytes(random.Random(1).randbytes(999)),
        b"\n-- sent by mailer --\n",
    ],
    ids=["a byte", "seven bytes", "zeros", "ones", "noise", "text"],
)
def test_what_was_appended_to_a_whole_file_is_ignored(tmp_path: Path, clip: bytes, garbage: bytes) -> None:
    """Cameras, mailers and disks append things; every player ignores what follows the last box."""
    assert probe(write(tmp_path, clip + garbage)).video.frames == 15


def test_a_cut_off_copy_without_boxes_is_truncated(tmp_path: Path) -> None:
    """Only the packets tell: its header promises more, and ffmpeg reads it to the middle without a word."""
    args = ["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=30", "-t", "4", "-c:v", "libx264"]
    run_ffmpeg([*args, "-g", "30", "-f", "matroska", "whole.mkv"], ffmpeg=find_ffmpeg(), cwd=tmp_path)
    whole = (tmp_path / "whole.mkv").read_bytes()
    assert probe(write(tmp_path, whole)).video.frames == 120
    assert refuse(write(tmp_path, whole[: len(whole) * 6 // 10])) == "truncated"


# --- other refusals that need no media ---


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "empty"), (b"x", "not_media"), (b"just some text, no video at all\n" * 50, "not_media")],
)
def test_what_is_no_media_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    assert refuse(write(tmp_path, data)) == code


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("talk.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nclip.mp4\n#EXT-X-ENDLIST\n"),
        ("talk.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nclip.mp4\n#EXT-X-ENDLIST\n"),
        ("talk.mp4", b"ffconcat version 1.0\nfile clip.mp4\n"),
    ],
    ids=["hls", "hls by another name", "concat"],
)
def test_a_playlist_is_no_media_although_it_names_some(tmp_path: Path, clip: bytes, name: str, playlist: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip)
    (tmp_path / name).write_bytes(playlist)
    assert refuse(tmp_path / name) == "not_media"


@pytest.mark.parametrize("suffix", ["m4a", "mp3"])
def test_sound_with_a_cover_is_no_video(tmp_path: Path, suffix: str) -> None:
    args = ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "testsrc=size=64x48"]
    args += ["-map", "0", "-map", "1", "-frames:v", "1", "-c:v", "png", "-disposition:v:0", "attached_pic"]
    run_ffmpeg([*args, f"song.{suffix}"], ffmpeg=find_ffmpeg(), cwd=tmp_path)
    assert refuse(tmp_path / f"song.{suffix}") == "no_video"


def test_a_missing_file_is_gone_and_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceGone, match="There is no file"):
        probe(tmp_path / "missing.mp4")
    assert refuse(tmp_path) == "not_media"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (PipelineOptions(max_duration_ms=499), "too_long"),
        (PipelineOptions(max_pixels=64 * 48 - 1), "too_many_pixels"),
    ],
)
def test_limits_are_kept(tmp_path: Path, clip: bytes, options: PipelineOptions, code: str) -> None:
    assert refuse(write(tmp_path, clip), options) == code


def test_the_limits_themselves_are_allowed(tmp_path: Path, clip: bytes) -> None:
    assert probe(write(tmp_path, clip), PipelineOptions(max_duration_ms=500, max_pixels=64 * 48)).video.frames == 15
