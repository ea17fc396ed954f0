"""The numbers behind the checks of a result, what they find in spoilt ones, and who is told when a hard one fails."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.errors import QaFailed
from pipeline.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.models import Cue, QaCheck, RunContext
from pipeline.qa import chars_per_second, check_result, count_misplaced, require_passed
from pipeline.timeline import Timeline


def cue(start_ms: int, end_ms: int, *lines: str) -> Cue:
    return Cue(start_ms=start_ms, end_ms=end_ms, lines=lines or ("text",))


def check(id: str, *, ok: bool, hard: bool, value: float = 1, limit: float = 1, unit: str = "ms") -> QaCheck:
    return QaCheck(id=id, ok=ok, hard=hard, value=value, limit=limit, unit=unit, text="")


@pytest.mark.parametrize(
    ("cues", "misplaced"),
    [
        ([], 0),
        ([cue(0, 1000)], 0),
        ([cue(0, 1000), cue(1000, 2000), cue(4000, 5000)], 0),
        ([cue(0, 5001)], 1),  # outlasts the video
        ([cue(5000, 6000)], 1),
        ([cue(-1, 1000)], 1),
        ([cue(1000, 1000)], 1),  # empty
        ([cue(2000, 1000)], 1),
        ([cue(0, 2000), cue(1999, 3000)], 1),  # overlaps
        ([cue(3000, 4000), cue(0, 1000)], 1),  # out of order
        ([cue(0, 4000), cue(1000, 2000), cue(3000, 4500), cue(4500, 5000)], 2),  # the first one reaches over two
    ],
)
def test_cues_lie_inside_the_video_each_alone(cues: list[Cue], misplaced: int) -> None:
    assert count_misplaced(cues, 5000) == misplaced


@pytest.mark.parametrize(
    ("shown", "speed"),
    [
        (cue(0, 1000, "twelve chars"), 12.0),
        (cue(500, 1500, "six ab", "five c"), 13.0),  # a line break reads like a space
        (cue(0, 2500, "a" * 42, "b" * 7), 20.0),
        (cue(0, 1000, ""), 0.0),
        (cue(1000, 1000, "now"), 3000.0),  # no time at all counts as a millisecond
    ],
)
def test_reading_speed_counts_every_character_that_is_shown(shown: Cue, speed: float) -> None:
    assert chars_per_second(shown) == pytest.approx(speed)


def test_a_result_without_hard_failures_passes() -> None:
    require_passed([])
    require_passed([check("av_sync", ok=True, hard=True), check("loudness", ok=False, hard=False)])


def test_every_hard_failure_is_named_with_value_and_limit() -> None:
    checks = [
        check("av_sync", ok=False, hard=True, value=51.2, limit=33.367),
        check("duration", ok=True, hard=True),
        check("loudness", ok=False, hard=False, unit="LUFS"),
        check("decodes", ok=False, hard=True, value=299, limit=300, unit="frames"),
    ]
    with pytest.raises(QaFailed) as caught:
        require_passed(checks)
    failures = "av_sync: 51.2 ms, limit 33.367; decodes: 299 frames, limit 300"
    assert (caught.value.code, caught.value.detail) == ("qa_failed", failures)
    assert f"({failures})" in caught.value.message


# --- spoilt results ---

TIMELINE = Timeline.from_kept(Fraction(30), 120, [(0, 30), (60, 90)])
"""60 frames with a seam in their middle."""


def find_failed(
    folder: Path,
    *,
    frames: int = 60,
    sound_s: float = 2.0,
    spoil: str = "null",
    cues: Sequence[Cue] = (),
    has_audio: bool = True,
) -> dict[str, bool]:
    """Make a result of `TIMELINE` and return which checks fail, each with whether it is hard."""
    picture = f"testsrc2=size=160x90:rate=30,{spoil},trim=end_frame={frames}"
    args = ["-v", "error", "-y", "-f", "lavfi", "-i", picture]
    if sound_s:
        args += ["-f", "lavfi", "-i", f"sine=sample_rate=48000:duration={sound_s},volume=12dB", "-c:a", "aac"]
    run_ffmpeg([*args, "-c:v", "libx264", "-pix_fmt", "yuv420p", "video.mp4"], ffmpeg=find_ffmpeg(), cwd=folder)
    ctx = RunContext(workdir=folder)
    checks = check_result(folder / "video.mp4", timeline=TIMELINE, cues=cues, has_audio=has_audio, ctx=ctx)
    return {check.id: check.hard for check in checks if not check.ok}


def test_a_whole_result_fails_no_check(tmp_path: Path) -> None:
    assert find_failed(tmp_path, cues=[cue(0, 2000, "two words")]) == {}


@pytest.mark.parametrize("sound_s", [1.95, 2.05])
def test_a_sound_of_another_length_is_a_hard_failure(tmp_path: Path, sound_s: float) -> None:
    assert find_failed(tmp_path, sound_s=sound_s) == {"av_sync": True}


def test_a_missing_sound_track_is_a_hard_failure(tmp_path: Path) -> None:
    assert find_failed(tmp_path, sound_s=0) == {"av_sync": True}
    assert find_failed(tmp_path, sound_s=0, has_audio=False) == {}


@pytest.mark.parametrize("frames", [59, 61])
def test_a_missing_frame_is_a_hard_failure(tmp_path: Path, frames: int) -> None:
    assert find_failed(tmp_path, frames=frames).items() >= {"decodes": True}.items()


def test_a_spoilt_picture_is_a_hard_failure(tmp_path: Path) -> None:
    assert find_failed(tmp_path) == {}
    video = bytearray((tmp_path / "video.mp4").read_bytes())
    middle = video.index(b"mdat") + 4 * (len(video) - video.index(b"mdat")) // 10
    video[middle : middle + 200] = bytes(range(200))
    (tmp_path / "video.mp4").write_bytes(video)
    checks = check_result(
        tmp_path / "video.mp4", timeline=TIMELINE, cues=(), has_audio=True, ctx=RunContext(workdir=tmp_path)
    )
    assert {check.id: check.hard for check in checks if not check.ok}.items() >= {"decodes": True}.items()


def test_captions_past_the_end_are_a_hard_failure(tmp_path: Path) -> None:
    assert find_failed(tmp_path, cues=[cue(1000, 2001)]) == {"captions_inside": True}


def test_a_black_picture_at_a_seam_is_found(tmp_path: Path) -> None:
    assert find_failed(tmp_path, spoil="drawbox=t=fill:color=black:enable=eq(n\\,30)") == {"black_seams": False}
    assert find_failed(tmp_path, spoil="drawbox=t=fill:color=black:enable=eq(n\\,15)") == {}  # the speaker's own


def test_a_frozen_picture_at_a_seam_is_found(tmp_path: Path) -> None:
    assert find_failed(tmp_path, spoil="select=not(between(n\\,31\\,33)),fps=30") == {"frozen_seams": False}
    assert find_failed(tmp_path, spoil="select=not(between(n\\,11\\,13)),fps=30") == {}
