"""Words to spans: the pieces of text that captions are set from and that are never torn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from pipeline.lettering import clean_text, split_clusters, text_width
from pipeline.models import Word
from pipeline.phrasing import is_opening, is_punctuation, may_tear


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of text that is never torn: a word with its punctuation, or a part of a word too wide for a line."""

    text: str
    spaced: bool
    """Whether a space parts it from the span before."""
    start_ms: int
    end_ms: int
    width: int


def gather_spans(words: Sequence[Word], max_width: int) -> list[Span]:
    """Return the spans of ``words``: text cleaned, lone punctuation tied to its word, overlong words torn."""
    spans: list[Span] = []
    prefix, prefix_spaced = "", False
    for word in words:
        text = clean_text(word.text)
        body = text.strip()
        if not body:
            continue
        spaced = text[0] == " "
        if is_punctuation(body):
            # Punctuation makes no sound: its times say nothing, so they are left out.
            if not spans or prefix or is_opening(body):
                prefix_spaced = prefix_spaced if prefix else spaced
                prefix += body
            else:
                held = spans[-1]
                joined = held.text + (" " if spaced else "") + body
                spans[-1] = replace(held, text=joined, width=text_width(joined))
            continue
        if prefix:
            body = prefix + (" " if spaced and not is_opening(prefix) else "") + body
            prefix, spaced = "", prefix_spaced
        spans.append(Span(text=body, spaced=spaced, start_ms=word.start_ms, end_ms=word.end_ms, width=text_width(body)))
    if prefix and spans:
        joined = spans[-1].text + prefix
        spans[-1] = replace(spans[-1], text=joined, width=text_width(joined))
    return [part for span in spans for part in _tear_span(span, max_width)]


def _tear_span(span: Span, max_width: int) -> Iterator[Span]:
    """Yield ``span``, in parts with times in proportion when it is wider than a line.

    A part needs at least 1 ms: what remains of a word with more lines than milliseconds is dropped.
    """
    if span.width <= max_width:
        yield span
        return
    parts = list(_tear_text(span.text, max_width))[: span.end_ms - span.start_ms]
    widths = [text_width(part) for part in parts]
    length, total = span.end_ms - span.start_ms, sum(widths)
    at = span.start_ms
    for index, (part, done) in enumerate(zip(parts, accumulate(widths), strict=True)):
        left = len(parts) - index - 1
        spaced = part.startswith(" ") or parts[index - 1].endswith(" ") if index else span.spaced
        end = min(span.end_ms - left, max(at + 1, span.start_ms + length * done // total))
        yield Span(text=part.strip(), spaced=spaced, start_ms=at, end_ms=end, width=text_width(part.strip()))
        at = end


def _tear_text(text: str, max_width: int) -> Iterator[str]:
    """Yield parts of ``text`` that fit ``max_width``, torn where it offends least."""
    part: list[str] = []
    width, seam = 0, 0
    for cluster in split_clusters(text):
        size = text_width(cluster)
        if part and width + size > max_width:
            cut = seam if seam and (seam * 2 >= len(part)) else len(part)
            yield "".join(part[:cut])
            part = part[cut:]
            width, seam = sum(map(text_width, part)), 0
        if part and may_tear(part[-1][0], cluster[0]):
            seam = len(part)
        part.append(cluster)
        width += size
    if part:
        yield "".join(part)
