"""What the metrics tell: the line as it is now, and counters that only rise."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Figures, JobStatus, User
from jobs.ports import Database, JobFinish
from tests.database import FAILURE, RESULT, claim, make_job, make_video
from tests.product import Clock


def read_tallies(figures: Figures) -> dict[tuple[str, str], tuple[int, float]]:
    return {(tally.name, tally.label): (tally.count, tally.total) for tally in figures.tallies}


def about(seconds: float, *, by: float = 60) -> Any:
    """Return what equals these seconds, and the little that the test itself takes."""
    return pytest.approx(seconds, abs=by)


def test_nothing_yet(database: Database) -> None:
    assert database.read_figures() == Figures(
        queued=0, running=0, longest_wait_s=0, mean_wait_s=0, videos=0, video_s=0, original_bytes=0, result_bytes=0,
        tallies=(),
    )  # fmt: skip


def test_jobs_are_counted_once_and_for_good(database: Database, ann: User, clock: Clock) -> None:
    video, first = make_video(database, ann)
    other, waiting = make_video(database, ann)
    clock.advance(minutes=40)
    figures = database.read_figures()
    assert (figures.queued, figures.running, figures.videos) == (2, 0, 2)
    assert (figures.longest_wait_s, figures.mean_wait_s) == (about(2400), about(2400))
    assert figures.video_s == pytest.approx((video.facts.duration_ms + other.facts.duration_ms) / 1000)
    assert figures.original_bytes == video.facts.size_bytes + other.facts.size_bytes

    claim(database, first)
    database.jobs.release(first.id, "worker-1", reason="worker_stopped", counts=False)
    claim(database, first)
    clock.advance(minutes=50)
    result = {**RESULT, "timings": {"seconds": 50.0, "render": 30.5, "transcribe": 10, "odd": "no number"}}
    done = JobFinish(status=JobStatus.SUCCEEDED, result=result, stored_attempt=2)
    assert database.jobs.finish(first.id, "worker-1", done)
    assert database.jobs.finish(first.id, "worker-1", done), "an answer got lost"
    claim(database, waiting)
    database.jobs.finish(waiting.id, "worker-1", FAILURE)

    figures = database.read_figures()
    tallies = read_tallies(figures)
    assert (figures.queued, figures.running) == (0, 0)
    assert figures.result_bytes > 0
    assert tallies["wait", ""] == (2, about(7800))
    assert [tallies.get(("wait_le", bound), (0, 0))[0] for bound in ("1800", "3600", "10800")] == [0, 1, 2]
    assert tallies["work", ""] == (1, about(3000))
    assert [tallies.get(("work_le", bound), (0, 0))[0] for bound in ("1800", "3600")] == [0, 1]
    assert tallies["video", ""] == (1, about(video.facts.duration_ms / 1000, by=0.01))
    assert tallies["stage", "render"] == (1, about(30.5, by=0.01))
    assert tallies["stage", "transcribe"] == (1, about(10, by=0.01))
    assert not {("stage", "seconds"), ("stage", "odd")} & tallies.keys()
    assert tallies["ended", "succeeded"][0] == tallies["ended", "failed"][0] == 1
    assert tallies["failed", FAILURE.error_code][0] == 1
    assert tallies["given_back", "worker_stopped"][0] == 1

    database.videos.delete(ann.id, video.id)
    database.videos.delete(ann.id, other.id)
    figures = database.read_figures()
    assert (figures.videos, figures.original_bytes, figures.result_bytes) == (0, 0, 0)
    assert read_tallies(figures) == tallies, "what was done stays done"


def test_a_job_that_is_cancelled_counts_as_that(database: Database, ann: User) -> None:
    video, job = make_video(database, ann)
    database.jobs.request_cancel(ann.id, job.id)
    make_job(database, video)
    assert read_tallies(database.read_figures()) == {("ended", "cancelled"): (1, 0)}
