"""`make migrate` on real PostgreSQL: from nothing, from every version, twice, at once, broken, and where it can't."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from adapters.supabase import migrate
from adapters.supabase.migrate import (
    MIGRATIONS,
    Migration,
    MigrationFailed,
    MigrationReport,
    find_pending,
    migrate_database,
    read_migrations,
)
from config import UNUSABLE
from jobs.models import JobStatus, VideoQuery
from jobs.upkeep.__main__ import main
from tests.database import process
from tests.database.supabase import SupabaseOpener
from tests.database.supabase_versions import fill, list_versions, restore
from tests.servers.gateway import Gateway
from tests.servers.guarded import find_free_port
from tests.servers.postgres import Postgres
from tests.servers.postgrest import Postgrest
from tests.servers.supabase import Cluster, LocalSupabase, make_keys

STEPS = (
    Migration(version="20260101000000", name="notes", sql="create table notes (id int primary key, text text);\n"),
    Migration(version="20260201000000", name="tags", sql="alter table notes add tag text not null default 'none';\n"),
    Migration(version="20260301000000", name="kept", sql="-- two\ncreate table a ();\ncreate table b ();\n"),
)
STEMS = tuple(step.stem for step in STEPS)
BROKEN = Migration(
    version="20260401000000",
    name="broken",
    sql="create table half (id int);\ninsert into notes values (7, '');\ninsert into notes (nothing) values (1);\n",
)
NEWEST = read_migrations()[-1]
names = (f"migrate_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture
def cluster(local_supabase: LocalSupabase) -> Cluster:
    return local_supabase.cluster


@pytest.fixture
def db_url(cluster: Cluster) -> Iterator[str]:
    """A database as Supabase hands it over, for the owner of its tables."""
    name = next(names)
    cluster.create(name, migrated=False)
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def other_url(cluster: Cluster) -> Iterator[str]:
    """Another one."""
    name = next(names)
    cluster.create(name, migrated=False)
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def bare(local_supabase: LocalSupabase) -> Iterator[Postgres]:
    """A PostgreSQL that never heard of Supabase; skips where there is none."""
    assert local_supabase
    postgres = Postgres()
    yield postgres
    postgres.close()


def query(db_url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(db_url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def change(db_url: str, *statements: str) -> None:
    with psycopg.connect(db_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def read_history(db_url: str) -> list[tuple[object, ...]]:
    return query(db_url, "select version, name, statements from supabase_migrations.schema_migrations order by version")


def list_tables(db_url: str) -> list[object]:
    rows = query(db_url, "select tablename from pg_tables where schemaname in ('public', 'private') order by 1")
    return [name for (name,) in rows]


def describe(cluster: Cluster, db_url: str) -> str:
    """Return everything in a database but its rows, as SQL."""
    name = db_url.rpartition("/")[2]
    said = cluster.postgres.run_tool(
        "pg_dump", "--schema-only", "--exclude-schema=supabase_migrations", cluster.postgres.url(name)
    )
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith("\\"))


def use(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Give the command these settings and no others."""
    for name in [name for name in os.environ if name.startswith("SUPABASE_")]:
        monkeypatch.delenv(name)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def use_project(monkeypatch: pytest.MonkeyPatch, db_url: str) -> None:
    use(monkeypatch, SUPABASE_URL="http://127.0.0.1:1", SUPABASE_SECRET_KEY="secret", SUPABASE_DB_URL=db_url)


# --- what it does ---


def test_what_is_missing_is_applied_once(db_url: str) -> None:
    told: list[str] = []
    first = migrate_database(db_url, steps=STEPS[:2], on_applied=told.append)
    assert first == MigrationReport(roles=False, applied=STEMS[:2], total=2)
    assert told == list(STEMS[:2])
    change(db_url, "insert into notes values (1, 'kept')")
    assert migrate_database(db_url, steps=STEPS).applied == STEMS[2:]
    assert migrate_database(db_url, steps=STEPS) == MigrationReport(roles=False, applied=(), total=3)
    assert query(db_url, "select id, text, tag from notes") == [(1, "kept", "none")]
    assert list_tables(db_url) == ["a", "b", "notes"]


def test_it_is_noted_where_the_supabase_command_line_looks(db_url: str) -> None:
    migrate_database(db_url, steps=STEPS)
    assert read_history(db_url) == [(step.version, step.name, [step.sql]) for step in STEPS]


