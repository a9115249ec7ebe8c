"""The session engine on files, for one or many processes of one host; on disk as :mod:`gateway.store.session_files` says.

Everything blocking runs in a few threads. A thread never waits for a lock: the caller does, on the event loop, so that a
frozen process that holds one makes its share of the sessions unavailable and not all of them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.errors import StoreUnavailable
from gateway.store.engine import Capabilities, Gone, Kept, Write
from gateway.store.session_files import LockHeld, SessionFiles

T = TypeVar("T")
P = ParamSpec("P")

_THREADS = 4
_QUEUE = 1024
_PAUSE, _LONGEST_PAUSE = 0.001, 0.016  # seconds between two attempts at a lock
_CHUNK = 200  # files the broom looks at before others have a turn


class FileSessionEngine:
    """A :class:`gateway.store.engine.SessionEngine`; every OSError, and a lock or a disk that takes longer than
    ``timeout`` seconds in all, is :class:`~gateway.errors.StoreUnavailable`.

    A caller that is cancelled leaves its write undone or whole. ``linger`` in seconds; ``clock`` gives epoch seconds and
    must be the same for all processes.
    """

    capabilities = Capabilities(
        directory=False,
        revocation_within_a_second=True,
        merge=True,
        survives_loss_of_redis=True,
        several_processes=True,
    )
    directory = None

    def __init__(
        self, folder: Path, linger: float, clock: Callable[[], float] = time.time, *, timeout: float = 2.0
    ) -> None:
        self._files = SessionFiles(folder, linger, clock)
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="session-files")
        self._places = threading.BoundedSemaphore(_QUEUE)

    async def load(self, names: Sequence[bytes]) -> list[Kept | Gone]:
        """Reads the files, without locks; nothing is remembered."""
        return await self._run(self._files.load, names)

    async def create(self, name: bytes, value: bytes, seen: bytes, ttl: float) -> bool:
        """Keeps it only if nothing is there; it is on disk when this returns."""
        return await self._run(self._files.create, name, value, seen, ttl)

    async def update(self, name: bytes, value: bytes, seen: bytes, ttl: float, expected: bytes) -> Write:
        """Compare-and-set under the lock of the name."""
        return await self._run(self._files.update, name, value, seen, ttl, expected)

    async def touch(self, name: bytes, seen: bytes, ttl: float) -> None:
        """Writes the file anew, value and all, under the lock: no other write is undone."""
        await self._run(self._files.touch, name, seen, ttl)

    async def shorten(self, name: bytes, ttl: float) -> None:
        """Ends it ``ttl`` seconds from now, without lingering; nothing is seen any more."""
        await self._run(self._files.shorten, name, ttl)

    async def delete(self, name: bytes) -> bytes | None:
        """Removes the file, which needs no space, and returns the value it had."""
        return await self._run(self._files.delete, name)

    async def bury(self, name: bytes, note: str, ttl: float) -> None:
        """Leaves a note in a file of its own."""
        await self._run(self._files.bury, name, note, ttl)

    async def announce(self, key_ids: Sequence[str]) -> None:
        """One file each."""
        for key_id in key_ids:
            await self._run(self._files.announce, key_id)

    async def withdraw(self, key_id: str) -> None:
        """Removes its file."""
        await self._run(self._files.withdraw, key_id)

    async def announced(self) -> frozenset[str]:
        """The key ids that have a whole file."""
        return await self._run(self._files.announced)

    async def clear_expired(self) -> int:
        """Deletes sessions that are over, notes, and what killed processes left; only the sessions count."""
        removed = await self._sweep(self._files.sessions)
        await self._sweep(self._files.notes)
        await self._sweep(self._files.new)
        return removed

    async def _sweep(self, folder: Path) -> int:
        names = await self._run(os.listdir, folder)
        chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
        return sum([await self._run(self._files.sweep, folder, chunk) for chunk in chunks])

    async def ping(self) -> None:
        """The folder is there and may be written."""
        await self._run(self._files.check)

    async def close(self) -> None:
        """No new work; what was begun is finished in its thread."""
        self._pool.shutdown(wait=False)

    async def _run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        pause = _PAUSE
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        return await self._in_thread(lambda: work(*arguments, **named))
                    except LockHeld:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE)
        except OSError as error:  # TimeoutError is one
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Cancelled: work that waits is dropped, work that runs goes on to its end; either way nothing is left half."""

        def prepared() -> T:
            self._files.prepare()
            return work()

        if not self._places.acquire(blocking=False):
            raise StoreUnavailable("too many wait for the disk")
        try:
            job = self._pool.submit(prepared)
        except RuntimeError as error:
            self._places.release()
            raise StoreUnavailable("the engine is closed") from error
        job.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(job)
