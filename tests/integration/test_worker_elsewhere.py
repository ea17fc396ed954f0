"""Workers that join from elsewhere: what they need, what they refuse, and how they outlast a queue over the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters import queue_errors
from adapters.queue_owner import QueueOwner
from adapters.rq_queue import RqQueue
from config import UNUSABLE
from jobs.errors import DatabaseUnusable, StoreUnavailable
from jobs.models import JobStatus
from jobs.needs import NO_QUEUE
from jobs.outside import identify
from tests.e2e.web_server import WebServer
from tests.media.talks import short_talk, write_video
from tests.product.machine import LONG_S, Machine, running_machine, wait_for
from tests.servers.needed import started
from tests.servers.redis_tls import QUOTED, TlsRedis
from tests.servers.supabase import LocalSupabase


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("talk") / "talk.mp4", short_talk().samples)


@pytest.fixture(scope="module")
def tls_redis() -> Iterator[TlsRedis]:
    with started(TlsRedis) as server:
        yield server


def make_one_video(machine: Machine, talk: Path, username: str) -> None:
    _, job = machine.make_video(machine.make_user(username), talk, {"captions": "none"})
    machine.enqueue(job)
    done = machine.wait_final(job)
    assert done.status is JobStatus.SUCCEEDED, machine.read_log()


def wait_for_log(machine: Machine, text: str, *, times: int = 1) -> None:
    wait_for(lambda: machine.read_log().count(text) >= times, label=text)


# --- a queue over the network ---


def test_a_queue_with_tls_and_a_password_is_lost_and_comes_back(
    tls_redis: TlsRedis, talk: Path, tmp_path: Path
) -> None:
    with running_machine(tmp_path / "data", REDIS_URL=tls_redis.url) as machine:
        worker = machine.start_worker()
        make_one_video(machine, talk, "ann")

        tls_redis.stop()
        wait_for_log(machine, queue_errors.AWAY)
        tls_redis.start(password="another")  # with nothing of what it held
        wait_for_log(machine, queue_errors.PASSWORD)
        tls_redis.stop()
        tls_redis.start()
        wait_for_log(machine, "the queue answers again")
        make_one_video(machine, talk, "bob")
        assert worker.poll() is None
        said = machine.read_log()
        assert said.count(queue_errors.PASSWORD) <= 2, "by the loop and by recovery, once each"
        assert "Traceback" not in said
        assert QUOTED not in said and "sesame" not in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((QUOTED, "wrong"), queue_errors.PASSWORD),
        (("?ssl_ca_certs=", "?ssl_min_version=771&unused="), "REDIS_URL can't be read"),
        (("authority.pem", "no-such.pem"), queue_errors.CERTIFICATE_FILE),
        (("?", "?ssl_cert_reqs=required#"), queue_errors.CERTIFICATE),
        (("/0?", "/99?"), queue_errors.NUMBER),
    ],
    ids=["password", "option", "file", "certificate", "number"],
)
def test_an_address_that_does_not_fit_has_its_sentence(
    change: tuple[str, str], sentence: str, tls_redis: TlsRedis, tmp_path: Path
) -> None:
    url = tls_redis.url.replace(*change)
    assert url != tls_redis.url
    if sentence.startswith("REDIS_URL"):
        with running_machine(tmp_path / "data") as machine:
            assert machine.start_worker(REDIS_URL=url).wait(LONG_S) == UNUSABLE
            assert sentence in machine.read_log()
        return
    with pytest.raises(StoreUnavailable) as caught:
        RqQueue(url).check()
    assert caught.value.remedy == sentence


def test_an_address_that_can_not_be_read_is_told_without_it(tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        assert machine.start_worker(REDIS_URL="redis://:sesame/secret@localhost:6379/0").wait(LONG_S) == UNUSABLE
        said = machine.read_log()
        assert said.startswith("REDIS_URL can't be read") and said.count("\n") == 1
        assert "sesame" not in said and "secret" not in said


def test_a_worker_waits_for_a_queue_it_can_not_trust_and_says_so_once(tls_redis: TlsRedis, tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        worker = machine.start_worker(REDIS_URL=tls_redis.url.partition("?")[0])
        wait_for_log(machine, queue_errors.CERTIFICATE)
        workers = machine.ports.database.workers
        wait_for(lambda: workers.list_alive(within_s=60), label="the worker")
        assert workers.list_alive(within_s=60)[0].info["waits_for"] == "queue"
        assert worker.poll() is None
        assert machine.read_log().count(queue_errors.CERTIFICATE) == 1
        worker.terminate()
        assert worker.wait(LONG_S) == 0
        assert workers.list_alive(within_s=60) == ()
        assert "Traceback" not in machine.read_log()


def test_a_worker_waits_for_a_queue_that_is_not_there_yet(talk: Path, tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        machine.start_worker()
        wait_for_log(machine, NO_QUEUE)
        machine.start_valkey()
        make_one_video(machine, talk, "ann")
        assert machine.read_log().count(NO_QUEUE) == 1


# --- another product's ---


def test_a_worker_of_another_product_is_refused(tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        machine.start_valkey()
        url = machine.settings.redis_url
        ours = str(identify(machine.settings, machine.ports.database))
        owner = QueueOwner(url)
        assert owner.claim(ours) == ours
        assert QueueOwner(url).claim("other other") == ours

        elsewhere = {"DATA_DIR": str(tmp_path / "elsewhere"), "REDIS_URL": url}
        assert machine.start_worker(**elsewhere).wait(LONG_S) == UNUSABLE
        assert "This worker has another database than the web server" in machine.read_log()

        other_files = ours.partition(" ")[0] + " other"
        owner.withdraw("other other")
        assert owner.read() == ours
        owner.withdraw(ours)
        owner.close()
        assert QueueOwner(url).read() == ""
        assert owner.claim(other_files) == other_files
        assert machine.start_worker(REDIS_URL=url).wait(LONG_S) == UNUSABLE
        assert "This worker keeps files elsewhere than the web server" in machine.read_log()
        assert "Traceback" not in machine.read_log()


def test_the_web_server_says_whose_queue_it_is(tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        machine.start_valkey()
        url = machine.settings.redis_url
        owner = QueueOwner(url)
        server = WebServer(tmp_path, DATA_DIR=str(machine.root), REDIS_URL=url)
        try:
            ours = str(identify(machine.settings, machine.ports.database))
            wait_for(lambda: owner.read() == ours, label="the web server's word")
            machine.start_worker(REDIS_URL=url)
            wait_for_log(machine, "is ready")
            server.running.process.terminate()
            wait_for(lambda: not owner.read(), label="the end of its word")
        finally:
            server.kill()


def test_a_worker_goes_when_another_product_takes_its_queue(tmp_path: Path) -> None:
    with running_machine(tmp_path / "data") as machine:
        machine.start_valkey()
        url = machine.settings.redis_url
        worker = machine.start_worker(REDIS_URL=url)  # nobody has said yet whose it is
        wait_for_log(machine, "is ready")
        assert QueueOwner(url).claim("other other") == "other other"
        assert worker.wait(LONG_S) == UNUSABLE
        assert "This worker has another database than the web server" in machine.read_log()


def test_one_product_is_the_same_everywhere_until_its_tables_change(
    tmp_path: Path, local_supabase: LocalSupabase
) -> None:
    project = local_supabase.make_project("machines")
    wasabi = {
        "WASABI_BUCKET": "ours", "WASABI_REGION": "eu-central-1", "WASABI_ACCESS_KEY_ID": "a",
        "WASABI_SECRET_ACCESS_KEY": "b",
    }  # fmt: skip
    machines = [Machine(tmp_path / str(number), {**project.environment, **wasabi}) for number in range(2)]
    assert len({identify(machine.settings, machine.ports.database) for machine in machines}) == 1

    database = machines[0].ports.database
    database.require_tables()
    with project.connect() as connection:
        connection.execute("update private.installation set version = '29990101000000'")
    with pytest.raises(DatabaseUnusable, match=r"newer version of this program"):
        database.require_tables()
    for machine in machines:
        machine.ports.database.close()
    project.close()


def test_missing_tables_are_refused(tmp_path: Path, local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("bare", migrated=False)
    with running_machine(tmp_path / "data", **project.environment) as machine:
        machine.start_valkey()
        assert machine.start_worker().wait(LONG_S) == UNUSABLE
        assert "Run `make migrate`" in machine.read_log()
        assert "Traceback" not in machine.read_log()
    project.close()
