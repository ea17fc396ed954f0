"""What the log is told of a queue that fails: what is wrong, and nothing of the address or the password."""

from __future__ import annotations

import errno
import logging
import socket

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import MovedError, RedisError, ResponseError

from adapters.queue_errors import AWAY, QueueNews, describe_error, translate

SECRET = "a-password-of-ours"


def fail_to_connect() -> RedisError:
    """Return what the client says of a port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        try:
            Redis.from_url(f"redis://ann:{SECRET}@127.0.0.1:{port}/0").ping()
        except RedisError as error:
            return error
    raise AssertionError("somebody listened")


def test_an_address_does_not_get_into_an_error_nor_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    error = fail_to_connect()
    assert "127.0.0.1" in str(error), "the client names it"
    fault = translate(error)
    assert fault.remedy == AWAY
    assert f"ConnectionRefusedError [Errno {errno.ECONNREFUSED}]" in fault.detail
    with caplog.at_level(logging.DEBUG):
        QueueNews().fails(error)
    for text in (fault.detail, caplog.text):
        assert "127.0.0.1" not in text
        assert SECRET not in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoConnection("Error 111 connecting to 127.0.0.1:1."), "ConnectionError"),
        (ResponseError(f"unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `{SECRET}`"), "ResponseError"),
        (ResponseError("MISCONF Redis is configured to save snapshots to /srv/db"), "ResponseError (MISCONF)"),
        (MovedError("3999 127.0.0.1:6381"), "MovedError"),
    ],
)
def test_the_words_of_client_and_server_are_not_passed_on(error: RedisError, told: str) -> None:
    assert describe_error(error) == told
