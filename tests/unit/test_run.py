"""What a run does with a result that is not good enough: nothing is handed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import run
from pipeline.errors import QaFailed
from pipeline.models import QaCheck, RunContext
from pipeline.options import Captions, PipelineOptions
from tests.media.clips import numbered_clip


@pytest.mark.parametrize("hard", [True, False])
def test_a_result_that_fails_its_check_is_not_delivered(
    hard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_result(*_: object, **__: object) -> tuple[QaCheck, ...]:
        return (QaCheck(id="av_sync", ok=False, hard=hard, value=51, limit=33, unit="ms", text=""),)

    monkeypatch.setattr(run, "check_result", check_result)
    clip = numbered_clip(tmp_path / "clip.mp4", frames=60)
    ctx = RunContext(workdir=tmp_path)
    if not hard:
        assert run.run_pipeline(clip.path, PipelineOptions(captions=Captions.NONE), ctx).report["qa"]
        return
    with pytest.raises(QaFailed, match="av_sync: 51 ms, limit 33"):
        run.run_pipeline(clip.path, PipelineOptions(captions=Captions.NONE), ctx)
    assert not (tmp_path / "result" / "report.json").exists()
