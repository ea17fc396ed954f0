"""The fields of an account: what each is called, what may stand in it, and the sentence when it does not.

Pages show ``label`` and ``rule`` beside the field; checks return the value as it is stored and raise `Refused` with the
field's id as the code.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from jobs.errors import Refused

MIN_PASSWORD_CHARS, MAX_PASSWORD_BYTES = 10, 72
"""72 bytes are all that bcrypt looks at."""
MAX_MINUTES, MAX_GIGABYTES = 1_000_000, 1_000_000
GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form."""

    id: str
    label: str
    rule: str = ""
    """What may stand in it, to be read on after the label and a comma."""
    hint: str = ""
    """An example, shown in the empty field."""
    max_chars: int
    error: str

    @property
    def caption(self) -> str:
        """The label with its rule: ``Password, at least 10 characters``."""
        return f"{self.label}, {self.rule}" if self.rule else self.label

    def refuse(self, sentence: str = "") -> Refused:
        """Return the error that names this field."""
        return Refused(self.id, sentence or self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginField(Field):
    """What a person logs in with."""

    pattern: str
    empty: str
    """What is said to a login without it."""
    choose: str
    """What is asked for on the way to an account."""
    mismatch: str
    """What is said to a wrong login; never which part of it is wrong."""
    taken: str

    def check(self, value: str) -> str:
        """Return the login name as it is stored. Raises `Refused`."""
        name = clean_username(value)
        if len(name) > self.max_chars or not re.fullmatch(self.pattern, name):
            raise self.refuse()
        return name


USERNAME = LoginField(
    id="username",
    label="Name",
    rule="without spaces",
    max_chars=40,
    error="A name has 2 to 40 letters, digits, dots, hyphens or underscores, and begins with a letter or a digit.",
    pattern=r"[a-z0-9][a-z0-9._-]{1,39}",
    empty="Enter your name and your password.",
    choose="Choose a name and a password.",
    mismatch="Name and password do not match. Check both, or ask the administrator for a new password.",
    taken="The name {} is taken. Choose another one.",
)
EMAIL = LoginField(
    id="email",
    label="E-mail",
    hint="name@example.com",
    max_chars=254,
    error="An e-mail address looks like name@example.com. Check it for a slip.",
    pattern=r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9-]+(\.[a-z0-9-]+)+",
    empty="Enter your e-mail address and your password.",
    choose="Enter your e-mail address and choose a password.",
    mismatch="E-mail and password do not match. Check both, or ask the administrator for a new password.",
    taken="There is an account for {} already. Log in, or ask the administrator for a new password.",
)
FULL_NAME = Field(
    id="full_name",
    label="Name that is shown",
    rule="at most 80 characters",
    max_chars=80,
    error="The name that is shown has at most 80 characters, all in one line.",
)
PASSWORD = Field(
    id="password",
    label="Password",
    rule=f"at least {MIN_PASSWORD_CHARS} characters",
    max_chars=MAX_PASSWORD_BYTES,
    error=f"The password is too short: take at least {MIN_PASSWORD_CHARS} characters.",
)
PASSWORD_AGAIN = Field(
    id="password_again",
    label="Password again",
    max_chars=MAX_PASSWORD_BYTES,
    error="The two passwords differ. Type the same one twice.",
)
CURRENT_PASSWORD = Field(
    id="current_password",
    label="Current password",
    max_chars=MAX_PASSWORD_BYTES,
    error="The current password is not right.",
)
NEW_PASSWORD = Field(
    id="password",
    label="New password",
    rule=PASSWORD.rule,
    max_chars=MAX_PASSWORD_BYTES,
    error=PASSWORD.error,
)
NOTE = Field(
    id="note",
    label="For whom",
    rule="at most 100 characters",
    hint="Ben, sales",
    max_chars=100,
    error="The note has at most 100 characters, all in one line.",
)
MINUTES = Field(
    id="minutes",
    label="Minutes a month",
    rule="0 is without limit",
    max_chars=7,
    error=f"Minutes a month are a whole number from 0 to {MAX_MINUTES}.",
)
STORAGE = Field(
    id="size_bytes",
    label="Storage in GB",
    rule="0 is without limit",
    max_chars=7,
    error=f"Storage is a whole number of GB from 0 to {MAX_GIGABYTES}.",
)

_FORBIDDEN_IN_LINES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Control and direction characters, halves of characters, line breaks: they can make one name look like another."""


def clean_username(value: str) -> str:
    """Return a name as it is compared: without spaces around it, in lower case. Refuses nothing."""
    text = value.encode("utf-8", "replace").decode()  # half a character would not even go into a query
    return unicodedata.normalize("NFKC", text).strip().lower()


def check_full_name(value: str) -> str:
    """Return the name that is shown; empty takes the username. Raises `Refused`."""
    return _check_line(FULL_NAME, value)


def check_note(value: str) -> str:
    """Return the administrator's note about an invitation. Raises `Refused`."""
    return _check_line(NOTE, value)


def clean_password(value: str) -> str:
    """Return a password as it is hashed: the same for every keyboard's way to write the same characters."""
    return unicodedata.normalize("NFKC", value)


def check_password(value: str) -> str:
    """Return a new password as it is hashed. Raises `Refused`."""
    password = clean_password(value)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in password):
        raise PASSWORD.refuse("The password has a character that can't be typed. Type it by hand.")
    if password != password.strip():
        raise PASSWORD.refuse("A password can't begin or end with a space.")
    if len(password) < MIN_PASSWORD_CHARS:
        raise PASSWORD.refuse()
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise PASSWORD.refuse(
            f"The password is too long: take at most {MAX_PASSWORD_BYTES} characters, fewer with accents."
        )
    return password


def check_same(password: str, again: str) -> None:
    """Compare a new password with its repetition. Raises `Refused`."""
    if password != again:
        raise PASSWORD_AGAIN.refuse()


def check_minutes(value: int | None) -> int | None:
    """Return a limit of minutes a month; None is the machine's. Raises `Refused`."""
    return _check_whole(MINUTES, value, MAX_MINUTES)


def check_storage(value: int | None) -> int | None:
    """Return a limit of stored bytes; None is the machine's. Raises `Refused`."""
    return _check_whole(STORAGE, value, MAX_GIGABYTES * GIGABYTE)


def _check_line(field: Field, value: str) -> str:
    line = unicodedata.normalize("NFC", value).strip()
    if len(line) > field.max_chars or any(unicodedata.category(char) in _FORBIDDEN_IN_LINES for char in line):
        raise field.refuse()
    return line


def _check_whole(field: Field, value: int | None, most: int) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
        raise field.refuse()
    return value
