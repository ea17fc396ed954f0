"""Recordings and the cards that show them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.errors import Conflict, NotFound, QuotaExceeded
from jobs.models import JobStatus, Page, UploadState, User, VideoCard, VideoQuery
from jobs.ports import NIL, Database
from tests.database import (
    FACTS,
    FAILURE,
    RESULT,
    SUCCESS,
    claim,
    make_charge,
    make_job,
    make_upload,
    make_video,
    process,
    race,
)
from tests.product import Clock


def titles(page: Page[VideoCard]) -> list[str]:
    return [card.video.title for card in page.items]


# --- from upload to video ---


def test_an_upload_becomes_a_video_with_a_job(database: Database, ann: User) -> None:
    upload = make_upload(database, ann, name="Tälk.mov")
    video, job = database.videos.create_with_job(
        upload, title="Talk", facts=FACTS, options={"pace": "tight"}, charge=make_charge("k"), limit_bytes=0
    )
    assert (video.id, video.user_id, video.title, video.file_name) == (upload.video_id, ann.id, "Talk", "Tälk.mov")
    assert (video.note, video.tags, video.recorded_on, video.current_job_id) == ("", (), "", None)
    assert video.facts == FACTS
    assert (job.user_id, job.video_id, job.status, job.options) == (
        ann.id, video.id, JobStatus.QUEUED, {"pace": "tight"},
    )  # fmt: skip
    assert (job.attempt, job.max_attempts, job.progress, job.stage, job.worker_id) == (0, 3, 0, "", "")
    assert (job.started_at, job.finished_at, job.lease_until, job.result) == (None, None, None, {})
    done = database.uploads.get(ann.id, upload.id)
    assert done is not None
    assert (done.state, done.job_id) == (UploadState.DONE, job.id)
    assert database.videos.get(ann.id, video.id) == video
    assert database.jobs.get(ann.id, job.id) == job
    assert database.videos.exists(video.id)
    assert not database.uploads.set_state(ann.id, upload.id, UploadState.REFUSED)


def test_doing_it_again_changes_nothing(database: Database, ann: User) -> None:
    upload = make_upload(database, ann)

    def create() -> tuple[str, str]:
        video, job = database.videos.create_with_job(
            upload, title="Talk", facts=FACTS, options={}, charge=make_charge(), limit_bytes=FACTS.size_bytes
        )
        return video.id, job.id

    assert len({create(), *race([create] * 8), create()}) == 1
    assert database.jobs.used_ms(ann.id) == 120_000
    assert len(database.jobs.list_of_video(ann.id, upload.video_id)) == 1


def test_an_upload_that_is_gone_becomes_nothing(database: Database, ann: User, bob: User) -> None:
    gone, refused, taken = make_upload(database, ann), make_upload(database, ann), make_upload(database, ann)
    database.uploads.delete(ann.id, gone.id)
    database.uploads.set_state(ann.id, refused.id, UploadState.REFUSED)
    video, _ = make_video(database, ann)
    database.videos.delete(ann.id, video.id)
    for upload, error in (
        (gone, NotFound),
        (refused, Conflict),
        (replace(taken, user_id=bob.id), NotFound),
    ):
        with pytest.raises(error):
            database.videos.create_with_job(
                upload, title="", facts=FACTS, options={}, charge=make_charge(), limit_bytes=0
            )
        assert not database.videos.exists(upload.video_id)
    assert database.jobs.used_ms(ann.id) == database.jobs.used_ms(bob.id) == 0


def test_a_deleted_video_does_not_come_back(database: Database, ann: User) -> None:
    upload = make_upload(database, ann)
    arguments = {"title": "", "facts": FACTS, "options": {}, "charge": make_charge(), "limit_bytes": 0}
    database.videos.create_with_job(upload, **arguments)  # type: ignore[arg-type]
    assert database.videos.delete(ann.id, upload.video_id)
    with pytest.raises(NotFound):
        database.videos.create_with_job(upload, **arguments)  # type: ignore[arg-type]


def test_originals_and_kept_results_count_as_storage(database: Database, ann: User, bob: User) -> None:
    assert database.videos.stored_bytes(ann.id) == 0
    video, job = make_video(database, ann)
    assert database.videos.stored_bytes(ann.id) == FACTS.size_bytes
    process(database, job)
    process(database, make_job(database, video))
    process(database, make_job(database, video), FAILURE)
    assert database.videos.stored_bytes(ann.id) == FACTS.size_bytes + 2 * 402_000
    assert database.videos.stored_bytes(bob.id) == 0
    database.videos.delete(ann.id, video.id)
    assert database.videos.stored_bytes(ann.id) == 0


def test_full_storage_takes_nothing(database: Database, ann: User) -> None:
    limit = 2 * FACTS.size_bytes + 402_000
    _, job = make_video(database, ann, limit_bytes=limit)
    process(database, job)
    make_video(database, ann, limit_bytes=limit)
    with pytest.raises(QuotaExceeded) as caught:
        make_video(database, ann, limit_bytes=limit + 299_999)
    assert caught.value.message.startswith("1 MB of storage is needed, 299.9 kB is left.")
    assert database.videos.list_cards(ann.id, VideoQuery()).total == 2
    assert database.jobs.used_ms(ann.id) == 240_000
    assert [upload.state for upload in database.uploads.list_open(ann.id)] == [UploadState.RECEIVING]


# --- changing ---


def test_title_and_details_change(database: Database, ann: User, clock: Clock) -> None:
    video, _ = make_video(database, ann)
    clock.advance(minutes=1)
    assert database.videos.set_title(ann.id, video.id, "New")
    assert database.videos.set_details(ann.id, video.id, note="Nöte", tags=("a", "ü b"), recorded_on="2026-02-01")
    changed = database.videos.get(ann.id, video.id)
    assert changed is not None
    assert changed.updated_at > video.updated_at
    assert changed == replace(
        video, title="New", note="Nöte", tags=("a", "ü b"), recorded_on="2026-02-01", updated_at=changed.updated_at
    )
    assert not database.videos.set_title(ann.id, "none", "New")


def test_deleting_takes_jobs_and_log_along(database: Database, ann: User) -> None:
    video, job = make_video(database, ann)
    kept, _ = make_video(database, ann)
    assert database.videos.delete(ann.id, video.id)
    assert not database.videos.delete(ann.id, video.id)
    assert database.videos.get(ann.id, video.id) is None
    assert database.videos.get_card(ann.id, video.id) is None
    assert database.jobs.get(ann.id, job.id) is None
    assert not database.jobs.list_events(ann.id, job.id)
    assert database.jobs.find(job.id) is None
    assert database.videos.exists(kept.id)


# --- cards ---


def test_a_card_shows_the_newest_job_and_the_one_that_plays(database: Database, ann: User) -> None:
    video, first = make_video(database, ann)
    card = database.videos.get_card(ann.id, video.id)
    assert card == VideoCard(video=video, job=first, current=None, position=1)
    done = process(database, first)
    assert done.result == RESULT
    second = make_job(database, video)
    card = database.videos.get_card(ann.id, video.id)
    assert card is not None
    assert (card.job, card.current, card.video.current_job_id) == (second, done, first.id)
    process(database, second, FAILURE)
    card = database.videos.get_card(ann.id, video.id)
    assert card is not None
    assert (card.job.status, card.current, card.position) == (JobStatus.FAILED, done, None)
    third = process(database, make_job(database, video))
    card = database.videos.get_card(ann.id, video.id)
    assert card is not None
    assert (card.job, card.current) == (third, third)
    assert database.videos.list_cards(ann.id, VideoQuery()).items == (card,)


def test_places_in_line_are_counted_over_everybody(database: Database, ann: User, bob: User) -> None:
    made = [make_video(database, user, str(n)) for n, user in enumerate((ann, bob, ann, bob, ann))]
    claim(database, made[1][1])
    places = {card.video.title: card.position for card in database.videos.list_cards(ann.id, VideoQuery()).items}
    assert places == {"0": 1, "2": 2, "4": 4}


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("newest", ["äpfel", "Zebra", "bär", "Apfel"]),
        ("oldest", ["Apfel", "bär", "Zebra", "äpfel"]),
        ("title", ["Apfel", "bär", "Zebra", "äpfel"]),
        ("longest", ["bär", "äpfel", "Apfel", "Zebra"]),
    ],
)
def test_the_list_is_sorted(database: Database, ann: User, clock: Clock, sort: str, expected: list[str]) -> None:
    for title, length in (("Apfel", 2), ("bär", 9), ("Zebra", 1), ("äpfel", 3)):
        make_video(database, ann, title, duration_ms=length * 1000)
        clock.advance(seconds=1)
    page = database.videos.list_cards(ann.id, VideoQuery(sort=sort))
    assert (titles(page), page.total) == (expected, 4)


def test_the_list_comes_in_parts(database: Database, ann: User) -> None:
    for number in range(5):
        make_video(database, ann, str(number))
    page = database.videos.list_cards(ann.id, VideoQuery(offset=1, limit=2))
    assert (titles(page), page.total) == (["3", "2"], 5)
    page = database.videos.list_cards(ann.id, VideoQuery(offset=99))
    assert (titles(page), page.total) == ([], 5)


def test_the_list_is_filtered_by_the_newest_job(database: Database, ann: User) -> None:
    again, job = make_video(database, ann, "again")
    process(database, job)
    make_job(database, again)
    _, job = make_video(database, ann, "running")
    claim(database, job)
    _, job = make_video(database, ann, "failed")
    process(database, job, FAILURE)

    def show(*states: JobStatus) -> list[str]:
        page = database.videos.list_cards(ann.id, VideoQuery(states=frozenset(states), sort="title"))
        assert page.total == len(page.items)
        return titles(page)

    assert show(JobStatus.QUEUED) == ["again"]
    assert show(JobStatus.SUCCEEDED) == []
    assert show(JobStatus.RUNNING, JobStatus.FAILED) == ["failed", "running"]
    assert show() == ["again", "failed", "running"]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("LESSON", ["Lesson 1", "Lesson 2"]),
        ("2 less", ["Lesson 2"]),
        ("  ", ["Lesson 1", "Lesson 2", "Über 100% wahr_"]),
        ("üBER", ["Über 100% wahr_"]),
        ("U\u0308ber", ["Über 100% wahr_"]),
        ("100%", ["Über 100% wahr_"]),
        ("wahr_", ["Über 100% wahr_"]),
        ("%", ["Über 100% wahr_"]),
        ("_", ["Über 100% wahr_"]),
        ("\\", []),
        ("quiet note", ["Lesson 1"]),
        ("straße", ["Lesson 1"]),
        ("STRASSE", ["Lesson 1"]),
        ("raw.MOV", ["Lesson 2"]),
        ('"', []),
        ("' OR 1", []),
        ("lesson über", []),
    ],
)
def test_the_search_looks_at_title_note_tags_and_file_name(
    database: Database, ann: User, bob: User, search: str, expected: list[str]
) -> None:
    first, _ = make_video(database, ann, "Lesson 1")
    database.videos.set_details(ann.id, first.id, note="A quiet\nNote", tags=["Straße", "x"], recorded_on="")
    make_video(database, ann, "Lesson 2", name="Raw.mov")
    make_video(database, ann, "Über 100% wahr_")
    make_video(database, bob, "Lesson 3")
    page = database.videos.list_cards(ann.id, VideoQuery(search=search, sort="title"))
    assert (sorted(titles(page)), page.total) == (sorted(expected), len(expected))


# --- retention ---


def test_old_videos_are_listed_unless_something_is_being_made(
    database: Database, ann: User, bob: User, clock: Clock
) -> None:
    waiting, _ = make_video(database, ann)
    first, job = make_video(database, ann)
    process(database, job)
    second, job = make_video(database, bob)
    process(database, job, FAILURE)
    clock.advance(days=1)
    before = clock()
    clock.advance(days=1)
    _, job = make_video(database, ann)
    process(database, job, SUCCESS)
    assert [video.id for video in database.videos.list_older(before)] == [first.id, second.id]
    assert [video.id for video in database.videos.list_older(before, limit=1)] == [first.id]
    assert waiting.id not in {video.id for video in database.videos.list_older(clock())}


# --- what compares rows and files ---


def test_everybodys_videos_come_with_their_jobs_in_the_order_of_their_keys(
    database: Database, ann: User, bob: User
) -> None:
    made: dict[tuple[str, str], list[str]] = {}
    for number in range(7):
        video, job = make_video(database, (ann, bob)[number % 2])
        process(database, job)
        again = [make_job(database, video).id] if number < 3 else []
        made[video.user_id, video.id] = [job.id, *again]
    found = database.videos.list_with_jobs()
    assert [(video.user_id, video.id) for video, _ in found] == sorted(made)
    assert {(video.user_id, video.id): [job.id for job in jobs] for video, jobs in found} == made
    for video, jobs in found:
        assert database.videos.get(video.user_id, video.id) == video
        assert tuple(jobs) == tuple(database.jobs.get(video.user_id, job.id) for job in jobs)
    paged, after = [], (NIL, NIL)
    while page := database.videos.list_with_jobs(after=after, limit=2):
        paged += [(video.user_id, video.id) for video, _ in page]
        after = paged[-1]
        assert len(page) == 2 or len(paged) == 7
    assert paged == sorted(made)
    theirs = max(ann.id, bob.id)
    behind = database.videos.list_with_jobs(after=(theirs, NIL))
    assert [(video.user_id, video.id) for video, _ in behind] == sorted(ids for ids in made if ids[0] == theirs)
    assert not database.videos.list_with_jobs(after=max(made))
