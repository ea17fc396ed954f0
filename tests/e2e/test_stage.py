"""What the stories count on: they wait as long as it takes, a service comes back, and a failure ends them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.holding import Hold
from tests.e2e.stage import Stage, make_outage
from tests.product.machine import wait_for


def test_the_first_true_value_is_what_was_waited_for() -> None:
    values = iter([0, 0, 7])
    assert wait_for(lambda: next(values), every_s=0) == 7


def test_what_does_not_come_is_told_with_what_there_is() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the product\nits log"):
        wait_for(lambda: None, within_s=0, label="the product", explain=lambda: "its log")


def test_a_story_that_fails_waits_for_no_job(tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    stage = Stage(hold, moments={"making": [hold.wait]})
    with pytest.raises(ValueError, match="the story"), stage.interrupting("making"):
        raise ValueError("the story")


def test_a_service_comes_back_whatever_happens_meanwhile() -> None:
    done: list[str] = []

    def fail() -> None:
        raise ValueError("the outage")

    with pytest.raises(ValueError, match="the outage"):
        make_outage(lambda: done.append("stop"), lambda: done.append("start"))(fail)
    assert done == ["stop", "start"]
