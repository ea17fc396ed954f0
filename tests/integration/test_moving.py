"""Everything moved: written into a folder and read into other stores, and nothing of it lost."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from adapters.s3_files import S3Files
from adapters.sqlite.dump import SqliteRows
from adapters.supabase import SupabaseDatabase
from adapters.supabase.dump import PostgresRows
from config import PROJECT_ROOT, UNUSABLE, SettingsError, load_settings
from jobs.errors import DomainError, LoginFailed
from jobs.models import JobStatus, VideoQuery
from jobs.ports import Ports
from jobs.rows import LEFT, TABLES, Row, Rows, RowsRefused, Snapshot, Table
from jobs.service import SignUp, build_services
from jobs.storage import original_key
from jobs.upkeep.__main__ import COMMANDS
from jobs.upkeep.export import export
from jobs.upkeep.folder import ArchiveFolder, ArchiveRefused
from jobs.upkeep.import_ import require_login
from jobs.upkeep.reconcile import reconcile
from pipeline.options import PipelineOptions
from tests.product import COOKIE_KEY, LIMITS, Product, make_product
from tests.product.installation import add_video, furnish, hash_files, read_rows, tell_all
from tests.product.machine import wait_for
from tests.product.people import PASSWORD, add_user
from tests.servers.postgres import find_binaries
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

LARGE = bytes(range(256)) * 40_000
"""So large that its sending takes a moment."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """An installation on SQLite and local files, which nobody changes."""
    product = furnish(tmp_path_factory.mktemp("source"), large=LARGE)
    yield product
    product.ports.database.close()


@pytest.fixture(scope="module")
def archive(source: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "first"
    command = start(source.root, "export", str(folder))
    stdout, stderr = command.communicate(timeout=120)
    assert (command.returncode, stderr) == (0, ""), stdout
    return folder


@pytest.fixture(scope="module")
def project(local_supabase: LocalSupabase) -> LocalSupabase:
    return local_supabase.make_project("moving")


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def run(data_dir: Path, *words: str, environ: Mapping[str, str] | None = None) -> Done:
    """Do in this process what ``python -m jobs.upkeep`` does, over the stores that the settings name."""
    parser = ArgumentParser()
    parser.add_argument("command")
    command = COMMANDS[words[0]]
    command.add_arguments(parser)
    told = StringIO()
    try:
        with redirect_stdout(told):
            settings = load_settings({"DATA_DIR": str(data_dir), **(environ or {})})
            return Done(command.run(settings, parser.parse_args(words)), told.getvalue(), "")
    except (SettingsError, DomainError) as error:
        return Done(UNUSABLE, told.getvalue(), f"{error}\n")


def start(data_dir: Path, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``python -m jobs.upkeep`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.upkeep", *words], cwd=PROJECT_ROOT, text=True,
        env={**os.environ, "DATA_DIR": str(data_dir), **(environ or {})},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def open_ports(product: Product, project: LocalSupabase, store: LocalS3, bucket: str) -> Ports:
    """Return the ports of a product on Supabase and S3."""
    files = S3Files(
        bucket=bucket, region=store.region, endpoint=store.endpoint, public_endpoint=store.endpoint,
        access_key_id=store.access_key_id, secret_access_key=store.secret_access_key,
    )  # fmt: skip
    return replace(product.ports, database=SupabaseDatabase(project.url, secret_key=project.secret_key), files=files)


# --- the way there and back ---


def test_nothing_is_lost_on_the_way_to_supabase_and_s3_and_back(
    source: Product, archive: Path, project: LocalSupabase, local_s3: LocalS3, tmp_path: Path
) -> None:
    before, files = tell_all(source.ports), hash_files(source.ports)
    services = project.environment | local_s3.environment(bucket := local_s3.make_bucket("moving"))
    there = run(tmp_path / "there", "import", str(archive), "--verify", environ=services)
    assert (there.returncode, there.stderr) == (0, ""), there.stdout
    assert there.stdout.splitlines()[-1].startswith("All of it is there")

    ports = open_ports(source, project, local_s3, bucket)
    with closing(ports.database):
        assert tell_all(ports) == before
        assert hash_files(ports) == files
        assert len(before["bea"].found) == 1, "one is found by what its letters are without case"
        assert reconcile(ports) == 0
        auth = build_services(
            ports, limits=LIMITS, machine_options=PipelineOptions(), cookie_key=COOKIE_KEY, sign_up=SignUp.CLOSED
        ).auth
        assert auth.login("bea", PASSWORD, address="192.0.2.9").user.username == "bea"
        with pytest.raises(LoginFailed):
            auth.login("bea", PASSWORD[:-1], address="192.0.2.9")

    second = tmp_path / "second"
    exported = run(tmp_path / "there", "export", str(second), environ=services)
    assert (exported.returncode, exported.stderr) == (0, "")
    assert "Left behind: sessions 1; people log in again." in exported.stdout
    assert "People without a password in these tables: 1." in exported.stdout
    back = run(tmp_path / "back", "import", str(second))
    assert (back.returncode, back.stderr) == (0, ""), back.stdout
    product = make_product(tmp_path / "back")
    with closing(product.ports.database):
        assert tell_all(product.ports) == before
        assert hash_files(product.ports) == files
        assert reconcile(product.ports) == 0
        kept = {key: mode(product, key) for key in files}
        assert kept == {key: mode(source, key) for key in files}, "an original is as safe as it was"
    assert read_rows(SqliteRows(tmp_path / "back" / "factory.sqlite3")) == read_rows(
        SqliteRows(source.root / "factory.sqlite3")
    )


def mode(product: Product, key: str) -> int:
    return (product.root / "files" / key).stat().st_mode & 0o777


def test_triggers_are_back_after_an_import(
    source: Product, local_supabase: LocalSupabase, tmp_path: Path, archive: Path
) -> None:
    project = local_supabase.make_project("rules")
    rows = read_rows(SqliteRows(source.root / "factory.sqlite3"))
    PostgresRows(project.db_url).fill(lambda table: rows[table.name], mark="whole")
    with project.connect() as connection:
        off = connection.execute("select tgname from pg_trigger where not tgisinternal and tgenabled <> 'O'").fetchall()
        assert off == []
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("update public.jobs set status = 'queued' where status = 'failed'")
    assert run(tmp_path, "import", str(archive)).returncode == 0
    product = make_product(tmp_path)
    with closing(product.ports.database):
        ada = product.ports.database.users.find("ada")
        assert ada is not None
        job = next(card.job for card in product.ports.database.videos.list_cards(ada.id, VideoQuery()).items)
        assert product.ports.database.jobs.claim(job.id, "worker", lease_s=60)
        assert [event.event for event in product.ports.database.jobs.list_events(ada.id, job.id)][-1] == "running"


# --- interrupted ---


def test_an_import_that_was_killed_goes_on(
    source: Product, archive: Path, local_supabase: LocalSupabase, local_s3: LocalS3, tmp_path: Path
) -> None:
    project = local_supabase.make_project("killed")
    services = project.environment | local_s3.environment(bucket := local_s3.make_bucket("killed"))
    ports = open_ports(source, project, local_s3, bucket)
    with closing(ports.database):
        with project.connect() as holding, holding.transaction():
            holding.execute("lock table public.users in share mode")  # so that it can't be quicker than the test
            process = start(tmp_path, "import", str(archive), environ=services)

            def has_begun() -> bool:
                return process.poll() is not None or any(True for _ in ports.files.list_files("user/"))

            try:
                wait_for(has_begun, label="the first file")
            finally:
                with suppress(ProcessLookupError):  # it ended by itself, and why is told
                    os.killpg(process.pid, signal.SIGKILL)
                said = process.communicate()
            assert process.returncode == -signal.SIGKILL, said
        assert ports.database.users.count() == 0, "rows come last"

        again = run(tmp_path, "import", str(archive), environ=services)
        assert (again.returncode, again.stderr) == (0, "")
        assert tell_all(ports) == tell_all(source.ports)
        assert hash_files(ports) == hash_files(source.ports)
        once_more = run(tmp_path, "import", str(archive), "--verify", environ=services)
        assert once_more.returncode == 0
        assert "This archive was read in before; rows and files stay as they are." in once_more.stdout
        assert tell_all(ports) == tell_all(source.ports)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_rows_are_written_all_or_not_at_all(
    kind: str, source: Product, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    there: Rows = SqliteRows(tmp_path / "factory.sqlite3")
    if kind == "postgres":
        project: LocalSupabase = request.getfixturevalue("local_supabase")
        there = PostgresRows(project.make_project("torn").db_url)
    rows = read_rows(SqliteRows(source.root / "factory.sqlite3"))

    def read_torn(table: Table) -> Iterable[Row]:
        yield from rows[table.name]
        if table.name == "job_events":
            raise ArchiveRefused("The disk was pulled out.")

    with pytest.raises(ArchiveRefused, match="pulled out"):
        there.fill(read_torn, mark="torn")
    assert read_rows(there) == {name: [] for name in TABLES}

    def read_wrong(table: Table) -> Iterable[Row]:
        return ({**row, "status": "dancing"} if table.name == "jobs" else row for row in rows[table.name])

    with pytest.raises(RowsRefused, match=r"damaged|PostgreSQL refuses: "):
        there.fill(read_wrong, mark="wrong")
    there.fill(lambda table: rows[table.name], mark="whole")
    assert read_rows(there) == rows
    with pytest.raises(RowsRefused, match="people already"):
        there.fill(lambda table: rows[table.name], mark="whole")
    with there.snapshot() as snapshot:
        assert snapshot.read_secret("import") == "whole"


def test_an_export_that_was_interrupted_goes_on(source: Product, tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path / "archive")
    folder.begin("the id")
    keys = sorted(hash_files(source.ports))
    left = folder.path_of(keys[0])
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    strays = [folder.root / "files" / "user" / "stray.part", left.with_name(".original.part.1a2b3c4d")]
    for stray in strays:
        stray.write_bytes(b"half")
    done = run(source.root, "export", str(folder.root), "--copy")
    assert (done.returncode, done.stderr) == (0, "")
    manifest = folder.read_manifest()
    assert manifest.id == "the id"
    folder.check(manifest)
    assert {file.key: file.sha256 for file in folder.list_files()} == hash_files(source.ports)
    assert not any(stray.exists() for stray in strays)
    assert left.stat().st_nlink == 1
    refused = run(source.root, "export", str(folder.root))
    assert refused.returncode == 78
    assert refused.stderr == f"{folder.root} holds a finished archive already: name another folder.\n"


def test_files_that_can_not_be_linked_are_copied(
    source: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")  # as between two mounts of one disk

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        refused = run(source.root, "export", str(tmp_path / "archive"))
        assert refused.stderr.startswith("There is no room: ")
    done = run(source.root, "export", str(tmp_path / "archive"))
    assert (done.returncode, done.stderr) == (0, "")
    folder = ArchiveFolder(tmp_path / "archive")
    folder.check(folder.read_manifest())
    listed = {file.key: file.sha256 for file in folder.list_files()}
    assert listed == hash_files(source.ports)
    assert {folder.path_of(key).stat().st_nlink for key in listed} == {1}


def test_files_that_can_be_linked_are(source: Product, archive: Path) -> None:
    folder = ArchiveFolder(archive)
    keys = list(folder.list_keys())
    assert sorted(keys) == sorted(hash_files(source.ports)), "nothing else is left there"
    assert all(folder.path_of(key).samefile(source.root / "files" / key) for key in keys)


# --- while the product runs ---


def test_a_job_that_was_running_waits_again(tmp_path: Path) -> None:
    product = furnish(tmp_path / "from")
    ada = product.ports.database.users.find("ada")
    assert ada is not None
    (card,) = product.ports.database.videos.list_cards(ada.id, VideoQuery()).items
    with closing(product.ports.database):
        assert product.ports.database.jobs.claim(card.job.id, "worker-9", lease_s=3600)
        assert run(tmp_path / "from", "export", str(tmp_path / "archive")).returncode == 0
    done = run(tmp_path / "to", "import", str(tmp_path / "archive"))
    assert "1 job that was running will be made anew." in done.stdout
    moved = make_product(tmp_path / "to")
    with closing(moved.ports.database):
        job = moved.ports.database.jobs.get(ada.id, card.job.id)
        assert job is not None
        assert (job.status, job.attempt, job.max_attempts) == (JobStatus.QUEUED, 1, 4)
        events = [event.event for event in moved.ports.database.jobs.list_events(ada.id, job.id)]
        assert events == ["queued", "stage", "running", "worker_lost", "queued"]
        assert moved.ports.database.jobs.claim(job.id, "worker-1", lease_s=60)
        again = run(tmp_path / "to", "import", str(tmp_path / "archive"))
        assert "anew" not in again.stdout, "it is another worker's now"
        assert moved.ports.database.jobs.get(ada.id, job.id).status is JobStatus.RUNNING  # type: ignore[union-attr]


def test_rows_count_on_no_file_that_was_deleted_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    product = furnish(tmp_path / "from")
    rows = SqliteRows(tmp_path / "from" / "factory.sqlite3")
    bea = product.ports.database.users.find("bea")
    assert bea is not None
    bea_id = bea.id
    videos = [card.video.id for card in product.ports.database.videos.list_cards(bea_id, VideoQuery()).items]

    class Deleting(SqliteRows):
        """Somebody makes and deletes videos just after the rows were read for the first time."""

        snapshots = 0

        @contextmanager
        def snapshot(self) -> Iterator[Snapshot]:
            self.snapshots += 1
            late = add_video(product, bea_id, f"Late {self.snapshots}", b"late")
            with super().snapshot() as snapshot:
                yield snapshot
            if self.snapshots == 1:
                for video_id in (videos[0], late.video_id):
                    product.services.videos.delete(bea_id, video_id)

    deleting = Deleting(tmp_path / "from" / "factory.sqlite3")
    folder = ArchiveFolder(tmp_path / "archive")
    with closing(product.ports.database):
        assert export(product.ports, deleting, folder) == 0
        assert deleting.snapshots > 1
        assert {str(row["id"]) for row in read_archive(folder)["videos"]} == {
            video.id for video, _ in product.ports.database.videos.list_with_jobs()
        }
        folder.check(folder.read_manifest())
        assert {file.key for file in folder.list_files()} == set(hash_files(product.ports))
        product.ports.files.delete([original_key(bea.id, videos[1])])
        lacking = ArchiveFolder(tmp_path / "lacking")
        torn = next(key for key in hash_files(product.ports) if key.endswith("captions.vtt"))
        (product.root / "files" / torn).write_bytes(b"torn")
        assert export(product.ports, rows, lacking) == 1
    assert lacking.read_manifest().missing == 2
    said = capsys.readouterr().out.splitlines()
    assert f"Missing in the store: {original_key(bea.id, videos[1])}" in said
    assert f"Of another size in the store: {torn}" in said


def read_archive(folder: ArchiveFolder) -> Mapping[str, list[Row]]:
    return {name: list(folder.read_rows(table)) for name, table in TABLES.items()}


def test_a_lost_database_comes_back_beside_files_that_are_there(tmp_path: Path) -> None:
    product = furnish(tmp_path / "data")
    before = tell_all(product.ports)
    bea = before["bea"].user
    with closing(product.ports.database):
        assert run(tmp_path / "data", "export", str(tmp_path / "archive"), "--copy").returncode == 0
        late = add_video(product, bea.id, "Late", b"late")
        gone = next(key for key in hash_files(product.ports) if key.endswith("captions.vtt"))
        product.ports.files.delete([gone])
    for path in (tmp_path / "data").glob("factory.sqlite3*"):
        path.unlink()
    done = run(tmp_path / "data", "import", str(tmp_path / "archive"), "--keep", "--verify")
    assert done.returncode == 0, done
    again = make_product(tmp_path / "data")
    with closing(again.ports.database):
        assert tell_all(again.ports) == before
        assert again.ports.files.stat(gone) is not None
        assert again.ports.files.stat(original_key(bea.id, late.video_id)) is not None, "left for its owner to look at"


def test_the_databases_own_tools_put_rows_back(
    source: Product, local_supabase: LocalSupabase, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What docs/operations.md says of pg_dump and pg_restore, as the owner of the tables."""
    project = local_supabase.make_project("dumped")
    rows, there = read_rows(SqliteRows(source.root / "factory.sqlite3")), PostgresRows(project.db_url)
    there.fill(lambda table: rows[table.name], mark="whole")
    page = (PROJECT_ROOT / "docs" / "operations.md").read_text("utf-8")
    address, password = urlsplit(project.db_url), urlsplit(project.db_url).password
    url = project.db_url.replace(f":{password}@", "@")
    (entry,) = re.findall(r"a line `(HOST:\S+)`\s+in `~/\.pgpass`", page)
    passwords = tmp_path / "pgpass"
    passwords.touch(0o600)
    known = {"HOST:5432:postgres": f"{address.hostname}:{address.port}:{address.path[1:]}", "PASSWORD": str(password)}
    for shown, meant in known.items():
        entry = entry.replace(shown, meant)
    passwords.write_text(f"{entry}\n")
    found = re.findall(r"^(pg_dump .*?)\n(pg_restore .*?)\n", page.replace("\\\n", " "), re.MULTILINE)
    for line in found[0]:
        if "pg_restore" in line:
            with project.connect() as connection:
                connection.execute("delete from public.users")
                rights = connection.execute(RIGHTS).fetchall()
        words = [word.replace("postgresql://postgres@HOST:5432/postgres", url) for word in shlex.split(line)]
        words = [word.replace("backups/rows.dump", str(tmp_path / "rows.dump")) for word in words]
        tool = find_binaries() / words[0]
        if not tool.is_file():
            pytest.skip(f"this PostgreSQL comes without {tool.name}")
        assert str(password) not in " ".join(words)
        done = subprocess.run([tool, *words[1:]], env={**os.environ, "PGPASSFILE": str(passwords)}, timeout=60)
        assert done.returncode == 0, capfd.readouterr().err
    assert read_rows(there) == rows
    with project.connect() as connection:
        assert connection.execute(RIGHTS).fetchall() == rights