@pytest.mark.parametrize("columns", ["version", "version, statements, name", "version, statements, name, created_by"])
def test_what_the_supabase_command_line_applied_is_taken_over(db_url: str, columns: str) -> None:
    kinds = {"version": "text not null primary key", "statements": "text[]", "name": "text", "created_by": "text"}
    table = ", ".join(f"{column} {kinds[column]}" for column in columns.split(", "))
    change(
        db_url,
        "create schema supabase_migrations",
        f"create table supabase_migrations.schema_migrations ({table})",
        STEPS[0].sql,
        f"insert into supabase_migrations.schema_migrations (version) values ('{STEPS[0].version}')",
    )
    assert migrate_database(db_url, steps=STEPS).applied == STEMS[1:]
    assert [row[:2] for row in read_history(db_url)] == [
        (STEPS[0].version, None),
        *((step.version, step.name) for step in STEPS[1:]),
    ]


def test_a_dry_run_changes_nothing(cluster: Cluster, db_url: str) -> None:
    before = describe(cluster, db_url)
    assert migrate_database(db_url, steps=STEPS, dry_run=True).applied == STEMS
    assert describe(cluster, db_url) == before
    assert query(db_url, "select to_regnamespace('supabase_migrations')") == [(None,)]
    migrate_database(db_url, steps=STEPS[:1])
    assert migrate_database(db_url, steps=STEPS, dry_run=True).applied == STEMS[1:]


def test_several_at_once_apply_each_step_once(db_url: str) -> None:
    begin = threading.Barrier(5)

    def run(_number: int) -> Sequence[str]:
        begin.wait(30)
        return migrate_database(db_url, steps=STEPS).applied

    with ThreadPoolExecutor(5) as pool:
        applied = list(pool.map(run, range(5)))
    assert sorted(itertools.chain(*applied)) == list(STEMS)
    assert len(read_history(db_url)) == len(STEPS)


def test_a_step_that_fails_leaves_nothing_of_it(db_url: str) -> None:
    with pytest.raises(MigrationFailed) as caught:
        migrate_database(db_url, steps=(*STEPS, BROKEN))
    assert caught.value.message == (
        'The migration 20260401000000_broken failed in line 3: column "nothing" of relation "notes" does not exist. '
        "Nothing of it was applied."
    )
    assert list_tables(db_url) == ["a", "b", "notes"]
    assert query(db_url, "select * from notes") == []
    assert len(read_history(db_url)) == len(STEPS)
    mended = Migration(version=BROKEN.version, name="broken", sql="create table half (id int);\n")
    assert migrate_database(db_url, steps=(*STEPS, mended)).applied == (BROKEN.stem,)


def test_what_rows_hold_is_not_told(db_url: str) -> None:
    migrate_database(db_url, steps=STEPS)
    change(db_url, "insert into notes values (1, 'secret words'), (2, 'secret words')")
    unique = Migration(version="20260401000000", name="unique", sql="alter table notes add unique (text);\n")
    with pytest.raises(MigrationFailed, match="could not create unique index") as caught:
        migrate_database(db_url, steps=(*STEPS, unique))
    assert "secret" not in f"{caught.value.message} {caught.value.detail}"


def test_tables_in_use_end_it_with_a_sentence(db_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate_database(db_url, steps=STEPS[:1])
    monkeypatch.setattr(migrate, "LOCK_WAIT_S", 1)
    with psycopg.connect(db_url) as reader:
        reader.execute("select * from notes")
        with pytest.raises(MigrationFailed, match="in use for more than 1 seconds"):
            migrate_database(db_url, steps=STEPS)
    assert migrate_database(db_url, steps=STEPS).applied == STEMS[1:]


def test_the_database_of_a_newer_program_is_refused(cluster: Cluster, db_url: str) -> None:
    migrate_database(db_url, steps=STEPS)
    before = describe(cluster, db_url)
    for dry_run in (False, True):
        with pytest.raises(MigrationFailed) as caught:
            migrate_database(db_url, steps=STEPS[:2], dry_run=dry_run)
        assert caught.value.message == (
            "The database has the migration 20260301000000, which this program does not know: it belongs to a newer "
            "version. Update Mini Video Factory, then try again."
        )
    assert describe(cluster, db_url) == before


def test_a_step_that_was_left_out_is_not_put_in_later() -> None:
    with pytest.raises(MigrationFailed, match="lacks the migration 20260201000000_tags, but has later ones"):
        find_pending(STEPS, [STEPS[0].version, STEPS[2].version])
    assert find_pending(STEPS, [STEPS[0].version]) == list(STEPS[1:])
    assert find_pending((), []) == []


def test_names_of_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "20260201000000_b.sql").write_text("select 2")
    (tmp_path / "20260101000000_a.sql").write_text("select 1")
    assert [step.stem for step in read_migrations(tmp_path)] == ["20260101000000_a", "20260201000000_b"]
    (tmp_path / "20260101000000_c.sql").write_text("select 3")
    with pytest.raises(ValueError, match="same version"):
        read_migrations(tmp_path)
    (tmp_path / "3_c.sql").write_text("select 3")
    with pytest.raises(ValueError, match=r"3_c\.sql is not named like"):
        read_migrations(tmp_path)


