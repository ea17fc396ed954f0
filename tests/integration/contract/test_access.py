"""Sessions, one-time links, counters of wrong tries, secrets, workers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.errors import NotFound
from jobs.models import Link, LinkKind, Role, Session, User, WorkerInfo
from jobs.ports import Database
from tests.database import OpenDatabase, get_secret, race, race_in_processes
from tests.product import Clock


def open_session(database: Database, user: User, clock: Clock, *, hours: int = 1) -> Session:
    end = clock() + timedelta(hours=hours)
    version = user.token_version
    return database.sessions.open(user.id, token_version=version, label="Firefox on Linux", expires_at=end)


def make_link(
    database: Database,
    clock: Clock,
    token: str = "t",
    *,
    kind: LinkKind = LinkKind.INVITATION,
    user: User | None = None,
) -> Link:
    return database.links.create(
        kind, token_hash=token, user_id=user.id if user else None, role=Role.ADMIN, note="for Zoë", created_by="boss",
        expires_at=clock() + timedelta(days=1),
    )  # fmt: skip


# --- sessions ---


def test_a_session_is_found_until_it_ends(database: Database, ann: User, clock: Clock) -> None:
    session = open_session(database, ann, clock)
    assert (session.user_id, session.token_version, session.label) == (ann.id, ann.token_version, "Firefox on Linux")
    assert session.seen_at == session.created_at
    assert database.sessions.get(session.id) == session
    assert database.sessions.get_with_user(session.id) == (session, database.users.get(ann.id))
    assert list(database.sessions.list_open(ann.id)) == [session]
    clock.advance(hours=2)
    assert database.sessions.get(session.id) is None
    assert database.sessions.get_with_user(session.id) is None
    assert not database.sessions.list_open(ann.id)
    assert database.sessions.get("none") is None
    assert database.sessions.get_with_user("none") is None


def test_a_session_for_nobody_is_refused(database: Database, ann: User, clock: Clock) -> None:
    with pytest.raises(NotFound):
        open_session(database, replace(ann, id="nobody"), clock)


def test_tokens_of_a_session_change_hands_once(database: Database, ann: User, clock: Clock) -> None:
    later = clock() + timedelta(hours=1)
    session = database.sessions.open(ann.id, token_version=1, label="", expires_at=later, tokens="first")
    assert session.tokens == "first"
    assert open_session(database, ann, clock).tokens == ""
    assert database.sessions.set_tokens(session.id, "second", instead_of="first")
    assert not database.sessions.set_tokens(session.id, "third", instead_of="first")
    found = database.sessions.get(session.id)
    assert found is not None and found.tokens == "second"
    assert {one.tokens for one in database.sessions.list_open(ann.id)} == {"second", ""}
    database.sessions.close(ann.id, session.id)
    assert not database.sessions.set_tokens(session.id, "third", instead_of="second")


def test_using_a_session_is_remembered(database: Database, ann: User, clock: Clock) -> None:
    session = open_session(database, ann, clock)
    clock.advance(minutes=5)
    database.sessions.touch(session.id)
    found = database.sessions.get(session.id)
    assert found is not None
    assert found.seen_at >= session.seen_at + timedelta(minutes=5)


def test_sessions_are_listed_newest_first_without_void_ones(database: Database, ann: User, clock: Clock) -> None:
    first, second = open_session(database, ann, clock), open_session(database, ann, clock)
    assert [session.id for session in database.sessions.list_open(ann.id)] == [second.id, first.id]
    open_session(database, replace(ann, token_version=ann.token_version + 7), clock)
    assert [session.id for session in database.sessions.list_open(ann.id)] == [second.id, first.id]


def test_one_session_or_all_can_be_closed(database: Database, ann: User, bob: User, clock: Clock) -> None:
    first, second = open_session(database, ann, clock), open_session(database, ann, clock)
    of_bob = open_session(database, bob, clock)
    database.sessions.close(ann.id, first.id)
    assert [session.id for session in database.sessions.list_open(ann.id)] == [second.id]
    open_session(database, ann, clock)
    database.sessions.close_all(ann.id)
    assert not database.sessions.list_open(ann.id)
    assert database.sessions.get(second.id) is None
    assert database.sessions.get(of_bob.id) == of_bob


def test_expired_sessions_are_purged(database: Database, ann: User, clock: Clock) -> None:
    open_session(database, ann, clock, hours=1)
    kept = open_session(database, ann, clock, hours=5)
    assert database.sessions.purge() == 0
    clock.advance(hours=2)
    assert database.sessions.purge() == 1
    assert [session.id for session in database.sessions.list_open(ann.id)] == [kept.id]


# --- links ---


def test_a_link_is_used_once(database: Database, clock: Clock) -> None:
    link = make_link(database, clock)
    assert (link.kind, link.role, link.note, link.created_by) == (LinkKind.INVITATION, Role.ADMIN, "for Zoë", "boss")
    assert (link.user_id, link.used_at) == (None, None)
    assert database.links.find("t") == link
    assert database.links.find("other") is None
    assert database.links.use("t")
    assert not database.links.use("t")
    assert not database.links.use("other")
    used = database.links.find("t")
    assert used is not None
    assert used.used_at is not None
    assert not database.links.list_open(LinkKind.INVITATION)


def test_a_link_is_used_by_one_of_many(database: Database, clock: Clock) -> None:
    make_link(database, clock)
    assert sorted(race([lambda: database.links.use("t")] * 10)) == [False] * 9 + [True]


def test_a_link_ends(database: Database, clock: Clock) -> None:
    make_link(database, clock)
    clock.advance(days=2)
    assert not database.links.use("t")
    assert not database.links.list_open(LinkKind.INVITATION)
    assert database.links.purge() == 1
    assert database.links.find("t") is None


def test_a_used_link_can_be_opened_again_until_it_ends(database: Database, clock: Clock) -> None:
    link = make_link(database, clock)
    assert database.links.use("t")
    assert database.links.purge() == 0
    database.links.reopen("t")
    assert list(database.links.list_open(LinkKind.INVITATION)) == [link]
    assert database.links.use("t")


def test_links_are_listed_by_kind_newest_first(database: Database, ann: User, clock: Clock) -> None:
    first, second = make_link(database, clock, "a"), make_link(database, clock, "b")
    reset = make_link(database, clock, "c", kind=LinkKind.RESET, user=ann)
    assert list(database.links.list_open(LinkKind.INVITATION)) == [second, first]
    assert list(database.links.list_open(LinkKind.RESET)) == [reset]
    assert reset.user_id == ann.id
    database.links.delete(first.id)
    assert list(database.links.list_open(LinkKind.INVITATION)) == [second]


# --- counters of wrong tries ---


def test_tries_are_counted_for_each_key(database: Database) -> None:
    assert database.throttles.get("a") is None
    assert [database.throttles.add_failure("a", forget_after_s=60) for _ in range(3)] == [1, 2, 3]
    assert database.throttles.add_failure("b", forget_after_s=60) == 1
    throttle = database.throttles.get("a")
    assert throttle is not None
    assert (throttle.key, throttle.failures, throttle.locked_until) == ("a", 3, None)
    database.throttles.clear("a")
    assert database.throttles.get("a") is None
    assert database.throttles.get("b") is not None


def test_tries_that_race_are_all_counted(database: Database) -> None:
    counts = race([lambda: database.throttles.add_failure("a", forget_after_s=60)] * 16)
    assert sorted(counts) == list(range(1, 17))


def test_tries_are_forgotten_after_a_while_without_any(database: Database, clock: Clock) -> None:
    database.throttles.add_failure("a", forget_after_s=60)
    clock.advance(seconds=50)
    assert database.throttles.add_failure("a", forget_after_s=60) == 2
    clock.advance(seconds=50)
    assert database.throttles.add_failure("a", forget_after_s=60) == 3
    clock.advance(seconds=61)
    assert database.throttles.add_failure("a", forget_after_s=60) == 1


def test_a_lock_is_kept_whatever_is_counted(database: Database, clock: Clock) -> None:
    until = (clock() + timedelta(hours=1)).replace(microsecond=0)
    database.throttles.lock("a", until)
    database.throttles.add_failure("a", forget_after_s=60)
    throttle = database.throttles.get("a")
    assert throttle is not None
    assert (throttle.failures, throttle.locked_until) == (1, until)


def test_old_counters_are_purged_unless_they_lock(database: Database, clock: Clock) -> None:
    database.throttles.add_failure("old", forget_after_s=60)
    database.throttles.lock("locked", clock() + timedelta(days=2))
    clock.advance(days=1)
    database.throttles.add_failure("new", forget_after_s=60)
    assert database.throttles.purge(older_than_s=3600) == 1
    assert database.throttles.get("old") is None
    assert database.throttles.get("new") is not None
    assert database.throttles.get("locked") is not None


# --- secrets, workers, the whole ---


def test_a_secret_is_made_once(database: Database, open_database: OpenDatabase) -> None:
    assert database.get_secret("key", lambda: "one") == "one"
    assert database.get_secret("key", lambda: "two") == "one"
    assert database.get_secret("other", lambda: "three") == "three"
    again = open_database()
    assert again.get_secret("key", lambda: "four") == "one"
    again.close()


def test_processes_that_start_at_once_share_a_secret(open_database: OpenDatabase) -> None:
    secrets = race_in_processes(open_database, get_secret, [{"value": f"secret-{n}"} for n in range(12)])
    assert len(set(secrets)) == 1
    assert secrets[0].startswith("secret-")


def test_workers_are_alive_while_they_beat(database: Database, clock: Clock) -> None:
    now = clock().replace(microsecond=0)
    first = WorkerInfo(id="w1", host="a", pid=1, started_at=now, seen_at=now, info={"cores": 2})
    second = replace(first, id="w2", started_at=now + timedelta(seconds=1))
    database.workers.beat(first)
    database.workers.beat(second)
    assert list(database.workers.list_alive(within_s=60)) == [first, second]
    clock.advance(seconds=100)
    busy = replace(first, seen_at=clock().replace(microsecond=0), info={"cores": 2, "job_id": "j"})
    database.workers.beat(busy)
    assert list(database.workers.list_alive(within_s=60)) == [busy]
    database.workers.remove("w1")
    assert not database.workers.list_alive(within_s=60)


def test_a_check_says_a_sentence(database: Database) -> None:
    assert database.check().endswith(".")


def test_a_closed_database_can_be_opened_again(database: Database, ann: User, open_database: OpenDatabase) -> None:
    database.close()
    again = open_database()
    assert again.users.get(ann.id) == ann
    again.close()
