"""What only the embedded database has: a file, its tables through the versions, locks, forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from adapters.sqlite import SqliteDatabase, schema
from adapters.sqlite import store as store_module
from adapters.sqlite.schema import Migration, read_migrations, split_statements
from adapters.sqlite.store import MAX_IDLE
from jobs.errors import DatabaseUnusable, StoreUnavailable
from jobs.models import TRANSITIONS, JobStatus, Role, VideoQuery
from jobs.ports import Database
from tests.database import claim, make_person, make_upload, make_video, process, race, race_in_processes
from tests.database.versions import fill, restore

NEWEST = len(read_migrations())
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "factory.sqlite3"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(path)
    yield opened
    opened.close()


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            connection.execute(statement)


def read_schema(path: Path) -> list[tuple[object, ...]]:
    return query(path, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")


# --- the file ---


def test_file_and_folder_are_made_for_nobody_else(path: Path, database: SqliteDatabase) -> None:
    make_person(database)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {f"{path.name}-wal", path.name} <= set(files)
    assert set(files.values()) == {0o600}


def test_a_closed_database_is_one_file(path: Path) -> None:
    fill(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_strange_path_is_no_address(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory&b #%41ü" / "data base.sqlite3"
    fill(path)
    assert path.is_file()


def test_the_file_is_set_up_for_many_processes(path: Path, database: SqliteDatabase) -> None:
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    with database._store.read() as connection:
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 1
    strict = query(path, "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict")
    tables = query(path, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    assert strict == tables


def test_hashes_lie_apart_from_the_accounts(path: Path, database: SqliteDatabase) -> None:
    make_person(database)
    assert not any("hash" in str(row[1]) for row in query(path, "PRAGMA table_info(users)"))
    assert query(path, "SELECT password_hash FROM credentials") == [("hash",)]


# --- versions ---


def test_the_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    assert [step.version for step in read_migrations()] == list(range(1, NEWEST + 1))
    (tmp_path / "0001_a.sql").touch()
    (tmp_path / "0003_c.sql").touch()
    with pytest.raises(ValueError, match="not numbered"):
        read_migrations(tmp_path)


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_every_version_can_be_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """A version without a stored database fails here: see `tests.database.versions`."""
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    restore(version, old)
    assert query(old, "PRAGMA user_version") == [(version,)]
    fill(new)
    database = SqliteDatabase(old)
    ann = database.users.find("ann")
    assert ann is not None
    assert read_schema(old) == read_schema(new)
    assert query(old, "PRAGMA user_version") == [(NEWEST,)]
    assert query(old, "PRAGMA integrity_check") == [("ok",)]
    assert query(old, "PRAGMA foreign_key_check") == []
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


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    fill(path)
    change(path, f"PRAGMA user_version = {NEWEST + 1}", "PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    with pytest.raises(DatabaseUnusable) as caught:
        SqliteDatabase(path)
    assert caught.value.message == (
        f"The database {path} was made by a newer version of this program: start that version, "
        "or put back a backup from before."
    )
    assert isinstance(caught.value, StoreUnavailable)
    assert path.read_bytes() == before


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    fill(path)
    before = read_schema(path)
    bad = Migration(version=NEWEST + 1, name="bad", sql="CREATE TABLE more (a);\nCREATE TABLE users (b);\n")
    store = store_module.Store(path, lambda: pytest.fail("no time is needed"))
    with pytest.raises(StoreUnavailable):
        schema.open_file(store, [*read_migrations(), bad])
    assert read_schema(path) == before
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]


def test_a_step_may_build_a_table_anew_but_not_lose_what_rows_point_to(path: Path) -> None:
    fill(path)
    store = store_module.Store(path, lambda: pytest.fail("no time is needed"))
    losing = Migration(version=NEWEST + 1, name="losing", sql="DELETE FROM users;\n")
    with pytest.raises(StoreUnavailable) as caught:
        schema.open_file(store, [*read_migrations(), losing])
    assert "point to nothing" in caught.value.detail
    anew = Migration(
        version=NEWEST + 1,
        name="anew",
        sql="CREATE TABLE other (id TEXT PRIMARY KEY) STRICT;\nINSERT INTO other SELECT id FROM users;\n"
        "DROP TABLE users;\nALTER TABLE other RENAME TO users;\n",
    )
    schema.open_file(store, [*read_migrations(), anew])
    assert query(path, "SELECT count(*) FROM users") == [(2,)]
    assert query(path, "SELECT count(*) FROM videos") == [(3,)]
    assert query(path, "PRAGMA user_version") == [(NEWEST + 1,)]


def test_a_script_is_split_where_statements_end() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\n  SELECT ';';\nEND;\n"
    assert [one.strip() for one in split_statements(f"-- a; b\nSELECT 1;\n{trigger}SELECT\n2;\n")] == [
        "-- a; b\nSELECT 1;",
        trigger.strip(),
        "SELECT\n2;",
    ]
    for step in read_migrations():
        assert "".join(split_statements(step.sql)).strip() == step.sql.strip(), "the last statement has an end"


def check(database: Database, _: Mapping[str, str]) -> str:
    return database.check()


def test_processes_that_start_at_once_make_the_tables_once(path: Path) -> None:
    checks = race_in_processes(partial(SqliteDatabase, path), check, [{}] * 6, processes=6)
    assert len(checks) == 6
    assert query(path, "PRAGMA user_version") == [(NEWEST,)]


def test_threads_that_start_at_once_make_the_tables_once(path: Path) -> None:
    opened = race([lambda: SqliteDatabase(path)] * 12)
    assert make_person(opened[0]).id == getattr(opened[11].users.find("ann"), "id", None)
    for database in opened:
        database.close()


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIN_SQLITE", (99, 0, 0))
    with pytest.raises(DatabaseUnusable, match="too old"):
        SqliteDatabase(path)
    assert not path.exists()


# --- the rules of the tables ---


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_the_status_machine_is_in_the_tables(
    path: Path, database: SqliteDatabase, before: JobStatus, after: JobStatus
) -> None:
    ann = make_person(database)
    _, job = make_video(database, ann)
    ways = {
        JobStatus.QUEUED: (),
        JobStatus.RUNNING: (JobStatus.RUNNING,),
        JobStatus.SUCCEEDED: (JobStatus.RUNNING, JobStatus.SUCCEEDED),
        JobStatus.FAILED: (JobStatus.FAILED,),
        JobStatus.CANCELLED: (JobStatus.CANCELLED,),
    }

    def go(status: JobStatus) -> None:
        times = {
            JobStatus.QUEUED: "lease_until = NULL, started_at = NULL, finished_at = NULL",
            JobStatus.RUNNING: "lease_until = 1, started_at = 1, finished_at = NULL",
        }.get(status, "lease_until = NULL, started_at = 1, finished_at = 1")
        change(path, f"UPDATE jobs SET status = '{status}', {times} WHERE id = '{job.id}'")

    for status in ways[before]:
        go(status)
    if after is before or after in TRANSITIONS[before]:
        go(after)
        assert query(path, "SELECT status FROM jobs") == [(after,)]
    else:
        with pytest.raises(sqlite3.IntegrityError, match="does not go"):
            go(after)
        assert query(path, "SELECT status FROM jobs") == [(before,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET status = 'paused'",
        "UPDATE jobs SET status = 'running', lease_until = 1",
        "UPDATE jobs SET status = 'running', started_at = 1",
        "UPDATE jobs SET status = 'cancelled'",
        "UPDATE jobs SET finished_at = 1",
        "UPDATE jobs SET progress = 2",
        "UPDATE jobs SET attempt = 4",
        "UPDATE jobs SET result = 'x'",
        "UPDATE jobs SET user_id = (SELECT id FROM users WHERE username = 'bob')",
        "UPDATE jobs SET video_id = 'none'",
        "UPDATE users SET username = 'ANN' WHERE username = 'ann'",
        "UPDATE users SET username = 'ann'",
        "UPDATE users SET role = 'root'",
        "UPDATE users SET quota_bytes = -1",
        "UPDATE users SET created_at = 'today'",
        "UPDATE uploads SET state = 'done'",
        "UPDATE charges SET period = '2026-1'",
        "INSERT INTO charges SELECT user_id, key, period, 1, NULL, 1 FROM charges",
        "INSERT INTO credentials VALUES ('nobody', 'hash', 1)",
        "INSERT INTO sessions VALUES ('s', 'nobody', 1, '', 1, 1, 1, '')",
    ],
)
def test_broken_rules_are_refused(path: Path, database: SqliteDatabase, statement: str) -> None:
    ann = make_person(database)
    make_person(database, "bob")
    make_upload(database, ann)
    make_video(database, ann)
    with pytest.raises(sqlite3.IntegrityError):
        change(path, statement)


# --- when it does not answer ---


def test_a_lock_that_is_not_given_up_is_unavailable(
    path: Path, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_person(database)
    database.close()
    monkeypatch.setattr(store_module, "TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable) as caught:
            database.users.set_name(ann.id, "New")
        assert "locked" in caught.value.detail
        with pytest.raises(StoreUnavailable):
            database.check()
        assert database.users.get(ann.id) == ann, "who only reads does not wait"
    database.users.set_name(ann.id, "New")
    assert database.check()


def test_a_file_that_is_gone_is_unavailable_and_not_made_anew(path: Path, database: SqliteDatabase) -> None:
    path.unlink()
    for call in (database.check, database.users.count, lambda: make_person(database)):
        with pytest.raises(StoreUnavailable):
            call()
    assert not path.exists()


def test_a_file_that_was_put_back_is_used(tmp_path: Path, path: Path, database: SqliteDatabase) -> None:
    make_person(database, "ann")
    backup = tmp_path / "backup.sqlite3"
    change(path, f"VACUUM INTO '{backup}'")
    make_person(database, "bob")
    for file in path.parent.iterdir():
        file.unlink()
    backup.rename(path)
    assert [user.username for user in database.users.list_all().items] == ["ann"]


def test_what_is_no_database_is_unavailable(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else entirely, " * 400)
    with pytest.raises(StoreUnavailable) as caught:
        SqliteDatabase(path)
    assert "not a database" in caught.value.detail


def test_a_folder_that_can_not_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        SqliteDatabase(tmp_path / "file" / "factory.sqlite3")


def test_an_exception_inside_takes_everything_back(database: SqliteDatabase) -> None:
    with pytest.raises(KeyError), database._store.write() as connection:
        connection.execute("INSERT INTO secrets VALUES ('a', 'b', 1)")
        raise KeyError
    assert database.get_secret("a", lambda: "c") == "c"


def test_a_process_killed_inside_a_transaction_leaves_nothing(path: Path, database: SqliteDatabase) -> None:
    ann = make_person(database)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from adapters.sqlite import SqliteDatabase\n"
        "with SqliteDatabase(Path(sys.argv[1]))._store.write() as connection:\n"
        "    connection.execute(\"UPDATE users SET full_name = 'half'\")\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    database.users.set_active(ann.id, True)
    assert database.users.get(ann.id) == ann
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


# --- threads and forks ---


def count_open(path: Path) -> int:
    """Return how many open files of this process belong to the database."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(link))
        except FileNotFoundError:  # the one that lists them
            continue
    return sum(link.startswith(str(path)) for link in links)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux only")


