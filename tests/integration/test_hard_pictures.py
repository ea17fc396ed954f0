"""Pictures that players stumble over come out as they were meant: upright, square, whole, in the right colours."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import InputRefused
from tests.media.clips import flash_beep_clip, numbered_clip
from tests.media.codes import draw_pictures, read_picture
from tests.media.encode import Coding
from tests.media.hard import (
    X264,
    burst_clip,
    combing,
    display_matrix,
    ffmpeg,
    process,
    read_planes,
    undo_matrix,
)
from tests.media.measure import find_beeps, find_flashes, read_frames, read_numbers

PCM, AAC, OPUS = ("-c:a", "pcm_s16le"), ("-c:a", "aac"), ("-c:a", "libopus", "-b:a", "64k")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-crf", "20", "-b:v", "0")
AV1 = ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-svtav1-params", "lp=2")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error:pools=2")
SYNC_MS = 0.2
"""Ten samples: what exact arithmetic needs, however the file begins."""


def sources() -> dict[str, tuple[str, Coding]]:
    """Return the codec that the report must name and the way of writing, for each kind of source."""

    def one(codec: str, suffix: str, picture: Sequence[str], sound: Sequence[str]) -> tuple[str, Coding]:
        return codec, Coding(suffix=suffix, picture=tuple(picture), sound=tuple(sound))

    return {
        "h264 10-bit 4:2:0": one("h264", ".mp4", [*X264, "-pix_fmt", "yuv420p10le"], AAC),
        "h264 10-bit 4:2:2": one("h264", ".mp4", [*X264, "-pix_fmt", "yuv422p10le"], AAC),
        "h264 4:4:4": one("h264", ".mkv", [*X264, "-pix_fmt", "yuv444p"], AAC),
        "h264 in avi": one("h264", ".avi", [*X264, "-bf", "0", "-pix_fmt", "yuv420p"], PCM),
        "h264 in avi, b-frames": one("h264", ".avi", [*X264, "-bf", "3", "-pix_fmt", "yuv420p"], PCM),
        "h264 in flv": one("h264", ".flv", [*X264, "-bf", "2", "-pix_fmt", "yuv420p"], AAC),
        "hevc 10-bit": one("hevc", ".mp4", [*X265, "-pix_fmt", "yuv420p10le"], AAC),
        "mpeg-4 part 2 in mp4": one("mpeg4", ".mp4", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "2"], AAC),
        "mpeg-4 part 2 in avi": one("mpeg4", ".avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "2"], PCM),
        "mjpeg in avi": one("mjpeg", ".avi", ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"], PCM),
        "prores 422": one("prores", ".mov", ["-c:v", "prores_ks", "-profile:v", "2"], PCM),
        "prores 4444": one("prores", ".mov", ["-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"], PCM),
        "vp9 in mkv": one("vp9", ".mkv", [*VP9, "-pix_fmt", "yuv420p"], OPUS),
        "vp9 in webm": one("vp9", ".webm", [*VP9, "-pix_fmt", "yuv420p"], OPUS),
        "av1 in mkv": one("av1", ".mkv", [*AV1, "-pix_fmt", "yuv420p"], OPUS),
        "av1 10-bit in webm": one("av1", ".webm", [*AV1, "-pix_fmt", "yuv420p10le"], OPUS),
        "mpeg-2 in ps": one("mpeg2video", ".mpg", ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"], ["-c:a", "mp2"]),
        "rgb screen recording": one("ffv1", ".mkv", ["-c:v", "ffv1", "-pix_fmt", "bgr0"], PCM),
        "palette": one("qtrle", ".mov", ["-c:v", "qtrle", "-pix_fmt", "gray"], PCM),
    }


SOURCES = sources()


@pytest.mark.parametrize("name", SOURCES)
def test_every_frame_of_every_codec_is_shown(name: str, tmp_path: Path) -> None:
    """Whole seconds, cut in the middle: frame numbers have no tolerance."""
    codec, coding = SOURCES[name]
    clip = numbered_clip(tmp_path / f"clip{coding.suffix}", frames=60, loud=[(0, 60)], coding=coding)
    kept = [(0, 21), (22, 23), (40, 60)]
    result = process(clip.path, tmp_path, kept=kept, frames=60)
    source = result.report["source"]
    assert isinstance(source, dict) and source["video_codec"] == codec
    assert read_numbers(result.files["video.mp4"]) == [frame for start, end in kept for frame in range(start, end)]
    with av.open(str(result.files["video.mp4"])) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.profile) == ("yuv420p", "High")


@pytest.mark.parametrize("size", [(853, 479), (854, 479), (161, 90), (33, 17)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_sizes_lose_their_last_line_at_most(size: tuple[int, int], tmp_path: Path) -> None:
    coding = Coding(suffix=".mkv", picture=("-c:v", "ffv1", "-pix_fmt", "yuv444p"), sound=PCM)
    clip = numbered_clip(tmp_path / "clip.mkv", frames=12, size=size, loud=[(0, 12)], coding=coding)
    video = process(clip.path, tmp_path).files["video.mp4"]
    frame, _ = read_planes(video)
    assert (frame.width, frame.height) == (size[0] // 2 * 2, size[1] // 2 * 2)
    assert read_numbers(video) == list(range(12))


TURNS = [(degrees, flip) for degrees in (0, 90, 180, 270) for flip in ("", "hflip")] + [(0, "vflip")]


@pytest.mark.parametrize(("degrees", "flip"), TURNS, ids=[f"{degrees}{flip}" for degrees, flip in TURNS])
def test_turned_and_mirrored_sources_are_shown_as_their_matrix_says(degrees: int, flip: str, tmp_path: Path) -> None:
    """What the matrix does is worked out here by its definition, not by asking ffmpeg."""
    clip = numbered_clip(tmp_path / "stored.mp4", frames=12, loud=[(0, 12)])
    source = tmp_path / "turned.mp4"
    turn = ["-display_rotation:v:0", degrees, *([f"-display_{flip}:v:0"] if flip else [])]
    ffmpeg(*turn, "-i", clip.path, "-map", 0, "-c", "copy", source, cwd=tmp_path)
    matrix = display_matrix(source)
    assert (matrix == (1, 0, 0, 1)) is (degrees == 0 and not flip)
    video = process(source, tmp_path).files["video.mp4"]
    for number in (0, 11):
        frame, (luma, *_) = read_planes(video, number)
        assert (frame.width, frame.height) == ((90, 160) if degrees in (90, 270) else (160, 90))
        assert frame.rotation == 0, "the result must need no turning"
        assert read_picture(undo_matrix(luma.astype(np.uint8), matrix)).number == number


SHAPES = {
    "pal 4:3": ((72, 58), Fraction(16, 15), 0, (76, 58)),
    "pal 16:9": ((72, 58), Fraction(64, 45), 0, (102, 58)),
    "hdv 1440": ((144, 108), Fraction(4, 3), 0, (192, 108)),
    "ntsc 4:3": ((72, 48), Fraction(8, 9), 0, (64, 48)),
    "portrait": ((144, 108), Fraction(4, 3), 90, (108, 192)),
    "narrow portrait": ((72, 48), Fraction(8, 9), 270, (48, 64)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_pixels_come_out_square(name: str, tmp_path: Path) -> None:
    stored, aspect, degrees, wanted = SHAPES[name]
    clip = numbered_clip(tmp_path / "square.mp4", frames=12, loud=[(0, 12)])
    sizing = f"scale={stored[0]}:{stored[1]},setsar={aspect}"
    ffmpeg("-i", clip.path, "-vf", sizing, *X264, "-c:a", "copy", "flat.mp4", cwd=tmp_path)
    turn = ["-display_rotation:v:0", degrees]
    ffmpeg(*turn, "-i", "flat.mp4", "-map", 0, "-c", "copy", "source.mp4", cwd=tmp_path)
    video = process(tmp_path / "source.mp4", tmp_path).files["video.mp4"]
    frame, (luma, *_) = read_planes(video, 7)
    assert (frame.width, frame.height) == wanted
    with av.open(str(video)) as container:
        assert container.streams.video[0].sample_aspect_ratio == 1
    upright = undo_matrix(luma.astype(np.uint8), display_matrix(tmp_path / "source.mp4"))
    assert read_picture(upright).number == 7


def moving_bars(target: Path, filters: str, *codec: str) -> Path:
    """Write bars that run to the right, 50 pictures a second before ``filters``."""
    bars = "nullsrc=s=192x96:r=50:d=1,geq=lum='if(lt(mod(X-N*4+1920\\,192)\\,24)\\,220\\,40)':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", bars, "-f", "lavfi", "-i", "sine=440:duration=1", "-vf", filters, *codec, target,
           cwd=target.parent)  # fmt: skip
    return target


FIELD_CODECS = {
    "h264": (".mp4", (*X264, "-flags", "+ildct+ilme"), AAC),
    "mpeg2": (".ts", ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme"), ("-c:a", "mp2")),
    "prores": (".mov", ("-c:v", "prores_ks", "-flags", "+ildct"), PCM),
}


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("codec", FIELD_CODECS)
def test_fields_are_made_whole(codec: str, order: str, tmp_path: Path) -> None:
    """Vertical edges have no line to differ from its neighbours: what is left after coding is less than half a step."""
    suffix, picture, sound = FIELD_CODECS[codec]
    order_option = ["-x264opts", order] if codec == "h264" else []
    weave = f"interlace=scan={order}:lowpass=off,format=yuv420p,setparams=field_mode={order}"
    source = moving_bars(tmp_path / f"fields{suffix}", weave, *picture, *order_option, *sound)
    with av.open(str(source)) as container:
        before = combing(next(container.decode(video=0)).to_ndarray(format="gray").astype(np.float64))
    result = process(source, tmp_path)
    frame, (luma, *_) = read_planes(result.files["video.mp4"])
    print(f"{codec:>7} {order}  combing {before:.2f} -> {combing(luma):.2f}")
    assert before > 5
    assert combing(luma) < 0.5
    assert not frame.interlaced_frame
    assert len(read_frames(result.files["video.mp4"])) == 25


def test_whole_frames_that_call_themselves_fields_are_left_alone(tmp_path: Path) -> None:
    """25p in 50i, as camcorders write it: a deinterlacer would smear fine detail that moves.

    Half of what bwdif changes is the limit, both encoded alike.
    """
    grain = np.random.default_rng(5).normal(0, 60, (96, 192))
    soft = np.sum([np.roll(grain, (down, right), (0, 1)) for down in range(3) for right in range(3)], axis=0) / 3
    texture = np.clip(soft + 128, 16, 235).astype(np.uint8)
    pan = b"".join(np.roll(texture, 3 * at, axis=1).tobytes() for at in range(25))
    (tmp_path / "pan.gray").write_bytes(pan)
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-video_size", "192x96", "-framerate", 25, "-i", "pan.gray")
    marked = ("-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", "-x264opts", "tff")
    ffmpeg(*raw, "-f", "lavfi", "-i", "sine=440:duration=1", *X264, *marked, *AAC, "psf.mp4", cwd=tmp_path)
    ffmpeg("-i", "psf.mp4", "-vf", "bwdif", "-c:v", "libx264", "-preset", "veryfast", "-crf", 20, "smeared.mp4",
           cwd=tmp_path)  # fmt: skip
    frame, (before, *_) = read_planes(tmp_path / "psf.mp4", 12)
    assert frame.interlaced_frame
    _, (smeared, *_) = read_planes(tmp_path / "smeared.mp4", 24)  # bwdif alone makes a frame of each field
    _, (after, *_) = read_planes(process(tmp_path / "psf.mp4", tmp_path).files["video.mp4"], 12)
    change, limit = (float(np.abs(before - other).mean()) for other in (after, smeared))
    print(f"fine detail: mean change {change:.2f}, by bwdif {limit:.2f}")
    assert change < limit / 2


def test_4k_stays_4k(tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "uhd.mp4", frames=3, size=(3840, 2160), loud=[(0, 3)])
    result = process(clip.path, tmp_path)
    frame, _ = read_planes(result.files["video.mp4"])
    assert (frame.width, frame.height) == (3840, 2160)
    assert read_numbers(result.files["video.mp4"]) == [0, 1, 2]


@pytest.mark.parametrize("begin", ["trimmed", "picture late", "sound late"])
def test_edit_lists_are_kept(begin: str, tmp_path: Path) -> None:
    """What an edit list hides stays hidden, what it delays is as late, and picture and sound stay together.

    The edit begins with a picture: where it begins inside one, FFmpeg's own reader moves the picture to it.
    """
    clip = flash_beep_clip(tmp_path / "clip.mp4", rate=Fraction(30), duration_s=4, events_ms=[1000, 2000, 3000])
    source = tmp_path / "edited.mp4"
    late = ["-itsoffset", 0.4, "-i", clip.path]
    streams = ["-map", "0:a", "-map", "1:v"] if begin == "sound late" else ["-map", "0:v", "-map", "1:a"]
    if begin == "trimmed":
        ffmpeg("-ss", 0.3, "-i", clip.path, "-c", "copy", source, cwd=tmp_path)
    else:
        ffmpeg(*late, "-i", clip.path, *streams, "-c", "copy", source, cwd=tmp_path)
    shown = [frame.number for frame in read_frames(source)]
    assert shown[0] == (9 if begin == "trimmed" else 0)
    apart = {"trimmed": 0.0, "picture late": -400.0, "sound late": 400.0}[begin]
    video = process(source, tmp_path).files["video.mp4"]
    numbers = read_numbers(video)
    assert numbers[: len(shown)] == shown
    assert set(numbers[len(shown) :]) <= {shown[-1]}, "the last picture stands while the sound goes on"
    flashes, beeps = find_flashes(video), find_beeps(video)
    moved = [(beep - flash) * 1000 for flash, beep in zip(flashes, beeps, strict=True)]
    print(f"{begin:>13}  beep after flash {moved[0]:+.3f} ms, wanted {apart:+.0f}")
    assert moved == pytest.approx([apart] * 3, abs=SYNC_MS)


@pytest.mark.parametrize(("suffix", "chosen"), [(".mkv", 1), (".mp4", 1), (".mkv", 0), (".mp4", 0)])
def test_of_several_pictures_the_default_is_taken(suffix: str, chosen: int, tmp_path: Path) -> None:
    one = numbered_clip(tmp_path / "one.mp4", frames=30, loud=[(0, 30)])
    other = numbered_clip(tmp_path / "other.mp4", frames=90, loud=[(0, 30)])
    ffmpeg("-ss", 2, "-i", other.path, "-c", "copy", "late.mp4", cwd=tmp_path)
    marks = [part for at in (0, 1) for part in (f"-disposition:v:{at}", "default" if at == chosen else "0")]
    ffmpeg("-i", one.path, "-i", "late.mp4", "-map", "0:v", "-map", "1:v", "-map", "0:a", "-c", "copy", *marks,
           f"two{suffix}", cwd=tmp_path)  # fmt: skip
    numbers = read_numbers(process(tmp_path / f"two{suffix}", tmp_path).files["video.mp4"])
    assert numbers == list(range(60, 90) if chosen else range(30))


@pytest.mark.parametrize(("suffix", "cover"), [(".mp4", "jpg"), (".mp4", "png"), (".mkv", "jpg")])
def test_a_cover_is_no_video(suffix: str, cover: str, tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", frames=30, loud=[(0, 30)])
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", 1, f"cover.{cover}", cwd=tmp_path)
    ffmpeg("-i", f"cover.{cover}", "-i", clip.path, "-map", 0, "-map", 1, "-c", "copy", "-disposition:v:0",
           "attached_pic", f"covered{suffix}", cwd=tmp_path)  # fmt: skip
    assert read_numbers(process(tmp_path / f"covered{suffix}", tmp_path).files["video.mp4"]) == list(range(30))


BURSTS: dict[str, list[tuple[float, int]]] = {
    "mostly bursts": [(3, 60), (1, 1), (3, 60), (1, 1)],
    "10 fps with a burst": [(3, 6), (1, 1), (3, 6)],
    "15 fps with a burst": [(3, 4), (1, 1), (3, 4)],
    "30 fps with a burst": [(3, 2), (1, 1), (3, 2)],
    "5 fps with a short burst": [(8, 12), (0.5, 1), (8, 12)],
    "still, then a burst, then still": [(3, 60), (1, 1), (4, 240)],
}


@pytest.mark.parametrize("name", BURSTS)
def test_screen_recordings_lose_no_frame_of_a_burst(name: str, tmp_path: Path) -> None:
    source, numbers = burst_clip(tmp_path / "bursts.mp4", BURSTS[name])
    result = process(source, tmp_path)
    shown = read_numbers(result.files["video.mp4"])
    lost = sorted(set(numbers) - set(shown))
    report = result.report["result"]
    assert isinstance(report, dict)
    print(f"{name:>32}  {len(numbers)} frames on a grid of {report['fps']:.2f}, {len(lost)} lost")
    assert not lost
    assert shown == sorted(shown)


def test_parts_joined_byte_by_byte_are_refused(tmp_path: Path) -> None:
    """The clock of the second part begins again: it would be left out without a word."""
    coding = Coding(suffix=".ts", picture=(*X264, "-pix_fmt", "yuv420p", "-g", "30"))
    clip = numbered_clip(tmp_path / "part.ts", frames=90, loud=[(0, 90)], coding=coding)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clip.path.read_bytes() * 2)
    with pytest.raises(InputRefused, match="joined from parts"):
        process(joined, tmp_path)


def test_the_drawn_picture_survives_its_own_undoing() -> None:
    """The helper that undoes a matrix is right for all eight: it undoes what the definition does to pixels."""
    picture = draw_pictures(np.array([1234]), np.array([False]), (160, 90))[0]
    for a, b, c, d in [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1),
                       (0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0)]:  # fmt: skip
        height, width = picture.shape
        ys, xs = np.mgrid[0:height, 0:width]
        to_x, to_y = a * xs + c * ys, b * xs + d * ys
        shown = np.zeros((width, height) if a == 0 else (height, width), np.uint8)
        shown[to_y - to_y.min(), to_x - to_x.min()] = picture
        assert np.array_equal(undo_matrix(shown, (a, b, c, d)), picture)
