"""Connections to one service, that many threads share.

The pool of `httpx` (httpcore 1.0) closes a connection that it takes for expired when another thread has just begun to
use it; that request's answer is lost. Here a connection belongs to one thread for as long as a request lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from queue import Empty, LifoQueue
from typing import Any, TypeAlias

import httpx

Hooks: TypeAlias = Mapping[str, list[Callable[..., Any]]]

_KEPT_S = 15


class SharedClient(httpx.Client):
    """An HTTP/1.1 client for many threads: each request has a connection to itself, and waits while all are taken.

    Answers are read whole before hooks see them; streaming is refused.
    """

    def __init__(self, *, connections: int, timeout: httpx.Timeout, event_hooks: Hooks | None = None) -> None:
        verify = httpx.create_ssl_context()  # takes longer than a request, so it is made once
        super().__init__(timeout=timeout, verify=verify, event_hooks=event_hooks)
        self._wait_s = timeout.pool
        limits = httpx.Limits(max_connections=1, keepalive_expiry=_KEPT_S)
        self._clients = [httpx.Client(verify=verify, limits=limits) for _ in range(connections)]
        self._free: LifoQueue[httpx.Client] = LifoQueue()  # the last used comes first: its connection is open
        for client in self._clients:
            self._free.put(client)

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Return the answer, read whole. Raises what `httpx` does, `PoolTimeout` when no connection comes free."""
        if stream:
            raise NotImplementedError("its connection would be given to the next while the answer is read")
        try:
            client = self._free.get(timeout=self._wait_s)
        except Empty:
            raise httpx.PoolTimeout("all connections are in use", request=request) from None
        try:
            for see_request in self.event_hooks["request"]:
                see_request(request)
            response = client.send(request, **options)
        finally:
            self._free.put(client)
        for see_response in self.event_hooks["response"]:
            see_response(response)
        return response

    def __exit__(self, *raised: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        super().close()
        for client in self._clients:
            client.close()
