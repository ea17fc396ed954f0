"""Shares of a transcription: who takes which windows, and what is made of what they wrote; no model needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineCancelled, ToolFailed
from pipeline.models import RunContext, Transcript, Word
from pipeline.options import PipelineOptions, SpeechEngine
from pipeline.shares import WindowShare, cut_sound, merge_shares, parse_share, plan_shares, transcribe_share
from pipeline.speech import SPEECH_RATE, Pcm, Span
from pipeline.transcribe import CHECKPOINT_FILE, transcribe

WINDOWS = 9
SECONDS = 20 * WINDOWS


class Ear:
    """Hears the mean of a window's samples as a word, so that each window has its own."""

    def __init__(self) -> None:
        self.loaded = self.languages = self.windows = 0
        self.stops_at: int | None = None

    def load(self, _engine: SpeechEngine, _weights: Path) -> Ear:
        self.loaded += 1
        return self

    def detect_language(self, _clips: Sequence[Pcm]) -> tuple[str, float]:
        self.languages += 1
        return "de", 0.87654321

    def transcribe_window(self, pcm: Pcm, language: str, vocabulary: str, _check: Callable[[], None]) -> list[Word]:
        if self.windows == self.stops_at:
            raise PipelineCancelled
        self.windows += 1
        text = f" {language}{vocabulary}{round(float(pcm.mean()) * 32768)}"
        return [Word(start_ms=1000, end_ms=1500, text=text, probability=0.5)]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.s16"
    np.repeat(np.arange(1, WINDOWS + 1, dtype="<i2"), 20 * SPEECH_RATE).tofile(path)
    return path


def hear(_pcm: Pcm) -> list[Span]:
    return [(at * SPEECH_RATE, (at + 19) * SPEECH_RATE) for at in range(0, SECONDS, 20)]


def context(tmp_path: Path, name: str) -> RunContext:
    (tmp_path / name).mkdir(exist_ok=True)
    return RunContext(workdir=tmp_path / name)


def in_one(speech: Path, ctx: RunContext, ear: Ear, options: PipelineOptions) -> Transcript:
    return transcribe(
        speech, SECONDS * SPEECH_RATE, weights=speech, options=options, ctx=ctx, load=ear.load, hear=hear
    )  # fmt: skip


def plan(speech: Path, tmp_path: Path, ear: Ear, options: PipelineOptions, parts: int = 3) -> tuple[WindowShare, ...]:
    shares = plan_shares(
        speech, SECONDS * SPEECH_RATE, parts,
        weights=speech, options=options, ctx=context(tmp_path, "plan"), least=1, load=ear.load, hear=hear,
    )  # fmt: skip
    travelled = tuple(parse_share(json.loads(json.dumps(share.to_json()))) for share in shares)
    assert travelled == shares
    return shares


def write(speech: Path, ctx: RunContext, share: WindowShare, ear: Ear, options: PipelineOptions) -> Path:
    sound = cut_sound(speech, share, ctx.workdir / "sound.s16")
    assert sound.stat().st_size == 2 * sum(window.samples for window in share.windows.values())
    return transcribe_share(sound, share, weights=speech, options=options, ctx=ctx, load=ear.load)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 9, 20])
@pytest.mark.parametrize("language", [None, "fr"])
def test_shares_write_what_one_machine_writes(
    parts: int, language: str | None, speech: Path, tmp_path: Path
) -> None:  # fmt: skip
    options = PipelineOptions(vocabulary="Whitby", language=language)
    one, ear = Ear(), Ear()
    whole = in_one(speech, context(tmp_path, "one"), one, options)
    assert len({word.text for word in whole.words}) == WINDOWS
    shares = plan(speech, tmp_path, ear, options, parts)
    assert len(shares) == min(parts, WINDOWS)
    written = [
        write(speech, context(tmp_path, f"share{number}"), share, ear, options)
        for number, share in reversed(list(enumerate(shares)))
    ][::-1]
    assert (ear.languages, one.languages) == ((1, 1) if language is None else (0, 0))
    merged = merge_shares(shares, written, context(tmp_path, "merged"))
    assert (ear.windows, one.windows) == (WINDOWS, WINDOWS)
    assert sorted(merged.read_text().splitlines()) == sorted(
        (tmp_path / "one" / CHECKPOINT_FILE).read_text().splitlines()
    )
    deaf = Ear()
    assert in_one(speech, context(tmp_path, "merged"), deaf, options) == whole
    assert deaf.loaded == 0


def test_a_share_goes_on_where_it_stopped(speech: Path, tmp_path: Path) -> None:
    options, ear = PipelineOptions(), Ear()
    _, share, _ = plan(speech, tmp_path, ear, options)
    ear.stops_at = 2
    with pytest.raises(PipelineCancelled):
        write(speech, context(tmp_path, "share"), share, ear, options)
    again = Ear()
    write(speech, context(tmp_path, "share"), share, again, options)
    assert again.windows == len(share.windows) - 2


def test_silence_has_no_shares(speech: Path, tmp_path: Path) -> None:
    ear = Ear()
    assert plan_shares(
        speech, SECONDS * SPEECH_RATE, 3, weights=speech, options=PipelineOptions(),
        ctx=context(tmp_path, "plan"), load=ear.load, hear=lambda _: [],
    ) == ()  # fmt: skip
    assert ear.loaded == 0


def test_what_is_missing_or_of_another_transcription_is_refused(speech: Path, tmp_path: Path) -> None:
    options, ear = PipelineOptions(), Ear()
    shares = plan(speech, tmp_path, ear, options)
    written = [
        write(speech, context(tmp_path, f"share{number}"), share, ear, options) for number, share in enumerate(shares)
    ]
    lines = written[1].read_text().splitlines(keepends=True)
    torn = tmp_path / "torn.jsonl"
    torn.write_text("".join(lines)[:-3])
    others = [replace(share, key="other") for share in shares]
    for number, (given, files) in enumerate(
        (
            (shares, [written[0], torn, written[2]]),
            (shares, [written[0], written[0], written[2]]),
            (shares, [written[0], tmp_path / "nothing", written[2]]),
            ([shares[0], *others[1:]], written),
        )
    ):
        with pytest.raises(ToolFailed):
            merge_shares(given, files, context(tmp_path, f"merged{number}"))
    assert torn.read_text() == "".join(lines)[:-3]
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "document", [{}, {"version": 1}, {"version": 1, "key": "", "language": ["", 0], "windows": [1]}]
)
def test_what_is_no_share_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        parse_share(document)
