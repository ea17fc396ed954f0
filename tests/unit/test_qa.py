"""The numbers behind the checks of a result, and who is told when a hard one fails."""

from __future__ import annotations

import pytest

from pipeline.errors import QaFailed
from pipeline.models import Cue, QaCheck
from pipeline.qa import chars_per_second, count_misplaced, require_passed


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
