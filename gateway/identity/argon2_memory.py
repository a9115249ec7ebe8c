"""argon2 (RFC 9106) that leaves the other cores and the kernel alone.

The library's own way has a thread for each lane, and asks the kernel for its memory anew each time. While the kernel clears
and takes back 64 MiB, and while dozens of short threads come and go, nothing else gets that core, and proxied requests
wait. Here the lanes are computed one after the other in the thread that asks, in memory that this thread keeps: the same
hash, and a bound on threads is one on cores.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi

_KEPT = 2**26
_thread = threading.local()
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)  # clearing would hold the interpreter's lock


@dataclass(frozen=True, slots=True)
class Cost:
    """``memory`` in KiB, ``length`` of the hash in bytes."""

    passes: int
    memory: int
    lanes: int
    length: int
    kind: Type = Type.ID
    version: int = ARGON2_VERSION


def argon2(password: bytes, salt: bytes, cost: Cost) -> bytes:
    """The raw hash.

    :raises HashingError: a cost that argon2 does not take, or no memory.
    """
    out = ffi.new("uint8_t[]", cost.length)
    given, salted = ffi.new("uint8_t[]", password), ffi.new("uint8_t[]", salt)
    context = ffi.new("argon2_context *")
    context.out, context.outlen = out, cost.length
    context.pwd, context.pwdlen = given, len(password)
    context.salt, context.saltlen = salted, len(salt)
    context.t_cost, context.m_cost = cost.passes, cost.memory
    context.lanes, context.threads, context.version = cost.lanes, 1, cost.version
    if cost.memory * 1024 <= _KEPT:  # a larger one is the library's own business, without the interpreter's lock
        context.allocate_cbk, context.free_cbk = _take, _leave
    status = core(context, cost.kind.value)
    if status != 0:
        raise HashingError(error_to_str(status))
    return bytes(ffi.buffer(out, cost.length))


@ffi.callback("int(uint8_t **, size_t)", error=-1)  # type: ignore[untyped-decorator]
def _take(where: Any, size: int) -> int:
    room = getattr(_thread, "room", None)
    if room is None or len(room) < size:
        room = _uncleared("uint8_t[]", size)
        _thread.room = room
    where[0] = room
    return 0


@ffi.callback("void(uint8_t *, size_t)")  # type: ignore[untyped-decorator]
def _leave(where: Any, size: int) -> None:
    """It has been wiped by the library, and stays; without this callback the library would free it."""
