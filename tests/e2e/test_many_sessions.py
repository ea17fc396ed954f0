"""Fifty people watch their lists at once: each is kept up to date, and a list at rest asks for nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench.sessions import format_costs, measure_sessions

SESSIONS, WATCH_S = 50, 20.0


def test_fifty_sessions_are_kept_up_to_date(weights: Path, show: Callable[[str], None]) -> None:
    assert weights.is_dir()
    costs = measure_sessions(SESSIONS, print, watch_s=WATCH_S)  # raises when a session is never updated
    show(format_costs(costs, SESSIONS))
    assert len(costs["one job active"].latencies_ms) >= SESSIONS
    assert not costs["nothing active"].latencies_ms
