"""Codes of PostgREST and PostgreSQL, those of versions that are not here too, as errors of the domain."""

from __future__ import annotations

import httpx
import pytest
from postgrest.exceptions import APIError

from adapters.supabase.client import clean
from adapters.supabase.errors import (
    CHECK_PUBLISHABLE_KEY,
    CHECK_SECRET_KEY,
    CHECK_SIGNING_KEY,
    CHECK_URL,
    MIGRATE,
    SLOW,
    GatewayError,
    is_undone,
    may_pass,
    raise_for_gateway,
    translate,
)
from jobs.errors import Conflict, JobError, NotFound, QuotaExceeded, StoreUnavailable

VALUE = "a value of a row"


def refuse(code: str, message: str = VALUE, details: str = VALUE) -> APIError:
    return APIError({"code": code, "message": message, "details": details, "hint": VALUE})


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        ("PGRST116", NotFound, ""),
        ("406", NotFound, ""),
        ("PT404", NotFound, ""),
        ("23503", NotFound, ""),
        ("23505", Conflict, ""),
        ("23514", Conflict, ""),
        ("23502", Conflict, ""),
        ("PT409", Conflict, ""),
        ("42P01", StoreUnavailable, MIGRATE),
        ("PGRST205", StoreUnavailable, MIGRATE),
        ("PGRST202", StoreUnavailable, MIGRATE),
        ("PGRST204", StoreUnavailable, MIGRATE),
        ("PGRST301", StoreUnavailable, CHECK_SECRET_KEY),
        ("PGRST302", StoreUnavailable, CHECK_SECRET_KEY),
        ("PGRST303", StoreUnavailable, CHECK_SECRET_KEY),
        ("42501", StoreUnavailable, CHECK_SECRET_KEY),
        ("57014", StoreUnavailable, SLOW),
        ("PGRST000", StoreUnavailable, CHECK_URL),
        ("PGRST002", StoreUnavailable, CHECK_URL),
        ("53300", StoreUnavailable, CHECK_URL),
        ("XX000", StoreUnavailable, CHECK_URL),
    ],
)
def test_a_code_has_its_error(code: str, kind: type[JobError], remedy: str) -> None:
    message = "a rule's name" if code.startswith(("23", "PT")) else VALUE  # these texts hold no values
    error = translate(refuse(code, message), for_person=False)
    assert (type(error) is kind or isinstance(error, kind), error.remedy) == (True, remedy)
    assert VALUE not in f"{error.message}{error.detail}{error.remedy}"


def test_with_a_persons_token_it_is_another_key() -> None:
    assert translate(refuse("PGRST301"), for_person=True).remedy == CHECK_SIGNING_KEY
    assert translate(GatewayError(401), for_person=True).remedy == CHECK_PUBLISHABLE_KEY
    assert translate(GatewayError(401), for_person=False).remedy == CHECK_SECRET_KEY


def test_a_lack_has_its_sentence() -> None:
    details = '{"needed": 600000, "left": 120000, "now": "2030-12-31T23:59:59.5+00:00"}'
    error = translate(refuse("PT402", "minutes", details), for_person=False)
    assert isinstance(error, QuotaExceeded)
    assert (error.code, error.message[:52]) == (
        "quota_minutes",
        "10 minutes are needed, 2 are left until 1 January. W",
    )
    error = translate(refuse("PT402", "storage", '{"needed": 5000, "left": 0, "now": ""}'), for_person=False)
    assert (error.code, error.message[:45]) == ("quota_bytes", "5 kB of storage is needed, none is left. Dele")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (httpx.ConnectError("refused"), True),
        (httpx.ReadError("reset"), True),
        (httpx.RemoteProtocolError("closed"), True),
        (httpx.ReadTimeout("slow"), False),
        (httpx.ConnectTimeout("slow"), False),
        (httpx.LocalProtocolError("bad header"), False),
        (GatewayError(502), True),
        (GatewayError(503), True),
        (GatewayError(504), True),
        (GatewayError(500), False),
        (GatewayError(429), False),
        (GatewayError(401), False),
        (refuse("PGRST001"), True),
        (refuse("57P01"), True),
        (refuse("57014"), False),
        (refuse("23505"), False),
        (refuse("42501"), False),
    ],
    ids=repr,
)
def test_only_what_may_pass_is_tried_again(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
    assert is_undone(error) is isinstance(error, httpx.ConnectError)


def test_who_stood_in_anothers_way_is_undone() -> None:
    assert is_undone(refuse("40P01"))
    assert is_undone(refuse("40001"))


@pytest.mark.parametrize(
    ("status", "body", "is_gateways"),
    [
        (200, "<html>", False),
        (401, '{"message": "Invalid API key"}', True),
        (401, '{"code": "PGRST301", "message": "JWT expired"}', False),
        (502, "<html>bad gateway</html>", True),
        (503, '{"code": "PGRST002", "message": "no connection"}', False),
        (500, "[]", True),
        (500, "null", True),
    ],
)
def test_the_gateways_errors_have_no_code(status: int, body: str, is_gateways: bool) -> None:
    response = httpx.Response(status, text=body, request=httpx.Request("GET", "http://localhost"))
    if is_gateways:
        with pytest.raises(GatewayError, match=str(status)):
            raise_for_gateway(response)
    else:
        raise_for_gateway(response)


def test_a_page_is_no_answer() -> None:
    response = httpx.Response(
        200, html="<html>Sign in to this network", request=httpx.Request("GET", "http://localhost")
    )
    with pytest.raises(GatewayError):
        raise_for_gateway(response)


def test_a_request_that_can_not_be_written_shows_no_header() -> None:
    error = translate(httpx.LocalProtocolError(f"Illegal header value {VALUE}"), for_person=False)
    assert VALUE not in f"{error.detail}{error.message}"


def test_values_are_made_what_a_database_can_hold() -> None:
    given = {"a\0": ("b\0", {"c": "\ud83d"}), "n": 1.5, "none": None, "yes": True}
    assert clean(given) == {"a\ufffd": ["b\ufffd", {"c": "?"}], "n": 1.5, "none": None, "yes": True}