RIGHTS = """
select name, (select string_agg(entry::text, ' ' order by entry::text) from unnest(acl) as entry), flag from (
    select relname as name, coalesce(relacl, acldefault('r', relowner)) as acl, relrowsecurity as flag
    from pg_class where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind = 'r'
    union all
    select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), prosecdef
    from pg_proc where pronamespace in ('public'::regnamespace, 'private'::regnamespace)
) as everything order by 1
"""
"""Who may do what with tables and functions."""


# --- what PostgreSQL does not take ---


@pytest.fixture
def db_url(local_supabase: LocalSupabase) -> Iterator[str]:
    """A database with tables, and no project above it."""
    local_supabase.cluster.create("rows_alone", migrated=True)
    yield local_supabase.cluster.url("rows_alone")
    local_supabase.cluster.drop("rows_alone")


def test_text_is_made_what_postgresql_holds(source: Product, db_url: str) -> None:
    rows = dict(read_rows(SqliteRows(source.root / "factory.sqlite3")))
    rows["jobs"] = [{**row, "options": {"vocabulary": "a\0b"}} for row in rows["jobs"]]
    rows["videos"] = [{**row, "title": "A\0b"} for row in rows["videos"]]
    there = PostgresRows(db_url)
    there.fill(lambda table: rows[table.name], mark="whole")
    found = read_rows(there)
    assert {name: len(some) for name, some in found.items()} == {name: len(some) for name, some in rows.items()}
    assert all(row["options"] == {"vocabulary": "a\ufffdb"} for row in found["jobs"])
    assert {row["title"] for row in found["videos"]} == {"A\ufffdb"}


