"""What S3 answers, as the domain's errors: once for the person, once for whoever runs the product, once for the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from jobs.errors import JobError, NotFound, StorageCode, StorageError

_AWAY = "The file store does not answer just now. Try again in a minute."
_CLOSED = "The file store can't be used just now. Ask the administrator to look at it."
_FULL = "The file store is full. Ask the administrator to make room, then go on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One way in which a store fails."""

    code: StorageCode
    remedy: str
    message: str = _CLOSED
    passes: bool = False
    """Whether it mends itself, so that it is worth trying again."""


KEYS = Trouble(
    code="files_keys",
    remedy="The access key is not accepted: check WASABI_ACCESS_KEY_ID and WASABI_SECRET_ACCESS_KEY.",
)
DENIED = Trouble(
    code="files_denied",
    remedy="The access key may not do this: let it list the bucket of WASABI_BUCKET and the uploads in parts there, "
    "and read, write and delete in it.",
)
ACCOUNT = Trouble(
    code="files_account",
    remedy="The account of the file store is closed or not paid for: ask its provider.",
)
BUCKET = Trouble(
    code="files_bucket",
    remedy="The bucket is not there: check WASABI_BUCKET and WASABI_REGION, or make it with `make bucket`.",
)
CLOCK = Trouble(
    code="files_clock",
    remedy="The clock of this machine is wrong, so the file store accepts nothing: set it, and keep it set by NTP.",
)
REGION = Trouble(
    code="files_region",
    remedy="The bucket lies in another region: check WASABI_REGION and WASABI_ENDPOINT.",
)
TLS = Trouble(
    code="files_tls",
    remedy="No secure connection to the file store: check WASABI_ENDPOINT, and this machine's certificates and clock.",
)
FULL = Trouble(
    code="files_full",
    message=_FULL,
    remedy="The file store is full: delete videos, or raise the limit at its provider.",
)
UNREACHABLE = Trouble(
    code="files_unreachable",
    message=_AWAY,
    passes=True,
    remedy="The file store can't be reached: check the network of this machine, and WASABI_ENDPOINT.",
)
CUT = Trouble(
    code="files_cut",
    message=_AWAY,
    passes=True,
    remedy="The connection to the file store breaks off: check the network of this machine.",
)
BUSY = Trouble(
    code="files_busy",
    message=_AWAY,
    passes=True,
    remedy="The file store answers that it is busy or broken: wait, and look at its provider's status page.",
)
UNKNOWN = Trouble(
    code="files",
    message=_AWAY,
    remedy="The file store refuses what we ask of it; the log tells why.",
)

_BY_CODE: Mapping[str, Trouble] = {
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity"), KEYS),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "UnauthorizedAccess", "Forbidden"), DENIED),
    **dict.fromkeys(("AccountProblem", "NotSignedUp"), ACCOUNT),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), BUCKET),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), CLOCK),
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",
            "PermanentRedirect",
            "TemporaryRedirect",
            "IllegalLocationConstraintException",
        ),
        REGION,
    ),
    **dict.fromkeys(
        ("QuotaExceeded", "StorageQuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "XMinioStorageFull"),
        FULL,
    ),
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "TooManyRequests"),
        BUSY,
    ),
}  # fmt: skip
_PASSING = frozenset(trouble.code for trouble in (UNREACHABLE, CUT, BUSY))
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})


def get_code(error: ClientError) -> str:
    """Return the code of a refusal; of one without a body, its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_missing(error: ClientError) -> bool:
    """Tell whether there is no such object; of a HEAD also whether there is no such bucket."""
    return get_code(error) in _MISSING


def passes(error: StorageError) -> bool:
    """Tell whether it is worth trying again."""
    return error.code in _PASSING


def make_error(trouble: Trouble, detail: str) -> StorageError:
    """Return the error of a trouble; ``detail`` is for the log."""
    error = StorageError(trouble.code, trouble.message, detail)
    error.remedy = trouble.remedy
    return error


def explain_code(code: str, detail: str, *, status: int = 0) -> StorageError:
    """Return the error of a code as S3 documents it, else the one of the answer's HTTP status."""
    return make_error(_BY_CODE.get(code) or _judge_status(status), detail)


def explain(error: Exception) -> JobError:
    """Return what an error of the library means."""
    if isinstance(error, ClientError):
        return _explain_refusal(error)
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, SSLError):
        # A handshake that is cut off is raised as one that is refused.
        return make_error(CUT if "eof" in detail.lower().replace("_", " ") else TLS, detail)
    if isinstance(error, (ConnectionClosedError, ResponseStreamingError, IncompleteReadError, HTTPError)):
        return make_error(CUT, detail)
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError, HTTPClientError)):
        return make_error(UNREACHABLE, detail)
    return make_error(UNKNOWN, detail)


@contextmanager
def answered() -> Iterator[None]:
    """Turn what the library raises into the domain's errors."""
    try:
        yield
    except (BotoCoreError, ClientError, HTTPError) as error:
        raise explain(error) from error


def _explain_refusal(error: ClientError) -> JobError:
    if get_code(error) == "NoSuchKey":
        return NotFound(detail=str(error))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return explain_code(get_code(error), f"{error} (HTTP {status})", status=status)


def _judge_status(status: int) -> Trouble:
    if status in (301, 302, 307):
        return REGION
    if status in (401, 403):
        return DENIED
    if status == 507:
        return FULL
    return BUSY if status == 429 or status >= 500 else UNKNOWN