@needs_proc
def test_threads_that_come_and_go_leave_few_connections(path: Path, database: SqliteDatabase) -> None:
    for _ in range(10):
        race([database.users.count] * 20)
    # Two hundred threads, of which twenty ran at once. SQLite itself keeps files of closed connections for new ones, as
    # long as one is open; beside them are the logs of the idle ones, and their common index.
    assert count_open(path) <= 20 + MAX_IDLE + 1
    database.close()
    assert count_open(path) == 0


def fork(child: Callable[[], bool]) -> int:
    """Run the function in a forked child; return its exit status, 0 when it returned True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
        pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if child() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_proc
def test_nothing_is_open_over_a_fork(path: Path, database: SqliteDatabase) -> None:
    ann = make_person(database)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            database.users.set_name(ann.id, "x" * 100)
            database.users.count()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):

            def child(number: int = number) -> bool:
                is_clean = count_open(path) == 0
                return is_clean and make_person(database, f"child{number}").role is Role.USER

            assert fork(child) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert database.users.count() == 11
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_child_and_its_parent_work_side_by_side(path: Path, database: SqliteDatabase) -> None:
    ann = make_person(database)
    jobs = [make_video(database, ann)[1] for _ in range(20)]

    def child() -> None:
        for job in jobs:
            database.jobs.claim(job.id, "child", lease_s=60)

    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        processes = [context.Process(target=child) for _ in range(2)]
        for process_ in processes:
            process_.start()
    own = sum(database.jobs.claim(job.id, "parent", lease_s=60) is not None for job in jobs)
    for process_ in processes:
        process_.join(60)
        assert process_.exitcode == 0
    owners = query(path, "SELECT worker_id, attempt FROM jobs")
    assert len(owners) == 20
    assert {attempt for _, attempt in owners} == {1}
    assert sum(worker == "parent" for worker, _ in owners) == own


def test_a_forgotten_database_closes_its_file(path: Path) -> None:
    database = SqliteDatabase(path)
    claim(database, make_video(database, make_person(database))[1])
    del database
    assert [file.name for file in path.parent.iterdir()] == [path.name]
