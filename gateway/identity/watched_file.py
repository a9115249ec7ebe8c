"""Files that are read again when they change: what was read stays in memory, and an edit that is wrong changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from gateway.errors import SettingsError
from gateway.identity.hashed import told

T = TypeVar("T")
Stamp = tuple[int, int, int]
Stamps = tuple[Stamp | None, ...]
Read = tuple[Stamps, T | SettingsError]

log = logging.getLogger("gateway.identity")
LOOK_EVERY = 0.5
_QUIET_NS = 50_000_000


def stamp_of(found: os.stat_result) -> Stamp:
    """What changes when a file does: time of modification, size, and the file itself."""
    return found.st_mtime_ns, found.st_size, found.st_ino


def stamps_of(paths: Sequence[Path]) -> Stamps:
    """Of each file; None: it is away."""
    return tuple(map(_stamp, paths))


class WatchedFile(Generic[T]):
    """What some files hold together, usually one: ``value``.

    ``read`` reads them and raises :class:`~gateway.errors.SettingsError` where they are wrong; ``value`` is what it gave when
    the files had the stamps ``seen``, or later. ``took`` is told of each new value.
    """

    def __init__(
        self, paths: Sequence[Path], read: Callable[[], T], value: T, seen: Stamps, took: Callable[[T], None]
    ) -> None:
        self.value = value
        self._paths = tuple(paths)
        self._read = read
        self._seen = seen
        self._took = took
        self._looking = asyncio.Lock()
        self._looks_begun = self._looks_done = 0

    async def watch(self) -> None:
        """Notices within a second that a file was changed, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes over what the files hold now. Callers at the same time share a look that began after each of them came."""
        begun = self._looks_begun
        async with self._looking:
            if self._looks_done > begun:
                return
            self._looks_begun = mine = self._looks_begun + 1
            self._take_over(await asyncio.to_thread(self._look))
            self._looks_done = mine

    def _look(self) -> Read[T] | None:
        """What is in the files; None: nothing new, or somebody is writing in one just now. In a thread."""
        stamps = stamps_of(self._paths)
        if stamps == self._seen or any(map(_is_unfinished, stamps, self._seen)):
            return None
        try:
            value = self._read()
        except SettingsError as error:
            return stamps, error
        return (stamps, value) if stamps == stamps_of(self._paths) else None

    def _take_over(self, found: Read[T] | None) -> None:
        if found is None:
            return
        self._seen, result = found
        if isinstance(result, SettingsError):
            log.error("a users file is wrong; the users known before stay: %s", told(result))
            return
        self.value = result
        self._took(result)
        log.info("a users file was read again: %s", ", ".join(map(str, self._paths)))


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None


def _is_unfinished(stamp: Stamp | None, seen: Stamp | None) -> bool:
    """An editor that writes into the file itself may be half-way, and the users it has not come to are not gone."""
    is_changed_in_place = stamp is not None and seen is not None and stamp != seen and stamp[2] == seen[2]
    return is_changed_in_place and stamp is not None and 0 <= time.time_ns() - stamp[0] < _QUIET_NS
