"""Our own way through argon2 (gateway/identity/argon2_memory.py): the library's hashes, in memory that a thread keeps."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from gateway.identity.argon2_memory import Cost, argon2
from gateway.identity.hashes import BrokenHash, verify_password
from tests.core.tables import table

SALT = b"0123456789abcdef"
SMALL = Cost(passes=2, memory=64, lanes=2, length=32)

COSTS = {
    "today's": Cost(3, 65536, 4, 32),
    "one lane": Cost(2, 64, 1, 32),
    "as many lanes as the memory takes": Cost(1, 512, 64, 32),
    "memory that is no multiple of the lanes": Cost(2, 101, 3, 32),
    "the least": Cost(1, 8, 1, 4),
    "argon2i": Cost(3, 128, 2, 32, Type.I),
    "argon2d": Cost(3, 128, 2, 32, Type.D),
    "argon2i of version 16": Cost(3, 128, 2, 32, Type.I, 16),
    "argon2id of version 16": Cost(2, 256, 4, 16, Type.ID, 16),
    "a long hash": Cost(1, 64, 2, 200),
}
PASSWORDS = {
    "some text": b"correct horse",
    "nothing": b"",
    "a NUL": b"\0",
    "NULs inside and at the end": b"a\0b\0",
    "no UTF-8": b"\xff\xfe",
    "long": b"x" * 10_000,
}


def by_the_library(password: bytes, salt: bytes, cost: Cost) -> bytes:
    return hash_secret_raw(password, salt, cost.passes, cost.memory, cost.lanes, cost.length, cost.kind, cost.version)


@pytest.mark.parametrize("cost", table(COSTS))
def test_a_hash_is_what_the_library_makes_of_any_cost(cost: Cost) -> None:
    for password in (b"", b"correct horse"):
        assert argon2(password, SALT, cost) == by_the_library(password, SALT, cost)


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize("salt", [b"\0" * 8, b"salt\0\0\0\0with NULs", b"s" * 64], ids=["zeros", "with NULs", "long"])
def test_a_hash_is_what_the_library_makes_of_any_password_and_salt(password: bytes, salt: bytes) -> None:
    assert argon2(password, salt, SMALL) == by_the_library(password, salt, SMALL)


def test_no_password_is_cut_at_a_nul() -> None:
    made = [argon2(password, SALT, SMALL) for password in (b"", b"\0", b"a", b"a\0", b"a\0b")]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("kind", [Type.ID, Type.I])
def test_what_the_library_wrote_is_verified(kind: Type) -> None:
    stored = PasswordHasher(time_cost=2, memory_cost=128, parallelism=4, type=kind).hash("a\0b")
    assert verify_password(stored, "a\0b")
    assert not verify_password(stored, "a")
    assert not verify_password(stored, "a\0b\0")


@pytest.mark.parametrize(
    ("salt", "cost"),
    table(
        {
            "no salt": (b"", SMALL),
            "a salt of seven bytes": (b"1234567", SMALL),
            "more lanes than an eighth of the memory": (SALT, Cost(1, 63, 8, 32)),
            "no memory": (SALT, Cost(1, 0, 1, 32)),
            "no pass": (SALT, Cost(0, 64, 1, 32)),
            "no lane": (SALT, Cost(1, 64, 0, 32)),
            "a hash of three bytes": (SALT, Cost(1, 64, 1, 3)),
        }
    ),
)
def test_a_cost_that_makes_no_sense_is_an_error_and_the_next_hash_is_right(salt: bytes, cost: Cost) -> None:
    with pytest.raises(HashingError):
        argon2(b"password", salt, cost)
    assert argon2(b"password", SALT, SMALL) == by_the_library(b"password", SALT, SMALL)


@pytest.mark.parametrize(
    "cost", ["m=7,t=1,p=1", "m=63,t=1,p=8", "m=1,t=4194304,p=1"], ids=["memory", "lanes", "the longest of the least"]
)
def test_a_stored_hash_of_such_a_cost_is_broken(cost: str) -> None:
    with pytest.raises(BrokenHash):
        verify_password(f"$argon2id$v=19${cost}$MDEyMzQ1Njc4OWFiY2RlZg${'A' * 43}", "password")


def test_threads_do_not_meet_in_their_memory() -> None:
    """Sizes go up and down in each, so that memory is kept, replaced and given back while others compute."""
    costs = [Cost(1, memory, 4, 32) for memory in (64, 4096, 32, 100_000, 1024, 8192, 70_000, 256)]
    jobs = [(f"password {number}".encode(), costs[number % len(costs)]) for number in range(48)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda job: argon2(job[0], SALT, job[1]), jobs))
    assert made == [by_the_library(password, SALT, cost) for password, cost in jobs]


_CHILD = """
import os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from argon2.exceptions import HashingError
from gateway.identity.argon2_memory import Cost, argon2

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

def hashed(memory):
    try:
        return argon2(b"password", b"0123456789abcdef", Cost(1, memory, 4, 32)).hex()
    except HashingError:
        return "no memory"
"""


def _in_a_process(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_memory_of_a_large_hash_does_not_stay_and_that_of_a_usual_one_is_kept_once_for_each_thread() -> None:
    [told] = _in_a_process(
        """
with ThreadPoolExecutor(1) as pool:
    pool.submit(hashed, 8).result()
    before = resident()
    for _ in range(3):
        pool.submit(hashed, 65536).result()
    usual = resident() - before
    pool.submit(hashed, 300_000).result()
    print(usual, resident() - before)
"""
    )
    usual, large = map(int, told.split())
    assert 50 < usual < 100
    assert large < usual + 32, "of 300,000 KiB"


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory that is kept to")
def test_without_the_memory_for_a_hash_there_is_none_and_the_process_goes_on() -> None:
    told = _in_a_process(
        """
limit = 512 * 2**20 + int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for memory in (64, 2**20, 64, 65536):
    print(hashed(memory))
"""
    )
    assert told[1] == "no memory"
    assert told[0] == told[2] == by_the_library(b"password", SALT, Cost(1, 64, 4, 32)).hex()
    assert told[3] == by_the_library(b"password", SALT, Cost(1, 65536, 4, 32)).hex()
