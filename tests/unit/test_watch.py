"""The heart of a run: whom it kills, when, and whom it leaves alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs import watch
from jobs.watch import Watch
from pipeline.models import Progress, Stage
from tests.product import Product, make_product
from tests.product.installation import add_video
from tests.product.people import add_user

ME = "this-worker"
ENOUGH_S = 60.0


@dataclass(frozen=True)
class Heart:
    """A run that a person has cancelled, and its watch."""

    product: Product
    watch: Watch
    killed: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Heart:
    product = make_product(tmp_path)
    user_id = add_user(product, "ann")
    job = add_video(product, user_id, "talk", b"any")
    claimed = product.ports.database.jobs.claim(job.id, ME, lease_s=60)
    assert claimed is not None
    product.ports.database.jobs.request_cancel(user_id, job.id)
    heart = Heart(product, Watch(product.ports.database.jobs, claimed, ME))
    monkeypatch.setattr(watch, "_kill_ourselves", heart.killed.set)
    for name in ("BEAT_S", "LOOK_S"):
        monkeypatch.setattr(watch, name, 0.01)
    monkeypatch.setattr(watch, "GRACE_IN_SPEECH_S", 0.1)
    monkeypatch.setattr(watch, "GRACE_S", 3600.0)
    return heart


def at(stage: Stage) -> Progress:
    return Progress(stage=stage, fraction=0.5, overall=0.5)


def test_a_cancel_within_speech_kills_what_can_not_be_interrupted(heart: Heart) -> None:
    with heart.watch as beating:
        beating.follow(at(Stage.TRANSCRIBE))
        assert heart.killed.wait(ENOUGH_S)


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.TRANSCRIBE])
def test_a_cancel_elsewhere_waits_for_the_run(heart: Heart, stage: Stage) -> None:
    with heart.watch as beating:
        beating.follow(at(stage))
        assert not heart.killed.wait(0.5)
        assert beating.is_cancelled


def test_a_run_that_has_ended_is_not_killed_while_it_clears_up(heart: Heart) -> None:
    with heart.watch as beating:
        beating.follow(at(Stage.TRANSCRIBE))
        beating.stand_down()
        assert not heart.killed.wait(0.5)
        assert beating.is_cancelled


def test_a_run_that_does_not_stop_is_killed(heart: Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_S", 0.1)
    with heart.watch as beating:
        beating.follow(at(Stage.RENDER))
        assert heart.killed.wait(ENOUGH_S)
