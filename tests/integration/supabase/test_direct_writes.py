"""The rules of jobs and minutes, held by the database against writers that come past the product."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from jobs.models import JobStatus, ProcessingJob, User
from jobs.ports import Database
from tests.database import FAILURE, SUCCESS, claim, make_charge, make_job, make_person, make_video, process, reload
from tests.servers.supabase import LocalSupabase

NOW = "2031-01-01T00:00:00Z"
ENDS = {
    JobStatus.SUCCEEDED: {"status": "succeeded", "finished_at": NOW, "started_at": NOW, "lease_until": None},
    JobStatus.FAILED: {"status": "failed", "finished_at": NOW, "lease_until": None},
    JobStatus.CANCELLED: {"status": "cancelled", "finished_at": NOW, "lease_until": None},
    JobStatus.QUEUED: {"status": "queued", "finished_at": None, "lease_until": None},
    JobStatus.RUNNING: {"status": "running", "started_at": NOW, "lease_until": NOW, "finished_at": None},
}
Write = Callable[[str, str, object], httpx.Response]


@pytest.fixture
def ann(database: Database) -> User:
    """A person."""
    return make_person(database, "ann")


@pytest.fixture
def write(project: LocalSupabase) -> Iterator[Write]:
    """Sends a request with the server's own key, which has every right."""
    headers = {"apikey": project.secret_key, "Authorization": f"Bearer {project.secret_key}"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False, verify=False) as http:
        yield lambda method, path, body: http.request(method, f"{project.url}/rest/v1/{path}", json=body)


def bring_to(database: Database, user: User, status: JobStatus) -> ProcessingJob:
    """Return a job in that state, whose charge is of the key ``k``."""
    _, job = make_video(database, user, charge=make_charge("k"))
    if status is not JobStatus.QUEUED:
        claim(database, job)
    if status is JobStatus.SUCCEEDED:
        database.jobs.finish(job.id, "worker-1", SUCCESS)
    elif status is JobStatus.FAILED:
        database.jobs.finish(job.id, "worker-1", FAILURE)
    elif status is JobStatus.CANCELLED:
        database.jobs.request_cancel(user.id, job.id)
        database.jobs.release(job.id, "worker-1", reason="")
    now = reload(database, job)
    assert now.status is status
    return now


FORBIDDEN = [
    (before, after)
    for before in JobStatus
    for after in JobStatus
    if before is not after and (before.is_final or (before, after) == (JobStatus.QUEUED, JobStatus.SUCCEEDED))
]


@pytest.mark.parametrize(("before", "after"), FORBIDDEN)
def test_a_job_goes_only_where_it_may(
    database: Database, ann: User, write: Write, before: JobStatus, after: JobStatus
) -> None:
    job = bring_to(database, ann, before)
    answer = write("PATCH", f"jobs?id=eq.{job.id}", ENDS[after])
    assert (answer.status_code, answer.json()["code"]) == (400, "23514")
    assert reload(database, job) == job


