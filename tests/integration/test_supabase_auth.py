"""Passwords and sessions kept by Supabase Auth, behind the same accounts: over HTTP, to a stand-in for the service."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import jwt
import pytest

from adapters.supabase_auth import SupabaseAuth
from jobs import lockout
from jobs.accounts import AuthManager, Identity, SignIn
from jobs.errors import (
    AuthError,
    Conflict,
    DomainError,
    Forbidden,
    LoginFailed,
    LoginUnavailable,
    Refused,
    StoreUnavailable,
    TooManyTries,
)
from jobs.fields import EMAIL
from jobs.models import HealthPart, Role, User
from jobs.service import SignUp
from jobs.sessions import ASK_S
from tests.product import Product, make_product
from tests.servers.gateway import Gateway
from tests.servers.gotrue import GoTrue
from tests.servers.supabase import make_keys

MARA, BEN, CLEO = "mara@example.com", "ben@example.com", "cleo@example.com"
PASSWORD, OTHER = "correct horse battery", "another good password"
HERE = "203.0.113.7"
KEYS = make_keys()
_clients: list[httpx.Client] = []


@dataclass(frozen=True)
class House:
    """A product whose passwords are kept by the service."""

    product: Product
    service: GoTrue
    gateway: Gateway
    passwords: SupabaseAuth

    @property
    def auth(self) -> AuthManager:
        return self.product.services.auth

    @property
    def admin(self) -> User:
        return self.find(MARA)

    def find(self, email: str) -> User:
        user = self.product.ports.database.users.find(email)
        assert user is not None
        return user

    def knows(self, sign_in: SignIn) -> bool:
        return self.auth.identify(sign_in.token) is not None

    def identity(self, sign_in: SignIn) -> Identity:
        identity = self.auth.identify(sign_in.token)
        assert identity is not None
        return identity

    def login(self, email: str = MARA, password: str = PASSWORD) -> SignIn:
        return self.auth.login(email, password, address=HERE, label="Firefox")

    def invite(self, email: str, password: str = PASSWORD) -> SignIn:
        token = self.auth.invite(self.admin, role=Role.USER, note=email)
        return self.auth.register(username=email, full_name="", password=password, invitation=token, address=HERE)

    def refreshes(self) -> int:
        return sum("grant_type=refresh_token" in path for _, path, _ in self.service.requests)

    def run_out(self) -> None:
        """Let every access token expire."""
        self.product.clock.advance(seconds=self.service.token_life_s + 1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tokens=KEYS.make_tokens(), rest_socket=tmp_path_factory.mktemp("gateway") / "none")
    yield gateway
    gateway.stop()


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def make_passwords(gateway: Gateway, *, key: str = KEYS.secret_key, timeout_s: float = 5) -> SupabaseAuth:
    _clients.append(httpx.Client(timeout=timeout_s, trust_env=False))
    return SupabaseAuth(gateway.url, secret_key=key, http=_clients[-1])


def open_house(root: Path, gateway: Gateway, sign_up: SignUp = SignUp.INVITATION) -> House:
    gateway.start()
    gateway.delay_s = 0
    passwords = make_passwords(gateway)
    product = make_product(root, sign_up=sign_up, passwords=passwords)
    service = GoTrue(secret_key=KEYS.secret_key, signing_key=KEYS.signing_key, now=product.clock)
    gateway.auth_app = service
    return House(product=product, service=service, gateway=gateway, passwords=passwords)


@pytest.fixture
def house(tmp_path: Path, gateway: Gateway) -> House:
    """A house with an administrator, nobody signed in."""
    house = open_house(tmp_path, gateway)
    house.auth.create_administrator(username=MARA, full_name="Mara", password=PASSWORD, address=HERE)
    house.auth.logout_everywhere(house.admin.id)
    return house


# --- accounts ---


def test_the_first_visitor_has_one_id_here_and_there(tmp_path: Path, gateway: Gateway) -> None:
    house = open_house(tmp_path, gateway)
    opened = house.auth.create_administrator(username=" Mara@Example.com ", full_name="Mara", password=PASSWORD)
    person = house.service.find(MARA)
    assert person is not None and person.is_confirmed
    assert (opened.user.id, opened.user.username, opened.user.role) == (person.id, MARA, Role.ADMIN)
    assert house.knows(opened)
    assert house.product.ports.database.users.password_hash(opened.user.id) == "!"
    with pytest.raises(Conflict):
        house.auth.create_administrator(username=BEN, full_name="", password=PASSWORD)
    assert house.service.find(BEN) is None


def test_the_login_name_is_an_address(house: House) -> None:
    assert house.auth.login_field is EMAIL
    with pytest.raises(Refused) as refusal:
        house.invite("ben")
    assert (refusal.value.code, refusal.value.message) == ("email", EMAIL.error)
    assert house.login("MARA@example.com ").user.id == house.admin.id


def test_a_login_goes_with_a_session_there(house: House) -> None:
    first, second = house.login(), house.login()
    assert house.knows(first) and house.knows(second)
    assert house.service.count_sessions(MARA) == 2
    assert {session.label for session in house.auth.list_sessions(house.admin.id)} == {"Firefox"}


@pytest.mark.parametrize("case", ["wrong", "unknown", "banned", "disabled", "no address", "empty", "odd", "very long"])
def test_what_is_wrong_with_a_login_is_not_told(house: House, case: str) -> None:
    ben = house.invite(BEN).user
    name, password = BEN, PASSWORD
    match case:
        case "wrong":
            password = OTHER
        case "unknown":
            name = CLEO
        case "banned":
            house.service.ban(ben.id)
        case "disabled":
            house.auth.set_active(house.admin, ben.id, False)
            house.passwords.set_active(ben.id, True)
        case "no address":
            name = "ben"
        case "empty":
            name = password = ""
        case "odd":
            password = "half a character \ud800"
        case _:
            password = "x" * 1000
    sessions = house.service.count_sessions(BEN)
    with pytest.raises(LoginFailed) as failure:
        house.login(name, password)
    assert failure.value.message == EMAIL.mismatch
    assert house.service.count_sessions(BEN) == sessions, "no session is left behind there"


def test_wrong_passwords_are_counted_here_too(house: House) -> None:
    for _ in range(lockout.FREE_FOR_ACCOUNT):
        with pytest.raises(LoginFailed):
            house.login(MARA, OTHER)
    asked = len(house.service.requests)
    with pytest.raises(TooManyTries):
        house.login()
    assert len(house.service.requests) == asked, "who has to wait is not even asked about"


def test_an_unconfirmed_address_is_told_to_whoever_knows_the_password(house: House) -> None:
    house.service.add(BEN, PASSWORD, is_confirmed=False)
    with pytest.raises(AuthError, match="Confirm your e-mail address first"):
        house.login(BEN)
    with pytest.raises(LoginFailed):
        house.login(BEN, OTHER)


def test_an_invited_person_has_one_id_here_and_there(house: House) -> None:
    ben = house.invite(BEN)
    person = house.service.find(BEN)
    assert person is not None and person.id == ben.user.id
    assert house.knows(ben)
    assert house.login(BEN).user.id == person.id


def test_a_taken_address_is_told_on_the_way_in(house: House) -> None:
    house.invite(BEN)
    asked = len(house.service.requests)
    with pytest.raises(Refused, match=r"There is an account for ben@example\.com already"):
        house.invite("Ben@Example.com")
    assert len(house.service.requests) == asked


@pytest.mark.parametrize(
    ("reason", "sentence"), [("length", "too short"), ("characters", "too plain"), ("pwned", "from a leak")]
)
def test_the_rules_of_the_service_are_told(house: House, reason: str, sentence: str) -> None:
    ben = house.invite(BEN)
    house.service.min_password_chars = 30 if reason == "length" else 6
    house.service.needs_digit = reason == "characters"
    house.service.leaked = {OTHER, PASSWORD} if reason == "pwned" else set()
    token = house.auth.invite(house.admin, role=Role.USER, note="Cleo")
    reset = house.auth.make_reset_link(house.admin, ben.user.id)
    attempts: list[Callable[[], object]] = [
        lambda: house.auth.register(username=CLEO, full_name="", password=OTHER, invitation=token, address=HERE),
        lambda: house.auth.change_password(house.identity(ben), PASSWORD, OTHER, address=HERE),
        lambda: house.auth.reset_password(reset, OTHER),
    ]
    for refuse in attempts:
        with pytest.raises(Refused, match=sentence) as refusal:
            refuse()
        assert refusal.value.code == "password"
    assert house.service.find(CLEO) is None
    house.service.min_password_chars, house.service.needs_digit, house.service.leaked = 6, False, set()
    house.auth.register(username=CLEO, full_name="", password=OTHER, invitation=token, address=HERE)
    house.auth.reset_password(reset, OTHER)


def test_an_account_that_an_administrator_makes_gets_its_password_by_a_link(house: House) -> None:
    token = house.auth.create_user(house.admin, username=CLEO, full_name="Cleo M", role=Role.USER)
    for guess in ("!", "", PASSWORD):
        with pytest.raises(LoginFailed):
            house.login(CLEO, guess)
    house.auth.reset_password(token, OTHER)
    assert house.login(CLEO, OTHER).user.full_name == "Cleo M"


# --- accounts that were made there ---


def test_who_was_made_there_gets_an_account_where_sign_up_is_open(tmp_path: Path, gateway: Gateway) -> None:
    house = open_house(tmp_path, gateway, SignUp.OPEN)
    house.auth.create_administrator(username=MARA, full_name="", password=PASSWORD)
    ben_id = house.service.add(BEN, PASSWORD)
    opened = house.login("Ben@example.com")
    assert (opened.user.id, opened.user.username, opened.user.role) == (ben_id, BEN, Role.USER)
    assert house.login(BEN).user == opened.user


@pytest.mark.parametrize("sign_up", [SignUp.INVITATION, SignUp.CLOSED])
def test_elsewhere_it_is_told_what_is_missing(tmp_path: Path, gateway: Gateway, sign_up: SignUp) -> None:
    house = open_house(tmp_path, gateway, sign_up)
    house.auth.create_administrator(username=MARA, full_name="", password=PASSWORD)
    house.service.add(BEN, PASSWORD)
    with pytest.raises(Forbidden, match="has no account here yet"):
        house.login(BEN)
    with pytest.raises(LoginFailed):
        house.login(BEN, OTHER)
    assert house.service.count_sessions(BEN) == 0
    assert house.product.ports.database.users.find(BEN) is None


def test_an_invitation_takes_over_who_was_made_there_by_their_password(house: House) -> None:
    ben_id = house.service.add(BEN, PASSWORD)
    token = house.auth.invite(house.admin, role=Role.USER, note="Ben")
    for _ in range(lockout.FREE_FOR_ACCOUNT):
        with pytest.raises(Refused, match="There is an account"):
            house.auth.register(username=BEN, full_name="", password=OTHER, invitation=token, address="")
    with pytest.raises(TooManyTries):
        house.auth.register(username=BEN, full_name="", password=PASSWORD, invitation=token, address="")
    house.product.clock.advance(minutes=2)
    ben = house.auth.register(username=BEN, full_name="", password=PASSWORD, invitation=token, address="")
    assert ben.user.id == ben_id
    assert house.service.count_sessions(BEN) == 1


def test_the_first_visitor_may_have_been_made_there(tmp_path: Path, gateway: Gateway) -> None:
    house = open_house(tmp_path, gateway)
    mara_id = house.service.add(MARA, PASSWORD)
    opened = house.auth.create_administrator(username=MARA, full_name="", password=PASSWORD)
    assert (opened.user.id, opened.user.role) == (mara_id, Role.ADMIN)


def test_an_administrator_takes_over_who_was_made_there(house: House) -> None:
    ben_id = house.service.add(BEN, PASSWORD, is_confirmed=False)
    token = house.auth.create_user(house.admin, username=BEN, full_name="", role=Role.USER)
    assert house.find(BEN).id == ben_id
    with pytest.raises(LoginFailed):  # it may have been a stranger who was there first, with an address of Ben's
        house.login(BEN, PASSWORD)
    house.auth.reset_password(token, OTHER)
    assert house.login(BEN, OTHER).user.id == ben_id


@pytest.mark.parametrize("who", ["first visitor", "invited", "made"])
def test_a_creation_that_was_broken_off_is_gone_on_with(
    tmp_path: Path, gateway: Gateway, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house(tmp_path, gateway)
    if who != "first visitor":
        house.auth.create_administrator(username=MARA, full_name="", password=PASSWORD)
    create: Callable[[], object]
    match who:
        case "first visitor":
            create = lambda: house.auth.create_administrator(username=MARA, full_name="", password=PASSWORD)  # noqa: E731
        case "invited":
            token = house.auth.invite(house.admin, role=Role.USER, note="")
            create = lambda: house.auth.register(  # noqa: E731
                username=BEN, full_name="", password=PASSWORD, invitation=token, address=HERE
            )
        case _:
            create = lambda: house.auth.create_user(house.admin, username=BEN, full_name="", role=Role.USER)  # noqa: E731

    def crash(*_: object, **__: object) -> User:
        raise StoreUnavailable("the database is gone")

    with monkeypatch.context() as broken, pytest.raises(StoreUnavailable):
        broken.setattr(type(house.product.ports.database.users), "create", crash)
        create()
    assert len(house.service.people) == house.product.ports.database.users.count() + 1
    create()
    assert set(house.service.people) == {user.id for user in house.product.ports.database.users.list_all().items}


# --- passwords ---


def test_a_new_password_ends_all_but_this_browser(house: House) -> None:
    here, other = house.login(), house.login()
    fresh = house.auth.change_password(house.identity(here), PASSWORD, OTHER, address=HERE)
    assert house.knows(fresh) and fresh.session.label == "Firefox"
    assert not house.knows(other) and not house.knows(here)
    assert house.service.count_sessions(MARA) == 1
    with pytest.raises(LoginFailed):
        house.login(MARA, PASSWORD)
    house.login(MARA, OTHER)


def test_a_new_password_needs_the_current_one(house: House) -> None:
    here = house.login()
    with pytest.raises(Refused) as refusal:
        house.auth.change_password(house.identity(here), OTHER, "a third good password", address=HERE)
    assert refusal.value.code == "current_password"
    assert house.knows(here)


def test_asking_for_the_password_again_leaves_no_session_there(house: House) -> None:
    here = house.login()
    with pytest.raises(Conflict):
        house.auth.confirm_deletion(house.identity(here).user.id, PASSWORD, address=HERE)
    assert house.service.count_sessions(MARA) == 1


def test_a_name_that_was_given_to_somebody_else_proves_nothing(house: House) -> None:
    """The two may be mixed up there, where names change; the session knows whose it is."""
    ben = house.invite(BEN)
    house.service.people[ben.user.id].email = CLEO
    house.service.people[house.admin.id].email = BEN
    with pytest.raises(Refused) as refusal:
        house.auth.change_password(house.identity(ben), PASSWORD, OTHER, address=HERE)
    assert refusal.value.code == "current_password"
    assert house.login(BEN).user.id == house.admin.id


def test_a_reset_link_sets_the_password_there(house: House) -> None:
    ben = house.invite(BEN)
    token = house.auth.make_reset_link(house.admin, ben.user.id)
    house.auth.reset_password(token, OTHER)
    assert not house.knows(ben)
    assert house.service.count_sessions(BEN) == 0
    with pytest.raises(LoginFailed):
        house.login(BEN)
    assert house.login(BEN, OTHER).user.id == ben.user.id


def test_a_reset_link_brings_back_who_was_deleted_there(house: House) -> None:
    ben = house.invite(BEN)
    house.service.delete(ben.user.id)
    with pytest.raises(LoginFailed):
        house.login(BEN)
    house.auth.reset_password(house.auth.make_reset_link(house.admin, ben.user.id), OTHER)
    assert house.login(BEN, OTHER).user == house.find(BEN)
    assert house.find(BEN).id == ben.user.id


def test_a_reset_link_can_be_used_again_when_the_service_was_down(house: House) -> None:
    ben = house.invite(BEN)
    token = house.auth.make_reset_link(house.admin, ben.user.id)
    house.service.fails_with = 503
    with pytest.raises(StoreUnavailable):
        house.auth.reset_password(token, OTHER)
    house.service.fails_with = 0
    house.auth.reset_password(token, OTHER)


# --- disabling and deleting ---


def test_disabling_bars_there_too(house: House) -> None:
    ben = house.invite(BEN)
    house.auth.set_active(house.admin, ben.user.id, False)
    assert not house.knows(ben)
    banned_until = house.service.people[ben.user.id].banned_until
    assert banned_until is not None and banned_until > house.product.clock() + timedelta(days=30_000)
    house.auth.set_active(house.admin, ben.user.id, True)
    assert house.service.people[ben.user.id].banned_until is None
    house.login(BEN)


def test_disabling_does_not_wait_for_the_service(house: House) -> None:
    ben = house.invite(BEN)
    house.service.fails_with = 503
    house.auth.set_active(house.admin, ben.user.id, False)
    assert not house.knows(ben)
    with pytest.raises(StoreUnavailable):
        house.auth.set_active(house.admin, ben.user.id, True)
    assert not house.find(BEN).is_active
    house.service.fails_with = 0
    with pytest.raises(LoginFailed):
        house.login(BEN)


def test_a_deleted_account_is_deleted_there(house: House) -> None:
    ben = house.invite(BEN)
    with pytest.raises(Refused):
        house.auth.delete_account(ben.user.id, OTHER, address=HERE)
    house.auth.delete_account(ben.user.id, PASSWORD, address=HERE)
    assert house.service.find(BEN) is None
    assert house.product.ports.database.users.find(BEN) is None
    assert house.invite(BEN).user.id != ben.user.id


def test_the_last_administrator_stays_in_both_places(house: House) -> None:
    house.invite(BEN)
    with pytest.raises(Conflict):
        house.auth.delete_account(house.admin.id, PASSWORD, address=HERE)
    assert house.service.find(MARA) is not None


def test_a_deletion_that_was_broken_off_leaves_nobody_half_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ben = house.invite(BEN)

    def break_off(*_: object) -> None:
        raise StoreUnavailable("the service is gone")

    with monkeypatch.context() as broken:
        broken.setattr(house.passwords, "remove", break_off)
        house.auth.delete_account(ben.user.id, PASSWORD, address=HERE)
    assert not house.knows(ben)
    with pytest.raises(Forbidden):
        house.login(BEN)
    assert house.invite(BEN).user.role is Role.USER, "who comes back goes on with the password they have"


# --- logging out ---


def test_log_out_ends_this_session_in_both_places(house: House) -> None:
    here, other = house.login(), house.login()
    house.auth.logout(house.identity(here))
    assert not house.knows(here) and house.knows(other)
    assert house.service.count_sessions(MARA) == 1


@pytest.mark.parametrize("has_run_out", [False, True])
def test_log_out_everywhere_is_everywhere_there_too(house: House, has_run_out: bool) -> None:
    sessions = [house.login() for _ in range(3)]
    house.passwords.check(MARA, PASSWORD, address="")  # another product of the same project
    assert house.service.count_sessions(MARA) == 4
    if has_run_out:
        house.run_out()
    house.service.end_session(next(iter(house.service.sessions)))
    house.auth.logout_everywhere(house.admin.id)
    assert not any(map(house.knows, sessions))
    assert house.service.count_sessions(MARA) == 0


@pytest.mark.parametrize("trouble", [500, 503, 429])
def test_logging_out_does_not_wait_for_the_service(house: House, trouble: int) -> None:
    here, other = house.login(), house.login()
    house.service.fails_with = trouble
    house.auth.logout(house.identity(here))
    assert not house.knows(here) and house.knows(other)
    house.auth.logout_everywhere(house.admin.id)
    assert not house.knows(other)


# --- sessions in the course of time ---


def test_a_session_is_renewed_when_its_tokens_run_out_and_not_before(house: House) -> None:
    here = house.login()
    for _ in range(3):
        assert house.knows(here)
    assert house.refreshes() == 0
    for turn in range(1, 4):
        house.run_out()
        assert house.knows(here)
        house.product.clock.advance(seconds=2 * ASK_S)
        assert house.knows(here), "what was given anew is kept"
        assert house.refreshes() == turn
    assert house.service.count_sessions(MARA) == 1


@pytest.mark.parametrize("how", ["revoked", "banned", "deleted"])
@pytest.mark.parametrize("speaks_codes", [True, False])
def test_who_is_not_welcome_there_any_more_is_out_here(house: House, how: str, speaks_codes: bool) -> None:
    house.service.speaks_codes = speaks_codes
    ben, cleo = house.invite(BEN), house.invite(CLEO)
    match how:
        case "revoked":
            house.service.end_sessions(ben.user.id)
        case "banned":
            house.service.ban(ben.user.id)
        case _:
            house.service.delete(ben.user.id)
    assert house.knows(ben), "what was given holds until it runs out"
    house.run_out()
    assert not house.knows(ben)
    assert not house.auth.list_sessions(ben.user.id)
    assert house.knows(cleo)


@pytest.mark.parametrize("trouble", ["stopped", "500", "502", "429", "wrong key", "rubbish"])
def test_a_service_in_trouble_signs_nobody_out(
    house: House, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = house.login()
    house.run_out()
    with monkeypatch.context() as broken:
        match trouble:
            case "stopped":
                house.gateway.stop()
            case "wrong key":
                broken.setattr(house.gateway, "_tokens", {})
            case "rubbish":
                broken.setattr(house.service, "_issue", lambda *_: {"access_token": "secret-rubbish"})
            case _:
                house.service.fails_with = int(trouble)
        before = house.refreshes()
        for _ in range(4):
            assert house.knows(here)
        assert house.refreshes() <= before + 1, "one question a minute"
        house.product.clock.advance(seconds=ASK_S + 1)
        assert house.knows(here)
    assert "secret-rubbish" not in caplog.text
    assert "could not be renewed" in caplog.text
    house.gateway.start()
    house.service.fails_with = 0
    house.product.clock.advance(seconds=ASK_S + 1)
    before = house.refreshes()
    assert house.knows(here)
    assert house.refreshes() == before + 1


def test_many_requests_at_once_ask_once(house: House) -> None:
    here = house.login()
    house.run_out()
    house.gateway.delay_s = 0.3
    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(lambda _: house.knows(here), range(24)))
    assert house.refreshes() == 1


def test_two_processes_that_ask_at_once_stay_both_signed_in(house: House) -> None:
    here = house.login()
    other = make_product(house.product.root, now=house.product.clock, passwords=house.passwords).services.auth
    for _ in range(3):
        house.run_out()
        house.product.clock.advance(seconds=ASK_S + 1)
        house.gateway.delay_s = 0.2
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda auth: auth.identify(here.token), (house.auth, other)))
        assert all(found)
    assert house.refreshes() == 6, "they did ask at once"


def test_an_answer_that_got_lost_is_asked_for_again(house: House) -> None:
    """As after a crash between the renewal there and its storing here, however long ago."""
    here = house.login()
    house.run_out()
    old = next(iter(house.service.refresh_tokens))
    assert httpx.post(
        f"{house.gateway.url}/auth/v1/token?grant_type=refresh_token",
        json={"refresh_token": old},
        headers={"apikey": KEYS.secret_key},
        trust_env=False,
    ).is_success
    house.product.clock.advance(hours=5)
    assert house.knows(here)
    house.run_out()
    assert house.knows(here)


def test_a_token_that_was_used_elsewhere_ends_the_session(house: House) -> None:
    here = house.login()
    token = next(iter(house.service.refresh_tokens))
    for _ in range(2):
        answer = httpx.post(
            f"{house.gateway.url}/auth/v1/token?grant_type=refresh_token",
            json={"refresh_token": token},
            headers={"apikey": KEYS.secret_key},
            trust_env=False,
        )
        token = answer.json()["refresh_token"]
    house.run_out()
    assert not house.knows(here)


# --- what is stored, sent and logged ---


def test_tokens_are_stored_sealed(house: House) -> None:
    here = house.login()
    access = jwt.encode({}, "k" * 32).partition(".")[0]
    (refresh,) = house.service.refresh_tokens
    with sqlite3.connect(house.product.root / "factory.sqlite3") as connection:
        ((stored,),) = connection.execute("SELECT tokens FROM sessions").fetchall()
    connection.close()
    assert stored and refresh not in stored and access not in stored
    assert stored not in repr(here) and here.token not in repr(here)
    with sqlite3.connect(house.product.root / "factory.sqlite3") as connection:
        connection.execute("UPDATE sessions SET tokens = 'another text'")
    connection.close()
    assert not house.knows(here), "tokens that are not ours are no tokens"


def test_a_token_is_signed_as_the_project_signs(house: House) -> None:
    proof = house.passwords.check(MARA, PASSWORD, address="")
    assert proof is not None and proof.tokens is not None
    keys = jwt.PyJWKSet.from_json(KEYS.verifying_keys)
    key = next(one for one in keys.keys if one.algorithm_name == "ES256")
    claims = jwt.decode(proof.tokens.access, key, audience="authenticated", algorithms=["ES256"])
    assert (claims["sub"], claims["role"]) == (house.admin.id, "authenticated")
    assert proof.tokens.expires_at > house.product.clock() + timedelta(minutes=50)
    assert proof.tokens.access not in repr(proof) and proof.tokens.refresh not in repr(proof)


def test_the_service_is_told_who_tries(house: House) -> None:
    house.service.requests.clear()
    house.login()
    (((_, path, headers)),) = house.service.requests
    assert path == "/token?grant_type=password"
    assert headers["sb-forwarded-for"] == HERE
    assert headers["apikey"] == KEYS.secret_key


def test_nothing_secret_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    here = house.login()
    tokens = list(house.service.refresh_tokens)
    house.run_out()
    assert house.knows(here)
    house.service.fails_with = 500
    with pytest.raises(StoreUnavailable):
        house.login(MARA, OTHER)
    for secret in (*tokens, PASSWORD, OTHER, KEYS.secret_key, here.token):
        assert secret not in caplog.text


# --- a service in trouble ---


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [("stopped", LoginUnavailable), ("slow", LoginUnavailable), ("500", LoginUnavailable), ("502", LoginUnavailable),
     ("401", LoginUnavailable), ("429", TooManyTries)],
)  # fmt: skip
def test_trouble_is_told_and_locks_nobody_out(house: House, trouble: str, expected: type[DomainError]) -> None:
    match trouble:
        case "stopped":
            house.gateway.stop()
        case "slow":
            house.gateway.delay_s = 30
        case _:
            house.service.fails_with = int(trouble)
    passwords = make_passwords(house.gateway, timeout_s=0.3)
    auth = make_product(house.product.root, now=house.product.clock, passwords=passwords).services.auth
    for _ in range(lockout.FREE_FOR_ACCOUNT + 1):
        with pytest.raises(expected):
            auth.login(MARA, PASSWORD, address=HERE)
    with pytest.raises(expected):
        auth.register(username=BEN, full_name="", password=PASSWORD, address=HERE)
    house.gateway.delay_s = 0
    house.gateway.start()
    house.service.fails_with = 0
    assert house.login().user.username == MARA


def test_trouble_is_no_way_around_the_lockout(house: House) -> None:
    """A try that nobody judged takes nothing back that was counted before."""
    for _ in range(lockout.FREE_FOR_ACCOUNT - 1):
        with pytest.raises(LoginFailed):
            house.login(MARA, OTHER)
    house.service.fails_with = 500
    with pytest.raises(StoreUnavailable):
        house.login(MARA, OTHER)
    house.service.fails_with = 0
    with pytest.raises(TooManyTries):
        house.login()


def test_the_health_page_hears_of_it(house: House) -> None:
    def look() -> HealthPart:
        return next(part for part in house.product.services.admin.check_health(house.admin) if part.id == "logins")

    assert (look().name, look().ok, look().text) == ("Logins", True, "Supabase Auth answers.")
    with pytest.raises(StoreUnavailable) as caught:
        make_passwords(house.gateway, key=KEYS.publishable_key).check_service()
    assert "not_admin" in caught.value.detail
    house.service.fails_with = 503
    assert (look().ok, look().text) == (False, LoginUnavailable.remedy)


def test_a_version_without_codes_is_understood(house: House) -> None:
    house.service.speaks_codes = False
    house.service.add(BEN, PASSWORD, is_confirmed=False)
    with pytest.raises(AuthError, match="Confirm"):
        house.login(BEN)
    with pytest.raises(LoginFailed):
        house.login(MARA, OTHER)
    assert house.login().user.id == house.admin.id
