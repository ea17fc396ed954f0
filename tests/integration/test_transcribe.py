"""Spoken words to written words with the real weights; the speech is made here, so the truth is known."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineCancelled, ToolMissing
from pipeline.espeak import Samples, speak
from pipeline.models import Progress, RunContext, Stage, Transcript, Word
from pipeline.options import PipelineOptions, SpeechEngine
from pipeline.recognisers import SpeechModel, load_model
from pipeline.speech import SPEECH_RATE, Pcm
from pipeline.transcribe import CHECKPOINT_FILE, transcribe
from tests.media.speech import SPEECH_RATE as TALK_RATE
from tests.media.speech import Talk, noise, resample, talk
from tests.media.wording import bare, word_errors

ENGLISH = (
    "This morning we walked along the river and looked at the old stone bridge. "
    "After lunch the teacher showed seven children how to plant a small apple tree. "
    "In the evening everybody sat around the kitchen table and talked about music."
)
GERMAN = (
    "Guten Morgen. Heute gehen wir zusammen in die Stadt und kaufen frisches Brot und Milch. "
    "Danach besuchen wir unsere Freunde im Garten."
)

Run = Callable[..., Transcript]


@pytest.fixture
def run(weights: Path, tmp_path: Path) -> Run:
    """Transcribe samples at the talk's rate with the real weights."""

    def run(samples: Samples, ctx: RunContext | None = None, **options: object) -> Transcript:
        speech = tmp_path / "speech.pcm"
        pcm = resample(samples, SPEECH_RATE, TALK_RATE)
        speech.write_bytes(pcm.astype("<i2").tobytes())
        return transcribe(
            speech,
            pcm.size,
            weights=weights,
            options=PipelineOptions(**options),  # type: ignore[arg-type]  # whatever the test names
            ctx=ctx or RunContext(workdir=tmp_path),
        )

    return run


def phrases(text: str, pauses_ms: Sequence[int], **how: object) -> Talk:
    """Return a talk of one utterance for each sentence."""
    return talk(re.findall(r"[^.]+\.", text), pauses_ms, **how)  # type: ignore[arg-type]  # passed on


def test_writes_down_what_was_said(run: Run) -> None:
    spoken = phrases(ENGLISH, [700, 900, 4000, 700], noise_dbfs=-60.0, seed=1)
    transcript = run(spoken.samples)
    truth, heard = bare(spoken.text), bare("".join(word.text for word in transcript.words))
    assert word_errors(truth, heard) / len(truth) <= 0.1, heard
    assert transcript.language == "en"
    assert transcript.probability > 0.5
    assert (transcript.engine, transcript.model) == ("faster-whisper", "base")
    for sentence in spoken.words:  # nothing is heard between the sentences
        inside = [word for word in transcript.words if sentence.start_ms - 300 < word.start_ms < sentence.end_ms]
        assert inside[0].start_ms == pytest.approx(sentence.start_ms, abs=250)
        assert inside[-1].end_ms == pytest.approx(sentence.end_ms, abs=350)


def test_words_start_where_they_are_spoken(run: Run) -> None:
    words = bare(ENGLISH)
    pauses = [600, *(1500 if index % 9 == 8 else 120 for index in range(len(words) - 1)), 600]
    spoken = talk(words, pauses, noise_dbfs=-60.0, seed=2)
    transcript = run(spoken.samples, language="en")
    found = [
        (truth.start_ms, word.start_ms)
        for truth in spoken.words
        for word in transcript.words
        if bare(word.text) == [truth.text] and abs(word.start_ms - truth.start_ms) < 2000
    ]
    errors = np.abs([truth - heard for truth, heard in found])
    assert len(found) >= 0.85 * len(words)
    assert np.percentile(errors, 95) <= 250, sorted(errors)


def test_words_are_ordered_and_progress_only_grows(run: Run, tmp_path: Path) -> None:
    seen: list[Progress] = []
    spoken = phrases(ENGLISH, [0, 2000, 2000, 0])
    transcript = run(spoken.samples, RunContext(workdir=tmp_path, on_progress=seen.append), language="en")
    assert all(
        before.end_ms <= after.start_ms for before, after in zip(transcript.words, transcript.words[1:], strict=False)
    )
    assert all(word.end_ms > word.start_ms and word.text.strip() for word in transcript.words)
    assert transcript.words[-1].end_ms <= spoken.duration_ms
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {progress.stage for progress in seen} == {Stage.TRANSCRIBE}


def test_hears_german(run: Run) -> None:
    transcript = run(speak(GERMAN, voice="de"))
    assert transcript.language == "de"
    heard = bare("".join(word.text for word in transcript.words))
    assert word_errors(bare(GERMAN), heard) / len(bare(GERMAN)) <= 0.35, heard  # a robot, and a small model


@pytest.mark.parametrize("dbfs", [None, -50.0, -25.0])
def test_silence_and_noise_are_no_words(run: Run, dbfs: float | None) -> None:
    count = 20 * TALK_RATE
    samples = np.zeros(count) if dbfs is None else noise(count, dbfs, seed=3)
    transcript = run(np.clip(np.rint(samples), -32768, 32767).astype(np.int16))
    assert transcript.words == ()
    assert transcript.language == ""


