"""Accounts."""

from __future__ import annotations

from uuid import uuid4

import pytest

from jobs.models import LinkKind, Role, User
from jobs.ports import Database
from tests.database import (
    OpenDatabase,
    make_person,
    make_upload,
    make_video,
    race,
    race_in_processes,
    try_to_be_first,
)
from tests.product import Clock


def get(database: Database, user: User) -> User:
    found = database.users.get(user.id)
    assert found is not None
    return found


def test_an_account_is_found_by_id_and_by_name_in_any_case(database: Database, clock: Clock) -> None:
    before = clock()
    user = database.users.create(username="Ann", full_name="Ann Ö", role=Role.USER, password_hash="h")
    assert user is not None
    assert (user.username, user.full_name, user.role, user.is_active) == ("ann", "Ann Ö", Role.USER, True)
    assert (user.quota_minutes, user.quota_bytes, user.options) == (None, None, {})
    assert abs((user.created_at - before).total_seconds()) < 60
    assert user.created_at.tzinfo is not None
    assert database.users.get(user.id) == database.users.find("ANN") == user
    assert database.users.password_hash(user.id) == "h"
    assert database.users.count() == 1


def test_what_is_not_there_is_none(database: Database) -> None:
    assert database.users.get("nobody") is None
    assert database.users.find("nobody") is None
    assert database.users.password_hash("nobody") is None


def test_a_name_is_taken_once_whatever_its_case(database: Database, ann: User) -> None:
    assert database.users.create(username="ANN", full_name="", role=Role.ADMIN, password_hash="other") is None
    assert database.users.password_hash(ann.id) == "hash"
    assert database.users.count() == 1


def test_an_account_may_bring_its_id_which_is_taken_once(database: Database, ann: User) -> None:
    brought = str(uuid4())
    bob = database.users.create(username="bob", full_name="", role=Role.USER, password_hash="h", user_id=brought)
    assert bob is not None and bob.id == brought
    assert database.users.get(brought) == bob
    for name, user_id in (("cleo", brought), ("bob", str(uuid4())), ("bob", brought), ("cleo", ann.id)):
        created = database.users.create(username=name, full_name="", role=Role.USER, password_hash="h", user_id=user_id)
        assert created is None
    assert database.users.find("cleo") is None
    assert database.users.count() == 2


def test_an_address_may_be_the_name(database: Database) -> None:
    address = f"{'a' * 242}@example.com"
    user = database.users.create(username=address, full_name="", role=Role.USER, password_hash="h")
    assert user is not None and database.users.find(address) == user


def test_only_the_first_is_made_when_that_is_asked(database: Database) -> None:
    assert try_to_be_first(database, {"username": "first"})
    assert not try_to_be_first(database, {"username": "second"})
    assert database.users.find("second") is None


def test_one_of_many_is_the_first_in_threads(database: Database) -> None:
    results = race([lambda n=n: try_to_be_first(database, {"username": f"u{n}"}) for n in range(12)])  # type: ignore[misc]
    assert sorted(results) == [False] * 11 + [True]


def test_one_of_many_is_the_first_in_processes(open_database: OpenDatabase) -> None:
    results = race_in_processes(open_database, try_to_be_first, [{"username": f"u{n}"} for n in range(12)])
    assert sorted(results) == [False] * 11 + [True]


def test_a_new_password_ends_every_session(database: Database, ann: User, bob: User, clock: Clock) -> None:
    for user in (ann, bob):
        database.sessions.open(
            user.id, token_version=user.token_version, label="", expires_at=clock().replace(year=2999)
        )
    database.users.set_password(ann.id, "new")
    assert database.users.password_hash(ann.id) == "new"
    assert get(database, ann).token_version == ann.token_version + 1
    assert not database.sessions.list_open(ann.id)
    assert len(database.sessions.list_open(bob.id)) == 1
    assert database.users.password_hash(bob.id) == "hash"


def test_the_token_version_rises(database: Database, ann: User) -> None:
    database.users.raise_token_version(ann.id)
    database.users.raise_token_version(ann.id)
    assert get(database, ann).token_version == ann.token_version + 2


