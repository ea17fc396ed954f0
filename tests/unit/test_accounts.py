"""Who somebody is, over a real database: passwords, sessions, lockout, links, roles."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import bcrypt
import jwt
import pytest

from jobs import credentials, lockout
from jobs.accounts import SESSION_S, AuthManager, Identity, SignIn
from jobs.errors import AuthError, Conflict, Forbidden, LoginFailed, NotFound, Refused, TooManyTries
from jobs.models import LinkKind, Role, User
from jobs.service import SignUp
from tests.product import COOKIE_KEY, Product, make_product

PASSWORD = "correct horse battery"
OTHER = "another good password"
HERE = "203.0.113.7"


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the test of the cost itself is about what follows from a hash, not about its price."""
    monkeypatch.setattr(credentials, "BCRYPT_COST", 4)
    monkeypatch.setattr(credentials, "_NOBODYS_HASH", bcrypt.hashpw(b"nobody's", bcrypt.gensalt(4)).decode())


@dataclass(frozen=True)
class House:
    """A product with an administrator."""

    product: Product
    mara: SignIn

    @property
    def auth(self) -> AuthManager:
        return self.product.services.auth

    @property
    def admin(self) -> User:
        return self.mara.user

    def add(self, name: str, *, role: Role = Role.USER) -> SignIn:
        """Return a signed-in person who was invited."""
        invitation = self.auth.invite(self.admin, role=role, note=name)
        return self.auth.register(
            username=name, full_name="", password=PASSWORD, invitation=invitation, address="", label="Firefox"
        )

    def knows(self, sign_in: SignIn) -> bool:
        return self.auth.identify(sign_in.token) is not None

    def identity(self, sign_in: SignIn) -> Identity:
        identity = self.auth.identify(sign_in.token)
        assert identity is not None
        return identity

    def fail(self, name: str, times: int = 1, address: str = "") -> None:
        for _ in range(times):
            with pytest.raises(LoginFailed):
                self.auth.login(name, "wrong password", address=address)


def open_house(path: Path, sign_up: SignUp = SignUp.INVITATION) -> House:
    product = make_product(path, sign_up=sign_up)
    mara = product.services.auth.create_administrator(
        username="Mara", full_name="Mara Lind", password=PASSWORD, label="Chrome"
    )
    return House(product, mara)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return open_house(tmp_path)


# --- the first visit ---


def test_the_first_visitor_becomes_the_administrator(tmp_path: Path) -> None:
    product = make_product(tmp_path)
    auth = product.services.auth
    assert not auth.has_users()
    mara = auth.create_administrator(username=" Mara", full_name="", password=PASSWORD, label="Chrome")
    assert auth.has_users()
    assert (mara.user.username, mara.user.role, mara.session.label) == ("mara", Role.ADMIN, "Chrome")
    assert auth.identify(mara.token) is not None


def test_there_is_one_first_visitor(tmp_path: Path) -> None:
    auth = make_product(tmp_path).services.auth

    def arrive(number: int) -> str:
        try:
            return auth.create_administrator(username=f"mara{number}", full_name="", password=PASSWORD).user.username
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        created = [name for name in pool.map(arrive, range(8)) if name]
    assert len(created) == 1


@pytest.mark.parametrize(("name", "password"), [("m", PASSWORD), ("mara", "short"), ("mara", "x" * 73)])
def test_a_first_visitor_keeps_the_rules(tmp_path: Path, name: str, password: str) -> None:
    auth = make_product(tmp_path).services.auth
    with pytest.raises(Refused):
        auth.create_administrator(username=name, full_name="", password=password)
    assert not auth.has_users()


# --- log-in ---


def test_name_and_password_open_a_session(house: House) -> None:
    again = house.auth.login(" MARA ", PASSWORD, address=HERE, label="Safari on iPhone")
    assert again.user.id == house.admin.id
    assert {one.label for one in house.auth.list_sessions(house.admin.id)} == {"Chrome", "Safari on iPhone"}
    assert house.knows(again) and house.knows(house.mara)


