"""Work shared out: consecutive pieces, as even as they can be without breaking one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise


def split_evenly(weights: Sequence[int], parts: int, *, least: int = 1) -> tuple[range, ...]:
    """Return at most ``parts`` ranges of consecutive pieces that weigh about the same, ``least`` or more each.

    Each border is the one between two pieces that leaves the part before it nearest to its share of what is left.
    Less than ``least`` in all is one part. Pure: the same weights give the same parts everywhere.
    """
    ends = list(accumulate(weights, initial=0))
    total = ends[-1]
    borders = [0]
    for left in range(parts, 1, -1):
        done = ends[borders[-1]]
        first = bisect_left(ends, done + max(1, least))
        last = bisect_right(ends, total - max(1, least)) - 1
        if first > last:
            break
        ideal = max(done + (total - done) / left, done + least)
        above = bisect_left(ends, ideal)
        nearest = min((max(0, above - 1), above), key=lambda at: abs(ends[at] - ideal))
        borders.append(min(max(nearest, first), last))
    return tuple(range(start, end) for start, end in pairwise([*borders, len(weights)]))
