"""Requests to a project's PostgREST, for the server itself or with a person's own rights.

Clients share one pool of HTTP/1.1 connections: over HTTP/2 the library's requests fail under load. They are made at the
first request of a process and made anew after a fork, since a child must not speak on its parent's connections.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httpx
from postgrest.exceptions import APIError
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions

from adapters.connections import SharedClient
from adapters.supabase.errors import (
    CHECK_SECRET_KEY,
    CHECK_URL,
    MALFORMED,
    DatabaseFault,
    GatewayError,
    is_undone,
    may_pass,
    raise_for_gateway,
    translate,
)
from adapters.supabase.tokens import LIFETIME_S, TokenSigner

Row = Mapping[str, Any]
TIMEOUT = httpx.Timeout(15, connect=5)
CONNECTIONS = 20
WAITS_S = (0.2, 0.8)
"""Before each further try, give or take a third."""
MAX_PEOPLE = 500
"""Clients that are kept; the one used longest ago goes first."""
_RENEW_S = 60
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


for _name in ("httpx", "httpcore"):  # their lines hold whole addresses, and in those stand values of rows
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Request(Protocol):
    def execute(self) -> Any: ...


@dataclass
class _Opened:
    """What one process has open."""

    pid: int
    http: httpx.Client
    service: Client
    people: OrderedDict[str, tuple[float, Client]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Project:
    """A Supabase project. Its methods raise the domain's errors, `StoreUnavailable` when it does not answer.

    With ``person`` a request carries that person's token, where there is a key to sign it with, and so their rights;
    else it has all rights. An id that can't be one is nobody's: nothing is found. Requests marked ``again`` change
    nothing more when they are carried out twice, and are tried again when their answer got lost.
    """

    def __init__(
        self, url: str, *, secret_key: str, publishable_key: str, signing_key: str, http: httpx.Client | None
    ) -> None:
        self._url, self._secret_key, self._publishable_key = url, secret_key, publishable_key or secret_key
        self._signer = TokenSigner(signing_key) if signing_key else None
        self._http = http
        self._opened: _Opened | None = None
        self._inherited: list[_Opened] = []
        self._opening = threading.Lock()
        if http is not None:
            http.event_hooks = {**http.event_hooks, "response": [*http.event_hooks["response"], raise_for_gateway]}

    @property
    def signs(self) -> bool:
        """Whether people have tokens of their own."""
        return self._signer is not None

    def select(
        self,
        table: str,
        match: Mapping[str, str | int],
        *,
        among: tuple[str, Sequence[str]] | None = None,
        columns: str = "*",
        order: Sequence[str] = (),
        limit: int | None = None,
        person: str | None = None,
    ) -> list[Row]:
        """Return the rows whose columns match, in an order such as ``("created_at.desc", "seq")``."""

        def make(client: Client) -> _Request:
            query = client.table(table).select(columns)
            for name, value in match.items():
                query = query.eq(name, clean(value))
            if among is not None:
                query = query.in_(*among)
            for column in order:
                name, _, direction = column.partition(".")
                query = query.order(name, desc=direction == "desc")
            return query if limit is None else query.limit(limit)

        return [] if _is_malformed(match) else self._rows(make, person=person, again=True)

    def count(self, table: str) -> int:
        """Return how many rows there are."""
        response = self._run(lambda client: client.table(table).select("*", count="exact").limit(0), again=True)  # type: ignore[arg-type]
        return int(response.count)

    def insert(self, table: str, values: Mapping[str, object]) -> Row:
        """Add a row and return it. Raises `NotFound` where it points to nothing."""
        if _is_malformed({name: value for name, value in values.items() if value is not None}):
            raise translate(APIError({"code": "23503"}), for_person=False)
        return self._rows(lambda client: client.table(table).insert(cast("Any", clean(values))))[0]

    def update(
        self,
        table: str,
        values: Mapping[str, object],
        match: Mapping[str, str],
        *,
        among: tuple[str, Sequence[str]] | None = None,
        again: bool = False,
    ) -> list[Row]:
        """Change the rows that match, and return them."""

        def make(client: Client) -> _Request:
            query = client.table(table).update(cast("Any", clean(values)))
            for name, value in match.items():
                query = query.eq(name, clean(value))
            return query if among is None else query.in_(*among)

        return [] if _is_malformed(match) else self._rows(make, again=again)

    def delete(self, table: str, match: Mapping[str, str], *, again: bool = False) -> bool:
        """Delete the rows that match; return whether there were any."""

        def make(client: Client) -> _Request:
            query = client.table(table).delete()
            for name, value in match.items():
                query = query.eq(name, clean(value))
            return query

        return not _is_malformed(match) and bool(self._rows(make, again=again))

    def call(self, function: str, *, person: str | None = None, again: bool = False, **values: object) -> Any:
        """Return what a function returns; None where it is given an id that can't be one."""
        given = {name: value for name, value in values.items() if value is not None}
        if _is_malformed(given):
            return None
        parameters = {f"p_{name}": clean(value) for name, value in values.items()}
        response = self._run(lambda client: client.rpc(function, parameters), person=person, again=again)
        return None if response is None else response.data

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and self._http is None:
            if opened.pid == os.getpid():
                opened.http.close()
            else:
                self._inherited.append(opened)

    def _rows(self, make: Callable[[Client], _Request], *, person: str | None = None, again: bool = False) -> list[Row]:
        response = self._run(make, person=person, again=again)
        if response is None:
            return []
        if not isinstance(response.data, list):
            raise DatabaseFault("the answer is no list of rows", CHECK_URL)
        return response.data

    def _run(self, make: Callable[[Client], _Request], *, person: str | None = None, again: bool) -> Any:
        """Return the answer; None when an id in it can't be one."""
        waits = iter(WAITS_S)
        while True:
            try:
                return make(self._find_client(person)).execute()
            except (APIError, GatewayError, httpx.HTTPError) as error:
                if isinstance(error, APIError) and error.code == MALFORMED:
                    return None
                wait_s = next(waits, None) if is_undone(error) or (again and may_pass(error)) else None
                if wait_s is None:
                    raise translate(error, for_person=person is not None and self.signs) from _without_values(error)
            time.sleep(wait_s * random.uniform(2 / 3, 4 / 3))

    def _find_client(self, person: str | None) -> Client:
        opened = self._open()
        if person is None or self._signer is None:
            return opened.service
        with opened.lock:
            ends, client = opened.people.get(person, (0.0, None))
            if client is None or time.time() > ends - _RENEW_S:
                ends = time.time() + LIFETIME_S
                client = self._make_client(opened.http, self._publishable_key, self._signer.sign(person))
                opened.people[person] = ends, client
            opened.people.move_to_end(person)
            while len(opened.people) > MAX_PEOPLE:
                opened.people.popitem(last=False)
        return client

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is not None and opened.pid == os.getpid():
            return opened
        if opened is not None:  # a fork lies between: these connections are the parent's, also the lock may be
            self._inherited.append(opened)
            self._opened, self._opening = None, threading.Lock()
        with self._opening:
            if self._opened is None:
                http = self._http or SharedClient(
                    connections=CONNECTIONS, timeout=TIMEOUT, event_hooks={"response": [raise_for_gateway]}
                )
                service = self._make_client(http, self._secret_key, self._secret_key)
                self._opened = _Opened(pid=os.getpid(), http=http, service=service)
            return self._opened

    def _make_client(self, http: httpx.Client, key: str, token: str) -> Client:
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise DatabaseFault("a key with characters that no key has", CHECK_SECRET_KEY)
        options = SyncClientOptions(
            httpx_client=http,
            headers={"Authorization": f"Bearer {token}"},
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
        )
        return create_client(self._url, key, options)


def clean(value: Any) -> Any:
    """Return a value as PostgreSQL takes it: text without NUL and without halves of characters, mappings as objects."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [clean(item) for item in value]
    return value


def _is_malformed(values: Mapping[str, object]) -> bool:
    """Tell whether there is an id among the values that can't be one."""
    return any(
        (name == "id" or name.endswith("_id")) and not _ID.fullmatch(str(value)) for name, value in values.items()
    )


def _without_values(error: Exception) -> Exception | None:
    """Return the error as a cause for the log; None where its text holds values of rows."""
    return None if isinstance(error, APIError | httpx.LocalProtocolError) else error
