"""Everything the life of a job raises on purpose.

JobError                  code, message (one sentence for a person), http status
├── NotFound              404: not there, or another person's: the two can't be told apart
├── Conflict              409: not possible in the present state
├── Refused               4xx: the request breaks a rule; the sentence names it
├── QuotaExceeded         402: minutes or storage are used up
├── StorageError          5xx: files can't be read or written
└── StoreUnavailable      503: the database or the queue does not answer; nothing is lost
    ├── LoginUnavailable  503: nor does the service that keeps passwords
    └── DatabaseUnusable  503: it is of another version; trying again changes nothing
AuthError                 401: who is it?
├── LoginFailed           name and password do not match
├── TooManyTries          429, with the wait
└── Forbidden             403: known, but not allowed
"""

from __future__ import annotations

from typing import Literal, get_args

StorageCode = Literal[
    "disk_full",
    "files",
    "files_account",
    "files_browsers",
    "files_bucket",
    "files_busy",
    "files_clock",
    "files_cut",
    "files_denied",
    "files_full",
    "files_keys",
    "files_open",
    "files_region",
    "files_tls",
    "files_unreachable",
    "probe_failed",
]
"""What can be wrong with files."""
STORAGE_CODES: tuple[StorageCode, ...] = get_args(StorageCode)


class DomainError(Exception):
    """Base of both trees. ``message`` is shown to a person, ``detail`` is logged only."""

    status = 500
    remedy = ""
    """What mends it, as a sentence for whoever runs the product. Anybody may read it among the parts that are not
    ready: it names settings and commands, never a host, a bucket or a key."""

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(code, message, detail)
        self.code = code
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return self.message


class JobError(DomainError):
    """Something about videos, uploads or jobs could not be done."""

    status = 400


class NotFound(JobError):
    """There is no such thing for this person."""

    status = 404

    def __init__(self, message: str = "This is not here, or it is not yours.", detail: str = "") -> None:
        super().__init__("not_found", message, detail)


class Conflict(JobError):
    """The thing is in a state that does not allow it."""

    status = 409

    def __init__(self, message: str, code: str = "conflict", detail: str = "") -> None:
        super().__init__(code, message, detail)


class Refused(JobError):
    """The request breaks a rule."""

    def __init__(self, code: str, message: str, detail: str = "", status: int = 422) -> None:
        super().__init__(code, message, detail)
        self.status = status


class QuotaExceeded(JobError):
    """Minutes of this month, or storage, are used up."""

    status = 402


class StorageError(JobError):
    """Files can't be read or written just now."""

    status = 503

    def __init__(self, code: StorageCode, message: str, detail: str = "") -> None:
        super().__init__(code, message, detail)


class StoreUnavailable(JobError):
    """The database or the queue does not answer."""

    status = 503

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            "unavailable",
            "Connection lost. Your videos go on being made; this page catches up by itself.",
            detail,
        )


class LoginUnavailable(StoreUnavailable):
    """The service that keeps passwords does not answer; whoever is signed in notices nothing."""

    remedy = "Supabase Auth does not answer. Check SUPABASE_URL and SUPABASE_SECRET_KEY, and that this project runs."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.message = "Passwords can't be checked just now. Try again in a minute."


class DatabaseUnusable(StoreUnavailable):
    """This program can't use the database before somebody has mended something; the message says what."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(detail or message)
        self.message = message


class AuthError(DomainError):
    """Nobody is signed in, or not the right person."""

    status = 401

    def __init__(self, code: str = "signed_out", message: str = "Log in to go on.", detail: str = "") -> None:
        super().__init__(code, message, detail)


class LoginFailed(AuthError):
    """Name and password do not match; never says which."""

    def __init__(self, message: str = "Name and password do not match.") -> None:
        super().__init__("login_failed", message)


class TooManyTries(AuthError):
    """Too many wrong passwords for this account or from this address."""

    status = 429

    def __init__(self, wait_s: int) -> None:
        minutes = max(1, -(-wait_s // 60))
        unit = "minute" if minutes == 1 else "minutes"
        super().__init__("too_many_tries", f"Too many tries. Wait {minutes} {unit}, then try again.")
        self.wait_s = wait_s


class Forbidden(AuthError):
    """Signed in, but not allowed."""

    status = 403

    def __init__(self, message: str = "Only an administrator may do this.") -> None:
        super().__init__("forbidden", message)
