"""The plan for many workers: what it says follows from the costs and from how the product shares out."""

from __future__ import annotations

import pytest

from tests.bench.fanout import Costs, forecast

COSTS = Costs(
    hear_once=1.0,
    hear=0.002,
    load=2.0,
    window=1.5,
    look=0.0005,
    start=0.5,
    frame=0.03,
    join=0.03,
    check=0.1,
    windows=0.02,
    source_bytes=1e6,
)
PIECES = [100 + at % 60 for at in range(1000)]
SOURCE_S = 10_800.0


def test_one_worker_does_everything() -> None:
    alone = forecast(COSTS, PIECES, SOURCE_S, 1)
    assert (alone.shares, alone.chunks) == (1, 1)
    assert alone.total == pytest.approx(alone.work)
    frames = sum(PIECES)
    expected = (1 + 0.002 * SOURCE_S) + (2 + 1.5 * 216) + 0.002 * SOURCE_S
    expected += 0.0005 * SOURCE_S + 0.03 * frames + 0.13 * frames / 30 + 4 * 0.5
    assert alone.total == pytest.approx(expected)


def test_more_workers_are_faster_until_what_one_does_is_left() -> None:
    found = [forecast(COSTS, PIECES, SOURCE_S, workers) for workers in (1, 2, 5, 10, 20, 50)]
    totals = [each.total for each in found]
    assert totals == sorted(totals, reverse=True)
    assert all(each.work / each.total <= each.workers for each in found)
    alone, many = found[0], found[-1]
    assert many.chunks == 50
    serial = many.join + many.decide + 1 + 0.002 * SOURCE_S
    assert serial < many.total < alone.total / 4
    frames = sum(PIECES)
    assert many.render == pytest.approx(0.5 + 0.0005 * SOURCE_S + 0.03 * frames / 50, rel=0.1)


def test_fetching_costs_and_checking_apart_saves() -> None:
    plain = forecast(COSTS, PIECES, SOURCE_S, 10)
    assert forecast(COSTS, PIECES, SOURCE_S, 10, fetch_s=60).total == pytest.approx(plain.total + 120)
    apart = forecast(COSTS, PIECES, SOURCE_S, 10, checked_apart=True)
    assert plain.total - apart.total == pytest.approx(0.9 * 0.1 * sum(PIECES) / 30, rel=0.1)
    assert apart.work == pytest.approx(plain.work)
