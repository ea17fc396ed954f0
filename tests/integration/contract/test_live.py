"""Says whether the tests of this folder run over a live project too."""

from __future__ import annotations

from config import Settings


def test_a_live_project_is_ready_for_these_tests(live_project: Settings) -> None:
    assert live_project.supabase
