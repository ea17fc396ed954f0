"""The plan for many workers: what it says follows from the costs and from how the product shares out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.crew import LEAST_PARTS
from tests.bench.plan import Costs, forecast, without_check

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
    result_bytes=6e5,
)
PIECES = [100 + at % 60 for at in range(1000)]
FRAMES = sum(PIECES)
SOURCE_S = 10_800.0


def test_one_worker_does_everything() -> None:
    alone = forecast(COSTS, PIECES, SOURCE_S, 1)
    assert (alone.shares, alone.chunks) == (1, 1)
    assert alone.total == pytest.approx(alone.work)
    expected = 0.5 + 1 + 0.002 * SOURCE_S + (2 + 1.5 * 216)
    expected += 0.03 * FRAMES + 0.13 * FRAMES / 30
    assert alone.total == pytest.approx(expected)


def test_more_workers_are_faster_until_what_one_does_is_left() -> None:
    found = [forecast(COSTS, PIECES, SOURCE_S, workers) for workers in (1, 2, 5, 10, 20, 50)]
    totals = [each.total for each in found]
    assert totals == sorted(totals, reverse=True)
    assert all(each.work / each.total <= each.workers for each in found)
    alone, many = found[0], found[-1]
    assert (many.shares, many.chunks) == (LEAST_PARTS, LEAST_PARTS)
    assert many.hear == alone.hear and many.join == alone.join
    assert many.hear + many.join < many.total < alone.total / 4
    assert many.render == pytest.approx(0.5 + 0.0005 * SOURCE_S + 0.03 * FRAMES / LEAST_PARTS + 0.5, rel=0.02)


def test_bringing_files_costs() -> None:
    plain, far = forecast(COSTS, PIECES, SOURCE_S, 10), forecast(COSTS, PIECES, SOURCE_S, 10, megabits=1000)
    fetch_s = 1e6 * SOURCE_S * 8 / 1e9
    assert far.hear - plain.hear == pytest.approx(fetch_s)
    assert far.store == pytest.approx(6e5 * FRAMES / 30 * 8 / 1e9)
    assert plain.render < far.render < plain.render + fetch_s + 2 * far.store


def test_a_fetch_that_takes_longer_than_the_work_costs_more_than_it_saves() -> None:
    slow = forecast(COSTS, PIECES, SOURCE_S, 2, megabits=1)
    alone = forecast(COSTS, PIECES, SOURCE_S, 1, megabits=1)
    assert slow.render > alone.render


def test_checking_apart_saves() -> None:
    plain = forecast(COSTS, PIECES, SOURCE_S, 10)
    apart = forecast(without_check(COSTS), PIECES, SOURCE_S, 10)
    assert plain.total - apart.total == pytest.approx(0.9 * 0.1 * FRAMES / 30, rel=0.1)
    assert apart.work == pytest.approx(plain.work)


def test_a_slow_part_holds_up_less_than_a_third_of_a_workers_work() -> None:
    even = forecast(replace(COSTS, look=0, start=0), PIECES, SOURCE_S, 5)
    assert even.render == pytest.approx(0.03 * FRAMES / 5, rel=0.02)
