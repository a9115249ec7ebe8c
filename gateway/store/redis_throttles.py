"""Attempts counted in Redis (6.2 or newer), for all gateways together.

Why scripts of our own, and not the library ``limits``: it takes one limit in each round trip, gives nothing back, and knows no
growing pause; an attempt has up to four counters here, all of which must have room before one of them counts it.

A counter is ``<prefix>throttle:{t}:<key id>:<kind>:<name>[:<name>]`` and holds when it is empty and when its last attempt was
(epoch ms by Redis's own clock, so that gateways need not agree on the time); it ends by itself when it is empty. In a Cluster
all of them are in one slot: an address and the accounts it tries stand in no other relation, and one step has to see both. One
script takes some 20 µs, which is little beside the password check that it stands for.

Names are HMACs: who has a copy of Redis does not read who tried. **Each attempt is counted under every key of the ring**, so
that no rotation forgets anything: a gateway that has one key in common with another counts together with it.

Nothing here is below the prefix that Redis tells processes about (:func:`gateway.store.redis_sessions.tracked_prefix`).
A command sent twice after a lost connection counts twice, or gives back two: one attempt, for whoever can cut that line.
"""

from __future__ import annotations

import hmac
from collections import Counter as Counts
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from gateway.core.keys import KeyRing, MasterKey, b64url
from gateway.core.throttling import Counter, Held, Kind
from gateway.errors import StoreUnavailable
from gateway.store.redis import RedisLink
from gateway.store.throttles import MemoryThrottles

# Both: KEYS: counters. What a counter holds: "<empty at> <last>".
_READ = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function level(key)
  local held = redis.call('GET', key)
  local empty_at, last = string.match(held or '', '^(%d+) (%d+)$')
  return tonumber(empty_at or now), tonumber(last or 0)
end
"""
# ARGV, for each counter: every, burst, first delay, longest delay, most (see Limit). As in core/throttling.py: level_now,
# wait_of, counted. Answers the wait in ms; 0: counted.
_RESERVE = (
    _READ
    + """
local longest, after = 0, {}
for i, key in ipairs(KEYS) do
  local every, burst = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3])
  local first, slowest, most = tonumber(ARGV[5 * i - 2]), tonumber(ARGV[5 * i - 1]), tonumber(ARGV[5 * i])
  local empty_at, last = level(key)
  empty_at, last = math.min(math.max(empty_at, now), now + most), math.min(last, now)
  local wait = empty_at - now + every - burst * every
  if first > 0 then
    local over = math.ceil((empty_at - now) / every) - burst
    wait = over < 0 and 0 or last + math.min(slowest, first * 2 ^ over) - now
  end
  longest = math.max(longest, wait)
  empty_at = math.min(empty_at + every, now + most)
  after[i] = {string.format('%.0f %.0f', empty_at, now), string.format('%.0f', math.max(empty_at - now, slowest))}
end
if longest > 0 then return longest end
for i, key in ipairs(KEYS) do redis.call('SET', key, after[i][1], 'PX', after[i][2]) end
return 0
"""
)
# ARGV, for each counter: every, and what happens: 0 one back, 1 cleared, 2 lowered by what was cleared. Those that are cleared
# come first: a script that has written already may go on at maxmemory (SCRIPT_WRITE_DIRTY).
_SETTLE = (
    _READ
    + """
local cleared = 1
for i, key in ipairs(KEYS) do
  local every, what = tonumber(ARGV[2 * i - 1]), ARGV[2 * i]
  local empty_at, last = level(key)
  if what == '1' then
    cleared = math.max(cleared, math.ceil((empty_at - now) / every))
    redis.call('DEL', key)
  else
    empty_at = empty_at - every * (what == '2' and cleared or 1)
    if empty_at <= now then redis.call('DEL', key)
    else redis.call('SET', key, string.format('%.0f %.0f', empty_at, last), 'KEEPTTL') end
  end
end
return 1
"""
)
# Answers for each counter: ms until it is empty, ms since its last attempt.
_LOOK = (
    _READ
    + """
local found = {}
for i, key in ipairs(KEYS) do
  local empty_at, last = level(key)
  found[2 * i - 1], found[2 * i] = empty_at - now, now - last