# --- the product's own migrations ---


def test_the_rows_of_the_newest_version_are_stored() -> None:
    """After a new migration: see `tests.database.supabase_versions`."""
    assert NEWEST.version in list_versions()
    assert set(list_versions()) <= {step.version for step in read_migrations()}


@pytest.mark.parametrize("version", list_versions())
def test_every_version_can_be_brought_up_to_date(local_supabase: LocalSupabase, version: str) -> None:
    steps = read_migrations()
    project = local_supabase.make_project("version", migrated=False)
    cluster = project.cluster
    earlier = [step for step in steps if step.version <= version]
    migrate_database(project.db_url, steps=earlier)
    restore(version, cluster.postgres.url(project.database))
    report = migrate_database(project.db_url)
    assert report.applied == tuple(step.stem for step in steps[len(earlier) :])

    fresh = local_supabase.make_project("fresh")
    fill(fresh)
    counts = (  # counters for the metrics begin with their table
        "select relname, n_live_tup from pg_stat_user_tables "
        "where schemaname in ('public', 'private') and relname <> 'tallies' order by 1"
    )
    for one in (project, fresh):
        change(cluster.postgres.url(one.database), "analyze")
    assert query(project.db_url, counts) == query(fresh.db_url, counts), "a version's rows fill every table"
    fresh.close()

    database = SupabaseOpener(project.url, secret_key=project.secret_key)()
    ann = database.users.find("ann")
    assert ann is not None
    cards = database.videos.list_cards(ann.id, VideoQuery(sort="title")).items
    assert [(card.video.title, card.job.status) for card in cards] == [
        ("Finished", JobStatus.FAILED),
        ("Running", JobStatus.RUNNING),
        ("Waiting", JobStatus.QUEUED),
    ]
    assert cards[0].current is not None
    assert cards[0].video.tags == ("one", "zwölf")
    assert database.get_secret("cookie_key", lambda: "new") == "secret"
    process(database, cards[2].job)
    database.close()
    project.close()


def test_each_step_alone_and_all_at_once_make_the_same(cluster: Cluster, db_url: str, other_url: str) -> None:
    steps = read_migrations()
    for count in range(len(steps) + 1):
        migrate_database(db_url, steps=steps[:count])
    migrate_database(other_url)
    assert describe(cluster, db_url) == describe(cluster, other_url)


def test_psql_makes_the_same(cluster: Cluster, db_url: str, other_url: str) -> None:
    for path in sorted(MIGRATIONS.glob("*.sql")):
        cluster.postgres.run_tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f", str(path), db_url)
    migrate_database(other_url)
    assert describe(cluster, db_url) == describe(cluster, other_url)


