"""The session engine in the memory of one process: for tests, demos and machines without Redis.

Everything happens between two awaits of the event loop, so that no operation ever sees half of another.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from gateway.store.engine import Capabilities, Gone, Kept, Write, may_touch, version_of

T = TypeVar("T")
_LOOKED_AT = 4  # per new entry: more than one, so that what is over cannot outgrow what is alive for long


@dataclass(frozen=True, slots=True)
class _Timed(Generic[T]):
    """Something and its end (epoch seconds)."""

    item: T
    end: float


class _Shelf(Generic[T]):
    """Things by name, each until its end. Every new one looks at a few old ones, so that nothing over stays for good."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timed: OrderedDict[bytes, _Timed[T]] = OrderedDict()

    def get(self, name: bytes) -> _Timed[T] | None:
        """What is there and not over."""
        found = self._timed.get(name)
        if found is not None and found.end <= self._clock():
            del self._timed[name]
            return None
        return found

    def put(self, name: bytes, item: T, end: float) -> None:
        """Until ``end`` (epoch seconds), in place of what was there."""
        if name not in self._timed:
            self._look_at_some()
        self._timed[name] = _Timed(item, end)

    def pop(self, name: bytes) -> T | None:
        """Takes it out."""
        found = self.get(name)
        if found is None:
            return None
        del self._timed[name]
        return found.item

    def _look_at_some(self) -> None:
        """Constant time: the ones not looked at for longest, which then go to the end of the row."""
        for _ in range(min(_LOOKED_AT, len(self._timed))):
            name = next(iter(self._timed))
            self._timed.move_to_end(name)
            self.get(name)

    def sweep(self) -> int:
        """Removes what is over; how many."""
        before = len(self._timed)
        for name in list(self._timed):
            self.get(name)
        return before - len(self._timed)

    def clear(self) -> None:
        """Removes everything."""
        self._timed.clear()


class MemorySessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`. It never raises StoreUnavailable; everything ends with the process.

    ``linger`` in seconds; ``clock`` gives epoch seconds.
    """

    capabilities = Capabilities(
        directory=False,
        revocation_within_a_second=True,
        merge=True,
        survives_loss_of_redis=True,
        several_processes=False,
    )
    directory = None

    def __init__(self, linger: float, clock: Callable[[], float] = time.time) -> None:
        self._linger = linger
        self._clock = clock
        self._kept: _Shelf[Kept] = _Shelf(clock)
        self._notes: _Shelf[str] = _Shelf(clock)
        self._key_ids: set[str] = set()

    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """All at one moment."""
        return [self._look_up(name) for name in names]

    def _look_up(self, name: bytes) -> Kept | Gone:
        if found := self._kept.get(name):
            return found.item
        note = self._notes.get(name)
        return Gone(note.item if note else "")

    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Keeps it only if nothing is there."""
        if self._kept.get(name):
            return False
        self._put(name, Kept(value, seen), ttl)
        return True

    def _put(self, name: bytes, kept: Kept, ttl: float) -> None:
        self._kept.put(name, kept, self._clock() + ttl + self._linger)

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """Compare-and-set."""
        found = self._kept.get(name)
        if found is None:
            return Write.GONE
        if version_of(found.item.value) != expected:
            return Write.CHANGED
        self._put(name, Kept(value, seen), ttl)
        return Write.DONE

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """Replaces what is seen and moves the end; a pointer stays one."""
        found = self._kept.get(name)
        if found is not None and may_touch(found.item.seen, seen):
            self._put(name, replace(found.item, seen=seen), ttl)

    async def shorten(self, name: bytes, ttl: float) -> None:
        """Ends it ``ttl`` seconds from now, without lingering; nothing is seen any more."""
        if found := self._kept.get(name):
            self._kept.put(name, replace(found.item, seen=None), self._clock() + ttl)

    async def delete(self, name: bytes) -> bytes | None:
        """Removes it and returns the value it had."""
        kept = self._kept.pop(name)
        return kept.value if kept else None

    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """Leaves a note why it is gone."""
        self._notes.put(name, note, self._clock() + ttl)

    async def announce(self, key_ids: Sequence[str]) -> None:
        """To this process only: there is no other."""
        self._key_ids.update(key_ids)

    async def withdraw(self, key_id: str) -> None:
        """Takes one announcement back."""
        self._key_ids.discard(key_id)

    async def announced(self) -> frozenset[str]:
        """The key ids of this process."""
        return frozenset(self._key_ids)

    async def clear_expired(self) -> int:
        """Deletes what is over; notes, too, which do not count."""
        self._notes.sweep()
        return self._kept.sweep()

    async def ping(self) -> None:
        """Always answers."""

    async def close(self) -> None:
        """Forgets everything."""
        self._kept.clear()
        self._notes.clear()
        self._key_ids.clear()
