"""Rates: how many requests one API key or one address may make in a minute.

A generic cell rate algorithm: for each of them one number is kept, the time at which all its
requests so far are worked off at its rate. The numbers stand in memory that the processes of a
service share, so the rate is one for all of them; two that take at the same instant may be
counted as one. Which number belongs to whom is a hash that nobody outside can foresee.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from ledger.errors import RateLimited

WINDOW_S = 60
SLOTS = 65_536
TABLE_BYTES = SLOTS * 8
_V6_PREFIX = 64  # what one household or server gets

Headers = tuple[tuple[str, str], ...]


class Limiter:
    """Takes requests into account. rates: name -> requests a minute, None for any number.

    table: TABLE_BYTES of zeros at first, shared by every process that was forked from one.
    """

    def __init__(
        self,
        rates: Mapping[str, int | None],
        table: memoryview,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates, self._clock = rates, clock
        self._policies = {
            name: ("RateLimit-Policy", f'"{name}";q={quota};w={WINDOW_S}')
            for name, quota in rates.items()
        }
        self._busy_until = table.cast("d")

    def take(self, name: str, who: str) -> Headers:
        """The headers that say what is left of `who`'s rate `name`. Raises RateLimited."""
        quota = self._rates[name]
        if quota is None:
            return ()
        slot = hash((name, who)) % SLOTS
        now, each_s = self._clock(), WINDOW_S / quota
        until = max(self._busy_until[slot], now) + each_s
        if until - now > WINDOW_S:
            wait_s = math.ceil(until - now - WINDOW_S)
            raise RateLimited(
                f"this {name} may make {quota} requests in {WINDOW_S} s; wait {wait_s} s",
                (*self._headers(name, quota, until - each_s - now), ("Retry-After", str(wait_s))),
            )
        self._busy_until[slot] = until
        return self._headers(name, quota, until - now)

    def _headers(self, name: str, quota: int, busy_s: float) -> Headers:
        """draft-ietf-httpapi-ratelimit-headers-10. r: what is left; t: s until all is back."""
        left = int((WINDOW_S - busy_s) * quota / WINDOW_S)
        return self._policies[name], ("RateLimit", f'"{name}";r={left};t={math.ceil(busy_s)}')


@lru_cache(maxsize=4_096)
def party_of(address: str) -> str:
    """Whom a client's address belongs to, as far as a rate is concerned."""
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address  # whatever a trusted proxy wrote there
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((ip, _V6_PREFIX), strict=False))
