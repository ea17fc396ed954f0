"""streamlit-authenticator's forms, with our verdict, our rules and our sentences behind them.

Its own check reads a dictionary of hashes and its own cookie is written by a script, so neither is used: what its
forms ask for is handed to functions of ours, and the cookie is `ui.session`'s business. Import this module inside a
page run only, because the library draws something the moment it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit_authenticator import Authenticate
from streamlit_authenticator.controllers import AuthenticationController
from streamlit_authenticator.utilities import LoginError, RegisterError, ResetError, Validator

from jobs import fields
from jobs.errors import Refused

Verdict = Callable[[str, str], None]
"""Takes two texts of a form; raises what the person is to read when they will not do."""

_OURS: Mapping[str, str] = {
    "Passwords do not match": fields.PASSWORD_AGAIN.error,
    "New and current passwords are the same": "The new password is the current one. Choose another one.",
}


class Rules(Validator):  # type: ignore[misc] # the library has no types
    """Our rules where the library asks for its own. A broken one is raised, so that its sentence reaches the person."""

    def __init__(self, login_field: fields.LoginField) -> None:
        super().__init__()
        self._login_field = login_field

    def validate_name(self, name: str) -> bool:  # noqa: ARG002 - not asked for
        return True

    def validate_length(self, variable: str, min_length: int = 0, max_length: int = 254) -> bool:  # noqa: ARG002
        return True

    def validate_email(self, email: str) -> bool:
        """Check the login name, whichever it is: the library wants an address where it has a name as well."""
        self._login_field.check(email)
        return True

    def validate_username(self, username: str) -> bool:
        self._login_field.check(username)
        return True

    def validate_password(self, password: str) -> bool:
        fields.check_password(password)
        return True


class Controller(AuthenticationController):  # type: ignore[misc] # the library has no types
    """The library's, which does nothing at all about a login without a name."""

    def __init__(self, login_field: fields.LoginField) -> None:
        super().__init__({"usernames": {}}, Rules(login_field), auto_hash=False)
        self._login_field = login_field

    def login(self, username: str | None = None, password: str | None = None, *args: object, **more: object) -> Any:
        if not username or not password:
            raise self._login_field.refuse(self._login_field.empty)
        return super().login(username, password, *args, **more)


class NoCookie:
    """Stands where the library keeps its cookie, which a script could read."""

    def get_cookie(self) -> None:
        """Return that nobody is known: that is for `ui.session` to say."""

    def set_cookie(self) -> None:
        """Do nothing."""

    def delete_cookie(self) -> None:
        """Do nothing."""


class Forms(Authenticate):  # type: ignore[misc] # the library has no types
    """The three forms. Made anew in every run; holds no accounts."""

    def __init__(
        self,
        login_field: fields.LoginField,
        *,
        log_in: Verdict | None = None,
        register: Verdict | None = None,
        change: Verdict | None = None,
    ) -> None:
        # Not the library's: that one mounts a frame of another package to write its cookie.
        self.path = self.api_key = None
        self.attrs = {"login_sleep_time": 0, "password_instructions": None}
        self.cookie_controller = NoCookie()
        self.authentication_controller = Controller(login_field)
        self._login_field = login_field
        self._names: dict[str, dict[str, Any]] = {}
        self._log_in, self._register, self._change = log_in, register, change
        model = self.authentication_controller.authentication_model
        model.credentials["usernames"] = self._names
        model.check_credentials = self._check_credentials
        model.register_user = self._register_user
        model.reset_password = self._reset_password

    def draw_login(self) -> None:
        """Draw name and password; a submitted form goes to ``log_in``. Raises what that raises, and `Refused`."""
        st.session_state["authentication_status"] = None  # else the library draws nothing
        labels = {
            "Form name": "",
            "Username": self._login_field.label,
            "Password": fields.PASSWORD.label,
            "Login": "Log in",
        }
        with _translated():
            self.login(fields=labels, key="login")

    def draw_registration(self) -> None:
        """Draw name, password and its repetition; a submitted form goes to ``register``."""
        labels = {
            "Form name": "",
            "First name": "Leave empty",
            "Last name": "Leave empty, too",
            "Email": self._login_field.caption,
            "Password": fields.PASSWORD.caption,
            "Repeat password": fields.PASSWORD_AGAIN.label,
            "Register": "Create account",
        }
        with _translated():
            self.register_user(
                fields=labels, captcha=False, password_hint=False, merge_username_email=True, key="register"
            )

    def draw_password_change(self, username: str) -> bool:
        """Draw current and new password; return whether ``change`` has been done."""
        st.session_state["authentication_status"] = True  # the caller has checked; else the library refuses to draw
        labels = {
            "Form name": "",
            "Current password": fields.CURRENT_PASSWORD.label,
            "New password": fields.NEW_PASSWORD.label,
            "Repeat password": fields.PASSWORD_AGAIN.label,
            "Reset": "Change password",
        }
        with _translated():
            return bool(self.reset_password(username, fields=labels, key="password", clear_on_submit=True))

    def _check_credentials(self, username: str, password: str) -> bool:
        assert self._log_in is not None
        self._log_in(username, password)
        self._names[username] = {"name": username}  # the library reads it back to keep its own state
        return True

    def _register_user(self, _first: str, _last: str, name: str, _lowered: str, password: str, *_: object) -> Any:
        assert self._register is not None
        self._register(name, password)
        return None, None, None

    def _reset_password(self, _username: str, password: str, new_password: str, *_: object) -> bool:
        assert self._change is not None
        self._change(password, new_password)
        return True


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (LoginError, RegisterError, ResetError) as error:
        raise Refused("form", _OURS.get(str(error), "Check the fields, then try again."), str(error)) from error