def test_nothing_at_all_is_no_words(run: Run) -> None:
    assert run(np.zeros(0, np.int16)).words == ()


class CountingModel:
    """The real model, counting its windows; it fails at the window it is told to."""

    def __init__(self, weights: Path, fails_at: int | None) -> None:
        self.windows = 0
        self._model = load_model(SpeechEngine.FASTER_WHISPER, weights)
        self._fails_at = fails_at

    def detect_language(self, clips: Sequence[Pcm]) -> tuple[str, float]:
        return self._model.detect_language(clips)

    def transcribe_window(self, pcm: Pcm, language: str, vocabulary: str, check: Callable[[], None]) -> list[Word]:
        if self.windows == self._fails_at:
            raise PipelineCancelled
        self.windows += 1
        return self._model.transcribe_window(pcm, language, vocabulary, check)


def test_stops_in_the_window_it_is_asked_in(weights: Path, tmp_path: Path) -> None:
    pcm = resample(phrases(ENGLISH * 2, [900] * 7).samples, SPEECH_RATE, TALK_RATE)
    speech = tmp_path / "speech.pcm"
    speech.write_bytes(pcm.tobytes())
    model = CountingModel(weights, fails_at=None)
    with pytest.raises(PipelineCancelled):
        transcribe(
            speech,
            pcm.size,
            weights=weights,
            options=PipelineOptions(language="en"),
            ctx=RunContext(workdir=tmp_path, should_cancel=lambda: model.windows == 1),
            load=lambda *_: model,
        )
    assert model.windows == 1
    assert '"window"' not in (tmp_path / CHECKPOINT_FILE).read_text("utf-8")


def test_resumes_after_the_last_finished_window(weights: Path, tmp_path: Path) -> None:
    pcm = resample(phrases(ENGLISH * 2, [900] * 7).samples, SPEECH_RATE, TALK_RATE)
    speech = tmp_path / "speech.pcm"
    speech.write_bytes(pcm.tobytes())
    models: list[CountingModel] = []

    def run(workdir: Path, fails_at: int | None = None, vocabulary: str = "") -> Transcript:
        def load(_engine: SpeechEngine, folder: Path) -> SpeechModel:
            models.append(CountingModel(folder, fails_at))
            return models[-1]

        workdir.mkdir(exist_ok=True)
        return transcribe(
            speech,
            pcm.size,
            weights=weights,
            options=PipelineOptions(vocabulary=vocabulary, language="en"),
            ctx=RunContext(workdir=workdir),
            load=load,
        )

    with pytest.raises(PipelineCancelled):
        run(tmp_path / "resumed", fails_at=1)
    with open(tmp_path / "resumed" / CHECKPOINT_FILE, "a", encoding="utf-8") as file:
        file.write('{"window": 1, "wor')  # torn by a crash
    resumed = run(tmp_path / "resumed")
    assert [model.windows for model in models[:2]] == [1, models[1].windows]
    whole = run(tmp_path / "whole")
    total = models[2].windows
    assert total >= 2
    assert models[1].windows == total - 1
    assert resumed == whole

    assert run(tmp_path / "resumed") == whole  # all windows are done: no model is loaded
    assert len(models) == 3
    with pytest.raises(PipelineCancelled):
        run(tmp_path / "resumed", fails_at=0, vocabulary="Whitby")  # another prompt, other words


def test_unreadable_weights_are_explained(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"no weights")
    with pytest.raises(ToolMissing, match="make weights"):
        load_model(SpeechEngine.FASTER_WHISPER, tmp_path)


def test_engines_are_loaded_late() -> None:
    """The web process imports values that lead here; it must not pay for an engine."""
    heavy = "{'torch', 'whisper', 'ctranslate2', 'faster_whisper'}"
    code = f"import sys, pipeline.transcribe; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


# openai-whisper leaves its own table of tokens open.
@pytest.mark.filterwarnings("ignore:.*tiktoken.*:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:.*tiktoken.*:ResourceWarning")
def test_both_engines_write_alike_from_the_same_weights(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("whisper", reason="the package openai-whisper is not installed")
    spoken = phrases(ENGLISH[: ENGLISH.index(".") + 1], [500, 500], noise_dbfs=-60.0)
    faster = run(spoken.samples, RunContext(workdir=tmp_path), language="en")
    original = run(spoken.samples, speech_engine=SpeechEngine.OPENAI_WHISPER)
    assert (original.engine, original.language) == ("openai-whisper", "en")
    heard = [bare("".join(word.text for word in transcript.words)) for transcript in (original, faster)]
    assert word_errors(heard[0], heard[1]) <= 1
    starts = {word.text: word.start_ms for word in faster.words}
    apart = [abs(word.start_ms - starts[word.text]) for word in original.words if word.text in starts]
    assert np.median(apart) < 60
