"""Finished windows of a transcription are kept, and taken up again by the same work only: no model needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineCancelled
from pipeline.models import RunContext, Transcript, Word
from pipeline.options import PipelineOptions, SpeechEngine
from pipeline.speech import SPEECH_RATE, Pcm, Span
from pipeline.transcribe import CHECKPOINT_FILE, transcribe

SECONDS, WINDOWS = 80, 4


class FakeModel:
    """Hears one word a window; it is stopped at the window it is told to."""

    def __init__(self, stops_at: int | None = None) -> None:
        self.windows = 0
        self._stops_at = stops_at

    def detect_language(self, _clips: Sequence[Pcm]) -> tuple[str, float]:
        return "en", 0.9

    def transcribe_window(self, _pcm: Pcm, _language: str, _vocabulary: str, _check: Callable[[], None]) -> list[Word]:
        if self.windows == self._stops_at:
            raise PipelineCancelled
        self.windows += 1
        return [Word(start_ms=1000, end_ms=1500, text=f" word{self.windows}", probability=0.5)]


def run(workdir: Path, model: FakeModel, options: PipelineOptions | None = None) -> Transcript:
    workdir.mkdir(exist_ok=True)
    speech = workdir / "speech.s16"
    np.zeros(SECONDS * SPEECH_RATE, "<i2").tofile(speech)

    def load(_engine: SpeechEngine, _weights: Path) -> FakeModel:
        return model

    def hear(_pcm: Pcm) -> list[Span]:
        return [(at * SPEECH_RATE, (at + 19) * SPEECH_RATE) for at in range(0, SECONDS, 20)]

    return transcribe(
        speech,
        SECONDS * SPEECH_RATE,
        weights=workdir,
        options=options or PipelineOptions(),
        ctx=RunContext(workdir=workdir),
        load=load,
        hear=hear,
    )


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """The workdir of a transcription that was stopped after two windows."""
    workdir, model = tmp_path / "work", FakeModel(stops_at=2)
    with pytest.raises(PipelineCancelled):
        run(workdir, model)
    assert model.windows == 2
    return workdir


def test_finished_windows_are_not_transcribed_again(interrupted: Path) -> None:
    second = FakeModel()
    words = run(interrupted, second).words
    assert second.windows == WINDOWS - 2
    assert [word.text for word in words] == [" word1", " word2", " word1", " word2"]
    third = FakeModel()
    assert run(interrupted, third).words == words
    assert third.windows == 0


def test_a_torn_line_is_dropped_and_what_follows_is_kept(interrupted: Path) -> None:
    with open(interrupted / CHECKPOINT_FILE, "a", encoding="utf-8") as file:
        file.write('{"window": 2, "wor')
    second, third = FakeModel(), FakeModel()
    words = run(interrupted, second).words
    assert second.windows == WINDOWS - 2
    assert run(interrupted, third).words == words
    assert third.windows == 0


@pytest.mark.parametrize(
    "options",
    [
        PipelineOptions(vocabulary="Whitby"),
        PipelineOptions(model="small"),
        PipelineOptions(language="de"),
        PipelineOptions(speech_engine=SpeechEngine.OPENAI_WHISPER),
    ],
    ids=["vocabulary", "model", "language", "engine"],
)
def test_finished_windows_of_other_options_are_not_taken(interrupted: Path, options: PipelineOptions) -> None:
    model = FakeModel()
    run(interrupted, model, options)
    assert model.windows == WINDOWS