end
return found
"""
)
_AT_ONCE = 500
_NAME_BYTES = 12
_KINDS = frozenset(kind.value for kind in Kind)


class _Key(NamedTuple):
    """One key of ours, taken apart."""

    key: bytes
    key_id: str
    kind: str
    names: Sequence[str]


class RedisThrottles:
    """A :class:`gateway.identity.throttle.Throttles`. ``prefix``: of every key of ours."""

    def __init__(self, link: RedisLink, prefix: str, ring: KeyRing) -> None:
        self._link = link
        self._ring = ring
        self._start = f"{prefix}throttle:{{t}}:".encode()

    async def reserve(self, counters: Sequence[Counter]) -> float:
        """One round trip."""
        named = [(key, one.limit) for one, key in self._named(counters)]
        limits = [
            number
            for _, limit in named
            for number in (limit.every, limit.burst, limit.first_delay, limit.longest_delay, limit.most)
        ]
        (wait,) = await self._link.pipeline([(b"EVAL", _RESERVE, len(named), *(key for key, _ in named), *limits)])
        return int(wait) / 1000

    async def settle(self, counters: Sequence[Counter], *, success: bool) -> None:
        """One round trip."""
        named = [(key, one.limit.every, one.on_success.value if success else 0) for one, key in self._named(counters)]
        named.sort(key=lambda one: one[2] != 1)
        keys = (key for key, *_ in named)
        done = (number for _, every, what in named for number in (every, what))
        await self._link.pipeline([(b"EVAL", _SETTLE, len(named), *keys, *done)])

    async def held(self, name: str | None = None) -> list[Held]:
        """What is counted: everything, or what has this account, network or device among its names. Reads all of the keys."""
        active = self._ring.active.id.hex()
        there = [one async for one in self._there(name) if one.key_id == active and one.kind in _KINDS]
        found = []
        for start in range(0, len(there), _AT_ONCE):
            part = there[start : start + _AT_ONCE]
            (times,) = await self._link.pipeline([(b"EVAL", _LOOK, len(part), *(one.key for one in part))])
            for one, left, since in zip(part, times[::2], times[1::2], strict=True):
                if left > 0:
                    found.append(Held(Kind(one.kind), " ".join(one.names), left, since))
        return found

    async def clear(self, name: str | None = None) -> int:
        """Forgets that; how many counters."""
        there = [one async for one in self._there(name)]
        for start in range(0, len(there), _AT_ONCE):
            await self._link.pipeline([(b"DEL", *(one.key for one in there[start : start + _AT_ONCE]))])
        return max(Counts(one.key_id for one in there).values(), default=0)  # under each key of the ring once

    def _named(self, counters: Sequence[Counter]) -> Iterator[tuple[Counter, bytes]]:
        for key in self._ring:
            for one in counters:
                names = ":".join(_hidden(key, name) for name in one.names)
                yield one, self._start + f"{key.id.hex()}:{one.kind.value}:{names}".encode()

    async def _there(self, name: str | None) -> AsyncIterator[_Key]:
        """Each key once."""
        wanted = {key.id.hex(): _hidden(key, name) for key in self._ring} if name is not None else {}
        pattern = b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^" else bytes([byte]) for byte in self._start)
        seen = set()
        async for key in self._link.scan(pattern + b"*"):
            key_id, _, rest = key[len(self._start) :].decode("ascii", "replace").partition(":")
            kind, *names = rest.split(":")
            if key not in seen and (name is None or wanted.get(key_id) in names):
                seen.add(key)
                yield _Key(key, key_id, kind, names)


class LastingThrottles:
    """For the engines whose users sign in while Redis is away: then the counters of this process hold.

    They have counted along all the time, so that nobody finds them empty: whoever can take Redis away gains the guesses of
    the other processes, no more.
    """

    def __init__(self, shared: RedisThrottles, own: MemoryThrottles) -> None:
        self._shared = shared
        self._own = own

    async def reserve(self, counters: Sequence[Counter]) -> float:
        """What all gateways together say, or else this one."""
        own = await self._own.reserve(counters)
        try:
            wait = await self._shared.reserve(counters)
        except StoreUnavailable:
            return own
        if wait > 0 and own == 0:
            await self._own.settle(counters, success=False)
        return wait

    async def settle(self, counters: Sequence[Counter], *, success: bool) -> None:
        """In both. What is not settled in Redis is forgotten there with time."""
        await self._own.settle(counters, success=success)
        with suppress(StoreUnavailable):
            await self._shared.settle(counters, success=success)


def _hidden(key: MasterKey, name: str) -> str:
    message = name.encode("utf-8", "surrogatepass")
    return b64url(hmac.digest(key.derived(b"throttle name"), message, "sha256")[:_NAME_BYTES])
