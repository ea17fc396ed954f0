"""Words to captions: words are mapped through the cut, grouped into cues, broken into lines and given their times.

Rules and where they come from: at most 2 lines, 5/6 s to 7 s on screen, 17 characters a second as the aim and 20 as the
limit, gaps of none or at least 2 frames, breaks where speech breathes (Netflix timed-text guide, BBC subtitle
guidelines). Cues are built from words because Whisper's segment ends are unreliable.

Four passes, each linear in the words: `map_words` → spans of text (`gather_spans`) → the cheapest grouping by dynamic
programming (`_group_spans`) → times (`_time_groups`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil

from pipeline.lettering import lettering_for
from pipeline.models import Cue, Word
from pipeline.options import Style
from pipeline.phrasing import AFTER_SENTENCE, BETWEEN_WORDS, Phrasing, ends_sentence, is_unspaced
from pipeline.spans import Span, gather_spans
from pipeline.timeline import Timeline

MAX_WORD_MS = 5000
"""Nobody speaks one word for longer: the model stretched it over a pause."""

_PAUSE_MS = 800
"""A pause a viewer notices: a cue should not sit across it."""
_SILENCE_MS = 2500
"""A pause no cue ever sits across."""
_HOLD_MS = 500
"""How long a cue stays after its last word when there is room."""
_BRIDGE_MS = 700
"""A pause up to this long is no reason to blank the screen: the cue stays until the next one."""
_EARLY_MS = 200
"""How much before its first word a cue may appear, when it would be too short otherwise."""
_ASS_STEP_MS = 10
"""Burned captions begin and end up to this much earlier; a gap must keep its two frames then."""
_MAX_GAP_MS = 2000
"""What counts as two frames at most, however slow the picture: cues must still fit their longest duration."""

# What the grouping weighs, in the unit of `phrasing`'s break costs.
_CUE_COST = 8.0
_ORPHAN_COST = 25.0
_STUB_COST = 10.0
_STUB_WIDTH = 14
_SENTENCE_INSIDE_COST = 9.0
_SHORT_COST = 40.0
_IMBALANCE_COST = 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CueShape:
    """The limits of one cue. Widths in columns (East Asian wide characters take two), speed in columns a second."""

    max_chars: int
    max_lines: int = 2
    min_ms: int = 833
    max_ms: int = 7000
    aim_cps: int = 17
    max_cps: int = 20


def shape_for(width: int, height: int, style: Style | None) -> CueShape:
    """Return the shape of captions for a displayed picture of ``width`` x ``height``; ``style`` None: not burned.

    Players draw captions at a size of their own, so only burned ones have to yield to small pictures.
    """
    if style is None:
        return CueShape(max_chars=lettering_for(width * 100, height * 100, Style.CLEAN).max_chars)
    return CueShape(max_chars=lettering_for(width, height, style).max_chars)


def map_words(words: Sequence[Word], timeline: Timeline) -> tuple[Word, ...]:
    """Return ``words`` in output time: what is cut is dropped, what is left is in order and does not overlap.

    Each word lasts 1 ms to 5 s, inside the result.
    """
    mapped = []
    for word in words:
        span = timeline.map_span(word.start_ms, max(word.end_ms, word.start_ms + 1))
        if span is not None:
            mapped.append(replace(word, start_ms=span[0], end_ms=span[1]))
    return order_words(mapped, timeline.duration_ms)


def order_words(words: Sequence[Word], duration_ms: int) -> tuple[Word, ...]:
    """Return ``words`` in their order of speech with times made monotonic: each ends before the next begins.

    A word that begins too early is pushed behind the one before; one that begins past the end is dropped.
    """
    starts: list[int] = []
    at = 0
    for word in words:
        at = max(at, word.start_ms)
        if at >= duration_ms:
            break
        starts.append(at)
        at += 1
    limits = [*starts[1:], duration_ms]
    return tuple(
        replace(word, start_ms=start, end_ms=min(max(word.end_ms, start + 1), start + MAX_WORD_MS, limit))
        for word, start, limit in zip(words, starts, limits, strict=False)
    )


def build_cues(
    words: Sequence[Word],
    *,
    shape: CueShape,
    timebase: Fraction,
    duration_ms: int,
    language: str,
    seams: Sequence[tuple[int, int]] = (),
) -> tuple[Cue, ...]:
    """Return the captions of ``words`` (in output time) for a video of ``duration_ms`` at ``timebase`` frames a second.

    ``seams`` are those of the Timeline: where a pause is cut short, the speaker still ended something.

    Guaranteed: lines within ``shape``, cues at most ``max_ms`` long, in order, without overlap, inside the video,
    gaps of none or at least 2 frames, each cue on screen while its words are spoken. Aimed at: ``min_ms``, the reading
    speeds, breaks where the language breathes. ``language`` is Whisper's code; unknown ones get punctuation only.
    """
    spans = gather_spans(order_words(words, duration_ms), shape.max_chars)
    if not spans:
        return ()
    gap_ms = min(_MAX_GAP_MS, ceil(2000 / timebase) + _ASS_STEP_MS)
    running = _Running.of(spans, Phrasing(language), duration_ms, seams)
    groups = _group_spans(running, shape, gap_ms)
    times = _time_groups(running, groups, shape, gap_ms, duration_ms)
    return tuple(
        Cue(start_ms=start, end_ms=end, lines=_break_lines(running, first, last, shape))
        for (first, last), (start, end) in zip(groups, times, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """The spans as one running text with everything the passes look up; index k stands for the break before span k."""

    spans: Sequence[Span]
    starts: list[int]
    """Of each span, and the end of the video behind the last."""
    ends: list[int]
    columns: list[int]
    """Columns of all text before each span, spaces included."""
    costs: list[float]
    """Cost of breaking before each span, by language."""
    crossings: list[float]
    """Cost of all pauses and sentence ends up to each span, for a cue that runs across them."""
    silences: list[int]
    """How many pauses too long for any cue lie before each span."""

    @classmethod
    def of(
        cls, spans: Sequence[Span], phrasing: Phrasing, duration_ms: int, seams: Sequence[tuple[int, int]]
    ) -> _Running:
        costs, crossings, silences = [0.0], [0.0], [0]
        for (before, after), left_out in zip(pairwise(spans), _left_out(spans, seams), strict=True):
            cost = phrasing.break_cost(before.text, after.text, spaced=after.spaced)
            pause = after.start_ms - before.end_ms
            crossing = _SENTENCE_INSIDE_COST if ends_sentence(before.text) else 0.0
            if pause >= _PAUSE_MS:
                crossing += 30.0 + (pause - _PAUSE_MS) / 20
                cost = min(cost, BETWEEN_WORDS) / 4
            elif pause + left_out >= _PAUSE_MS and cost <= BETWEEN_WORDS:
                # The viewer no longer sees it, but here the speaker ended a thought, whatever mark the model wrote.
                # After "the" or "and" it was a hesitation, and what belongs together stays together.
                crossing, cost = _SENTENCE_INSIDE_COST, AFTER_SENTENCE
            elif pause >= _PAUSE_MS // 2:
                crossing += 4.0
                cost *= 0.7
            costs.append(cost)
            crossings.append(crossings[-1] + crossing)
            silences.append(silences[-1] + (pause > _SILENCE_MS))
        return cls(
            spans=spans,
            starts=[*(span.start_ms for span in spans), duration_ms],
            ends=[span.end_ms for span in spans],
            columns=[0, *accumulate(span.width + span.spaced for span in spans)],
            costs=[*costs, 0.0],
            crossings=crossings,
            silences=silences,
        )

    def width(self, first: int, last: int) -> int:
        """Return the columns of spans ``first`` to ``last`` (exclusive) on one line."""
        return self.columns[last] - self.columns[first] - self.spans[first].spaced

    def text(self, first: int, last: int) -> str:
        """Return spans ``first`` to ``last`` (exclusive) as one line."""
        spans = self.spans[first:last]
        return spans[0].text + "".join(f" {span.text}" if span.spaced else span.text for span in spans[1:])


def _left_out(spans: Sequence[Span], seams: Sequence[tuple[int, int]]) -> list[int]:
    """Return how many milliseconds are cut out between each of ``spans`` and the next; a cut inside a span is none."""
    left_out: list[int] = []
    at = 0
    for before, after in pairwise(spans):
        while at < len(seams) and seams[at][0] < before.end_ms:
            at += 1
        total = 0
        while at < len(seams) and seams[at][0] <= after.start_ms:
            total += seams[at][1]
            at += 1
        left_out.append(total)
    return left_out


def _furthest(running: _Running, max_width: int) -> list[int]:
    """Return for each span where a line that begins with it has to end (exclusive)."""
    furthest: list[int] = []
    last = 0
    count = len(running.spans)
    for first in range(count):
        last = max(last, first + 1)
        while last < count and running.width(first, last + 1) <= max_width:
            last += 1
        furthest.append(last)
    return [*furthest, count]


def _earliest(running: _Running, max_width: int) -> list[int]:
    """Return for each break where a line that ends there may begin at the earliest."""
    earliest: list[int] = [0]
    first = 0
    for last in range(1, len(running.spans) + 1):
        while running.width(first, last) > max_width:
            first += 1
        earliest.append(first)
    return earliest


def _group_spans(running: _Running, shape: CueShape, gap_ms: int) -> list[tuple[int, int]]:
    """Return the cheapest grouping of all spans into cues, as ranges of spans.

    best[k] is the cost of grouping the first k spans; a cue holds no more than its lines do, so each step looks at a
    few dozen spans and the whole is linear.
    """
    line_end = _furthest(running, shape.max_chars)
    line_start = _earliest(running, shape.max_chars)
    cue_end = list(range(len(line_end)))
    for _ in range(shape.max_lines):
        cue_end = [line_end[end] for end in cue_end]
    # Closing a gap may move a cue's start back by up to `gap_ms` (see `_time_groups`).
    longest = shape.max_ms - gap_ms
    starts, ends, columns, costs = running.starts, running.ends, running.columns, running.costs
    crossings, silences, spans = running.crossings, running.silences, running.spans
    count = len(spans)
    best = [0.0] + [float("inf")] * count
    came_from = [0] * (count + 1)
    for first in range(count):
        base = best[first] - crossings[first] + _CUE_COST
        start, silence = starts[first], silences[first]
        before = columns[first] + spans[first].spaced
        for last in range(first + 1, cue_end[first] + 1):
            if silences[last - 1] != silence or (ends[last - 1] - start > longest and last - first > 1):
                break
            width = columns[last] - before
            shown = min(starts[last], ends[last - 1] + _HOLD_MS) - start
            cost = base + crossings[last - 1] + costs[last]
            if shown < shape.min_ms and starts[last] - start < shape.min_ms:
                cost += _SHORT_COST * (2 - (starts[last] - start) / shape.min_ms)
            pace = width * 1000 / shown
            if pace > shape.aim_cps:
                cost += pace - shape.aim_cps
                if pace > shape.max_cps:
                    cost += 4 * min(pace - shape.max_cps, 40)
            if last - first == 1 and not is_unspaced(spans[first].text[0]):
                cost += _ORPHAN_COST
            elif width < _STUB_WIDTH:
                cost += _STUB_COST
            if width > shape.max_chars:
                # A crammed cue leaves few places to break its lines, perhaps only bad ones.
                line_cost = min(costs[min(line_start[last], line_end[first]) : line_end[first] + 1])
                if line_cost > BETWEEN_WORDS:
                    cost += min(line_cost, 2 * (line_cost - BETWEEN_WORDS))
            if cost < best[last]:
                best[last] = cost
                came_from[last] = first
    groups: list[tuple[int, int]] = []
    last = count
    while last:
        groups.append((came_from[last], last))
        last = came_from[last]
    return groups[::-1]


def _break_lines(running: _Running, first: int, last: int, shape: CueShape) -> tuple[str, ...]:
    """Return the lines of one cue: as few as hold it, broken where it costs least, of about the same length."""
    if running.width(first, last) <= shape.max_chars:
        return (running.text(first, last),)
    # layouts[k]: the cheapest way to set the spans before k, by number of lines: (cost, breaks).
    layouts: list[dict[int, tuple[float, tuple[int, ...]]]] = [{0: (0.0, (first,))}]
    total = running.width(first, last)
    for end in range(first + 1, last + 1):
        found: dict[int, tuple[float, tuple[int, ...]]] = {}
        for begin in range(end - 1, first - 1, -1):
            width = running.width(begin, end)
            if width > shape.max_chars:
                break
            for lines, (cost, breaks) in layouts[begin - first].items():
                if lines == shape.max_lines:
                    continue
                # The square prefers equal lines; the break cost is paid once, by the line that begins there.
                price = cost + _IMBALANCE_COST * 2 * (width / total) ** 2 + (running.costs[begin] if lines else 0.0)
                if lines + 1 not in found or price < found[lines + 1][0]:
                    found[lines + 1] = (price, (*breaks, end))
        layouts.append(found)
    fewest = min(layouts[-1])
    return tuple(running.text(begin, end) for begin, end in pairwise(layouts[-1][fewest][1]))


def _time_groups(
    running: _Running, groups: Sequence[tuple[int, int]], shape: CueShape, gap_ms: int, duration_ms: int
) -> list[tuple[int, int]]:
    """Return when each cue is on screen: start and end in milliseconds."""
    starts = [*_begin_groups(running, groups, shape), duration_ms]
    times: list[tuple[int, int]] = []
    for index, (first, last) in enumerate(groups):
        start, spoken, following = starts[index], running.ends[last - 1], starts[index + 1]
        latest = min(following, start + shape.max_ms)
        if following - spoken <= _BRIDGE_MS:
            end = latest
        else:
            needed = max(shape.min_ms, running.width(first, last) * 1000 // shape.aim_cps)
            end = min(latest, max(spoken + _HOLD_MS, start + shape.min_ms, min(start + needed, spoken + 2 * _HOLD_MS)))
        if 0 < following - end < gap_ms and index + 1 < len(groups):  # the screen would flash
            if latest == following:
                end = following
            elif spoken <= following - gap_ms:
                end = following - gap_ms
            else:  # this cue is as long as it may be: the next one comes up to two frames early
                starts[index + 1] = end
        times.append((start, end))
    return times


def _begin_groups(running: _Running, groups: Sequence[tuple[int, int]], shape: CueShape) -> list[int]:
    """Return when each cue begins: with its first word, or a little early where it would be too short otherwise.

    Early means in a time when nothing is spoken and the cue before has had its shortest duration.
    """
    starts: list[int] = []
    silent_from = 0
    for first, last in groups:
        start, following = running.starts[first], running.starts[last]
        if following - start < shape.min_ms:
            earliest = max(silent_from, following - shape.min_ms, start - _EARLY_MS)
            if starts:
                earliest = max(earliest, starts[-1] + shape.min_ms)
            start = min(start, earliest)
        starts.append(start)
        silent_from = running.ends[last - 1]
    return starts
