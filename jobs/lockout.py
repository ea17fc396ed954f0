"""Guessing made slow: wrong tries are counted per account and per address, and each one more makes the wait longer.

A try is counted before its password is looked at, so a thousand tries at once are no way around it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock

from jobs.errors import DomainError, LoginFailed, TooManyTries
from jobs.locks import NamedLocks
from jobs.ports import Ports

FREE_FOR_ACCOUNT, FREE_FOR_ADDRESS = 5, 30
"""The failure from which on there is a wait. Behind one address there may be a whole office."""
SIGN_UPS_FOR_ADDRESS = 20
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 3600
FORGET_ACCOUNT_S, FORGET_ADDRESS_S = 24 * 3600, 2 * 3600


@dataclass
class Attempt:
    """One try to log in, while it is being checked."""

    has_succeeded: bool = False

    def succeed(self) -> None:
        """Note that the password was right."""
        self.has_succeeded = True


class Lockout:
    """The counters, kept in the database; what is being tried just now, in this process."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._locks = NamedLocks()
        self._mutex = Lock()
        self._trying: Counter[str] = Counter()

    @contextmanager
    def trying(self, username: str, address: str) -> Iterator[Attempt]:
        """Count a try; `Attempt.succeed` takes it back. Raises `TooManyTries` before anything is checked.

        A first try that nobody could judge is not counted either: a service that is down locks nobody out.
        """
        account, place, attempt = _account_key(username), _address_key(address), Attempt()
        with self._holding(account, place):
            self._refuse_locked(account)
            if place:
                self._refuse_locked(place)
                self._refuse_crowded(place)
            self._count(account, FREE_FOR_ACCOUNT, FORGET_ACCOUNT_S)
            self._add_trying(place, 1)
        is_judged = True
        try:
            yield attempt
        except LoginFailed:
            raise
        except DomainError:
            is_judged = False
            raise
        finally:
            with self._holding(account, place):
                self._add_trying(place, -1)
                if attempt.has_succeeded or not (is_judged or self._has_failed_before(account)):
                    self._ports.database.throttles.clear(account)
                elif place and is_judged:
                    self._count(place, FREE_FOR_ADDRESS, FORGET_ADDRESS_S)

    def count_sign_up(self, address: str) -> None:
        """Count a new account from an address. Raises `TooManyTries` when there were very many."""
        place = _address_key(address)
        if place:
            with self._locks.hold(f"sign-up:{place}"):
                self._refuse_locked(f"sign-up:{place}")
                self._count(f"sign-up:{place}", SIGN_UPS_FOR_ADDRESS, FORGET_ADDRESS_S)

    def forgive(self, username: str) -> None:
        """Forget the wrong tries against an account, whose password is a new one."""
        self._ports.database.throttles.clear(_account_key(username))

    @contextmanager
    def _holding(self, account: str, place: str) -> Iterator[None]:
        """Let others with the same name or address wait, and nobody else: a database elsewhere may take its time."""
        with self._locks.hold(account), self._locks.hold(place) if place else nullcontext():
            yield

    def _add_trying(self, place: str, count: int) -> None:
        with self._mutex:
            self._trying[place] += count
            self._trying += Counter()  # drops what has come down to nothing

    def _refuse_locked(self, key: str) -> None:
        throttle = self._ports.database.throttles.get(key)
        if throttle is None or throttle.locked_until is None:
            return
        wait_s = (throttle.locked_until - self._ports.now()).total_seconds()
        if wait_s > 0:
            raise TooManyTries(int(wait_s) + 1)

    def _has_failed_before(self, account: str) -> bool:
        throttle = self._ports.database.throttles.get(account)
        return throttle is not None and throttle.failures > 1

    def _refuse_crowded(self, place: str) -> None:
        """Refuse what could go past the limit if everything that is being tried now were wrong."""
        throttle = self._ports.database.throttles.get(place)
        forgotten = self._ports.now() - timedelta(seconds=FORGET_ADDRESS_S)
        failures = throttle.failures if throttle and throttle.last_failure_at > forgotten else 0
        if self._trying[place] >= max(1, FREE_FOR_ADDRESS - failures):
            raise TooManyTries(FIRST_WAIT_S)

    def _count(self, key: str, free: int, forget_after_s: int) -> None:
        throttles = self._ports.database.throttles
        failures = throttles.add_failure(key, forget_after_s=forget_after_s)
        if failures >= free:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - free, 10))
            throttles.lock(key, self._ports.now() + timedelta(seconds=wait_s))


def _account_key(username: str) -> str:
    # hashed: what is typed as a name by mistake may well be a password
    return f"account:{hashlib.sha256(username.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _address_key(address: str) -> str:
    """Return the counter of an address; a person has 64 bits of an IPv6 address for free."""
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return f"address:{ip.ipv4_mapped}"
        return f"address:{ipaddress.ip_network((ip, 64), strict=False).network_address}"
    return f"address:{ip}"
