"""The one way in for whoever brings a password, whatever the endpoint: page, JSON, alias::

    address ─▶ find ─▶ account ─▶ verify ─▶ SignedIn, or Failed
       │        │         │         └ the sources in their order; the bounded pool of password checks
       │        │         └ throttled by account: counted before the password is looked at, so that a crowd passes no limit
       │        └ what the sources know of this login: a username and an e-mail address are one account
       └ throttled by address: a flood costs no look-up

Failed answers are released at a multiple of ``failure_time``, whatever was wrong and whoever was asked (P68, P69); so are 429
and 503, which slows a flood that asks again at once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from math import ceil
from typing import Literal, Protocol

from gateway.core.device_cookie import Device
from gateway.core.identity import Identity
from gateway.errors import Busy, GatewayError, SourceUnavailable
from gateway.identity.caller import caller_address
from gateway.identity.crowd import Crowd
from gateway.identity.source import NotChanged, canonical
from gateway.identity.users import Search, Users, Verified

Outcome = Literal["right", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the door: his address, and the browser if it has signed in here before."""

    address: str
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``account``: what his attempts are counted under; the typed name, where no source knew him before his password."""

    user: Identity
    account: str
    verified: Verified


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody signs in. ``user``: whose account it would have been, for the log alone; ``disabled``: it is shut."""

    user: Identity | None = None
    disabled: bool = False


class Throttle(Protocol):
    """Limits attempts. A store that is away is :class:`~gateway.errors.StoreUnavailable`: nobody gets in uncounted."""

    async def enter(self, caller: Caller) -> None:
        """Counts an attempt of this address.

        :raises Throttled: it has to wait.
        """

    async def reserve(self, account: str, caller: Caller) -> None:
        """Counts an attempt at this account.

        :raises Throttled: it has to wait.
        """

    async def settle(self, account: str, caller: Caller, outcome: Outcome) -> None:
        """Gives back what was counted when the password was right, or when nobody could say (``unknown``)."""


class Unthrottled:
    """A :class:`Throttle` that lets everybody try."""

    async def enter(self, caller: Caller) -> None:
        """Comes in."""

    async def reserve(self, account: str, caller: Caller) -> None:
        """May try."""

    async def settle(self, account: str, caller: Caller, outcome: Outcome) -> None:
        """There is nothing to give back."""


class SignIn:
    """``failure_time`` in seconds; ``most``: attempts of one network at a time."""

    def __init__(self, users: Users, throttle: Throttle, failure_time: float, most: int) -> None:
        self._users = users
        self._throttle = throttle
        self._failure_time = failure_time
        self._crowd = Crowd(most)

    async def attempt(self, login: str, password: str, caller: Caller) -> SignedIn | Failed:
        """The user with this username or e-mail address and password.

        :raises Throttled: too many attempts; the password was not looked at.
        :raises Busy: too many checks wait.
        :raises SourceUnavailable, StoreUnavailable: nobody can say.
        """
        caller_address.set(caller.address)
        started = time.monotonic()
        try:
            with self._crowd.one(caller.address):
                await self._throttle.enter(caller)
                return await self._attempt(login, password, caller, started)
        except Busy:
            # Throttled, too. At its own pace it would tell how long a look-up took, and be asked for again at once; and those
            # who are turned away together must not come back in step.
            await self._failed(started)
            await asyncio.sleep(self._failure_time * secrets.randbelow(1000) / 1000)
            raise

    async def _attempt(self, login: str, password: str, caller: Caller, started: float) -> SignedIn | Failed:
        search = await self._users.find(login)
        known = search.found
        account = account_of(known.identity) if known else canonical(login)
        try:
            await self._throttle.reserve(account, caller)
            verified = await self._verified(search, password, caller, account)
        except GatewayError as error:
            error.about = known.identity if known else None
            raise
        if verified is None:
            await self._failed(started)
            return Failed(known.identity if known else None, known.disabled if known else False)
        await self._throttle.settle(account, caller, "right")
        return SignedIn(verified.user, account, verified)

    async def is_confirmed(self, signed_in: SignedIn, password: str) -> bool:
        """To be asked once the session is open: has nobody changed the password, or shut the account, meanwhile?

        :raises Busy, SourceUnavailable: nobody can say.
        """
        return await self._users.confirm(signed_in.verified, password)

    async def _verified(self, search: Search, password: str, caller: Caller, account: str) -> Verified | None:
        try:
            verified = await self._users.verify(search, password)
        except (Busy, SourceUnavailable):
            # Given back only where no source has said no: else guesses at one would be free while another is away.
            await self._throttle.settle(account, caller, "wrong" if search.refused else "unknown")
            raise
        if verified is None:
            await self._throttle.settle(account, caller, "wrong")
        return verified

    async def change_password(self, user: Identity, old: str, new: str, caller: Caller) -> Identity | NotChanged:
        """A stolen session must not be a way to guess its password: counted as a sign-in.

        :raises Throttled, Busy, SourceUnavailable, StoreUnavailable: as :meth:`attempt`.
        """
        await self._throttle.enter(caller)
        account, started = account_of(user), time.monotonic()
        await self._throttle.reserve(account, caller)
        try:
            changed = await self._users.change_password(user, old, new)
        except (Busy, SourceUnavailable):
            await self._throttle.settle(account, caller, "unknown")
            raise
        outcomes: dict[object, Outcome] = {NotChanged.WRONG: "wrong", NotChanged.IMPOSSIBLE: "unknown"}
        await self._throttle.settle(account, caller, outcomes.get(changed, "right"))
        if changed is NotChanged.WRONG:
            await self._failed(started)
        return changed

    async def _failed(self, started: float) -> None:
        """Waits for the next multiple of ``failure_time``."""
        if self._failure_time:
            took = time.monotonic() - started
            await asyncio.sleep(ceil(took / self._failure_time) * self._failure_time - took)


def account_of(user: Identity) -> str:
    """What attempts are counted under."""
    return f"{user.source}\0{user.id}"
