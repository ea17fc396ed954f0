"""How work is shared out: consecutive pieces, each once, as even as the pieces allow."""

from __future__ import annotations

import random

import pytest

from pipeline.split import split_evenly


def loads(weights: list[int], parts: int, least: int = 1) -> list[int]:
    shares = split_evenly(weights, parts, least=least)
    assert [at for share in shares for at in share] == list(range(len(weights)))
    assert len(shares) <= max(1, parts)
    return [sum(weights[at] for at in share) for share in shares]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 50])
def test_shares_differ_by_no_more_than_a_piece(parts: int) -> None:
    chance = random.Random(parts)
    weights = [chance.randint(1, 30) for _ in range(2000)]
    found = loads(weights, parts)
    assert len(found) == parts
    assert max(found) - min(found) <= 2 * 30


@pytest.mark.parametrize(
    ("weights", "parts", "least", "found"),
    [
        ([10] * 10, 10, 25, [30, 30, 40]),
        ([10] * 10, 3, 1, [30, 30, 40]),
        ([10, 10], 5, 30, [20]),
        ([10, 10], 2, 10, [10, 10]),
        ([5], 3, 1, [5]),
        ([5, 1000, 5], 4, 1, [5, 1000, 5]),
        ([5, 1000, 5], 4, 100, [1010]),
        ([400, 1000, 400], 3, 1, [400, 1000, 400]),
    ],
)
def test_no_piece_is_broken_and_no_share_too_small(
    weights: list[int], parts: int, least: int, found: list[int]
) -> None:
    assert loads(weights, parts, least) == found


def test_nothing_is_one_empty_share() -> None:
    assert split_evenly([], 3) == (range(0, 0),)