@pytest.mark.parametrize("before", [JobStatus.QUEUED, JobStatus.RUNNING])
@pytest.mark.parametrize("after", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_whoever_ends_a_job_minutes_are_given_back_once(
    database: Database, ann: User, write: Write, before: JobStatus, after: JobStatus
) -> None:
    kept, _ = make_video(database, ann)
    job = bring_to(database, ann, before)
    assert database.jobs.used_ms(ann.id) == 2 * kept.facts.duration_ms
    for _ in range(2):
        assert write("PATCH", f"jobs?id=eq.{job.id}", ENDS[after]).is_success
        assert database.jobs.used_ms(ann.id) == kept.facts.duration_ms
        assert not database.jobs.has_charge(ann.id, "k")
    assert [event.event for event in database.jobs.list_events(ann.id, job.id)][-1] == after


def test_a_success_by_hand_holds_its_minutes(database: Database, ann: User, write: Write) -> None:
    _, other = make_video(database, ann, charge=make_charge("k"))
    job = bring_to(database, ann, JobStatus.RUNNING)
    assert write("PATCH", f"jobs?id=eq.{job.id}", ENDS[JobStatus.SUCCEEDED]).is_success
    process(database, other, FAILURE)
    assert database.jobs.has_charge(ann.id, "k")


@pytest.mark.parametrize("table", ["videos", "jobs"])
@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_deleting_by_hand_gives_minutes_back(
    database: Database, ann: User, write: Write, table: str, status: JobStatus
) -> None:
    job = bring_to(database, ann, status)
    row = job.video_id if table == "videos" else job.id
    assert write("DELETE", f"{table}?id=eq.{row}", None).is_success
    assert database.jobs.used_ms(ann.id) == 0
    assert database.jobs.get(ann.id, job.id) is None


def test_deleting_by_hand_leaves_the_charge_to_another(database: Database, ann: User, write: Write) -> None:
    first, second = bring_to(database, ann, JobStatus.QUEUED), bring_to(database, ann, JobStatus.RUNNING)
    assert write("DELETE", f"videos?id=eq.{first.video_id}", None).is_success
    assert database.jobs.has_charge(ann.id, "k")
    assert write("DELETE", f"videos?id=eq.{second.video_id}", None).is_success
    assert not database.jobs.has_charge(ann.id, "k")


def test_an_account_can_be_deleted_by_hand_with_jobs_at_work(
    database: Database, ann: User, project: LocalSupabase, write: Write
) -> None:
    for status in JobStatus:
        bring_to(database, ann, status)
    video, job = make_video(database, ann)
    process(database, job)
    make_job(database, video)
    assert write("DELETE", f"users?id=eq.{ann.id}", None).is_success
    with project.connect() as connection:
        for table in ("videos", "jobs", "job_events", "charges", "uploads", "credentials"):
            assert connection.execute(f"select count(*) from public.{table}").fetchone() == (0,), table


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("jobs?status=eq.queued", {"attempt": 9}, "23514"),
        ("jobs?status=eq.queued", {"progress": 1.5}, "23514"),
        ("jobs?status=eq.queued", {"status": "done"}, "23514"),
        ("jobs?status=eq.queued", {"finished_at": NOW}, "23514"),
        ("jobs?status=eq.queued", {"user_id": "00000000-0000-4000-8000-000000000000"}, "23503"),
        ("uploads?state=eq.receiving", {"state": "done"}, "23514"),
        ("uploads?state=eq.receiving", {"size_bytes": -1}, "23514"),
        ("users?username=eq.ann", {"username": "Ann"}, "23514"),
        ("users?username=eq.ann", {"role": "king"}, "23514"),
        ("users?username=eq.ann", {"search_text": "x"}, "428C9"),
        ("videos?size_bytes=gt.0", {"tags": {}}, "23514"),
        ("charges?cost_ms=gt.0", {"period": "2026"}, "23514"),
    ],
)
def test_broken_rules_are_refused(
    database: Database, ann: User, write: Write, path: str, body: object, code: str
) -> None:
    bring_to(database, ann, JobStatus.QUEUED)
    database.uploads.create(ann.id, name="a", size_bytes=1, fingerprint="f", options={})
    answer = write("PATCH", path, body)
    assert (answer.json()["code"], answer.is_success) == (code, False)


def test_a_video_has_one_active_job_whoever_makes_it(database: Database, ann: User, write: Write) -> None:
    job = bring_to(database, ann, JobStatus.QUEUED)
    row = {"user_id": ann.id, "video_id": job.video_id, "charge_key": "other", "options": {}}
    answer = write("POST", "jobs", row)
    assert (answer.status_code, answer.json()["code"]) == (409, "23505")


def test_a_job_is_of_its_videos_owner(database: Database, ann: User, write: Write) -> None:
    bob = make_person(database, "bob")
    video, job = make_video(database, ann)
    process(database, job)
    row = {"user_id": bob.id, "video_id": video.id, "charge_key": "k", "options": {}}
    answer = write("POST", "jobs", row)
    assert (answer.status_code, answer.json()["code"]) == (409, "23503")
