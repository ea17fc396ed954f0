"""How far what was heard is from what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence


def bare(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return re.findall(r"[^\W_]+", text.casefold())


def word_errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many words have to be changed, left out or put in to get from one to the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]