def test_a_database_that_may_only_be_read_says_so(source: Product, db_url: str) -> None:
    rows = read_rows(SqliteRows(source.root / "factory.sqlite3"))
    there = PostgresRows(f"{db_url}{'&' if '?' in db_url else '?'}options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(RowsRefused, match=r"^PostgreSQL refuses: cannot execute ALTER TABLE in a read-only "):
        there.fill(lambda table: rows[table.name], mark="whole")
    assert read_rows(there) == {name: [] for name in TABLES}


# --- refused ---


def test_what_is_not_empty_is_refused(source: Product, archive: Path, tmp_path: Path) -> None:
    product = make_product(tmp_path)
    with closing(product.ports.database):
        strange = tmp_path / "strange"
        strange.write_bytes(b"somebody else's")
        product.ports.files.put(
            next(iter(hash_files(source.ports))).replace("original", "").rpartition("/")[0] + "/x", strange
        )
        refused = run(tmp_path, "import", str(archive))
        assert (refused.returncode, refused.stderr) == (
            78, "The file store has files that are not of this archive: name an empty bucket or data folder. Where "
            "rows alone were lost, ARGS=--keep leaves these files alone.\n",
        )  # fmt: skip
        assert product.ports.database.users.count() == 0
        add_user(product, "first")
        refused = run(tmp_path, "import", str(archive))
        assert refused.stderr.startswith("The database has people already: an archive goes into an empty installation.")
    full = tmp_path / "full"
    full.mkdir()
    (full / "holiday.jpg").touch()
    assert run(source.root, "export", str(full)).stderr == f"{full} is not empty: name a new folder.\n"


def test_a_damaged_archive_is_refused_and_nothing_of_it_is_seen(source: Product, tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path / "archive")
    assert run(source.root, "export", str(folder.root), "--copy").returncode == 0
    key = next(key for key in folder.list_keys() if key.endswith("report.json"))
    damages = {
        folder.root / "rows" / "users.jsonl": "The archive is damaged: users.jsonl is not what was written.",
        folder.root / "files.jsonl": "The archive is damaged: files.jsonl is not what was written.",
        folder.path_of(key): f"The archive is damaged: {key} is not what was written.",
        folder.root / "manifest.json": f"The manifest of the archive {folder.root} is damaged.",
    }
    for path, sentence in damages.items():
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        refused = run(tmp_path / "to", "import", str(folder.root))
        assert (refused.returncode, refused.stderr) == (78, f"{sentence}\n")
        path.write_bytes(whole)
        with SqliteRows(tmp_path / "to" / "factory.sqlite3").snapshot() as snapshot:
            assert snapshot.count("users") == 0
    folder.path_of(key).unlink()
    assert run(tmp_path / "to", "import", str(folder.root)).stderr == f"The archive lacks the file {key}.\n"
    newer = json.loads((folder.root / "manifest.json").read_text()) | {"format": 2}
    (folder.root / "manifest.json").write_text(json.dumps(newer))
    assert "is of format 2, and this program reads format 1" in run(tmp_path / "to", "import", str(folder.root)).stderr
    (folder.root / "manifest.json").unlink()
    assert run(tmp_path / "to", "import", str(folder.root)).stderr == f"The archive {folder.root} is not there.\n"


def test_an_installation_without_people_is_refused(
    local_supabase: LocalSupabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = make_product(tmp_path / "nobody")
    nobody.ports.database.close()
    project = local_supabase.make_project("nobody")
    stores: list[tuple[Path, Mapping[str, str], str]] = [
        (tmp_path / "mistyped", {}, f"the data folder ({tmp_path / 'mistyped'}; DATA_DIR names it)"),
        (nobody.root, {}, f"the data folder ({nobody.root}; DATA_DIR names it)"),
        (tmp_path / "work", project.environment, f"SUPABASE_URL ({project.url})"),
    ]
    for data_dir, environ, named in stores:
        refused = run(data_dir, "export", str(tmp_path / "archive"), environ=environ)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert capsys.readouterr().err == f"There is nobody in the database of {named}, so nothing is exported.\n"
    assert not (tmp_path / "mistyped").exists() and not (tmp_path / "archive").exists()


def test_what_no_administrator_could_log_in_to_is_refused(source: Product, tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path / "archive")
    assert run(source.root, "export", str(folder.root)).returncode == 0
    require_login(folder, auth_backend="table")
    with pytest.raises(ArchiveRefused, match="set AUTH_BACKEND=table, as it was where the archive was written"):
        require_login(folder, auth_backend="supabase")

    elsewhere = make_product(tmp_path / "elsewhere")  # where Supabase Auth keeps the passwords
    add_user(elsewhere, "mara@example.com")
    elsewhere.ports.database.close()
    folder = ArchiveFolder(tmp_path / "other")
    assert run(elsewhere.root, "export", str(folder.root)).returncode == 0
    require_login(folder, auth_backend="supabase")
    refused = run(tmp_path / "to", "import", str(folder.root))
    assert (refused.returncode, refused.stderr) == (
        78, "No administrator of the archive could log in with AUTH_BACKEND=table: set AUTH_BACKEND=supabase, as it "
        "was where the archive was written.\n",
    )  # fmt: skip


def test_keys_lead_nowhere_else(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)
    for key in ("user/../x", "/etc/passwd", "user/a", "other/file", "user/.hidden/video/x/original", ""):
        with pytest.raises(ArchiveRefused):
            folder.path_of(key)


def test_two_settings_of_different_projects_are_refused(
    project: LocalSupabase, local_supabase: LocalSupabase, archive: Path, tmp_path: Path
) -> None:
    other = local_supabase.make_project("other")
    mixed = project.environment | {"SUPABASE_DB_URL": other.db_url}
    refused = run(tmp_path, "export", str(tmp_path / "archive"), environ=mixed)
    assert (refused.returncode, refused.stderr) == (
        78, "SUPABASE_DB_URL is not the database below SUPABASE_URL: copy both from the settings of one project.\n"
    )  # fmt: skip
    without = run(tmp_path, "import", str(archive), environ=project.environment | {"SUPABASE_DB_URL": ""})
    assert without.returncode == 78
    assert without.stderr.startswith("SUPABASE_DB_URL is not set: ")
    stranger = run(
        tmp_path, "import", str(archive),
        environ=other.environment | {"SUPABASE_DB_URL": other.cluster.url(other.database, "authenticator")},
    )  # fmt: skip
    assert (stranger.returncode, stranger.stdout) == (78, "")
    assert stranger.stderr.startswith("The user of SUPABASE_DB_URL may not do this: it must be the one that owns")


# --- what is carried ---


def test_every_table_and_column_is_carried_or_left_on_purpose(project: LocalSupabase, tmp_path: Path) -> None:
    made_here = {"seq", "username_key", "full_name_key", "title_key", "details_key", "file_name_key", "search_text"}
    with project.connect() as connection:
        found = connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        ).fetchall()
    columns: dict[str, set[str]] = {}
    for table, column in found:
        columns.setdefault(table, set()).add(column)
    carried = {name: set(table.columns) for name, table in TABLES.items()}
    assert columns.keys() == carried.keys() | LEFT.keys()
    for table, names in carried.items():
        assert columns[table] - made_here - ({"id"} if table == "job_events" else set()) == names, table
    make_product(tmp_path).ports.database.close()
    with closing(sqlite3.connect(tmp_path / "factory.sqlite3")) as sqlite:
        tables = {name for (name,) in sqlite.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert tables - {"sqlite_sequence"} == carried.keys() | LEFT.keys()
        for table, names in carried.items():
            here = {row[1] for row in sqlite.execute(f"PRAGMA table_info({table})")} - {"seq"}
            if table == "job_events":
                here = here - {"id"} | {"user_id"}
            assert here == names, table


def test_nobody_else_reads_an_archive(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o700
    for path in archive.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    told = "".join(path.read_text("utf-8") for path in archive.rglob("*.json*") if "files/" not in str(path))
    assert "cookie_key" not in told
