"""A talk written down and made by several machines: the same words, captions and pictures as by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.fanout import run_shared
from pipeline.models import RESULT_FILES, RunContext
from pipeline.options import Captions, CutEngine, PipelineOptions
from pipeline.run import run_pipeline
from pipeline.transcribe import CHECKPOINT_FILE
from tests.media.clips import silent_clip
from tests.media.compare import compare_pictures, read_packets
from tests.media.crew import LocalCrew
from tests.media.speech import SPEECH_RATE, talk
from tests.media.talks import SHADES, write_video

TEXT = (
    "This morning we walked along the river and looked at the old stone bridge near the mill. "
    "After lunch the teacher showed seven children how to plant a small apple tree in the garden. "
    "In the evening everybody sat around the kitchen table and talked about music until midnight. "
    "Nobody remembers who opened the window, but the cat was gone and the candle was still burning. "
)
ROUNDS = 5


def context(folder: Path) -> RunContext:
    folder.mkdir()
    return RunContext(workdir=folder)


def test_many_machines_make_what_one_makes(weights: Path, tmp_path: Path, show: Callable[[str], None]) -> None:
    phrases = re.findall(r"[^.]+\.", TEXT * ROUNDS)
    pauses = [700, *(2500 if at % 2 else 1200 for at in range(len(phrases) - 1)), 900]
    spoken = talk(phrases, pauses, noise_dbfs=-60.0, seed=1)
    source = write_video(tmp_path / "talk.mp4", spoken.samples, picture=SHADES)
    options = PipelineOptions(captions=Captions.BOTH, cut_engine=CutEngine.BUILTIN, model_dir=weights.parent)
    one = run_pipeline(source, options, context(tmp_path / "one"))

    crew = LocalCrew(source, options, tmp_path / "parts", parts=3, least_s=5.0)
    joined = run_shared(source, options, context(tmp_path / "whole"), crew)
    windows = sum(len(share.windows) for share in crew.shares)
    assert windows >= 5
    assert (len(crew.shares), len(crew.chunks)) == (3, 3)
    lines = [(tmp_path / name / CHECKPOINT_FILE).read_text("utf-8").splitlines() for name in ("one", "whole")]
    assert sorted(lines[0]) == sorted(lines[1]), "every word, time and probability, none of them twice"

    for name in set(RESULT_FILES) - {"video.mp4", "poster.jpg", "report.json"}:
        assert joined.files[name].read_bytes() == one.files[name].read_bytes(), name
    for kind in ("audio", "subtitle"):
        assert read_packets(joined.files["video.mp4"], kind) == read_packets(one.files["video.mp4"], kind)
    levels = compare_pictures(one.files["video.mp4"], joined.files["video.mp4"])
    assert all(check["ok"] for check in joined.report["qa"] if check["hard"])  # type: ignore[attr-defined]
    assert {stage["name"] for stage in joined.report["stages"]} == {  # type: ignore[attr-defined]
        stage["name"]
        for stage in one.report["stages"]  # type: ignore[attr-defined]
    }
    words = len(json.loads(one.files["transcript.json"].read_text(encoding="utf-8"))["words"])
    assert words > 12 * len(phrases)
    show(
        f"a talk of {len(spoken.samples) / SPEECH_RATE:.0f} s by 3 machines: {words} words in {windows} windows, "
        f"the same; {len(levels)} frames, at least {min(levels):.1f} dB from those made in one piece"
    )
    assert min(levels) >= 45


@pytest.mark.parametrize("captions", [Captions.NONE, Captions.SOFT])
def test_without_speech_there_is_nothing_to_share(captions: Captions, weights: Path, tmp_path: Path) -> None:
    clip = silent_clip(tmp_path / "clip.mp4")
    options = PipelineOptions(captions=captions, model_dir=weights.parent)
    crew = LocalCrew(clip.path, options, tmp_path / "parts", parts=3)
    assert set(run_shared(clip.path, options, context(tmp_path / "whole"), crew).files) == set(RESULT_FILES)
    assert crew.shares == []