def test_wrong_unknown_and_disabled_are_told_apart_by_nothing(house: House) -> None:
    ben = house.add("ben")
    house.auth.set_active(house.admin, ben.user.id, False)
    sentences = set()
    for name, password in [
        ("mara", "wrong password"),
        ("nobody", PASSWORD),
        ("ben", PASSWORD),
        ("", ""),
        ("m\ud800", "\ud800"),
    ]:
        with pytest.raises(LoginFailed) as failure:
            house.auth.login(name, password, address=HERE)
        sentences.add((failure.value.message, failure.value.code, failure.value.status))
    assert len(sentences) == 1


def test_only_the_whole_password_counts(tmp_path: Path) -> None:
    auth = make_product(tmp_path).services.auth
    auth.create_administrator(username="mara", full_name="", password="x" * 72)
    auth.login("mara", "x" * 72, address="")
    for near in ("x" * 71, "x" * 73, "x" * 72 + "y"):
        with pytest.raises(LoginFailed):
            auth.login("mara", near, address="")


def test_hashes_cost_twelve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    house = open_house(tmp_path)
    stored = house.product.ports.database.users.password_hash(house.admin.id)
    assert stored is not None and stored.startswith("$2b$12$")
    assert credentials._NOBODYS_HASH.startswith("$2b$12$"), "an unknown name must cost the same"
    assert PASSWORD not in stored


