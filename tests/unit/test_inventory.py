"""What a job's row counts on: read off it in one place, for the export and for those who compare."""

from __future__ import annotations

import pytest

from jobs.inventory import list_results
from jobs.models import JobStatus
from jobs.storage import result_key

IDS = ("a1a1a1a1-0000-4000-8000-000000000000", "b2b2b2b2-0000-4000-8000-000000000000",
       "c3c3c3c3-0000-4000-8000-000000000000")  # fmt: skip
SIZES = {"video.mp4": 7, "captions.vtt": 0}


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, "succeeded"])
def test_a_job_counts_on_what_its_stored_attempt_made(status: str) -> None:
    assert list_results(IDS, status, 2, {"files": SIZES}) == {
        result_key(*IDS, 2, name): size for name, size in SIZES.items()
    }


@pytest.mark.parametrize(
    ("status", "attempt", "result"),
    [
        ("failed", 1, {"files": SIZES}),
        ("succeeded", 0, {"files": SIZES}),
        ("succeeded", None, {"files": SIZES}),
        ("succeeded", 1, None),
        ("succeeded", 1, {"cuts": 3}),
        ("succeeded", 1, {"files": ["video.mp4"]}),
        ("succeeded", 1, {"files": {"../original": 1, "video.mp4": "large"}}),
    ],
)
def test_anything_else_counts_on_nothing(status: str, attempt: object, result: object) -> None:
    assert list_results(IDS, status, attempt, result) == {}
