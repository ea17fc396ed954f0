"""The servers of the tests are what they are meant to be: closed to strangers, and gone when the tests are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import jwt
import psutil
import pytest

from config import PROJECT_ROOT
from tests.servers.guarded import GuardedServer, ServerMissing, make_folder, remove_folder
from tests.servers.supabase import LocalSupabase
from tests.servers.weed import LocalS3

HOLD = """
import sys, time
from tests.servers.guarded import GuardedServer, make_folder
folder = make_folder("held")
(folder / "data").touch()
server = GuardedServer([sys.executable, "-c", "import time; time.sleep(600)"], folder=folder)
print(server.pid, folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_and_its_folder_go_with_whoever_started_it(number: signal.Signals) -> None:
    tests = subprocess.Popen([sys.executable, "-c", HOLD], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    assert tests.stdout
    with tests.stdout:
        pid, folder = tests.stdout.readline().split()
    server = psutil.Process(int(pid))
    assert (Path(folder) / "data").exists()
    tests.send_signal(number)
    tests.wait()
    server.wait(20)
    until = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < until, "the folder is still there"
        time.sleep(0.02)


def test_a_server_that_does_not_start_says_why() -> None:
    folder = make_folder("broken")
    with pytest.raises(ServerMissing, match="does not start"):
        GuardedServer([str(folder / "nothing")], folder=folder)
    server = GuardedServer([sys.executable, "-c", "print('out of luck')"], folder=folder)
    with pytest.raises(ServerMissing, match="out of luck"):
        server.wait_until(lambda: False)
    remove_folder(folder)


def test_the_gateway_opens_to_its_keys_alone(local_supabase: LocalSupabase) -> None:
    address = f"{local_supabase.url}/rest/v1/users?select=id"

    def ask(**headers: str) -> httpx.Response:
        return httpx.get(address, headers=headers)

    assert (ask().status_code, ask(apikey="guess").status_code) == (401, 401)
    assert ask(apikey=local_supabase.secret_key).json() == []
    as_server = {"apikey": local_supabase.secret_key, "authorization": f"Bearer {local_supabase.secret_key}"}
    assert ask(**as_server).status_code == 200
    assert ask(**as_server, **{"user-agent": "Mozilla/5.0"}).status_code == 401
    assert ask(apikey=local_supabase.publishable_key).json()["code"] == "42501"

    # a token of one's own counts, not the key it comes with
    anon = jwt.encode({"role": "anon"}, local_supabase.keys.jwt_secret, algorithm="HS256")
    assert ask(apikey=local_supabase.secret_key, authorization=f"Bearer {anon}").json()["code"] == "42501"
    forged = jwt.encode({"role": "service_role"}, "another secret of at least 32 bytes", algorithm="HS256")
    assert ask(apikey=local_supabase.secret_key, authorization=f"Bearer {forged}").status_code == 401


def test_projects_are_apart(local_supabase: LocalSupabase) -> None:
    other = local_supabase.make_project("other")
    with local_supabase.connect() as connection:
        connection.execute("insert into public.secrets (name, value) values ('of the first', '')")
    try:
        secrets = httpx.get(f"{other.url}/rest/v1/secrets", headers={"apikey": other.secret_key})
        assert secrets.json() == []
        refused = httpx.get(f"{other.url}/rest/v1/secrets", headers={"apikey": local_supabase.secret_key})
        assert refused.status_code == 401
    finally:
        other.close()
        with local_supabase.connect() as connection:
            connection.execute("delete from public.secrets where name = 'of the first'")


def test_a_lost_answer_was_carried_out(local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("lossy")
    project.gateway.cut_answers = 1
    headers = {"apikey": project.secret_key}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{project.url}/rest/v1/secrets", headers=headers, json={"name": "n", "value": "v"})
    assert len(httpx.get(f"{project.url}/rest/v1/secrets", headers=headers).json()) == 1
    project.close()


def test_services_come_back_where_they_were(local_supabase: LocalSupabase) -> None:
    project = local_supabase.make_project("restarted")
    address, headers = f"{project.url}/rest/v1/secrets", {"apikey": project.secret_key}
    httpx.post(address, headers=headers, json={"name": "n", "value": "v"})
    project.stop_rest()
    assert httpx.get(address, headers=headers).status_code == 502
    project.start_rest()
    assert len(httpx.get(address, headers=headers).json()) == 1
    project.stop_rest(refuse=True)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, headers=headers)
    project.start_rest()
    project.stop_database()
    assert httpx.get(address, headers=headers).status_code == 503
    project.start_database()
    assert len(httpx.get(address, headers=headers).json()) == 1
    project.close()


def test_the_store_opens_to_its_keys_alone(local_s3: LocalS3) -> None:
    bucket = local_s3.make_bucket("closed")
    local_s3.client.put_object(Bucket=bucket, Key="one", Body=b"1")
    for method in ("GET", "PUT", "DELETE"):
        assert httpx.request(method, f"{local_s3.endpoint}/{bucket}/one").status_code == 403
    assert httpx.get(f"{local_s3.endpoint}/{bucket}").status_code == 403


def test_the_store_keeps_its_files_through_a_crash(local_s3: LocalS3) -> None:
    bucket = local_s3.make_bucket("kept")
    local_s3.client.put_object(Bucket=bucket, Key="one", Body=b"1")
    for end in (local_s3.stop, local_s3.kill):
        end()
        with pytest.raises(httpx.ConnectError):
            httpx.get(local_s3.endpoint)
        local_s3.start()
        assert local_s3.client.get_object(Bucket=bucket, Key="one")["Body"].read() == b"1"
