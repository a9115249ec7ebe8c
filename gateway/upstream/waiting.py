"""Requests that wait for a server with room, in the order in which they came; a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from gateway.errors import UpstreamError
from gateway.upstream.balancer import Server

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Waiter(Protocol[T_contra]):
    """A request that waits. ``key`` and ``tried``: as the balancer wants them."""

    @property
    def key(self) -> bytes:
        """What a sticky session is bound by."""

    @property
    def tried(self) -> Collection[Server]:
        """Servers that will not do."""

    def proceed(self, found: T_contra) -> None:
        """There is a place."""

    def give_up(self, error: UpstreamError) -> None:
        """There will be none."""


class WaitingLine(Generic[T]):
    """First come, first served."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._waiting: OrderedDict[Waiter[T], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_in_order(self) -> bool:
        """Does anybody wait who came first? Who has servers to avoid holds up nobody."""
        return any(not waiter.tried for waiter in self._waiting)

    def join(self, waiter: Waiter[T]) -> bool:
        """False: the line is full."""
        if len(self._waiting) >= self._size:
            return False
        self._waiting[waiter] = None
        return True

    def leave(self, waiter: Waiter[T]) -> None:
        """It waits no longer, if it did."""
        self._waiting.pop(waiter, None)

    def serve(self, find: Callable[[Waiter[T]], T | None]) -> None:
        """Who comes first goes first. One that has servers to avoid holds up nobody."""
        for waiter in list(self._waiting):
            if waiter not in self._waiting:
                continue  # it left when another one was served
            found = find(waiter)
            if found is not None:
                del self._waiting[waiter]
                waiter.proceed(found)
            elif not waiter.tried:
                return

    def dissolve(self, error: Callable[[], UpstreamError]) -> None:
        """Everybody hears that there is no server."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for waiter in waiting:
            waiter.give_up(error())
