"""`make reset-link`: the way back in for who has the machine, over the databases and keepers of passwords there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.supabase_auth import SupabaseAuth
from config import Settings, load_settings
from jobs import credentials
from jobs.accounts import AuthManager, SignUp
from jobs.errors import AuthError, LoginFailed
from jobs.fields import EMAIL
from jobs.models import LinkKind, Role
from jobs.outside import make_passwords, make_ports, read_machine_options
from jobs.upkeep.__main__ import main
from tests.database.supabase import empty
from tests.e2e.running import plain_environment
from tests.product import COOKIE_KEY
from tests.servers.gotrue import GoTrue
from tests.servers.supabase import LocalSupabase

OLD, NEW = "correct horse battery", "another good password"
BASE = "https://videos.example.com"


@pytest.fixture(scope="module")
def project(local_supabase: LocalSupabase) -> LocalSupabase:
    return local_supabase.make_project("reset")


def choose_stores(request: pytest.FixtureRequest, kind: str) -> dict[str, str]:
    if kind == "sqlite":
        return {}
    project: LocalSupabase = request.getfixturevalue("project")
    empty(project.db_url)
    project.gateway.auth_app = GoTrue(secret_key=project.secret_key, signing_key=project.signing_key)
    return project.environment | {"AUTH_BACKEND": "supabase" if kind == "supabase-auth" else "table"}


@pytest.fixture(params=["sqlite", "supabase", "supabase-auth"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a product, which commands have too."""
    own = {"DATA_DIR": str(tmp_path), "PUBLIC_URL": BASE, "COOKIE_KEY": COOKIE_KEY}
    for name in os.environ.keys() - plain_environment().keys():
        monkeypatch.delenv(name)
    for name, value in (own | choose_stores(request, request.param)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(credentials, "BCRYPT_COST", 4)
    return load_settings()


def name_of(name: str, auth: AuthManager) -> str:
    """Return what somebody logs in with."""
    return f"{name}@example.com" if auth.login_field is EMAIL else name


@pytest.fixture
def auth(settings: Settings) -> Iterator[AuthManager]:
    """The accounts of a product with a lone administrator."""
    ports = make_ports(settings, read_machine_options(settings))
    passwords = make_passwords(settings)
    auth = AuthManager(ports, cookie_key=settings.cookie_key, sign_up=SignUp.OPEN, passwords=passwords)
    auth.create_administrator(username=name_of("mara", auth), full_name="Mara", password=OLD)
    yield auth
    if isinstance(passwords, SupabaseAuth):
        passwords.close()
    ports.database.close()


def test_a_lone_administrator_comes_back(auth: AuthManager, capsys: pytest.CaptureFixture[str]) -> None:
    mara, tokens = name_of("mara", auth), []
    for _ in range(2):
        assert main(["reset-link", f" {mara.title()}"]) == 0
        sentence, address = capsys.readouterr().out.splitlines()
        assert sentence == f"This link sets a new password for {mara}, once and within a day:"
        assert address.startswith(f"{BASE}/?reset=")
        tokens.append(address.partition("=")[2])
    with pytest.raises(AuthError):
        auth.reset_password(tokens[0], NEW)
    link = auth.find_link(LinkKind.RESET, tokens[1])
    assert link is not None and link.created_by == ""
    auth.reset_password(tokens[1], NEW)
    assert auth.login(mara, NEW, address="").user.role is Role.ADMIN
    with pytest.raises(LoginFailed):
        auth.login(mara, OLD, address="")


def test_it_makes_none_for_who_could_not_use_it(
    auth: AuthManager, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reset-link"]) == 2
    assert capsys.readouterr().err == "Say whose password is to be set: make reset-link NAME=ada\n"

    assert main(["reset-link", "zoe"]) == 1
    said = capsys.readouterr()
    where = settings.supabase.url if settings.supabase else str(settings.data_dir)
    assert said.out == ""
    assert said.err.startswith("There is nobody called 'zoe' in the database of ")
    assert where in said.err and said.err.count("\n") == 1

    ben = auth.register(username=name_of("ben", auth), full_name="Ben", password=OLD, address="").user
    mara = auth.login(name_of("mara", auth), OLD, address="").user
    auth.set_active(mara, ben.id, False)
    assert main(["reset-link", ben.username]) == 1
    said = capsys.readouterr()
    assert said.err == f"The account of {ben.username} is disabled: an administrator enables it first.\n"