def test_an_unknown_name_is_hashed_as_often_as_a_known_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    real = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        checks.append(int(hashed.split(b"$")[2]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    token = house.auth.create_user(house.admin, username="not-yet", full_name="", role=Role.USER)
    assert token
    for name in ("mara", "nobody", "not-yet"):
        house.fail(name)
    assert checks == [4, 4, 4]


# --- lockout ---


def test_the_wait_of_an_account_grows_and_even_the_right_password_waits(house: House) -> None:
    house.fail("mara", lockout.FREE_FOR_ACCOUNT)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        with pytest.raises(TooManyTries) as refusal:
            house.auth.login("Mara", PASSWORD, address=HERE)
        assert (
            refusal.value.message
            == f"Too many tries. Wait {minutes} {'minute' if minutes == 1 else 'minutes'}, then try again."
        )
        assert refusal.value.status == 429
        house.product.clock.advance(seconds=minutes * 60 + 1)
        house.fail("mara")
    house.product.clock.advance(hours=2)
    house.auth.login("mara", PASSWORD, address=HERE)


def test_a_locked_account_does_not_lock_another(house: House) -> None:
    house.add("ben")
    house.fail("mara", lockout.FREE_FOR_ACCOUNT, HERE)
    assert house.auth.login("ben", PASSWORD, address=HERE).user.username == "ben"
    assert house.knows(house.mara), "who is logged in stays so: nobody can be locked out by a stranger"


def test_a_success_forgets_the_failures(house: House) -> None:
    for _ in range(3):
        house.fail("mara", lockout.FREE_FOR_ACCOUNT - 1)
        house.auth.login("mara", PASSWORD, address="")


def test_a_name_nobody_has_is_locked_too(house: House) -> None:
    house.fail("nobody", lockout.FREE_FOR_ACCOUNT)
    with pytest.raises(TooManyTries):
        house.auth.login("nobody", PASSWORD, address="")


def test_an_address_is_locked_whatever_the_names(house: House) -> None:
    for number in range(lockout.FREE_FOR_ADDRESS):
        house.fail(f"person{number}", 1, HERE)
    with pytest.raises(TooManyTries):
        house.auth.login("mara", PASSWORD, address=HERE)
    house.auth.login("mara", PASSWORD, address="198.51.100.1")
    house.auth.login("mara", PASSWORD, address="")
    house.product.clock.advance(minutes=2)
    house.auth.login("mara", PASSWORD, address=HERE)


def test_an_office_that_logs_in_well_is_never_locked(house: House) -> None:
    for _ in range(lockout.FREE_FOR_ADDRESS + 5):
        house.auth.login("mara", PASSWORD, address=HERE)


def test_the_neighbours_of_an_ipv6_address_are_the_same_person(house: House) -> None:
    for number in range(lockout.FREE_FOR_ADDRESS):
        house.fail(f"person{number}", 1, f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyTries):
        house.auth.login("mara", PASSWORD, address="2001:db8:1:2:ffff::1")
    house.auth.login("mara", PASSWORD, address="2001:db8:1:3::1")


@pytest.mark.parametrize("name", ["mara", "one-each"])
def test_guessing_side_by_side_is_no_way_around(house: House, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow check makes all tries overlap: not one more is looked at than one after the other."""
    checked: list[str] = []

    def check(password: str, _stored: str | None) -> bool:
        checked.append(password)
        time.sleep(0.2)
        return False

    monkeypatch.setattr("jobs.passwords.match_password", check)

    def guess(number: int) -> str:
        try:
            house.auth.login(name if name == "mara" else f"person{number}", f"guess {number}", address=HERE)
        except AuthError as error:
            return error.code
        return "in"

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(guess, range(50)))
    allowed = lockout.FREE_FOR_ACCOUNT if name == "mara" else lockout.FREE_FOR_ADDRESS
    assert len(checked) == allowed
    assert answers.count("login_failed") == allowed
    assert answers.count("too_many_tries") == 50 - allowed


def test_a_login_that_takes_long_holds_up_nobody_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counters of one person take their time: another one, from elsewhere, is let in meanwhile."""
    house.add("ben")
    throttles, caught, going_on = house.product.ports.database.throttles, Event(), Event()
    count = throttles.add_failure

    def count_slowly(key: str, *, forget_after_s: int) -> int:
        if not caught.is_set():
            caught.set()
            assert going_on.wait(30)
        return count(key, forget_after_s=forget_after_s)

    monkeypatch.setattr(throttles, "add_failure", count_slowly)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(house.auth.login, "ben", PASSWORD, address="198.51.100.7")
        try:
            assert caught.wait(30)
            assert pool.submit(house.auth.login, "mara", PASSWORD, address=HERE).result(20).user.username == "mara"
            assert not slow.done()
        finally:
            going_on.set()
        assert slow.result(30).user.username == "ben"


def test_what_is_typed_as_a_name_is_not_kept_readable(house: House) -> None:
    house.fail("my-secret-typed-in-the-wrong-field")
    assert b"my-secret" not in b"".join(path.read_bytes() for path in house.product.root.glob("factory.sqlite3*"))


# --- sessions ---


def test_a_session_lasts_thirty_days(house: House) -> None:
    house.product.clock.advance(seconds=SESSION_S - 60)
    assert house.knows(house.mara)
    house.product.clock.advance(seconds=120)
    assert not house.knows(house.mara)


def test_log_out_ends_this_session_only(house: House) -> None:
    other = house.auth.login("mara", PASSWORD, address="")
    house.auth.logout(house.identity(house.mara))
    assert not house.knows(house.mara)
    assert house.knows(other)


def test_log_out_everywhere_ends_all(house: House) -> None:
    ben, other = house.add("ben"), house.auth.login("mara", PASSWORD, address="")
    house.auth.logout_everywhere(house.admin.id)
    assert not house.knows(house.mara) and not house.knows(other)
    assert house.knows(ben)
    assert not house.auth.list_sessions(house.admin.id)


def test_a_new_password_ends_all_but_this_browser(house: House) -> None:
    other = house.auth.login("mara", PASSWORD, address="")
    fresh = house.auth.change_password(house.identity(house.mara), PASSWORD, OTHER, address="")
    assert house.knows(fresh) and fresh.session.label == "Chrome"
    assert not house.knows(other) and not house.knows(house.mara)
    house.fail("mara")
    house.auth.login("mara", OTHER, address="")
    with pytest.raises(LoginFailed):
        house.auth.login("mara", PASSWORD, address="")


def test_a_new_password_needs_the_current_one_and_is_guarded_as_the_login(house: House) -> None:
    identity = house.identity(house.mara)
    for _ in range(lockout.FREE_FOR_ACCOUNT):
        with pytest.raises(Refused, match="current password") as refusal:
            house.auth.change_password(identity, "wrong password", OTHER, address="")
        assert refusal.value.code == "current_password"
    with pytest.raises(TooManyTries):
        house.auth.change_password(identity, PASSWORD, OTHER, address="")
    assert house.knows(house.mara)


def test_disabling_ends_sessions_at_once_and_bars_the_login(house: House) -> None:
    ben = house.add("ben")
    house.auth.set_active(house.admin, ben.user.id, False)
    assert not house.knows(ben)
    house.fail("ben")
    house.auth.set_active(house.admin, ben.user.id, True)
    assert not house.knows(ben), "a session that was ended stays so"
    house.auth.login("ben", PASSWORD, address="")


def test_a_role_counts_from_the_next_request_on(house: House) -> None:
    ben = house.add("ben")
    house.auth.set_role(house.admin, ben.user.id, Role.ADMIN)
    assert house.identity(ben).user.role is Role.ADMIN


def test_a_session_is_touched_at_most_once_a_minute(house: House) -> None:
    first = house.identity(house.mara).session.seen_at
    house.product.clock.advance(seconds=30)
    house.identity(house.mara)
    assert house.identity(house.mara).session.seen_at == first
    house.product.clock.advance(seconds=60)
    house.identity(house.mara)
    assert house.identity(house.mara).session.seen_at > first


def forge(sign_in: SignIn, *, key: str = COOKIE_KEY, algorithm: str = "HS256", **changed: object) -> str:
    """Return a token as ours, signed otherwise or saying something else."""
    claims = jwt.decode(sign_in.token, options={"verify_signature": False})
    claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
    return jwt.encode(claims, key if algorithm != "none" else "", algorithm=algorithm)


def test_a_token_made_as_ours_is_ours(house: House) -> None:
    assert house.auth.identify(forge(house.mara)) is not None, "else the refusals below prove nothing"


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "another key, as long as the right one is"},
        {"algorithm": "none"},
        {"algorithm": "HS384", "key": "k" * 48},
        {"ver": 99},
        {"ver": "1"},
        {"ver": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"aud": "ticket"},
        {"aud": None},
        {"sid": "00000000-0000-0000-0000-000000000000"},
        {"sid": None},
        {"sub": None},
        {"iat": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_forged_token_is_nobody(house: House, changed: dict[str, str]) -> None:
    assert house.auth.identify(forge(house.mara, **changed)) is None


def test_a_token_can_not_be_turned_into_another_persons(house: House) -> None:
    ben = house.add("ben")
    assert house.auth.identify(forge(ben, sub=house.admin.id)) is None
    assert house.auth.identify(forge(ben, sid=house.mara.session.id)) is None


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "é" * 50, "x" * 100_000, "..", "{}"])
def test_rubbish_is_nobody(house: House, token: str | None) -> None:
    assert house.auth.identify(token) is None


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    ports = make_product(tmp_path).ports
    first = AuthManager(ports, cookie_key="", sign_up=SignUp.OPEN)
    second = AuthManager(ports, cookie_key="", sign_up=SignUp.OPEN)
    mara = first.create_administrator(username="mara", full_name="", password=PASSWORD)
    assert second.identify(mara.token) is not None
    assert AuthManager(ports, cookie_key="k" * 40, sign_up=SignUp.OPEN).identify(mara.token) is None
    assert len(ports.database.get_secret("cookie_key", lambda: "").encode()) >= 32


# --- tickets ---


def test_a_ticket_is_traded_for_the_cookie_within_a_minute(house: House) -> None:
    ticket = house.auth.make_ticket(house.mara)
    assert house.auth.identify(ticket) is None, "a ticket is no cookie"
    assert house.auth.identify(house.auth.redeem_ticket(ticket)) == house.identity(house.mara)
    house.product.clock.advance(seconds=61)
    with pytest.raises(AuthError):
        house.auth.redeem_ticket(ticket)


def test_a_cookie_is_no_ticket_and_a_closed_session_has_none(house: House) -> None:
    with pytest.raises(AuthError):
        house.auth.redeem_ticket(house.mara.token)
    ticket = house.auth.make_ticket(house.mara)
    house.auth.logout(house.identity(house.mara))
    with pytest.raises(AuthError):
        house.auth.redeem_ticket(ticket)


# --- sign-up and links ---


def register(house: House, name: str, invitation: str = "", address: str = "") -> SignIn:
    return house.auth.register(
        username=name, full_name="", password=PASSWORD, invitation=invitation, address=address, label=""
    )


@pytest.mark.parametrize("sign_up", SignUp)
def test_who_may_sign_up(tmp_path: Path, sign_up: SignUp) -> None:
    house = open_house(tmp_path, sign_up)
    if sign_up is SignUp.OPEN:
        assert register(house, "ben").user.role is Role.USER
    else:
        with pytest.raises(Forbidden):
            register(house, "ben")
    if sign_up is SignUp.CLOSED:
        with pytest.raises(Conflict):
            house.auth.invite(house.admin, role=Role.USER, note="")
    else:
        token = house.auth.invite(house.admin, role=Role.ADMIN, note="for Cleo")
        assert register(house, "cleo", token).user.role is Role.ADMIN


def test_an_invitation_works_once_even_side_by_side(house: House) -> None:
    token = house.auth.invite(house.admin, role=Role.USER, note="Ben")

    def arrive(number: int) -> bool:
        try:
            register(house, f"ben{number}", token)
        except AuthError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(arrive, range(8))) == 1
    assert house.auth.list_users(house.admin).total == 2
    assert house.auth.find_link(LinkKind.INVITATION, token) is None


