"""What goes wrong at PostgREST, as the errors of the domain. Keys and values of rows never get into one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import httpx
from postgrest.exceptions import APIError

from adapters.sentences import BEING_MADE, UPLOAD_REFUSED, describe_lack_of_minutes, describe_lack_of_room
from jobs.errors import Conflict, JobError, NotFound, QuotaExceeded, StoreUnavailable

MALFORMED = "22P02"
"""A value is not of its column's type: an id that can't be one."""

_NO_TABLES = frozenset({"42P01", "42703", "42883", "3F000", "PGRST106", "PGRST200", "PGRST202", "PGRST204", "PGRST205"})
_BAD_TOKEN = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303"})
_DENIED = "42501"
_TIMEOUT = "57014"
_UNDONE = frozenset({"40001", "40P01"})
_AWAY = ("PGRST00", "08", "53", "57P")
"""Beginnings of the codes of a database that is out of reach, full, or stopping."""
_CONFLICTS = {"video_is_being_made": BEING_MADE, "upload_refused": UPLOAD_REFUSED}
_BROKEN_RULE = "This can't be done as things stand now. Reload the page and look again."

MIGRATE = "The database lacks tables of this version. Run `make migrate`."
UPDATE = (
    "The database is of a newer version of this program. Bring this machine up to that version, then start it again."
)
CHECK_SECRET_KEY = "The database refuses the key. Check SUPABASE_SECRET_KEY: it must be the project's secret key."
CHECK_PUBLISHABLE_KEY = "The database refuses the publishable key. Check SUPABASE_PUBLISHABLE_KEY, or leave it empty."
CHECK_SIGNING_KEY = (
    "The database does not know who signs for people. Check that SUPABASE_SIGNING_KEY is among the project's "
    "signing keys, and this machine's clock; or leave it empty."
)
CHECK_URL = "The database does not answer. Check SUPABASE_URL and the network, and that the project is not paused."
SLOW = "The database is too slow to answer. Look at the project's load."


class DatabaseFault(StoreUnavailable):
    """The database can't be used just now; ``remedy`` says what mends it."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


class GatewayError(Exception):
    """What stands in front of the database answered with an error of its own."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


def raise_for_gateway(response: httpx.Response) -> None:
    """Raise `GatewayError` for an answer that is not the database's, whose errors have a code; a hook of `httpx`."""
    if response.status_code < 400:
        if "html" in response.headers.get("content-type", ""):
            raise GatewayError(response.status_code)
        return
    response.read()
    try:
        body = response.json()
    except ValueError:
        body = None
    has_code = isinstance(body, dict) and "code" in body
    if not has_code and response.request.method != "HEAD":
        raise GatewayError(response.status_code)


def may_pass(error: Exception) -> bool:
    """Tell whether the same request may well be answered in a moment. It may have been carried out all the same."""
    if isinstance(error, GatewayError):
        return error.status >= 502
    if isinstance(error, APIError):
        return str(error.code).startswith(_AWAY)
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)


def is_undone(error: Exception) -> bool:
    """Tell whether nothing of the request is left: it only stood in another's way, or was never sent."""
    if isinstance(error, APIError):
        return error.code in _UNDONE
    return isinstance(error, httpx.ConnectError)


def translate(error: Exception, *, for_person: bool) -> JobError:
    """Return the domain's error for one of the client; ``for_person``: it came with a person's own token."""
    if isinstance(error, GatewayError):
        if error.status in (401, 403):
            return DatabaseFault(
                "the gateway refuses the key", CHECK_PUBLISHABLE_KEY if for_person else CHECK_SECRET_KEY
            )
        return DatabaseFault(f"the gateway answers {error}", CHECK_URL)
    if isinstance(error, APIError):
        return _translate_code(str(error.code), error, for_person=for_person)
    if isinstance(error, httpx.TimeoutException):
        remedy = CHECK_URL if isinstance(error, httpx.ConnectTimeout) else SLOW
        return DatabaseFault(type(error).__name__, remedy)
    if isinstance(error, httpx.LocalProtocolError):  # its text may hold a header
        return DatabaseFault("a request can't be written", CHECK_SECRET_KEY)
    return DatabaseFault(f"{type(error).__name__}: {error}", CHECK_URL)


def _translate_code(code: str, error: APIError, *, for_person: bool) -> JobError:
    match code:
        case "PT402":
            return _make_quota_exceeded(error)
        case "PT404":
            return NotFound(detail=error.message or "")
        case "PT409":
            return Conflict(_CONFLICTS.get(error.message or "", _BROKEN_RULE))
        case "PGRST116" | "406" | "23503":
            return NotFound(detail=f"{code}: nothing, or no longer, there")
        case "23505" | "23514" | "23502":
            return Conflict(_BROKEN_RULE, detail=f"{code}: {error.message}")
    if code in _NO_TABLES:
        return DatabaseFault(f"{code}: the tables are missing, or of another version: run `make migrate`", MIGRATE)
    if code in _BAD_TOKEN:
        return DatabaseFault(f"{code}: the token is refused", CHECK_SIGNING_KEY if for_person else CHECK_SECRET_KEY)
    if code == _DENIED:
        return DatabaseFault(f"{code}: the key has no right to that", CHECK_SECRET_KEY)
    if code == _TIMEOUT:
        return DatabaseFault(f"{code}: the statement took too long", SLOW)
    return DatabaseFault(f"{code}: the database can't do that now", CHECK_URL)


def _make_quota_exceeded(error: APIError) -> QuotaExceeded:
    facts: Mapping[str, object] = json.loads(str(error.details))
    needed, left = int(str(facts["needed"])), int(str(facts["left"]))
    if error.message == "storage":
        return QuotaExceeded("quota_bytes", describe_lack_of_room(needed, left))
    now = datetime.fromisoformat(str(facts["now"]))
    return QuotaExceeded("quota_minutes", describe_lack_of_minutes(needed, left, now))
