"""The seams of streamlit-authenticator that `ui.authenticator` hangs on: a new version that moves one fails here."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import version

import pytest
import streamlit as st

from jobs import fields
from jobs.errors import Refused

with pytest.MonkeyPatch.context() as patch:
    patch.setattr("logging.Logger.warning", lambda *_: None)  # it draws while it is imported, and is told off for it
    from streamlit_authenticator.controllers import AuthenticationController
    from streamlit_authenticator.models import AuthenticationModel

    from ui.authenticator import Controller, Forms, NoCookie, Rules


@pytest.fixture(autouse=True)
def tab() -> Iterator[None]:
    yield
    st.session_state.clear()


def test_the_version_is_the_one_whose_inside_was_read() -> None:
    assert version("streamlit-authenticator") == "0.4.2"


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (AuthenticationModel, "check_credentials", ["username", "password"]),
        (
            AuthenticationModel,
            "register_user",
            ["new_first_name", "new_last_name", "new_email", "new_username", "new_password"],
        ),
        (AuthenticationModel, "reset_password", ["username", "password", "new_password"]),
        (AuthenticationController, "login", ["username", "password"]),
        (AuthenticationController, "__init__", ["credentials", "validator", "auto_hash"]),
    ],
)
def test_what_we_stand_in_for_is_still_called_so(owner: type, method: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(owner, method)).parameters)[1:]
    assert found[: len(parameters)] == parameters


def test_the_forms_read_what_we_give_them() -> None:
    forms = Forms(fields.USERNAME)
    assert isinstance(forms.authentication_controller, Controller)
    assert isinstance(forms.authentication_controller.validator, Rules)
    assert isinstance(forms.cookie_controller, NoCookie)
    model = forms.authentication_controller.authentication_model
    for name in ("check_credentials", "register_user", "reset_password"):
        assert getattr(model, name).__self__ is forms, f"the verdict of {name} is not ours"


def test_no_hash_and_no_account_is_ever_in_the_library() -> None:
    asked: list[tuple[str, str]] = []
    forms = Forms(fields.USERNAME, log_in=lambda name, password: asked.append((name, password)))
    model = forms.authentication_controller.authentication_model
    assert model.credentials == {"usernames": {}}
    assert forms.authentication_controller.login("Mara", "a password")
    assert asked == [("mara", "a password")]
    assert "password" not in model.credentials["usernames"]["mara"]


def test_a_refusal_reaches_the_person_as_it_was_raised() -> None:
    def refuse(_name: str, _password: str) -> None:
        raise Refused("x", "No.")

    with pytest.raises(Refused, match=r"No\."):
        Forms(fields.USERNAME, log_in=refuse).authentication_controller.login("mara", "a password")


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("x", ""), ("", ""), (None, None)])
def test_an_empty_form_is_answered(name: str | None, password: str | None) -> None:
    with pytest.raises(Refused, match="Enter your name"):
        Forms(fields.USERNAME).authentication_controller.login(name, password)


@pytest.mark.parametrize(
    ("name", "password", "again", "sentence"),
    [
        ("m", "a good password", "a good password", "A name has 2 to 40"),
        ("mara", "short", "short", "at least 10 characters"),
    ],
)
def test_our_rules_speak_in_its_registration(name: str, password: str, again: str, sentence: str) -> None:
    registered: list[str] = []
    controller = Forms(fields.USERNAME, register=lambda name, _: registered.append(name)).authentication_controller
    with pytest.raises(Refused, match=sentence):
        controller.register_user("", "", name, name, password, again, "")
    assert not registered
    controller.register_user("", "", "Mara", "Mara", "a good password", "a good password", "")
    assert registered == ["Mara"]


def test_its_password_change_asks_us() -> None:
    changed: list[tuple[str, str]] = []
    controller = Forms(fields.USERNAME, change=lambda old, new: changed.append((old, new))).authentication_controller
    assert controller.reset_password("mara", "the old password", "the new password", "the new password")
    assert changed == [("the old password", "the new password")]
