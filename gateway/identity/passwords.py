"""Passwords checked and hashed off the event loop.

A check (:mod:`gateway.identity.hashes`) takes tens of milliseconds of CPU and 64 MiB by design, so it runs in a small pool
with a bounded queue: a flood of sign-ins waits or is told to come back, and the requests of everybody else go on (founding
decision 9).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from gateway.errors import Busy
from gateway.identity.hashes import BrokenHash, hash_password, verify_password

T = TypeVar("T")
log = logging.getLogger("gateway.identity")

_QUEUE_PER_THREAD = 32
_REMEMBERED = 1024
_NICE = 10


class PasswordChecker:
    """Runs checks in threads, ``threads`` at once; more than the queue holds are :class:`~gateway.errors.Busy`."""

    def __init__(self, threads: int | None = None) -> None:
        count = threads or max(1, min(4, (os.cpu_count() or 2) // 2))
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="password", initializer=_step_back)
        self._free = self.places = count * (1 + _QUEUE_PER_THREAD)
        with ThreadPoolExecutor(1) as other:  # which takes the memory for it along when it ends
            self._nobody, self._reference = other.submit(_nobodys_hash).result()
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    async def fits(self, stored: str | None, password: str) -> bool:
        """``stored`` None (no such user): False, after the time a real check takes.

        A wrong password is answered after the time of the slowest check of late: a bcrypt hash of an old application takes
        a quarter of an argon2id one, and would tell who exists (P68).

        :raises Busy: the queue is full.
        """
        right, seconds = await self._run(lambda: _timed(stored or self._nobody, password))
        self._seconds.append(seconds)
        if right and stored is not None:
            return True
        await asyncio.sleep(max(*self._seconds, self._reference) - seconds)
        return False

    async def hash(self, password: str) -> str:
        """:func:`hash_password` under the same bound.

        :raises Busy: the queue is full.
        """
        return await self._run(lambda: hash_password(password))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._free <= 0:
            raise Busy
        self._free -= 1
        job = asyncio.get_running_loop().run_in_executor(self._pool, work)
        job.add_done_callback(self._done)
        return await asyncio.shield(job)

    def _done(self, job: asyncio.Future[T]) -> None:
        self._free += 1
        if not job.cancelled():
            job.exception()  # taken note of: whoever waited may be gone

    def close(self) -> None:
        """Lets go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """This thread has less of a core when the event loop wants it, too: proxied requests must not feel a flood of sign-ins. Not
    the least there is: beside a backend that keeps every core busy a check must not take half a minute. On Linux a thread
    has a priority of its own (setpriority(2), "C library/kernel differences")."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _timed(stored: str, password: str) -> tuple[bool, float]:
    """The answer, and how long it took; a hash that cannot be read fits nothing."""
    started = time.perf_counter()
    try:
        right = verify_password(stored, password)
    except BrokenHash:
        log.error("a stored password hash cannot be read: %s", _fingerprint(stored))
        right = False
    return right, time.perf_counter() - started


@cache
def _nobodys_hash() -> tuple[str, float]:
    """Checked for unknown users, so that they take as long as known ones (P68); and the seconds it takes here."""
    started = time.perf_counter()
    made = hash_password(b64encode(os.urandom(24)).decode())
    return made, time.perf_counter() - started


def _fingerprint(stored: str) -> str:
    return f"kind {stored[:4]!r}, sha256 {hashlib.sha256(stored.encode('utf-8', 'replace')).hexdigest()[:12]}"
