"""Passwords are checked off the loop, in a bounded queue, and take as long for unknown users."""

from __future__ import annotations

import asyncio
import time

import bcrypt

from gateway.errors import Busy
from gateway.identity.hashes import hash_password
from gateway.identity.passwords import PasswordChecker

ARGON = hash_password("correct horse")
BCRYPT = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()


async def test_a_broken_hash_or_an_unknown_user_is_a_wrong_password() -> None:
    checker = PasswordChecker(1)
    assert await checker.fits(ARGON, "correct horse")
    assert not await checker.fits("$argon2id$broken", "x")
    assert not await checker.fits(None, "x")
    checker.close()


async def test_an_unknown_user_takes_as_long_as_a_known_one() -> None:
    """P68. The median of nine each, so that a busy machine does not decide; a look-up without hashing takes 1/1000."""
    checker = PasswordChecker(1)

    async def seconds(stored: str | None) -> float:
        started = time.perf_counter()
        await checker.fits(stored, "wrong")
        return time.perf_counter() - started

    known, unknown = [], []
    for _ in range(9):
        known.append(await seconds(ARGON))
        unknown.append(await seconds(None))
    assert 1 / 3 < sorted(known)[4] / sorted(unknown)[4] < 3
    checker.close()


async def test_a_full_queue_says_so_and_empties_again() -> None:
    checker = PasswordChecker(1)
    results = await asyncio.gather(*(checker.fits(BCRYPT, "x") for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(result, Busy) for result in results) == 50 - 33
    assert await checker.fits(BCRYPT, "correct horse")
    checker.close()


async def test_whoever_stops_waiting_leaves_the_queue_in_order() -> None:
    checker = PasswordChecker(1)
    tasks = [asyncio.create_task(checker.fits(BCRYPT, "x")) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert await checker.fits(BCRYPT, "correct horse")
            break
        except Busy:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    checker.close()