def test_an_invitation_outlives_a_name_that_is_taken(house: House) -> None:
    token = house.auth.invite(house.admin, role=Role.USER, note="")
    with pytest.raises(Refused, match="mara is taken") as refusal:
        register(house, "Mara", token)
    assert refusal.value.code == "username"
    with pytest.raises(Refused):
        register(house, "!", token)
    assert register(house, "ben", token).user.username == "ben"


def test_an_invitation_dies_of_age_and_of_being_withdrawn(house: House) -> None:
    old = house.auth.invite(house.admin, role=Role.USER, note="")
    house.product.clock.advance(days=7, seconds=1)
    withdrawn = house.auth.invite(house.admin, role=Role.USER, note="Ben")
    (open_one,) = house.auth.list_invitations(house.admin)
    assert open_one.note == "Ben"
    house.auth.withdraw_invitation(house.admin, open_one.id)
    for token in (old, withdrawn, "made up", ""):
        assert house.auth.find_link(LinkKind.INVITATION, token) is None
        with pytest.raises(AuthError):
            register(house, "ben", token)
    assert house.auth.list_users(house.admin).total == 1


def test_a_token_is_stored_as_its_hash_only(house: House) -> None:
    token = house.auth.invite(house.admin, role=Role.USER, note="")
    assert len(token) >= 43
    link = house.auth.find_link(LinkKind.INVITATION, token)
    assert link is not None and token not in repr(link)
    assert house.auth.find_link(LinkKind.RESET, token) is None
    assert house.auth.find_link(LinkKind.INVITATION, link.token_hash) is None


