"""How many attempts of one network are under way: the line for password checks must not be full of one caller's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

from gateway.core.callers import as_address
from gateway.errors import Busy

_IPV4, _IPV6 = 32, 48


class Crowd:
    """Counts by IPv4 address, or IPv6 network of 48 bits, which is what one customer of a provider has."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._here: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """While it is under way.

        :raises Busy: there are enough of them.
        """
        network = _network(address)
        if self._here[network] >= self._most:
            raise Busy
        self._here[network] += 1
        try:
            yield
        finally:
            self._here[network] -= 1
            if not self._here[network]:
                del self._here[network]


def _network(address: str) -> str:
    known = as_address(address.partition("%")[0])
    if known is None:
        return address
    return str(ip_network((known, _IPV4 if known.version == 4 else _IPV6), strict=False))
