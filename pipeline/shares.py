"""One transcription by many machines: who takes which windows, and the one transcript of what they wrote.

Windows do not know each other's text (`condition_on_previous_text` is off in both engines), so shared out they give the
same words. The language is decided once, before, and handed over. A share is a small value that travels as JSON, beside
about a megabyte of sound for each window; its result is a checkpoint file as `transcribe.transcribe` keeps, so that
several of them merged are taken for a run that was interrupted after its last window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from pipeline.errors import ToolFailed
from pipeline.media import writing
from pipeline.models import RunContext
from pipeline.options import PipelineOptions
from pipeline.recognisers import load_model
from pipeline.speech import FindSpeech, Window, hear_speech, read_pcm, read_samples
from pipeline.split import split_evenly
from pipeline.transcribe import (
    CHECKPOINT_FILE,
    Checkpoint,
    LoadModel,
    find_language,
    find_windows,
    hash_inputs,
    transcribe_windows,
)

SHARE_VERSION = 1
LEAST_WINDOWS = 4
"""Windows that are worth a share: loading the model costs about as much as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowShare:
    """Some windows of a transcription, and all that writing them down takes beside the sound and the options."""

    key: str
    """What the whole transcription depends on."""
    language: str
    probability: float
    windows: Mapping[int, Window]
    """By their index among all windows, in the time of the source."""

    def to_json(self) -> dict[str, object]:
        """Return the share as a value for JSON: some twenty bytes for each piece of sound."""
        return {
            "version": SHARE_VERSION,
            "key": self.key,
            "language": [self.language, self.probability],
            "windows": [[index, [list(piece) for piece in window.pieces]] for index, window in self.windows.items()],
        }


def parse_share(document: Mapping[str, object]) -> WindowShare:
    """Return the share that `WindowShare.to_json` wrote. Raises `ValueError` for anything else."""
    match document:
        case {
            "version": 1, "key": str(key), "language": [str(language), int() | float() as probability],
            "windows": list(windows),
        }:  # fmt: skip
            pass
        case _:
            raise ValueError(f"no share of version {SHARE_VERSION}: {sorted(document)}")
    try:
        return WindowShare(
            key=key,
            language=language,
            probability=float(probability),
            windows={
                int(index): Window(pieces=tuple((int(start), int(end)) for start, end in pieces))
                for index, pieces in windows
            },
        )
    except TypeError as error:
        raise ValueError(f"a share that can't be read: {error}") from error


def plan_shares(
    speech: Path,
    samples: int,
    parts: int,
    *,
    weights: Path,
    options: PipelineOptions,
    ctx: RunContext,
    least: int = LEAST_WINDOWS,
    load: LoadModel = load_model,
    hear: FindSpeech = hear_speech,
) -> tuple[WindowShare, ...]:
    """Return the transcription of ``speech`` in at most ``parts`` shares of ``least`` windows or more; none in silence.

    Finds the speech and its language, which a run on one machine does with the same windows and the same clips. Raises
    what `transcribe.transcribe` raises.
    """
    _, windows = find_windows(speech, samples, ctx=ctx, hear=hear)
    if not windows:
        return ()
    if options.language is None:
        ctx.check_cancelled()
        language, probability = find_language(load(options.speech_engine, weights), speech, windows, None)
    else:
        language, probability = options.language, 1.0
    return tuple(
        WindowShare(
            key=hash_inputs(options, windows),
            language=language,
            probability=probability,
            windows={index: windows[index] for index in share},
        )
        for share in split_evenly([1] * len(windows), parts, least=least)  # the encoder takes 30 s, full or not
    )


def cut_sound(speech: Path, share: WindowShare, target: Path) -> Path:
    """Write the sound of the windows of ``share`` to ``target``, one after the other, and return it.

    So who transcribes it needs nothing of the source: 16 kHz mono s16le, a megabyte for a full window. Raises
    `SourceGone`, `DiskFull` and `OutputUnwritable`.
    """
    with writing(target.parent), target.open("wb") as file:
        for window in share.windows.values():
            for start, end in window.pieces:
                file.write(read_samples(speech, start, end).data)
    return target


def transcribe_share(
    sound: Path,
    share: WindowShare,
    *,
    weights: Path,
    options: PipelineOptions,
    ctx: RunContext,
    load: LoadModel = load_model,
) -> Path:
    """Write down the windows of ``share`` and return the checkpoint file, which lies in ``ctx.workdir``.

    ``sound`` is what `cut_sound` wrote for it. A share that was interrupted goes on where it stopped. Raises what
    `transcribe.transcribe` raises.
    """
    ends = list(accumulate((window.samples for window in share.windows.values()), initial=0))
    placed = dict(zip(share.windows, pairwise(ends), strict=True))
    path = ctx.workdir / CHECKPOINT_FILE
    checkpoint = Checkpoint(path, share.key)
    if checkpoint.language is None:
        checkpoint.keep_language(share.language, share.probability)
    transcribe_windows(
        share.windows,
        checkpoint,
        read=lambda index: read_pcm(sound, *placed[index]),
        load=lambda: load(options.speech_engine, weights),
        vocabulary=options.vocabulary,
        ctx=ctx,
    )
    return path


def is_written(share: WindowShare, path: Path) -> bool:
    """Tell whether a checkpoint file has all windows of ``share``."""
    part = Checkpoint(path, share.key, read_only=True)
    return part.language == (share.language, share.probability) and share.windows.keys() <= part.windows.keys()


def merge_shares(shares: Sequence[WindowShare], written: Sequence[Path], ctx: RunContext) -> Path:
    """Put what the ``shares`` have ``written`` into one checkpoint file in ``ctx.workdir``, and return it.

    A run in that workdir takes it up. Raises `ToolFailed` when windows are missing, or of another transcription.
    """
    first = shares[0]
    merged = Checkpoint(ctx.workdir / CHECKPOINT_FILE, first.key)
    if merged.language is None:
        merged.keep_language(first.language, first.probability)
    for share, path in zip(shares, written, strict=True):
        part = Checkpoint(path, share.key, read_only=True)
        missing = [index for index in share.windows if index not in part.windows]
        if missing or share.key != first.key or part.language != (first.language, first.probability):
            raise ToolFailed(
                "The parts of the transcript do not fit together. Process the video again.",
                f"{path} lacks {len(missing)} of {len(share.windows)} windows, or is of another transcription",
            )
        for index in share.windows.keys() - merged.windows.keys():
            merged.keep_window(index, part.windows[index])
    return ctx.workdir / CHECKPOINT_FILE
