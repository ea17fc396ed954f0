"""What happens to a test whose server can't be had here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn, TypeVar

import pytest

from tests.servers.guarded import ServerMissing

T = TypeVar("T")


def do_without(missing: ServerMissing) -> NoReturn:
    """Skip the test, unless ``REQUIRE_SERVERS`` says that nothing may be missing: then raise that."""
    if os.environ.get("REQUIRE_SERVERS"):
        raise missing
    pytest.skip(str(missing))


@contextmanager
def started(make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Start a server, and end it after the body; where it can't be had, `do_without` it."""
    try:
        server = make()
    except ServerMissing as error:
        do_without(error)
    with server as running:
        yield running
