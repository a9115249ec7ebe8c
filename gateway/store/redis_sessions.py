"""The session engine on Redis (6.2 or newer), in every topology: all keys of a session are in one slot of a Cluster.

``<prefix>s:{name}`` holds the value, ``<prefix>t:{name}`` what is seen, ``<prefix>x:{name}`` a note why it is gone,
``<prefix>s:=keys`` the announced key ids. What slides stands apart: processes that keep sessions are told by Redis of
every change below ``<prefix>s:``, and a touch is none. So the value's end is moved only when the touched end comes near
it, once per ``linger``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gateway.store.engine import Capabilities, Gone, Kept, Write
from gateway.store.redis import RedisLink
from gateway.store.redis_directory import RedisDirectory, session_keys

# KEYS: value, seen. ARGV: value, seen, ttl (ms), ttl and linger (ms). One step: no delete comes between.
_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""
# As above; ARGV[5]: the version expected.
_UPDATE = """
local there = redis.call('GETRANGE', KEYS[1], 0, #ARGV[5] - 1)
if there == '' then return 0 end
if there ~= ARGV[5] then return 2 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1
"""
# ARGV: seen, ttl (ms), ttl and linger (ms). A pointer stays one; GET answers false, which is no '', when nothing is there.
# The PEXPIRE comes first on purpose: a script that has written already may go on writing at maxmemory
# (SCRIPT_WRITE_DIRTY), so that sessions in use live on when Redis is full.
_TOUCH = """
if (redis.call('GET', KEYS[2]) == '') ~= (ARGV[1] == '') then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left == -2 then return 0 end
if left < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
# ARGV: ttl (ms). One step: a touch in between would move the end again. Works at maxmemory: neither needs memory.
_SHORTEN = """
redis.call('DEL', KEYS[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
# ARGV: note, ttl (ms). As in _TOUCH: a script that has written already may go on at maxmemory.
_BURY = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_KEY_IDS = b"s:=keys"
_WRITES = {0: Write.GONE, 1: Write.DONE, 2: Write.CHANGED}
_CAPABILITIES = Capabilities(
    directory=True,
    revocation_within_a_second=True,
    merge=True,
    survives_loss_of_redis=False,
    several_processes=True,
)


def tracked_prefix(prefix: bytes) -> bytes:
    """Below this every change means something to those who keep sessions in their process."""
    return prefix + b"s:"


def tracked_name(prefix: bytes, key: bytes) -> bytes | None:
    """The session's name in a key of which Redis told a change; None: the announced key ids, or no key of ours."""
    start = len(prefix) + 3
    return key[start:-1] if key.startswith(prefix + b"s:{") and key.endswith(b"}") else None


class RedisSessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`."""

    capabilities = _CAPABILITIES

    def __init__(self, link: RedisLink, prefix: str, linger: float) -> None:
        self._link = link
        self._prefix = prefix.encode()
        self._linger = linger
        self.directory = RedisDirectory(link, self._prefix, linger)

    def _keys(self, name: bytes) -> tuple[bytes, bytes, bytes]:
        return session_keys(self._prefix, name)

    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """One round trip."""
        answers = await self._link.pipeline([(b"MGET", *self._keys(name)) for name in names])
        return [_found(*answer) for answer in answers]

    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Repeated after a lost answer it says False: the caller takes another name."""
        return bool(await self._script(_CREATE, name, value, seen, *self._ends(ttl), durable=True) == 1)

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """Repeated after a lost answer it says CHANGED: the caller knows its own version again."""
        return _WRITES[await self._script(_UPDATE, name, value, seen, *self._ends(ttl), expected)]

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """Works at ``maxmemory``, too; a pointer stays one."""
        await self._script(_TOUCH, name, seen, *self._ends(ttl))

    def _ends(self, ttl: float) -> tuple[int, int]:
        return _ms(ttl), _ms(ttl + self._linger)

    async def _script(self, script: str, name: bytes, *arguments: bytes | int, durable: bool = False) -> Any:
        value, seen, _ = self._keys(name)
        answers = await self._link.pipeline([(b"EVAL", script, 2, value, seen, *arguments)], durable=durable)
        return answers[0]

    async def shorten(self, name: bytes, ttl: float) -> None:
        """Works at ``maxmemory``, too; nothing is seen any more."""
        await self._script(_SHORTEN, name, _ms(ttl))

    async def delete(self, name: bytes) -> bytes | None:
        """GETDEL and DEL work at ``maxmemory``, too (hazard R9)."""
        value, seen, _ = self._keys(name)
        answers = await self._link.pipeline([(b"GETDEL", value), (b"DEL", seen)], durable=True)
        had: bytes | None = answers[0]
        return had

    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """A key of its own. Works at ``maxmemory``, too: for the engine cookie the note is all there is of a sign-out."""
        key = self._keys(name)[2]
        await self._link.pipeline([(b"EVAL", _BURY, 1, key, note.encode(), _ms(ttl))], durable=True)

    async def announce(self, key_ids: Sequence[str]) -> None:
        """A hash of id → when (epoch seconds)."""
        pairs = [part for key_id in key_ids for part in (key_id, int(time.time()))]
        await self._link.pipeline([(b"HSET", self._prefix + _KEY_IDS, *pairs)] if pairs else [])

    async def withdraw(self, key_id: str) -> None:
        """Of all announcements of this id."""
        await self._link.pipeline([(b"HDEL", self._prefix + _KEY_IDS, key_id)])

    async def announced(self) -> frozenset[str]:
        """One command."""
        answers = await self._link.pipeline([(b"HKEYS", self._prefix + _KEY_IDS)])
        return frozenset(key_id.decode("ascii", "replace") for key_id in answers[0])

    async def clear_expired(self) -> int:
        """Redis does that."""
        return 0

    async def ping(self) -> None:
        """Asks for a key, as every look-up does: a master of a Cluster or a user that may not read is no store."""
        await self._link.pipeline([(b"EXISTS", self._prefix + _KEY_IDS)])

    async def close(self) -> None:
        """Closes the link."""
        await self._link.close()


def _found(value: bytes | None, seen: bytes | None, note: bytes | None) -> Kept | Gone:
    if value is not None:
        return Kept(value, seen)
    return Gone(note.decode("ascii", "replace") if note else "")


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
