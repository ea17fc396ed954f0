"""The Timeline: the one list of kept and removed frames that cuts picture and sound and maps every caption.

Format v1 is auto-editor's, documented there as stable:
``{"version":"1","source":…,"timebase":"30/1","chunks":[[start,end,speed],…]}`` with start inclusive, end exclusive,
no gaps; speed 1.0 plays, 0.0 or 99999.0 is a cut. Format v3, its layers of clips, is only read.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import floor
from pathlib import Path

KEPT = 1.0
REMOVED = 99999.0
_REMOVED_SPEEDS = (0.0, REMOVED)

Range = tuple[int, int]
"""A half-open range of frames."""


class TimelineError(ValueError):
    """A timeline file that can't be used; the message says which rule it breaks."""


def round_half_up(value: Fraction) -> int:
    """Return ``value`` rounded to the nearest integer, halves upwards."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Which frames of a source play, on a grid of ``timebase`` frames a second.

    ``chunks`` are ``(start, end, kept)`` from frame 0 without gaps; neighbours differ in ``kept``.
    """

    timebase: Fraction
    chunks: tuple[tuple[int, int, bool], ...]
    _offsets: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """For each chunk, the output frames before it."""

    def __post_init__(self) -> None:
        if self.timebase <= 0:
            raise TimelineError(f"timebase {self.timebase} is not a positive rate")
        at = 0
        for start, end, _ in self.chunks:
            if start != at or end <= start:
                raise TimelineError(f"chunk [{start}, {end}] does not continue at frame {at}")
            at = end
        lengths = (end - start if kept else 0 for start, end, kept in self.chunks)
        object.__setattr__(self, "_offsets", tuple(accumulate(lengths, initial=0)))

    @classmethod
    def from_kept(cls, timebase: Fraction, frames: int, kept: Iterable[Range]) -> Timeline:
        """Return the timeline of ``frames`` frames that plays ``kept`` (sorted; touching ranges are joined)."""
        chunks: list[tuple[int, int, bool]] = []
        at = 0
        for start, end in kept:
            start, end = max(start, at), min(end, frames)
            if end <= start:
                continue
            if start > at:
                chunks.append((at, start, False))
            if chunks and chunks[-1][2]:
                chunks[-1] = (chunks[-1][0], end, True)
            else:
                chunks.append((start, end, True))
            at = end
        if at < frames:
            chunks.append((at, frames, False))
        return cls(timebase=timebase, chunks=tuple(chunks))

    @classmethod
    def uncut(cls, timebase: Fraction, frames: int) -> Timeline:
        """Return the timeline that plays all ``frames``."""
        return cls.from_kept(timebase, frames, [(0, frames)])

    @property
    def frames(self) -> int:
        """Frames of the source."""
        return self.chunks[-1][1] if self.chunks else 0

    @property
    def kept(self) -> tuple[Range, ...]:
        """The ranges that play."""
        return tuple((start, end) for start, end, kept in self.chunks if kept)

    @property
    def removed(self) -> tuple[Range, ...]:
        """The ranges that are cut."""
        return tuple((start, end) for start, end, kept in self.chunks if not kept)

    @property
    def seams(self) -> tuple[tuple[int, int], ...]:
        """The cuts that the result plays across: when in the result, and how much is left out, in milliseconds."""
        passed = zip(self.chunks, self._offsets, strict=False)
        return tuple(
            (self.to_ms(offset), self.to_ms(end) - self.to_ms(start))
            for (start, end, kept), offset in passed
            if not kept and 0 < offset < self.kept_frames
        )

    @property
    def kept_frames(self) -> int:
        """Frames of the result."""
        return self._offsets[-1]

    @property
    def duration_ms(self) -> int:
        """Length of the result, rounded to the nearest millisecond."""
        return round_half_up(self.kept_frames * 1000 / self.timebase)

    def to_ms(self, frame: int) -> int:
        """Return the time at which ``frame`` starts, rounded to the nearest millisecond."""
        return round_half_up(frame * 1000 / self.timebase)

    def map_span(self, start_ms: int, end_ms: int) -> tuple[int, int] | None:
        """Return where ``[start_ms, end_ms)`` of the source is heard in the result, or None when all of it is cut.

        A span that begins or ends inside a cut is clamped to the kept frames it covers, so
        ``out = t - chunk.start + chunk.offset`` holds for every instant that plays.
        """
        start, end = start_ms * self.timebase / 1000, end_ms * self.timebase / 1000
        first = self._chunk_at(start)
        last = self._chunk_at(end)
        if first < len(self.chunks) and not self.chunks[first][2]:
            first, start = first + 1, Fraction(self.chunks[first][1])
        if last < len(self.chunks) and not self.chunks[last][2]:
            last, end = last - 1, Fraction(self.chunks[last][0])
        if last >= len(self.chunks):
            last, end = len(self.chunks) - 1, Fraction(self.frames)
            if last >= 0 and not self.chunks[last][2]:
                last, end = last - 1, Fraction(self.chunks[last][0])
        if first >= len(self.chunks) or last < first or end <= start:
            return None
        out_start = self._offsets[first] + start - self.chunks[first][0]
        out_end = self._offsets[last] + end - self.chunks[last][0]
        return round_half_up(out_start * 1000 / self.timebase), round_half_up(out_end * 1000 / self.timebase)

    def _chunk_at(self, frame: Fraction) -> int:
        """Return the index of the chunk that holds ``frame``; the number of chunks when it lies past the end."""
        if frame >= self.frames:
            return len(self.chunks)
        return max(0, bisect_right(self.chunks, floor(frame), key=lambda chunk: chunk[0]) - 1)

    def retime(self, timebase: Fraction, frames: int) -> Timeline:
        """Return the same cuts on another grid of ``frames`` frames: ``frame' = round(frame / old * new)``.

        Frames past the end are dropped. A timeline that ends while playing, less than half a second before ``frames``,
        plays to the end: the two only disagree about where that is.
        """
        if timebase == self.timebase and frames == self.frames:
            return self
        scale = timebase / self.timebase
        kept = [(round_half_up(start * scale), round_half_up(end * scale)) for start, end in self.kept]
        if kept and self.chunks[-1][2] and frames - kept[-1][1] < timebase / 2:
            kept[-1] = (kept[-1][0], frames)
        return Timeline.from_kept(timebase, frames, kept)

    def to_json(self, source: str) -> str:
        """Return the timeline as format v1; ``source`` is the base name of the file it belongs to."""
        document = {
            "version": "1",
            "source": source,
            "timebase": f"{self.timebase.numerator}/{self.timebase.denominator}",
            "chunks": [[start, end, KEPT if kept else REMOVED] for start, end, kept in self.chunks],
        }
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def parse_timeline(text: str, *, default_timebase: Fraction) -> Timeline:
    """Return the timeline of a v1 or v3 document.

    ``default_timebase`` is used where the file names none (auto-editor before 30). Raises `TimelineError` with the
    rule that is broken; other speeds than play and cut, or clips in another order, are refused, because the result
    would not be what was asked. A v3 document does not say how much follows its last clip: its timeline ends there.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TimelineError(f"not JSON: {error}") from error
    if not isinstance(document, dict) or str(document.get("version")) not in ("1", "3"):
        raise TimelineError('only timelines of version "1" or "3" can be read')
    timebase = default_timebase
    if document.get("timebase") is not None:
        try:
            timebase = Fraction(str(document["timebase"]))
        except (ValueError, ZeroDivisionError) as error:
            raise TimelineError(f"timebase {document['timebase']!r} is not a rate such as 30/1") from error
    if str(document["version"]) == "3":
        kept = _parse_layers(document)
        return Timeline.from_kept(timebase, max((end for _, end in kept), default=0), kept)
    chunks = document.get("chunks")
    if not isinstance(chunks, list) or not chunks:
        raise TimelineError("chunks must be a list of [start, end, speed]")
    return Timeline(timebase=timebase, chunks=_merge(_parse_chunk(chunk) for chunk in chunks))


def _parse_chunk(chunk: object) -> tuple[int, int, bool]:
    match chunk:
        case [int(start), int(end), int() | float() as speed] if not isinstance(start, bool):
            if speed in _REMOVED_SPEEDS:
                return start, end, False
            if speed == KEPT:
                return start, end, True
            raise TimelineError(f"speed {speed} at frame {start} is neither play (1.0) nor cut (0.0, 99999.0)")
    raise TimelineError(f"chunk {chunk!r} is not [start, end, speed]")


def _parse_layers(document: Mapping[str, object]) -> list[Range]:
    """Return the source frames that a v3 document plays; every layer has to play the same."""
    layers = []
    for kind in ("v", "a"):
        match document.get(kind, []):
            case list() as found:
                layers += [(f"{kind}{number}", layer) for number, layer in enumerate(found) if layer]
            case found:
                raise TimelineError(f"{kind} must be a list of layers, not {found!r}")
    if not layers:
        raise TimelineError("it has no clips")
    played = {name: _parse_layer(name, layer) for name, layer in layers}
    (first, kept), *others = played.items()
    for name, other in others:
        if other != kept:
            raise TimelineError(f"its layers {first} and {name} play different frames")
    sources = {str(clip["src"]) for _, layer in layers for clip in layer}
    if len(sources) > 1:
        raise TimelineError(f"it plays {len(sources)} files: {', '.join(sorted(sources))}")
    return kept


def _parse_layer(name: str, layer: object) -> list[Range]:
    """Return the source frames that one layer plays: one clip after the other, never backwards, at their own speed."""
    if not isinstance(layer, list):
        raise TimelineError(f"layer {name} is no list of clips")
    kept: list[Range] = []
    start = 0
    for clip in layer:
        match clip:
            case {"src": str(), "start": int(at), "dur": int(dur), "offset": int(offset)} if dur > 0 and offset >= 0:
                pass
            case _:
                raise TimelineError(f"{clip!r} in layer {name} is no clip of a file")
        if clip.get("effects") or clip.get("speed", KEPT) != KEPT or clip.get("volume", 1) != 1:
            raise TimelineError(f"the clip at frame {at} of layer {name} has effects")
        if at != start or (kept and offset < kept[-1][1]):
            raise TimelineError(f"the clip at frame {at} of layer {name} does not follow the one before it")
        start += dur
        kept.append((offset, offset + dur))
    return kept


def _merge(chunks: Iterable[tuple[int, int, bool]]) -> tuple[tuple[int, int, bool], ...]:
    merged: list[tuple[int, int, bool]] = []
    for start, end, kept in chunks:
        if merged and merged[-1][2] is kept and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end, kept)
        else:
            merged.append((start, end, kept))
    return tuple(merged)


def read_timeline(path: Path, *, default_timebase: Fraction) -> Timeline:
    """Return the timeline stored in ``path``. Raises `TimelineError` (also when the file can't be read)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TimelineError(f"can't read {path}: {error}") from error
    return parse_timeline(text, default_timebase=default_timebase)


def ranges_of(flags: Sequence[bool]) -> list[Range]:
    """Return the ranges of consecutive true values in ``flags``."""
    ranges: list[Range] = []
    start: int | None = None
    for index, flag in enumerate(flags):
        if flag and start is None:
            start = index
        elif not flag and start is not None:
            ranges.append((start, index))
            start = None
    if start is not None:
        ranges.append((start, len(flags)))
    return ranges