def test_name_quota_and_options_are_stored(database: Database, ann: User, bob: User) -> None:
    database.users.set_name(ann.id, "Änne")
    database.users.set_quota(ann.id, minutes=30, size_bytes=0)
    database.users.set_options(ann.id, {"pace": "tight", "margin_ms": [1, 2], "vocabulary": "Ünï 😀"})
    stored = get(database, ann)
    assert (stored.full_name, stored.quota_minutes, stored.quota_bytes) == ("Änne", 30, 0)
    assert stored.options == {"pace": "tight", "margin_ms": [1, 2], "vocabulary": "Ünï 😀"}
    database.users.set_quota(ann.id, minutes=None, size_bytes=None)
    assert (get(database, ann).quota_minutes, get(database, ann).quota_bytes) == (None, None)
    assert get(database, bob) == bob


def test_the_last_active_administrator_stays_one(database: Database) -> None:
    make_person(database, "ann")
    boss = make_person(database, "boss", role=Role.ADMIN)
    assert not database.users.set_role(boss.id, Role.USER)
    assert not database.users.set_active(boss.id, False)
    assert not database.users.delete(boss.id)
    assert get(database, boss) == boss

    second = make_person(database, "second", role=Role.ADMIN)
    assert database.users.set_active(second.id, False)
    assert not database.users.set_role(boss.id, Role.USER), "a disabled administrator does not count"
    assert database.users.set_active(second.id, True)
    assert database.users.set_role(boss.id, Role.USER)
    assert get(database, boss).role is Role.USER
    assert not database.users.delete(second.id)


def test_other_people_can_be_changed_beside_one_administrator(database: Database, ann: User) -> None:
    make_person(database, "boss", role=Role.ADMIN)
    assert database.users.set_active(ann.id, False)
    assert not get(database, ann).is_active
    assert get(database, ann).token_version == ann.token_version + 1
    assert database.users.set_active(ann.id, True)
    assert get(database, ann).token_version == ann.token_version + 1
    assert database.users.set_role(ann.id, Role.ADMIN)
    assert get(database, ann).role is Role.ADMIN


def test_two_administrators_can_not_demote_each_other(database: Database) -> None:
    bosses = [make_person(database, f"boss{n}", role=Role.ADMIN) for n in range(4)]
    results = race([lambda boss=boss: database.users.set_role(boss.id, Role.USER) for boss in bosses])  # type: ignore[misc]
    assert sorted(results) == [False, True, True, True]


def test_the_last_account_can_be_deleted(database: Database) -> None:
    boss = make_person(database, "boss", role=Role.ADMIN)
    assert database.users.delete(boss.id)
    assert database.users.count() == 0


def test_deleting_an_account_deletes_all_its_rows(database: Database, ann: User, bob: User, clock: Clock) -> None:
    soon = clock().replace(year=2999)
    database.sessions.open(ann.id, token_version=1, label="", expires_at=soon)
    for name, person in (("of-ann", ann), ("of-bob", bob)):
        database.links.create(
            LinkKind.RESET, token_hash=name, user_id=person.id, role=Role.USER, note="", created_by=ann.id,
            expires_at=soon,
        )  # fmt: skip
    upload = make_upload(database, ann)
    video, job = make_video(database, ann)
    kept, _ = make_video(database, bob)
    make_person(database, "boss", role=Role.ADMIN)

    assert database.users.delete(ann.id)

    assert database.users.get(ann.id) is None
    assert database.users.password_hash(ann.id) is None
    assert not database.sessions.list_open(ann.id)
    assert database.links.find("of-ann") is None
    assert database.links.find("of-bob") is None, "a link by somebody who is gone"
    assert database.uploads.get(ann.id, upload.id) is None
    assert not database.videos.exists(video.id)
    assert database.jobs.find(job.id) is None
    assert database.jobs.used_ms(ann.id) == 0
    assert database.videos.exists(kept.id)
    assert make_person(database, "ann").id != ann.id


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["ann", "bob", "zoë"]),
        ("AN", ["ann"]),
        ("zoË", ["zoë"]),
        ("Zoe\u0308", ["zoë"]),
        ("bob b", ["bob"]),
        ("%", []),
        ("_", []),
        ("\\", []),
        ("nobody", []),
    ],
)
def test_accounts_are_listed_by_name(database: Database, search: str, found: list[str]) -> None:
    for name in ("zoë", "bob", "ann"):
        make_person(database, name)
    page = database.users.list_all(search=search)
    assert [user.username for user in page.items] == found
    assert page.total == len(found)


def test_the_list_comes_in_parts(database: Database) -> None:
    for name in ("c", "b", "a"):
        make_person(database, name)
    page = database.users.list_all(offset=1, limit=1)
    assert ([user.username for user in page.items], page.total) == (["b"], 3)
    page = database.users.list_all(offset=9)
    assert (page.items, page.total) == ((), 3)
