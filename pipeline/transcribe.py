"""Speech to words, by planned windows: flat memory, progress, cancelling between windows, and resuming after a crash.

pipeline.md section 4: one call over a long file holds gigabytes, so speech is found first (`pipeline.speech`), packed
into windows of at most 28 s, and each window is transcribed alone by either engine (`pipeline.recognisers`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pipeline.errors import DiskFull, OutputUnwritable
from pipeline.hallucinations import clean_words
from pipeline.models import RunContext, Stage, Transcript, Word
from pipeline.onsets import refine_times
from pipeline.options import PipelineOptions, SpeechEngine
from pipeline.recognisers import SpeechModel, load_model
from pipeline.speech import FindSpeech, Pcm, Span, Window, find_speech, hear_speech, plan_windows, read_window, to_ms

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "transcript.partial.jsonl"
"""Finished windows, one JSON line each, in the workdir."""

LoadModel = Callable[[SpeechEngine, Path], SpeechModel]

_CHECKPOINT_VERSION = 1
_SEARCH_SHARE = 0.02
"""Share of the stage that finding speech takes; measured, 2 cores, base model."""
_LANGUAGE_CLIPS = 3


def transcribe(
    speech: Path,
    samples: int,
    *,
    weights: Path,
    options: PipelineOptions,
    ctx: RunContext,
    load: LoadModel = load_model,
    hear: FindSpeech = hear_speech,
) -> Transcript:
    """Return what is said in ``speech``: ``samples`` samples of 16 kHz mono s16le, never read whole.

    Times of words are source time. Without speech the transcript has no words and no language. Finished windows are
    kept in ``ctx.workdir``: a second run with the same sound and options does not transcribe them again. ``load`` and
    ``hear`` are what stands behind the engine and the speech detector. Raises `PipelineCancelled` within seconds of
    the request, `ToolMissing` when the weights can't be used, `SourceGone` and `DiskFull`.
    """

    spans, windows = find_windows(speech, samples, ctx=ctx, hear=hear)
    model_name = Path(options.model).name  # a folder's path is nobody's business
    language, probability = "", 0.0
    words: list[Word] = []
    if windows:
        checkpoint = Checkpoint(ctx.workdir / CHECKPOINT_FILE, hash_inputs(options, windows))
        model: SpeechModel | None = None
        if checkpoint.language is None:
            ctx.check_cancelled()
            model = load(options.speech_engine, weights)
            checkpoint.keep_language(*find_language(model, speech, windows, options.language))
        language, probability = checkpoint.language or ("", 0.0)
        numbered = dict(enumerate(windows))
        transcribe_windows(
            numbered, checkpoint, read=lambda index: read_window(speech, numbered[index]),
            load=lambda: model or load(options.speech_engine, weights), vocabulary=options.vocabulary, ctx=ctx,
        )  # fmt: skip
        words = [word for index in numbered for word in checkpoint.windows[index]]
    ctx.report(Stage.TRANSCRIBE, 1.0)
    return Transcript(
        language=language,
        probability=round(probability, 3),
        engine=options.speech_engine.value,
        model=model_name,
        words=clean_words(words, [(to_ms(start), to_ms(end)) for start, end in spans]),
    )


def find_windows(
    speech: Path, samples: int, *, ctx: RunContext, hear: FindSpeech = hear_speech
) -> tuple[tuple[Span, ...], tuple[Window, ...]]:
    """Return where ``speech`` is spoken, and the windows that hold it, each to be transcribed alone."""

    def on_block(done: float) -> None:
        ctx.check_cancelled()
        ctx.report(Stage.TRANSCRIBE, _SEARCH_SHARE * done)

    spans = find_speech(speech, samples, hear=hear, on_block=on_block)
    return spans, plan_windows(spans, samples)


def transcribe_windows(
    windows: Mapping[int, Window],
    checkpoint: Checkpoint,
    *,
    read: Callable[[int], Pcm],
    load: Callable[[], SpeechModel],
    vocabulary: str,
    ctx: RunContext,
) -> None:
    """Add to ``checkpoint``, whose language is known, those of the numbered ``windows`` that it lacks.

    ``read`` returns the sound of a window by its number. No window knows another's text: the order they are taken in,
    and by whom, changes no word.
    """
    language, _ = checkpoint.language or ("", 0.0)
    model: SpeechModel | None = None
    total, done = sum(window.samples for window in windows.values()), 0
    for index, window in windows.items():
        ctx.check_cancelled()
        if index not in checkpoint.windows:
            model = model or load()
            pcm = read(index)
            heard = model.transcribe_window(pcm, language, vocabulary, ctx.check_cancelled)
            checkpoint.keep_window(index, [_in_source(window, word) for word in refine_times(heard, pcm)])
        done += window.samples
        ctx.report(Stage.TRANSCRIBE, _SEARCH_SHARE + (1 - _SEARCH_SHARE) * done / total)


def find_language(model: SpeechModel, speech: Path, windows: Sequence[Window], chosen: str | None) -> tuple[str, float]:
    """Return the language to transcribe in and its probability: the ``chosen`` one, else what ``model`` hears."""
    if chosen is not None:
        return chosen, 1.0
    return model.detect_language([read_window(speech, window) for window in pick_clips(windows)])


def pick_clips(windows: Sequence[Window]) -> list[Window]:
    """Return up to three windows to hear the language in: the fullest of each third, so no introduction decides."""
    count = min(_LANGUAGE_CLIPS, len(windows))
    edges = [len(windows) * part // count for part in range(count + 1)] if count else []
    return [max(windows[start:end], key=lambda window: window.samples) for start, end in pairwise(edges)]


def _in_source(window: Window, word: Word) -> Word:
    start_ms, end_ms = window.to_source_ms(word.start_ms, word.end_ms)
    return replace(word, start_ms=start_ms, end_ms=end_ms)


def hash_inputs(options: PipelineOptions, windows: Sequence[Window]) -> str:
    """Return what a finished window depends on, as one hash."""
    inputs = [
        _CHECKPOINT_VERSION,
        options.speech_engine.value,
        options.model,
        options.language,
        options.vocabulary,
        [window.pieces for window in windows],
    ]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


class Checkpoint:
    """Finished windows of one transcription, on disk as they come.

    The first line is the key; a file with another key, or none, is replaced. A last line that a crash tore is dropped.
    ``read_only`` leaves the file as it is, and only knows what can be used of it.
    """

    def __init__(self, path: Path, key: str, *, read_only: bool = False) -> None:
        self.language: tuple[str, float] | None = None
        """Code and probability, once known."""
        self.windows: dict[int, list[Word]] = {}
        """Words in source time by index of their window."""
        self._path = path
        whole = self._read(key)
        if read_only:
            return
        if not whole:
            self._write("".join(line + "\n" for line in self._lines(key)), "w")
        elif self.windows:
            logger.info("resuming a transcription: %d windows are done", len(self.windows))

    def keep_language(self, code: str, probability: float) -> None:
        """Remember the language that all windows are transcribed in."""
        self.language = (code, probability)
        self._write(json.dumps({"language": self.language}) + "\n", "a")

    def keep_window(self, index: int, words: Sequence[Word]) -> None:
        """Remember a finished window."""
        self.windows[index] = list(words)
        self._write(_window_line(index, words) + "\n", "a")

    def _read(self, key: str) -> bool:
        """Take in what the file holds for ``key``; return whether all of it could be used."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            return False
        with suppress(ValueError, KeyError, TypeError, IndexError):
            if json.loads(lines[0])["key"] != key:
                return False
            for line in lines[1:]:
                if not line.endswith("\n"):
                    return False
                record = json.loads(line)
                if "language" in record:
                    code, probability = record["language"]
                    self.language = (str(code), float(probability))
                else:
                    self.windows[int(record["window"])] = [
                        Word(start_ms=int(start), end_ms=int(end), text=str(text), probability=float(probability))
                        for start, end, text, probability in record["words"]
                    ]
            return True
        return False

    def _lines(self, key: str) -> list[str]:
        lines = [json.dumps({"key": key})]
        if self.language is not None:
            lines.append(json.dumps({"language": self.language}))
        return lines + [_window_line(index, words) for index, words in self.windows.items()]

    def _write(self, text: str, mode: str) -> None:
        try:
            with open(self._path, mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(str(self._path.parent)) from error
            raise OutputUnwritable(str(self._path.parent), str(error)) from error


def _window_line(index: int, words: Sequence[Word]) -> str:
    rows = [[word.start_ms, word.end_ms, word.text, word.probability] for word in words]
    return json.dumps({"window": index, "words": rows}, ensure_ascii=False)
