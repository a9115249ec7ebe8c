"""How often somebody may try to sign in. This docstring is the policy.

An attempt is counted **before** its password is checked, so that a thousand at once get no further than a thousand in a row,
and gets back what it took when it succeeds. One that is refused is counted at the door alone, as it has cost a look-up: it
lengthens nobody's wait for an account. Counters, each of
which must have room:

- ``browser`` or ``address``, before anybody is looked up: a browser with a device cookie of ours
  (:mod:`gateway.core.device_cookie`) is counted by itself, everybody else by address. Who comes by IPv6 is counted in
  ``network``, too: a customer of a provider has 65,536 networks, each of which would be a caller of its own;
- ``device``, when this browser has signed in as this account before: **this counter alone**. So nobody can keep the owner
  out, neither from many addresses nor from behind the same one (an office behind NAT). It opens nothing: such a cookie is
  made by a right password, holds for the accounts that gave one, and is counted for each of them;
- for everybody else: ``address`` (and ``network``), ``account_at_address`` and ``account``, which is all browsers that are
  not known together: it never refuses for good, but asks for a growing pause, which is how a guess from ten thousand
  addresses is slowed.

A success empties ``account_at_address`` and ``device``, takes from ``account`` what the same address had put there, and gives
``address``, ``network`` and ``browser`` back their one, no more: who has one right password cannot buy guesses at others
with it.

Times are milliseconds here, as whole numbers: the script in :mod:`gateway.store.redis_throttles` counts in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network

from gateway.core.callers import as_address
from gateway.core.device_cookie import Device

_ALLOCATION = 48
"""Bits of an IPv6 network that one customer is given (RFC 6177, and what hosting providers do)."""
_CALLERS = 8


class Kind(Enum):
    """What is counted; the value stands in lists and in the names of keys."""

    ADDRESS = "address"
    NETWORK = "network"
    BROWSER = "browser"
    ACCOUNT = "account"
    ACCOUNT_AT_ADDRESS = "account_at_address"
    DEVICE = "device"


class Success(Enum):
    """What a success does to a counter."""

    GIVES_BACK = 0
    CLEARS = 1
    LOWERS = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` attempts, of which one is forgotten every ``every`` ms.

    ``first_delay`` 0: then no more than are forgotten. Else: then a pause between two that doubles with each, from
    ``first_delay`` to ``longest_delay`` ms.
    """

    burst: int
    every: int
    first_delay: int = 0
    longest_delay: int = 0

    @property
    def most(self) -> int:
        """The time (ms) after which everything is forgotten, at the latest: of a growing pause, from where it grows no more."""
        steps = math.ceil(math.log2(self.longest_delay / self.first_delay)) + 1 if self.first_delay else 0
        return self.every * (self.burst + steps)


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter: ``names`` are the account, address or device that it counts, in clear; a store hides them."""

    kind: Kind
    names: tuple[str, ...]
    limit: Limit

    @property
    def on_success(self) -> Success:
        """See the policy."""
        if self.kind in (Kind.ACCOUNT_AT_ADDRESS, Kind.DEVICE):
            return Success.CLEARS
        return Success.LOWERS if self.kind is Kind.ACCOUNT else Success.GIVES_BACK


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's limits, and how many bits of an address make one caller."""

    address: Limit = Limit(30, 10_000)
    account_at_address: Limit = Limit(5, 60_000)
    account: Limit = Limit(10, 60_000, 1_000, 60_000)
    device: Limit = Limit(10, 30_000)
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64

    @property
    def network(self) -> Limit:
        """Room for several callers: some providers have one such network for many customers."""
        return Limit(_CALLERS * self.address.burst, max(self.address.every // _CALLERS, 1))

    def limit_of(self, kind: Kind) -> Limit:
        """Of counters of this kind."""
        limit: Limit = getattr(self, "address" if kind is Kind.BROWSER else kind.value)
        return limit


@dataclass(frozen=True, slots=True)
class Held:
    """A counter as the store has it: ``name`` is hidden where the store hides names; times in ms from now."""

    kind: Kind
    name: str
    forgotten_in: int
    """Until all its attempts are forgotten."""
    since: int
    """Since its last attempt."""


def prefix_of(address: str, policy: Policy) -> str:
    """The network that counts as one caller; IPv4 inside of IPv6 is IPv4. What is no address is one caller, too."""
    known = as_address(address.partition("%")[0])
    if known is None:
        return address
    bits = policy.ipv4_prefix if known.version == 4 else policy.ipv6_prefix
    return str(ip_network((known, bits), strict=False))


def networks_of(address: str, policy: Policy) -> list[str]:
    """The :func:`prefix_of` the address, and what is around it where that is counted as well."""
    own = prefix_of(address, policy)
    known = as_address(address.partition("%")[0])
    if known is None or known.version == 4 or policy.ipv6_prefix <= _ALLOCATION:
        return [own]
    return [own, str(ip_network((known, _ALLOCATION), strict=False))]


def door_counters(address: str, device: Device | None, policy: Policy) -> list[Counter]:
    """What is counted before anybody is looked up."""
    if device is not None:
        return [Counter(Kind.BROWSER, (device.id.hex(),), policy.address)]
    return address_counters(address, policy)


def address_counters(address: str, policy: Policy) -> list[Counter]:
    """Of everybody who comes from there."""
    own, *around = networks_of(address, policy)
    wider = [Counter(Kind.NETWORK, (network,), policy.network) for network in around]
    return [Counter(Kind.ADDRESS, (own,), policy.address), *wider]


def account_counters(
    account: str, address: str, device: Device | None, *, is_known: bool, policy: Policy
) -> list[Counter]:
    """What is counted beside the :func:`door_counters` once it is clear whose account it is; ``is_known``: this browser has
    signed in as it before."""
    if device is not None and is_known:
        return [Counter(Kind.DEVICE, (account, device.id.hex()), policy.device)]
    counters = [
        Counter(Kind.ACCOUNT_AT_ADDRESS, (account, prefix_of(address, policy)), policy.account_at_address),
        Counter(Kind.ACCOUNT, (account,), policy.account),
    ]
    return counters if device is None else [*address_counters(address, policy), *counters]


# -- one counter's arithmetic; the script does the same
@dataclass(frozen=True, slots=True)
class Level:
    """How full a counter is: ``empty_at``, when its attempts are all forgotten, and ``last``, when the last was (ms)."""

    empty_at: int
    last: int


def level_now(level: Level | None, limit: Limit, now: int) -> Level:
    """Without what makes no sense: a clock that went back must not shut anybody out."""
    if level is None:
        return Level(now, 0)
    return Level(min(max(level.empty_at, now), now + limit.most), min(level.last, now))


def wait_of(level: Level, limit: Limit, now: int) -> int:
    """How long (ms) until one more attempt has room; 0: it has."""
    left = level.empty_at - now
    if not limit.first_delay:
        return max(left + limit.every - limit.burst * limit.every, 0)
    over = -(-left // limit.every) - limit.burst
    if over < 0:
        return 0
    delay = limit.longest_delay if over > 40 else min(limit.longest_delay, limit.first_delay * 2**over)
    return max(level.last + delay - now, 0)


def counted(level: Level, limit: Limit, now: int) -> Level:
    """With one attempt more."""
    return Level(min(level.empty_at + limit.every, now + limit.most), now)


def attempts(level: Level, limit: Limit, now: int) -> int:
    """How many are not forgotten."""
    return max(math.ceil((level.empty_at - now) / limit.every), 0)


def given_back(level: Level, limit: Limit, count: int) -> Level:
    """With so many attempts less."""
    return Level(level.empty_at - count * limit.every, level.last)


def shown_wait(held: Held, policy: Policy) -> int:
    """How long (ms) the next attempt has to wait there; 0: not at all."""
    return wait_of(Level(held.forgotten_in, -held.since), policy.limit_of(held.kind), 0)
