"""The :class:`gateway.identity.sign_in.Throttle` that counts: which counters stands in :mod:`gateway.core.throttling`, where
they are kept is a store's business."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Protocol

from gateway.core.device_cookie import DeviceTickets
from gateway.core.throttling import Counter, Policy, account_counters, door_counters
from gateway.errors import Throttled
from gateway.identity.sign_in import Caller, Outcome


class Throttles(Protocol):
    """Where attempts are counted. What cannot be asked is :class:`~gateway.errors.StoreUnavailable`, never "go on"."""

    async def reserve(self, counters: Sequence[Counter]) -> float:
        """0.0: all have room, and the attempt is counted in each. Else: the seconds until they have, and nothing is counted.

        In one step, whoever else is counting.
        """

    async def settle(self, counters: Sequence[Counter], *, success: bool) -> None:
        """An attempt that was counted succeeded: see :class:`~gateway.core.throttling.Success`. Or it was none
        (``success`` False): each counter gets its one back."""


class CountingThrottle:
    """``devices`` tells the browsers that have signed in before."""

    def __init__(self, throttles: Throttles, policy: Policy, devices: DeviceTickets) -> None:
        self._throttles = throttles
        self._policy = policy
        self._devices = devices

    async def enter(self, caller: Caller) -> None:
        """Counts an attempt of this address, or of this browser where it has a device cookie."""
        await self._reserve(self._door(caller))

    async def reserve(self, account: str, caller: Caller) -> None:
        """Counts an attempt at this account. What :meth:`enter` counted stays when it has to wait: it has cost a look-up."""
        await self._reserve(self._counters(account, caller))

    async def settle(self, account: str, caller: Caller, outcome: Outcome) -> None:
        """Once for each :meth:`reserve` that returned."""
        if outcome != "wrong":
            counters = [*self._door(caller), *self._counters(account, caller)]
            await self._throttles.settle(counters, success=outcome == "right")

    def _door(self, caller: Caller) -> list[Counter]:
        return door_counters(caller.address, caller.device, self._policy)

    def _counters(self, account: str, caller: Caller) -> list[Counter]:
        is_known = self._devices.knows(caller.device, account)
        return account_counters(account, caller.address, caller.device, is_known=is_known, policy=self._policy)

    async def _reserve(self, counters: Sequence[Counter]) -> None:
        wait = await self._throttles.reserve(counters)
        if wait > 0:
            raise Throttled(max(ceil(wait), 1))  # whole seconds, never too early (RFC 9110 §10.2.3)
