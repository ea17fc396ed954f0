"""What may stand in the fields of an account, and the sentence when it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs import fields
from jobs.errors import Refused
from jobs.fields import Field

FIELDS = [value for value in vars(fields).values() if isinstance(value, Field)]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("mara", "mara"),
        ("  Mara ", "mara"),
        ("Mara.Lind-2_x", "mara.lind-2_x"),
        ("ab", "ab"),
        ("7up", "7up"),
        ("a" * 40, "a" * 40),
        ("mara\n", "mara"),
        ("ｍａｒａ", "mara"),  # wide letters are the same letters
    ],
)
def test_a_name_is_stored_in_one_spelling(typed: str, stored: str) -> None:
    assert fields.USERNAME.check(typed) == stored


@pytest.mark.parametrize(
    "typed", ["", "a", ".mara", "-mara", "_mara", "a" * 41, "mara lind", "mára", "marа", "a\x00b", "a/b", "<b>"]
)
def test_a_name_that_can_be_mistaken_is_refused(typed: str) -> None:
    with pytest.raises(Refused) as refusal:
        fields.USERNAME.check(typed)
    assert refusal.value.code == "username"
    assert refusal.value.message == fields.USERNAME.error


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Mara@Example.com", "mara@example.com"),
        (" mara.lind+films@mail.example.co.uk\n", "mara.lind+films@mail.example.co.uk"),
        ("m@xn--bcher-kva.example", "m@xn--bcher-kva.example"),
        (f"{'a' * 242}@example.com", f"{'a' * 242}@example.com"),
    ],
)
def test_an_address_is_stored_in_one_spelling(typed: str, stored: str) -> None:
    assert fields.EMAIL.check(typed) == stored


@pytest.mark.parametrize(
    "typed",
    ["", "mara", "mara@", "@example.com", "mara@example", "a b@example.com", "a@b@example.com", "marа@example.com",
     "mara@example..com", "mara@example.com, ben@example.com", "a\x00b@example.com", f"{'a' * 243}@example.com"],
)  # fmt: skip
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(Refused) as refusal:
        fields.EMAIL.check(typed)
    assert (refusal.value.code, refusal.value.message) == ("email", fields.EMAIL.error)


@pytest.mark.parametrize("typed", ["ten chars!", "x" * 72, "пароль-пароль", "with spaces inside", "пятьдесят😀"])
def test_a_good_password_is_taken(typed: str) -> None:
    assert fields.check_password(typed) == typed


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "too short"),
        ("nine char", "too short"),
        ("x" * 73, "too long"),
        ("я" * 37, "too long"),  # 74 bytes: bcrypt would drop the last letter
        (" ten chars!", "space"),
        ("ten chars! ", "space"),
        ("ten\x00chars!!", "can't be typed"),
        ("ten chars\ud800!", "can't be typed"),
    ],
)
def test_a_bad_password_is_refused_with_its_reason(typed: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as refusal:
        fields.check_password(typed)
    assert refusal.value.code == "password"
    assert "chars" not in refusal.value.message, "a password is never repeated"


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert fields.check_password("cafe\u0301 au lait") == fields.check_password("caf\u00e9 au lait")


@pytest.mark.parametrize("check", [fields.check_full_name, fields.check_note])
def test_a_line_of_text(check: Callable[[str], str]) -> None:
    assert check("  Mára Lind ") == "Mára Lind"
    assert check("") == ""
    assert check("x" * 80) == "x" * 80
    for bad in ("x" * 101, "two\nlines", "turned \u202e round", "bell\x07"):
        with pytest.raises(Refused):
            check(bad)


def test_limits_are_whole_and_not_negative() -> None:
    assert fields.check_minutes(None) is None
    assert fields.check_minutes(0) == 0
    assert fields.check_minutes(60) == 60
    assert fields.check_storage(50 * fields.GIGABYTE) == 50_000_000_000
    for bad in (-1, fields.MAX_MINUTES + 1, True):
        with pytest.raises(Refused) as refusal:
            fields.check_minutes(bad)
        assert refusal.value.code == "minutes"
    with pytest.raises(Refused):
        fields.check_storage(-1)


def test_the_two_passwords_must_be_the_same() -> None:
    fields.check_same("one", "one")
    with pytest.raises(Refused, match="differ"):
        fields.check_same("one", "two")


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.label)
def test_every_field_says_what_it_wants(field: Field) -> None:
    assert field.label[0].isupper()
    assert field.error.endswith(".")
    assert field.caption.startswith(field.label)
    assert field.max_chars > 0
    assert field.refuse().message == field.error
    assert field.refuse("Other.").code == field.id