def test_a_running_postgrest_learns_of_new_tables(local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("learns", migrated=False)
    headers = {"apikey": project.secret_key}
    address = f"{project.url}/rest/v1/users?select=id"
    assert httpx.get(address, headers=headers).status_code == 404
    migrate_database(project.db_url)
    until = time.monotonic() + 30
    while (answer := httpx.get(address, headers=headers)).status_code != 200:
        assert time.monotonic() < until, answer.text
        time.sleep(0.05)
    assert answer.json() == []
    project.close()


# --- a PostgreSQL without Supabase ---


def test_a_bare_postgresql_gets_the_roles_too(
    bare: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_project(monkeypatch, bare.url())
    assert main(["migrate", "--dry-run"]) == 0
    would = capsys.readouterr().out.splitlines()
    assert query(bare.url(), "select count(*) from pg_roles where rolname = 'service_role'") == [(0,)]
    assert main(["migrate"]) == 0
    did = capsys.readouterr().out.splitlines()
    roles = "supabase/local/roles.sql, for this PostgreSQL lacks the roles of Supabase's API."
    assert did[0] == f"Applied {roles}"
    assert did[1:-1] == [f"Applied {step.stem}." for step in read_migrations()]
    assert "ALTER ROLE authenticator PASSWORD" in did[-1]
    assert would == [line.replace("Applied", "Would apply") for line in did]
    assert query(bare.url(), "select rolpassword from pg_authid where rolname = 'authenticator'") == [(None,)]
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out == f"Nothing to do: all {len(read_migrations())} migrations are applied.\n"

    change(bare.url(), "create database second")  # the roles belong to the server, auth.uid() to a database
    assert migrate_database(bare.url("second")).roles


def test_a_postgrest_before_a_bare_postgresql_serves_the_product(bare: Postgres) -> None:
    migrate_database(bare.url())
    change(bare.url(), f"alter role authenticator password '{bare.password}'")
    keys = make_keys()
    rest = Postgrest(bare.url(user="authenticator"), jwt_keys=keys.verifying_keys)
    gateway = Gateway(tokens=keys.make_tokens(), rest_socket=rest.socket)
    try:
        fill_and_read(gateway.url, secret_key=keys.secret_key, signing_key=keys.signing_key)
    finally:
        gateway.stop()
        rest.close()


def fill_and_read(url: str, *, secret_key: str, signing_key: str) -> None:
    database = SupabaseOpener(url, secret_key=secret_key, signing_key=signing_key)()
    assert "PostgreSQL" in database.check()
    assert database.users.count() == 0
    database.close()


def test_who_may_not_make_roles_is_told_who_may(bare: Postgres) -> None:
    change(
        bare.url(),
        "create role maker login createrole password 'pass'",
        "create database makers owner maker",
    )
    url = bare.url("makers", user="maker", password="pass")
    with pytest.raises(MigrationFailed) as caught:
        migrate_database(url)
    assert caught.value.message == (
        "This PostgreSQL lacks the roles of Supabase's API, and the user of SUPABASE_DB_URL may not make them: let a "
        "superuser run supabase/local/roles.sql in this database, then try again."
    )
    assert query(url, "select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role')") == []
    bare.run_tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(migrate.ROLES), bare.url("makers"))
    assert not migrate_database(url).roles
    assert "users" in list_tables(url)


# --- the command ---


def test_the_command_says_what_it_did(
    db_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_project(monkeypatch, db_url)
    steps = read_migrations()
    assert main(["migrate", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"Would apply {step.stem}." for step in steps]
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"Applied {step.stem}." for step in steps]
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out == f"Nothing to do: all {len(steps)} migrations are applied.\n"


def test_without_a_database_to_bring_up_to_date_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch)
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out.startswith("Nothing to do: state lives in SQLite")
    use(monkeypatch, SUPABASE_URL="http://127.0.0.1:1", SUPABASE_SECRET_KEY="secret")
    assert main(["migrate"]) == UNUSABLE
    assert capsys.readouterr().err.startswith("SUPABASE_DB_URL is not set: ")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda url: url.replace("postgres:", "postgres:not"), "PostgreSQL refuses the user or the password in"),
        (lambda url: url.replace("//postgres:", "//nobody:"), "PostgreSQL refuses the user or the password in"),
        (lambda url: f"{url}_other", "The database that SUPABASE_DB_URL names does not exist."),
        (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "The PostgreSQL that SUPABASE_DB_URL names does not"),
        (
            lambda url: f"{url.rpartition(':')[0]}:{find_free_port()}/postgres",
            "The PostgreSQL that SUPABASE_DB_URL names does not answer",
        ),
        (lambda url: url.replace("@", "%zz@"), "SUPABASE_DB_URL can't be read: it must be an address"),
        (lambda url: url.replace("postgresql://", "https://"), "SUPABASE_DB_URL can't be read: it must be an address"),
    ],
    ids=["password", "user", "database", "host", "port", "encoding", "scheme"],
)  # fmt: skip
def test_what_is_wrong_with_the_address_is_one_sentence_without_it(
    db_url: str, spoil: object, sentence: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert callable(spoil)
    url = spoil(db_url)
    use_project(monkeypatch, url)
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    assert main(["migrate"]) == UNUSABLE
    said = capfd.readouterr()
    assert said.out == ""
    *log, shown = said.err.splitlines()
    assert shown.startswith(sentence)
    assert all("migration_failed" in line for line in log)
    password = psycopg.conninfo.conninfo_to_dict(db_url)["password"]
    assert str(password) not in said.err
    assert "Traceback" not in said.err
