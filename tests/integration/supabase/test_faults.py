"""What goes wrong between the product and a project: each with its cause, its sentence, and nothing done twice."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest

from adapters.supabase import TABLES_VERSION, SupabaseDatabase, client
from adapters.supabase.client import Project
from adapters.supabase.errors import (
    CHECK_PUBLISHABLE_KEY,
    CHECK_SECRET_KEY,
    CHECK_SIGNING_KEY,
    CHECK_URL,
    MIGRATE,
    SLOW,
)
from adapters.supabase.tokens import TokenSigner
from config import PROJECT_ROOT
from jobs.errors import Conflict, NotFound, StoreUnavailable
from jobs.models import JobStatus, Role, User, VideoQuery
from jobs.ports import Database
from tests.database import SUCCESS, claim, make_charge, make_job, make_person, make_upload, make_video, process, reload
from tests.servers.supabase import LocalSupabase, make_keys


@pytest.fixture
def ann(database: Database) -> User:
    """A person."""
    return make_person(database, "ann")


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture, project: LocalSupabase) -> Iterator[None]:
    """Sees to it that no key gets into the log, at any level."""
    caplog.set_level(logging.DEBUG)
    yield
    for secret in (project.secret_key, project.publishable_key, json.loads(project.signing_key)["d"]):
        assert secret not in caplog.text


def open_project(project: LocalSupabase, http: httpx.Client | None = None, **keys: str) -> SupabaseDatabase:
    good = {
        "secret_key": project.secret_key,
        "publishable_key": project.publishable_key,
        "signing_key": project.signing_key,
    }
    return SupabaseDatabase(project.url, http=http, **{**good, **keys})


def fail(database: Database) -> StoreUnavailable:
    """Return what a check is told."""
    with pytest.raises(StoreUnavailable) as caught:
        database.check()
    database.close()
    return caught.value


# --- keys and tables ---


def test_a_check_names_what_it_found(project: LocalSupabase) -> None:
    database = open_project(project)
    assert f"version {TABLES_VERSION} of the tables" in database.check()
    assert database.check().startswith("PostgreSQL ")
    database.close()


def test_the_program_needs_the_newest_migration() -> None:
    newest = max(path.name for path in (PROJECT_ROOT / "supabase" / "migrations").glob("*.sql"))
    assert newest.startswith(f"{TABLES_VERSION}_")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("keys", "remedy"),
    [
        ({"secret_key": "sb_secret_of_another_project"}, CHECK_SECRET_KEY),
        ({"secret_key": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"}, CHECK_SECRET_KEY),
        ({"secret_key": "with a\nline break"}, CHECK_SECRET_KEY),
        ({"secret_key": "ümlaut"}, CHECK_SECRET_KEY),
        ({"publishable_key": "sb_publishable_of_another_project"}, CHECK_PUBLISHABLE_KEY),
        ({"signing_key": "another secret of at least 32 characters"}, CHECK_SIGNING_KEY),
        ({"signing_key": make_keys().signing_key}, CHECK_SIGNING_KEY),
    ],
)
def test_wrong_keys_are_told_apart(project: LocalSupabase, keys: dict[str, str], remedy: str) -> None:
    error = fail(open_project(project, None, **keys))
    assert error.remedy == remedy
    for text in (error.message, error.detail, error.remedy, repr(error)):
        assert not any(key in text for key in keys.values())


def test_the_publishable_key_is_no_secret_key(project: LocalSupabase) -> None:
    assert fail(open_project(project, secret_key=project.publishable_key)).remedy == CHECK_SECRET_KEY


@pytest.mark.parametrize("has_secret", [False, True])
def test_people_are_read_for_with_a_shared_secret_or_without(project: LocalSupabase, has_secret: bool) -> None:
    database = open_project(project, signing_key=project.keys.jwt_secret if has_secret else "")
    ann = make_person(database)
    video, _ = make_video(database, ann)
    assert database.videos.get(ann.id, video.id) == video
    assert database.check()
    database.close()


@pytest.mark.parametrize(
    "signing_key",
    ["short", "{", "{}", '{"kty": "EC"}', '{"kty": "EC", "crv": "P-256", "d": "secret", "x": "AA", "y": "AA"}', "[]"],
)
def test_a_signing_key_that_is_none_is_refused_at_once(signing_key: str) -> None:
    with pytest.raises(ValueError, match="SUPABASE_SIGNING_KEY") as caught:
        SupabaseDatabase("http://127.0.0.1:9", secret_key="k", signing_key=signing_key)
    assert 'secret"' not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_public_half_signs_nothing(project: LocalSupabase) -> None:
    public = {name: value for name, value in json.loads(project.signing_key).items() if name != "d"}
    with pytest.raises(ValueError, match="private key"):
        TokenSigner(json.dumps(public))


def test_tokens_are_short_and_say_who(project: LocalSupabase) -> None:
    token = TokenSigner(project.signing_key).sign("someone")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == ("someone", "authenticated")
    assert claims["exp"] - claims["iat"] <= 15 * 60
    assert jwt.get_unverified_header(token)["kid"] == json.loads(project.signing_key)["kid"]


def test_missing_and_old_tables_are_told(local_supabase: LocalSupabase, project: LocalSupabase) -> None:
    bare = local_supabase.make_project("bare", migrated=False)
    database = open_project(bare)
    with pytest.raises(StoreUnavailable) as caught:
        database.users.get("00000000-0000-4000-8000-000000000000")
    assert "make migrate" in caught.value.detail
    assert fail(database).remedy == MIGRATE
    bare.close()
    with psycopg.connect(project.db_url, autocommit=True) as connection:
        connection.execute("update private.installation set version = '2020'")
        try:
            assert fail(open_project(project)).remedy == MIGRATE
        finally:
            connection.execute("update private.installation set version = %s", [TABLES_VERSION])


# --- away, slow, lossy ---


def test_nobody_there_is_told_and_it_recovers(project: LocalSupabase, database: Database, ann: User) -> None:
    project.stop_rest(refuse=True)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            database.users.get(ann.id)
        assert caught.value.remedy == CHECK_URL
        with pytest.raises(StoreUnavailable):
            make_upload(database, ann)
    finally:
        project.start_rest()
    assert database.users.get(ann.id) == ann
    assert database.uploads.list_open(ann.id) == ()


def test_a_gateway_without_its_server_is_told_and_it_recovers(
    project: LocalSupabase, database: Database, ann: User
) -> None:
    project.stop_rest()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            database.videos.list_cards(ann.id, VideoQuery())
        assert caught.value.detail == "the gateway answers HTTP 502"
    finally:
        project.start_rest()
    assert database.videos.list_cards(ann.id, VideoQuery()).total == 0


def test_a_database_that_stops_is_told_and_it_recovers(project: LocalSupabase, database: Database, ann: User) -> None:
    project.stop_database()
    try:
        with pytest.raises(StoreUnavailable):
            database.users.get(ann.id)
    finally:
        project.start_database()
    assert database.users.get(ann.id) == ann


def test_a_slow_project_is_told(project: LocalSupabase) -> None:
    with httpx.Client(timeout=httpx.Timeout(0.2, connect=5)) as http:
        database = open_project(project, http)
        assert database.check()
        project.gateway.delay_s = 0.6
        try:
            error = fail(database)
        finally:
            project.gateway.delay_s = 0.0
        assert (error.remedy, error.detail) == (SLOW, "ReadTimeout")


def test_a_statement_that_takes_too_long_is_told(local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("slow")
    with project.connect() as connection:
        connection.execute(
            f"alter role authenticator in database \"{project.database}\" set statement_timeout = '300ms'"
        )
    project.stop_rest()
    project.start_rest()
    database = open_project(project)
    assert database.users.count() == 0
    with project.connect() as connection, connection.transaction():
        connection.execute("lock table public.users in access exclusive mode")
        with pytest.raises(StoreUnavailable) as caught:
            database.users.count()
    assert (caught.value.remedy, caught.value.detail[:5]) == (SLOW, "57014")
    assert database.users.count() == 0
    database.close()
    project.close()


def test_a_read_whose_answer_gets_lost_is_tried_again(project: LocalSupabase, database: Database, ann: User) -> None:
    project.gateway.cut_answers = 2
    assert database.users.get(ann.id) == ann
    project.gateway.cut_answers = 3
    with pytest.raises(StoreUnavailable):
        database.users.get(ann.id)
    assert project.gateway.cut_answers == 0


def test_an_end_whose_answer_gets_lost_is_said_again(project: LocalSupabase, database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    project.gateway.cut_answers = 1
    assert database.jobs.finish(job.id, "worker-1", SUCCESS)
    assert [event.event for event in database.jobs.list_events(ann.id, job.id)] == ["queued", "running", "succeeded"]


def test_a_beat_whose_answer_gets_lost_is_said_again(project: LocalSupabase, database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    claim(database, job)
    project.gateway.cut_answers = 1
    assert database.jobs.beat(job.id, "worker-1", stage="cut", progress=0.5, lease_s=60) is False


def test_a_video_whose_answer_gets_lost_is_made_once(project: LocalSupabase, database: Database, ann: User) -> None:
    project.gateway.cut_answers = 0
    upload = make_upload(database, ann)
    facts = make_video(database, ann)[0].facts
    project.gateway.cut_answers = 2
    video, job = database.videos.create_with_job(
        upload, title="Talk", facts=facts, options={}, charge=make_charge("once"), limit_bytes=0
    )
    assert database.videos.list_cards(ann.id, VideoQuery()).total == 2
    assert database.jobs.list_of_video(ann.id, video.id) == (job,)
    process(database, job)
    project.gateway.cut_answers = 1
    again = make_job(database, video, key="again")
    assert [one.id for one in database.jobs.list_of_video(ann.id, video.id)] == [again.id, job.id]


def test_what_must_not_happen_twice_is_not_tried_again(project: LocalSupabase, database: Database, ann: User) -> None:
    _, job = make_video(database, ann)
    project.gateway.cut_answers = 1
    with pytest.raises(StoreUnavailable):
        database.jobs.claim(job.id, "worker-1", lease_s=60)
    assert (reload(database, job).status, reload(database, job).attempt) == (JobStatus.RUNNING, 1)
    project.gateway.cut_answers = 1
    with pytest.raises(StoreUnavailable):
        database.throttles.add_failure("account:ann", forget_after_s=60)
    assert database.throttles.add_failure("account:ann", forget_after_s=60) == 2
    project.gateway.cut_answers = 1
    with pytest.raises(StoreUnavailable):
        database.users.create(username="bob", full_name="", role=Role.USER, password_hash="h")
    assert database.users.count() == 2


# --- values ---


def test_text_that_postgres_can_not_hold_is_kept_as_well_as_can_be(database: Database, ann: User) -> None:
    video, _ = make_video(database, ann)
    assert database.videos.set_title(ann.id, video.id, "a\0b\ud800c")
    changed = database.videos.get(ann.id, video.id)
    assert changed is not None
    assert changed.title == "a\ufffdb?c"
    assert database.uploads.find_open(ann.id, fingerprint="\0", size_bytes=1) is None


@pytest.mark.parametrize("text", ["a,b", "(a)", 'a"b', "a\\b", "a&b=c", "a+b", "%41", "*", "ä😀", "eq.a", "null", ""])
def test_values_are_compared_as_they_are(database: Database, ann: User, text: str) -> None:
    upload = database.uploads.create(ann.id, name="n", size_bytes=5, fingerprint=text, options={})
    database.uploads.create(ann.id, name="n", size_bytes=5, fingerprint=f"{text}x", options={})
    assert database.uploads.find_open(ann.id, fingerprint=text, size_bytes=5) == upload


def test_a_rule_that_is_broken_is_a_conflict_without_values(
    database: Database, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    database.users.set_quota(ann.id, minutes=1, size_bytes=1)
    with pytest.raises(Conflict) as caught:
        database.users.set_quota(ann.id, minutes=-5, size_bytes=1)
    assert ann.id not in f"{caught.value.detail}{caplog.text}"
    with pytest.raises(NotFound):
        make_upload(database, replace(ann, id="00000000-0000-4000-8000-000000000000"))
    with pytest.raises(NotFound):
        make_upload(database, replace(ann, id="nobody"))


def test_nothing_of_a_request_is_logged(database: Database, ann: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    database.users.find("ann")
    database.links.find("the hash of a token")
    database.throttles.get("address:192.0.2.1")
    for text in ("ann", "hash of a token", "192.0.2.1", ann.id):
        assert text not in caplog.text


# --- whose rights ---


def test_what_a_person_sees_is_read_with_their_own_rights(
    project: LocalSupabase, database: Database, ann: User
) -> None:
    upload = make_upload(database, ann)
    video, job = make_video(database, ann, charge=make_charge("k"))
    me = ann.id
    alone = open_project(project, publishable_key="", signing_key="")
    reads: Mapping[str, Callable[[Database], object]] = {
        "videos.get": lambda db: db.videos.get(me, video.id),
        "videos.get_card": lambda db: db.videos.get_card(me, video.id),
        "videos.list_cards": lambda db: db.videos.list_cards(me, VideoQuery()).total,
        "videos.stored_bytes": lambda db: db.videos.stored_bytes(me),
        "jobs.get": lambda db: db.jobs.get(me, job.id),
        "jobs.list_of_video": lambda db: db.jobs.list_of_video(me, video.id),
        "jobs.list_events": lambda db: db.jobs.list_events(me, job.id),
        "jobs.used_ms": lambda db: db.jobs.used_ms(me),
        "jobs.has_charge": lambda db: db.jobs.has_charge(me, "k"),
        "uploads.get": lambda db: db.uploads.get(me, upload.id),
        "uploads.list_open": lambda db: db.uploads.list_open(me),
        "uploads.find_open": lambda db: db.uploads.find_open(
            me, fingerprint=upload.fingerprint, size_bytes=upload.size_bytes
        ),
    }
    tables = ("uploads", "videos", "jobs", "job_events", "charges")
    with psycopg.connect(project.db_url, autocommit=True) as connection:
        for table in tables:
            connection.execute(f"alter policy own_rows on public.{table} using (false)")
        try:
            seen = {name for name, read in reads.items() if read(database)}
            with_all_rights = {name for name, read in reads.items() if read(alone)}
        finally:
            for table in tables:
                connection.execute(f"alter policy own_rows on public.{table} using (user_id = (select auth.uid()))")
    assert (seen, with_all_rights) == (set(), set(reads))
    assert all(read(database) for read in reads.values())
    alone.close()


def test_peoples_clients_are_made_anew_in_time_and_not_without_end(
    project: LocalSupabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"secret_key": project.secret_key, "publishable_key": "", "signing_key": project.signing_key}
    opened = Project(project.url, http=None, **keys)
    people = [str(uuid.uuid4()) for _ in range(5)]
    monkeypatch.setattr(client, "MAX_PEOPLE", 3)
    first, *_ = [opened._find_client(person) for person in people[:3]]
    assert opened._find_client(people[0]) is first
    for person in people[3:]:
        opened._find_client(person)
    assert opened._find_client(people[0]) is first, "used last, so others go before it"
    assert opened._find_client(people[1]) is not None
    monkeypatch.setattr(client, "_RENEW_S", 15 * 60)
    assert opened._find_client(people[0]) is not first
    opened.close()


# --- processes ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_makes_connections_of_its_own(project: LocalSupabase) -> None:
    """What a worker does: the parent has talked to the database before it forks."""
    script = """
import os, sys
from adapters.supabase import SupabaseDatabase
database = SupabaseDatabase(sys.argv[1], secret_key=sys.argv[2])
assert database.users.count() == 0
for _ in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(5):
            assert database.users.count() == 0
        database.close()
        assert database.users.count() == 0
        os._exit(0)
    for _ in range(5):
        assert database.users.count() == 0
    assert os.waitpid(child, 0)[1] == 0
database.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, project.url, project.secret_key],
        cwd=Path(PROJECT_ROOT), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