def test_a_reset_link_sets_a_password_once(house: House) -> None:
    ben = house.add("ben")
    house.fail("ben", lockout.FREE_FOR_ACCOUNT)
    token = house.auth.make_reset_link(house.admin, ben.user.id)
    with pytest.raises(Refused):
        house.auth.reset_password(token, "short")
    assert house.auth.reset_password(token, OTHER).id == ben.user.id
    assert not house.knows(ben)
    assert house.auth.login("ben", OTHER, address="").user.id == ben.user.id
    with pytest.raises(AuthError):
        house.auth.reset_password(token, PASSWORD)


def test_a_reset_link_dies_of_age_of_a_newer_one_and_of_a_new_password(house: House) -> None:
    ben = house.add("ben")
    old = house.auth.make_reset_link(house.admin, ben.user.id)
    house.product.clock.advance(days=1, seconds=1)
    first = house.auth.make_reset_link(house.admin, ben.user.id)
    second = house.auth.make_reset_link(house.admin, ben.user.id)
    assert house.auth.find_link(LinkKind.RESET, second) is not None
    house.auth.change_password(house.identity(ben), PASSWORD, OTHER, address="")
    for token in (old, first, second, house.auth.invite(house.admin, role=Role.USER, note="")):
        with pytest.raises(AuthError):
            house.auth.reset_password(token, PASSWORD)


