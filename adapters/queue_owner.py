"""Whose queue it is: two products on one queue would take each other's jobs out of it."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from adapters.queue_errors import translate

_KEY = "mini-video-factory:installation"
_ANSWER_S = 5.0
OWNED_S = 60
"""So long the word of a web server counts that does not repeat it: it was killed, and another product may follow."""


class QueueOwner:
    """What web servers write into the queue and workers read there. Raises `StoreUnavailable`."""

    def __init__(self, url: str) -> None:
        self._connection = Redis.from_url(
            url, socket_timeout=_ANSWER_S, socket_connect_timeout=_ANSWER_S, decode_responses=True
        )

    def claim(self, owner: str) -> str:
        """Say that the queue is this owner's for a while, unless a living other has said so; return whose it is."""
        try:
            if not self._connection.set(_KEY, owner, nx=True, ex=OWNED_S):
                found = str(self._connection.get(_KEY) or "")
                if found and found != owner:
                    return found
                self._connection.set(_KEY, owner, ex=OWNED_S)
        except RedisError as error:
            raise translate(error) from error
        return owner

    def withdraw(self, owner: str) -> None:
        """Take back what `claim` said for this owner; other servers of the same product say it again."""
        try:
            if self._connection.get(_KEY) == owner:
                self._connection.delete(_KEY)
        except RedisError as error:
            raise translate(error) from error

    def read(self) -> str:
        """Return whose queue it is; empty when nobody says so."""
        try:
            return str(self._connection.get(_KEY) or "")
        except RedisError as error:
            raise translate(error) from error

    def close(self) -> None:
        """Close the connection. A later call opens it again."""
        self._connection.close()
