"""What goes wrong at Valkey or Redis, as an error that says what mends it. No address and no password gets into one.

The client names the address in its texts, and some servers answer with all that they were sent, a password too: what
they say is never passed on.
"""

from __future__ import annotations

import logging
import re
import ssl

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from jobs.errors import StoreUnavailable

logger = logging.getLogger(__name__)

AWAY = (
    "The queue does not answer. Start the product again; if REDIS_URL is set, check that server, and that it begins "
    "with rediss:// just where that server speaks TLS."
)
PASSWORD = "The queue refuses the password. Check the user and the password in REDIS_URL."
RIGHTS = "The queue's user may not do what is needed. Let the user in REDIS_URL use all commands on all keys."
CERTIFICATE = (
    "The queue's certificate is not trusted. Name its authority in REDIS_URL (?ssl_ca_certs=/path/ca.pem), "
    "and check the host's name there and this machine's clock."
)
TLS = (
    "No secure connection to the queue. Check that REDIS_URL begins with rediss:// just where that server speaks TLS, "
    "and the certificate it may ask of us (?ssl_certfile=…&ssl_keyfile=…)."
)
CERTIFICATE_FILE = "A certificate file that REDIS_URL names can't be read. Correct its path, or let us read it."
LOADING = "The queue reads its data after a start. Wait until it has."
READ_ONLY = "The queue is a copy that takes nothing. Name the primary server in REDIS_URL."
FULL = "The queue's memory is full. Give that server more, and let it evict nothing (maxmemory-policy noeviction)."
NUMBER = "The queue has no database of that number. Correct the end of REDIS_URL."
REFUSED = "The queue refuses what we ask of it. It must be Valkey, or Redis of at least 5, and no cluster."


class QueueFault(StoreUnavailable):
    """The queue can't be used just now; ``remedy`` says what mends it."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.remedy = remedy


class QueueNews:
    """What the log is told of a queue that fails: each thing that mends it once, and that it works again."""

    def __init__(self) -> None:
        self._told = ""

    def fails(self, error: BaseException) -> None:
        """Take note of what the client said."""
        remedy = find_remedy(error)
        if remedy != self._told:
            self._told = remedy
            logger.warning("%s It is tried again until it works.", remedy)
        logger.debug("%s", describe_error(error))

    def works(self) -> None:
        """Take note of an answer."""
        if self._told:
            self._told = ""
            logger.info("the queue answers again")

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether RQ may log something: not what has been told here; a filter of `logging`."""
        return "Redis" not in str(record.msg)


def translate(error: RedisError) -> QueueFault:
    """Return the domain's error for one of the client."""
    return QueueFault(describe_error(error), find_remedy(error))


def describe_error(error: BaseException) -> str:
    """Return what the log may know of an error: the classes it came of, with the system's and the server's codes."""
    code = re.match(r"[A-Z]+\b", str(error)) if isinstance(error, ResponseError) else None
    return " from ".join(_name_cause(cause) for cause in _list_causes(error)) + (f" ({code[0]})" if code else "")


def _name_cause(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return type(error).__name__ + (f" [Errno {number}]" if number is not None else "")


def find_remedy(error: BaseException) -> str:
    """Return the sentence that mends it."""
    text = str(error).lower()
    causes = _list_causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return CERTIFICATE
    is_file = any(isinstance(cause, FileNotFoundError | PermissionError) for cause in causes)
    if is_file and "connecting to /" not in text:  # else it is a socket that is not there
        return CERTIFICATE_FILE
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return TLS
    match error:
        case NoPermissionError():
            return RIGHTS
        case AuthenticationError():
            return PASSWORD
        case BusyLoadingError():
            return LOADING
        case ReadOnlyError():
            return READ_ONLY
        case OutOfMemoryError():
            return FULL
    if "noauth" in text or "wrongpass" in text or "authentication required" in text:
        return PASSWORD
    if "db index" in text:
        return NUMBER
    return REFUSED if isinstance(error, ResponseError) else AWAY


def _list_causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in causes:
        causes.append(found)
        found = found.__cause__ or found.__context__
    return causes