@pytest.mark.parametrize("end", ["disable", "demote"])
def test_who_is_administrator_no_longer_left_no_way_back_in(house: House, end: str) -> None:
    cleo, ben = house.add("cleo", role=Role.ADMIN), house.add("ben")
    invitation = house.auth.invite(cleo.user, role=Role.ADMIN, note="myself")
    reset = house.auth.make_reset_link(cleo.user, ben.user.id)
    kept = house.auth.invite(house.admin, role=Role.USER, note="Ben")
    if end == "disable":
        house.auth.set_active(house.admin, cleo.user.id, False)
    else:
        house.auth.set_role(house.admin, cleo.user.id, Role.USER)
    with pytest.raises(AuthError):
        register(house, "cleo2", invitation)
    with pytest.raises(AuthError):
        house.auth.reset_password(reset, OTHER)
    assert register(house, "dora", kept).user.role is Role.USER


def test_a_created_account_has_no_password_until_its_link_is_used(house: House) -> None:
    token = house.auth.create_user(house.admin, username="Cleo", full_name="Cleo M", role=Role.USER)
    for guess in ("!", "", PASSWORD):
        with pytest.raises(LoginFailed):
            house.auth.login("cleo", guess, address="")
    house.auth.reset_password(token, OTHER)
    assert house.auth.login("cleo", OTHER, address="").user.full_name == "Cleo M"
    with pytest.raises(Refused):
        house.auth.create_user(house.admin, username="cleo", full_name="", role=Role.USER)


def test_very_many_sign_ups_from_one_address_have_to_wait(tmp_path: Path) -> None:
    house = open_house(tmp_path, SignUp.OPEN)
    for number in range(lockout.SIGN_UPS_FOR_ADDRESS):
        register(house, f"person{number}", address=HERE)
    with pytest.raises(TooManyTries):
        register(house, "one-more", address=HERE)
    register(house, "one-more", address="198.51.100.1")


# --- the own account ---


def test_options_are_checked_before_they_are_kept(house: House) -> None:
    house.auth.set_options(house.admin.id, {"pace": "tight", "captions": "both"})
    assert dict(house.identity(house.mara).user.options) == {"pace": "tight", "captions": "both"}
    with pytest.raises(Refused):
        house.auth.set_options(house.admin.id, {"pace": "hectic"})


def test_the_shown_name(house: House) -> None:
    house.auth.set_name(house.admin.id, "  Mara L. ")
    assert house.identity(house.mara).user.display_name == "Mara L."
    house.auth.set_name(house.admin.id, "")
    assert house.identity(house.mara).user.display_name == "mara"
    with pytest.raises(Refused):
        house.auth.set_name(house.admin.id, "x" * 81)


def test_an_account_goes_with_its_password_only(house: House) -> None:
    ben = house.add("ben")
    with pytest.raises(Refused, match="current password"):
        house.auth.delete_account(ben.user.id, "wrong password", address="")
    assert house.knows(ben)
    house.auth.delete_account(ben.user.id, PASSWORD, address="")
    assert not house.knows(ben)
    house.fail("ben")


