"""Who is told what when jobs end."""

from __future__ import annotations

import pytest

from jobs.models import JobStatus
from tests.unit.jobs_made import JOB_ID, VIDEO_ID, make_card, make_job
from ui.bell import find_ended

WATCHED = {JOB_ID: VIDEO_ID}


@pytest.mark.parametrize(
    ("status", "sentences"),
    [
        (JobStatus.SUCCEEDED, ["Lesson 4 is ready"]),
        (JobStatus.FAILED, ["Lesson 4 could not be finished"]),
        (JobStatus.CANCELLED, []),
        (JobStatus.RUNNING, []),
    ],
)
def test_an_end_is_told_once_it_is_there(status: JobStatus, sentences: list[str]) -> None:
    ended = find_ended(WATCHED, [make_card(make_job(status=status))])
    assert [one.sentence for one in ended] == sentences


def test_a_job_that_nobody_watched_is_no_news() -> None:
    assert find_ended({}, [make_card()]) == []
    newer = make_job(id="b" + JOB_ID[1:])
    assert find_ended(WATCHED, [make_card(newer)]) == []
