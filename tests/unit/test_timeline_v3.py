"""Timelines of format v3: the real one beside its v1 sibling, and what is refused because it means something else."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.timeline import Range, Timeline, TimelineError, parse_timeline, read_timeline
from tests.media.shared import MEDIA

FPS = Fraction(30)
V3 = sorted((MEDIA / "reference").glob("*.v3.json"))


def clip(start: int, dur: int, offset: int, **more: object) -> dict[str, object]:
    return {"src": "talk.mp4", "start": start, "dur": dur, "offset": offset, "stream": 0, **more}


def document(*layers: object, sound: list[object] | None = None, **more: object) -> str:
    return json.dumps({"version": "3", "timebase": "30/1", "v": list(layers), "a": sound or [], **more})


PLAYED = [clip(0, 24, 0), clip(24, 361, 34), clip(385, 112, 410)]
KEPT: list[Range] = [(0, 24), (34, 395), (410, 522)]


@pytest.mark.parametrize("path", V3 or [None], ids=lambda path: path.name if path else "none")
def test_a_real_one_plays_what_its_v1_sibling_plays(path: Path | None) -> None:
    if path is None:
        pytest.skip(f"there are no reference timelines in TEST_MEDIA ({MEDIA})")
    sibling = path.with_name(path.name.replace(".v3.", ".v1."))
    ours, theirs = (read_timeline(each, default_timebase=Fraction(25)) for each in (path, sibling))
    assert (ours.timebase, ours.kept) == (theirs.timebase, theirs.kept)
    assert ours.retime(FPS, theirs.frames).kept == theirs.kept


@pytest.mark.parametrize(
    "text",
    [
        document(PLAYED, sound=[PLAYED]),
        document(PLAYED, sound=[PLAYED, PLAYED]),
        document(PLAYED, [], sound=[[]]),
        document(sound=[PLAYED]),  # sound only
        document(PLAYED, version=3),
        document([each | {"name": "video", "speed": 1.0, "volume": 1} for each in PLAYED]),  # version 28 and older
        document([clip(0, 24, 0, effects=[]), *PLAYED[1:]]),
    ],
)
def test_clips_become_kept_frames(text: str) -> None:
    assert parse_timeline(text, default_timebase=FPS) == Timeline.from_kept(FPS, 522, KEPT)


def test_clips_that_touch_in_the_source_are_one() -> None:
    text = document([clip(0, 10, 5), clip(10, 10, 15)])
    assert parse_timeline(text, default_timebase=FPS).kept == ((5, 25),)


def test_without_a_timebase_the_given_one_counts() -> None:
    text = document(PLAYED, timebase=None)
    assert parse_timeline(text, default_timebase=Fraction(25)).timebase == 25


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (document(), "it has no clips"),
        (document([], sound=[[]]), "it has no clips"),
        (document(v={}), "v must be a list of layers"),
        (document(5), "layer v0 is no list of clips"),
        (document([5]), "5 in layer v0 is no clip of a file"),
        (document([clip(0, 0, 0)]), "is no clip of a file"),
        (document([clip(0, 10, -1)]), "is no clip of a file"),
        (document([clip(0, 10, 0, src=None)]), "is no clip of a file"),
        (document([{"name": "rectangle", "start": 0, "dur": 5}]), "is no clip of a file"),
        (document([clip(5, 10, 0)]), "the clip at frame 5 of layer v0 does not follow"),
        (document([clip(0, 10, 50), clip(10, 10, 0)]), "the clip at frame 10 of layer v0 does not follow"),
        (document([clip(0, 10, 0, effects=["speed:2.0"])]), "the clip at frame 0 of layer v0 has effects"),
        (document([clip(0, 10, 0, speed=2.0)]), "has effects"),
        (document([clip(0, 10, 0, volume=0.5)]), "has effects"),
        (document(PLAYED, sound=[PLAYED[:2]]), "its layers v0 and a0 play different frames"),
        (document([clip(0, 10, 0), clip(10, 10, 20, src="b.mp4")]), "it plays 2 files: b.mp4, talk.mp4"),
        (document(PLAYED, timebase="quick"), "'quick' is not a rate"),
    ],
)
def test_what_means_something_else_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(TimelineError) as caught:
        parse_timeline(text, default_timebase=FPS)
    assert sentence in str(caught.value)