def test_the_last_administrator_stays(house: House) -> None:
    ben = house.add("ben")
    attempts: list[Callable[[], object]] = [
        lambda: house.auth.confirm_deletion(house.admin.id, PASSWORD, address=""),
        lambda: house.auth.delete_account(house.admin.id, PASSWORD, address=""),
        lambda: house.auth.set_active(house.admin, house.admin.id, False),
        lambda: house.auth.set_role(house.admin, house.admin.id, Role.USER),
    ]
    for attempt in attempts:
        with pytest.raises(Conflict, match="only administrator"):
            attempt()
    assert house.knows(house.mara)
    house.auth.set_role(house.admin, ben.user.id, Role.ADMIN)
    house.auth.confirm_deletion(house.admin.id, PASSWORD, address="")
    house.auth.delete_account(house.admin.id, PASSWORD, address="")
    assert not house.knows(house.mara)


# --- who may ---


def test_everything_of_the_administrators_is_refused_to_others(house: House) -> None:
    ben, admin = house.add("ben").user, house.admin
    token_before = house.product.ports.database.users.get(admin.id)
    calls = (
        lambda: house.auth.list_users(ben),
        lambda: house.auth.create_user(ben, username="new", full_name="", role=Role.ADMIN),
        lambda: house.auth.invite(ben, role=Role.ADMIN, note=""),
        lambda: house.auth.list_invitations(ben),
        lambda: house.auth.withdraw_invitation(ben, "any"),
        lambda: house.auth.make_reset_link(ben, admin.id),
        lambda: house.auth.set_active(ben, admin.id, False),
        lambda: house.auth.set_role(ben, ben.id, Role.ADMIN),
        lambda: house.auth.set_quota(ben, ben.id, minutes=0, size_bytes=0),
    )
    for call in calls:
        with pytest.raises(Forbidden):
            call()
    assert house.product.ports.database.users.get(admin.id) == token_before


def test_a_page_that_is_still_open_gives_no_rights(house: House) -> None:
    cleo = house.add("cleo", role=Role.ADMIN)
    house.auth.set_role(house.admin, cleo.user.id, Role.USER)
    assert cleo.user.role is Role.ADMIN, "which is what her page goes by"
    with pytest.raises(Forbidden):
        house.auth.invite(cleo.user, role=Role.ADMIN, note="myself")
    with pytest.raises(Forbidden):
        house.auth.set_role(cleo.user, cleo.user.id, Role.ADMIN)
    with pytest.raises(Forbidden):
        house.product.services.admin.list_jobs(cleo.user)
    house.auth.set_role(house.admin, cleo.user.id, Role.ADMIN)
    house.auth.set_active(house.admin, cleo.user.id, False)
    with pytest.raises(Forbidden):
        house.auth.list_users(cleo.user)


def test_an_account_that_is_not_there_is_not_found(house: House) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    for call in (
        lambda: house.auth.make_reset_link(house.admin, nobody),
        lambda: house.auth.set_active(house.admin, nobody, True),
        lambda: house.auth.set_role(house.admin, nobody, Role.USER),
        lambda: house.auth.set_quota(house.admin, nobody, minutes=1, size_bytes=1),
    ):
        with pytest.raises(NotFound):
            call()


def test_quotas_are_kept(house: House) -> None:
    ben = house.add("ben")
    house.auth.set_quota(house.admin, ben.user.id, minutes=60, size_bytes=None)
    user = house.identity(ben).user
    assert (user.quota_minutes, user.quota_bytes) == (60, None)
    with pytest.raises(Refused):
        house.auth.set_quota(house.admin, ben.user.id, minutes=-1, size_bytes=None)


def test_times_are_aware(house: House) -> None:
    assert house.mara.session.expires_at.tzinfo is not None
    assert house.mara.session.expires_at > datetime.now(UTC)
