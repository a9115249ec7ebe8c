"""Sessions by owner on Redis: a sorted set for each, scored by when its session is over at the latest (epoch ms).

The set is in another slot of a Cluster than the sessions it names, so no step covers both. What keeps it right: only a
session that exists is added, who is listed is looked up, and what is not there (any more) is taken out on the way.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from gateway.store.engine import Entry
from gateway.store.redis import RedisLink

# KEYS: the set. ARGV: now (ms), score, name, how many at most (-1: any number), evict (0 or 1), then dead names.
# Answers the names taken out, or 0 when the set is full. The set lives as long as its last entry.
_ADD = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
for i = 6, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
local most, out = tonumber(ARGV[4]), {}
if most >= 0 and not redis.call('ZSCORE', KEYS[1], ARGV[3]) then
  local over = redis.call('ZCARD', KEYS[1]) + 1 - most
  if over > 0 and ARGV[5] == '0' then return 0 end
  if over > 0 then out = redis.call('ZRANGE', KEYS[1], 0, over - 1) end
  for _, name in ipairs(out) do redis.call('ZREM', KEYS[1], name) end
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2])
return out
"""
_AT_ONCE = 500


def session_keys(prefix: bytes, name: bytes) -> tuple[bytes, bytes, bytes]:
    """The keys of a session: value, what is seen, note. The braces keep them in one slot of a Cluster."""
    tag = b":{" + name + b"}"
    return prefix + b"s" + tag, prefix + b"t" + tag, prefix + b"x" + tag


def literally(prefix: bytes) -> bytes:
    """As the beginning of a pattern for SCAN."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\^" else bytes([byte]) for byte in prefix)


class RedisDirectory:
    """A :class:`gateway.store.engine.SessionDirectory`."""

    def __init__(self, link: RedisLink, prefix: bytes, linger: float) -> None:
        self._link = link
        self._prefix = prefix
        self._linger = int(linger * 1000)

    def _key(self, owner: bytes) -> bytes:
        return self._prefix + b"u:{" + owner + b"}"

    async def add(
        self, owners: Sequence[bytes], name: bytes, ttl: float, *, limit: int | None = None, evict: bool = False
    ) -> list[bytes] | None:
        """The limit is kept in one step; before it the living are told from the dead, which never live again, and from
        pointers, which never are sessions again. Those noted under an older key of the user are counted before it, too, and
        are the first to go.
        """
        dead: list[bytes] = []
        older: list[bytes] = []
        if limit is not None:
            (living, dead), (elders, _) = await self._living(owners[:1]), await self._living(owners[1:])
            if name in [entry.name for entry in (*living, *elders)]:
                limit = None
            else:
                dead += [entry.name for entry in living if entry.seen == b""]
                living, elders = ([one for one in some if one.seen != b""] for some in (living, elders))
                over = len(living) + len(elders) + 1 - limit
                older = [entry.name for entry in elders[: max(over, 0)]] if evict else []
                limit = max(limit - len(elders) + len(older), 0)
        now = int(time.time() * 1000)
        most = -1 if limit is None else limit
        arguments: tuple[int | bytes, ...] = (now, now + int(ttl * 1000), name, most, int(evict), *dead)
        answers = await self._link.pipeline([(b"EVAL", _ADD, 1, self._key(owners[0]), *arguments)], durable=True)
        if older:
            await self._link.pipeline([(b"ZREM", self._key(owner), *older) for owner in owners[1:]])
        return None if answers[0] == 0 else [*older, *answers[0]]

    async def remove(self, owners: Sequence[bytes], name: bytes) -> None:
        """From every set of the owner."""
        await self._link.pipeline([(b"ZREM", self._key(owner), name) for owner in owners])

    async def entries(self, owners: Sequence[bytes]) -> list[Entry]:
        """Two round trips, and a third when somebody is dead."""
        living, dead = await self._living(owners)
        if dead:
            await self._link.pipeline([(b"ZREM", self._key(owner), *dead) for owner in owners])
        return living

    async def _living(self, owners: Sequence[bytes]) -> tuple[list[Entry], list[bytes]]:
        if not owners:
            return [], []
        now = int(time.time() * 1000)
        ranges = [(b"ZRANGEBYSCORE", self._key(owner), now, b"+inf") for owner in reversed(owners)]
        answers = await self._link.pipeline(ranges)
        names = list(dict.fromkeys(name for answer in answers for name in answer))  # older keys, older sessions
        living: list[Entry] = []
        for start in range(0, len(names), _AT_ONCE):
            living += await self._alive(names[start : start + _AT_ONCE])
        there = {entry.name for entry in living}
        return living, [name for name in names if name not in there]

    async def _alive(self, names: Sequence[bytes]) -> list[Entry]:
        """What is seen ends with the session, the value only after the linger. Evicted it is gone before that."""
        commands: list[tuple[bytes, ...]] = []
        for name in names:
            value, seen, _ = session_keys(self._prefix, name)
            commands += [(b"PTTL", value), (b"GET", seen)]
        answers = await self._link.pipeline(commands)
        pairs = zip(names, answers[::2], answers[1::2], strict=True)
        return [Entry(name, seen) for name, left, seen in pairs if left > (-1 if seen is not None else self._linger)]

    async def everything(self) -> AsyncIterator[Entry]:
        """By SCAN over the values: also sessions before sign-in, whose cards name nobody."""
        start = len(self._prefix) + 3
        names: list[bytes] = []
        async for key in self._link.scan(literally(self._prefix) + b"s:{*}"):
            names.append(key[start:-1])
            if len(names) == _AT_ONCE:
                for entry in await self._alive(names):
                    yield entry
                names = []
        for entry in await self._alive(names) if names else []:
            yield entry
