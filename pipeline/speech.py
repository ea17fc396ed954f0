"""Where a source speaks, and how its speech is cut into windows that a recogniser takes one at a time.

Positions are samples of the 16 kHz mono scratch file; `Window.to_source_ms` leads back to milliseconds of the source.
The file is read in pieces: five minutes at a time to look for speech, one window at a time to transcribe it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import SourceGone

SPEECH_RATE = 16_000
"""Samples a second of the scratch file; what Whisper and Silero take."""

Span = tuple[int, int]
"""Samples from, until (exclusive)."""
Pcm = npt.NDArray[np.float32]
"""Mono samples at `SPEECH_RATE`, -1 to 1."""
FindSpeech = Callable[[Pcm], Sequence[Span]]
"""Returns the ascending speech spans of one block; speech that goes on at the block's end has its end there."""

BLOCK = 5 * 60 * SPEECH_RATE
"""Samples looked through at a time: measured on ten minutes at a time, the detector takes 430 MB, on five 310 MB."""
PAD = 300 * SPEECH_RATE // 1000
"""Real sound kept around speech: soft beginnings and ends lie outside what the detector hears."""
MAX_WINDOW = 28 * SPEECH_RATE
"""Whisper's encoder takes 30 s, whether they are full or not; two stay free for its end-of-speech timestamp."""
MAX_SPAN = MAX_WINDOW - 2 * PAD
_SEARCH = 8 * SPEECH_RATE
"""A window may end this much early for a better place: the longest pause, or the quietest moment of endless speech."""
_KEPT_PAUSE = SPEECH_RATE
"""Pauses up to this stay as they are: the rhythm tells Whisper where sentences end, and shortening saves nothing."""
_LEAD_IN = SPEECH_RATE
"""Sound the detector hears before the place where it starts to matter; its memory begins empty."""
_MIN_SILENCE_MS = 300
_MIN_SPEECH_MS = 100
_QUIET = 20 * SPEECH_RATE // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Pieces of a source, heard one after the other as one short recording."""

    pieces: tuple[Span, ...]
    """Ascending, apart from each other, none empty."""

    @property
    def samples(self) -> int:
        """Length of the recording."""
        return sum(end - start for start, end in self.pieces)

    def to_source_ms(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Return the source time of an interval in window time, clamped into the piece where its middle lies."""
        middle = (start_ms + end_ms) * SPEECH_RATE // 2000
        ends = list(accumulate(end - start for start, end in self.pieces))
        index = min(bisect_right(ends, middle), len(ends) - 1)
        first, last = (to_ms(position) for position in self.pieces[index])
        shift = first - to_ms(ends[index - 1] if index else 0)
        return min(max(start_ms + shift, first), last), min(max(end_ms + shift, first), last)


def to_ms(samples: int) -> int:
    """Return the milliseconds of a position, rounded down."""
    return samples * 1000 // SPEECH_RATE


def read_samples(speech: Path, start: int, end: int) -> npt.NDArray[np.int16]:
    """Return samples ``start`` until ``end`` of a scratch file as they are. Raises `SourceGone` when it holds fewer."""
    try:
        pcm = np.fromfile(speech, dtype="<i2", offset=2 * start, count=end - start)
    except OSError as error:
        raise SourceGone(f"can't read {speech}: {error}") from error
    if pcm.size != end - start:
        raise SourceGone(f"{speech} ends before sample {end}")
    return pcm


def read_pcm(speech: Path, start: int, end: int) -> Pcm:
    """Return samples ``start`` until ``end`` of a scratch file. Raises `SourceGone` when it holds fewer."""
    return read_samples(speech, start, end).astype(np.float32) / np.float32(32768)


def read_window(speech: Path, window: Window) -> Pcm:
    """Return the recording that ``window`` describes. Raises `SourceGone` as `read_pcm` does."""
    return np.concatenate([read_pcm(speech, start, end) for start, end in window.pieces])


def hear_speech(pcm: Pcm) -> list[Span]:
    """Return the speech spans that Silero hears in one block, without padding. A `FindSpeech`."""
    from faster_whisper.vad import (  # deferred: loads ctranslate2 and onnxruntime
        VadOptions,
        get_speech_timestamps,
    )

    options = VadOptions(
        min_speech_duration_ms=_MIN_SPEECH_MS,
        min_silence_duration_ms=_MIN_SILENCE_MS,
        speech_pad_ms=0,
    )
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(pcm, options)]


def find_speech(
    speech: Path,
    samples: int,
    *,
    hear: FindSpeech = hear_speech,
    block: int = BLOCK,
    on_block: Callable[[float], None] = lambda _: None,
) -> tuple[Span, ...]:
    """Return where the first ``samples`` samples of a scratch file hold speech: spans of at most `MAX_SPAN`.

    ``hear`` gets ``block`` samples at a time. Speech that is open at the end of a block is given to the next one whole,
    so where blocks end changes nothing. Longer speech without a pause is split at its quietest moments. ``on_block``
    gets the share 0–1 that is done, and may raise to stop. Raises `SourceGone`.
    """
    if block < 2 * MAX_WINDOW:
        raise ValueError(f"a block of {block} samples is too short: speech carried over would never end")
    found: list[Span] = []
    done = 0  # speech before this is settled
    while done < samples:
        begin = max(0, done - _LEAD_IN)
        end = min(begin + block, samples)
        pcm = read_pcm(speech, begin, end)
        settled = end
        for start, stop in hear(pcm):
            if begin + stop <= done:
                continue
            pieces = split_long(pcm, max(start, done - begin), stop)
            if stop >= pcm.size and end < samples:  # open: its last piece begins the next block
                *pieces, (carried, _) = pieces
                settled = begin + carried
            found += [(begin + first, begin + last) for first, last in pieces]
        done = settled
        on_block(done / samples)
    return tuple(found)


def split_long(pcm: Pcm, start: int, end: int) -> list[Span]:
    """Return ``start`` until ``end`` in parts of at most `MAX_SPAN`, split at the quietest 20 ms near each limit."""
    parts: list[Span] = []
    while end - start > MAX_SPAN:
        latest = start + MAX_SPAN
        first = latest - _SEARCH
        frames = pcm[first : latest - (latest - first) % _QUIET].reshape(-1, _QUIET)
        quietest = int(np.argmin(np.square(frames).mean(axis=1)))
        split = first + quietest * _QUIET + _QUIET // 2
        parts.append((start, split))
        start = split
    return [*parts, (start, end)]


def plan_windows(spans: Iterable[Span], samples: int) -> tuple[Window, ...]:
    """Return windows of at most `MAX_WINDOW` that hold all speech of a source of ``samples`` samples, in order.

    Speech keeps up to `PAD` of real sound around it, never more than half a pause, so windows do not overlap. Long
    pauses inside a window are left out, and the encoder's 30 seconds hold speech. A full window ends at the longest
    pause of its last eight seconds. Pure: the same spans give the same windows on every machine.
    """
    parts = [part for span in spans for part in _halve(span)]
    if not parts:
        return ()
    pauses = [after - before for (_, before), (after, _) in pairwise(parts)]
    room = [parts[0][0], *(pause // 2 for pause in pauses), samples - parts[-1][1]]
    windows: list[Window] = []
    first = 0
    while first < len(parts):
        fitting: list[Window] = []
        for last in range(first, len(parts)):
            window = _lay_out(parts[first : last + 1], min(PAD, room[first]), min(PAD, room[last + 1]))
            if fitting and window.samples > MAX_WINDOW:
                break
            fitting.append(window)
        count = len(fitting)
        if first + count < len(parts):
            near = [size for size in range(1, count + 1) if fitting[size - 1].samples >= MAX_WINDOW - _SEARCH] or [
                count
            ]
            count = max(near, key=lambda size: (pauses[first + size - 1], size))
        windows.append(fitting[count - 1])
        first += count
    return tuple(windows)


def _halve(span: Span) -> list[Span]:
    """Return a span as parts that fit into a window; `find_speech` makes none that don't."""
    start, end = span
    if end - start <= MAX_SPAN:
        return [span]
    middle = (start + end) // 2
    return [*_halve((start, middle)), *_halve((middle, end))]


def _lay_out(parts: Sequence[Span], before: int, after: int) -> Window:
    """Return the window of consecutive ``parts`` with this much sound before the first and after the last."""
    pieces: list[Span] = []
    start = parts[0][0] - before
    for (_, end), (following, _) in pairwise(parts):
        if following - end > _KEPT_PAUSE:
            pieces.append((start, end + PAD))
            start = following - PAD
    return Window(pieces=(*pieces, (start, parts[-1][1] + after)))
