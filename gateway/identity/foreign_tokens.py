"""Who brings a token of another issuer: a :class:`~gateway.store.bearers.Source`.

A token whose key is known is judged without awaiting; one with an unknown key may wait until its issuer was asked. What such a
user may do follows from his token alone: he is in none of our sources, and only the token's end ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.foreign_tokens import ForeignIssuer, unverified_issuer
from gateway.core.jwk import VerifyingKey
from gateway.core.jwt import BadToken
from gateway.errors import StoreUnavailable
from gateway.identity.foreign_keys import ForeignKeys
from gateway.store.bearers import Bearer

_KEPT = 4096
_SHORT = 4096
_Keys = Mapping[str, VerifyingKey]


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer and its keys."""

    issuer: ForeignIssuer
    keys: ForeignKeys


class ForeignTokens:
    """Of all foreign issuers. ``clock`` gives epoch seconds."""

    def __init__(self, trusted: Sequence[Trusted], clock: Callable[[], float] = time.time) -> None:
        self._by_issuer = {one.issuer.issuer: one for one in trusted}
        self._clock = clock
        self._whose: dict[str, Trusted | None] = {}
        self._verified: dict[str, tuple[Bearer, _Keys]] = {}

    def takes(self, text: str) -> bool:
        """Does it say that it is from one of these issuers?"""
        return self._of(text) is not None

    def known(self, text: str) -> Bearer | BadToken | None:
        """Without awaiting; None: its issuer has to be asked for the key."""
        one = self._of(text)
        if one is None:
            return BadToken("token_issuer")
        found = self._judged(text, one)
        return None if found is None and (one.keys.may_ask() or one.keys.is_away) else found or _UNKNOWN

    async def find(self, text: str) -> Bearer | BadToken:
        """As :meth:`known`, after its issuer was asked, if he may be.

        :raises StoreUnavailable: its issuer is away, and its key is not among those known before.
        """
        one = self._of(text)
        if one is None:
            return BadToken("token_issuer")
        found = self._judged(text, one)
        if found is None:
            await one.keys.ask()
            found = self._judged(text, one)
        if found is None and one.keys.is_away:
            raise StoreUnavailable(f"the keys of {one.issuer.issuer} cannot be fetched")
        return found or _UNKNOWN

    async def watch(self) -> None:
        """Keeps the keys fresh, until it is cancelled."""
        await asyncio.gather(*(one.keys.watch() for one in self._by_issuer.values()))

    async def close(self) -> None:
        """Lets go of what is open."""
        await asyncio.gather(*(one.keys.close() for one in self._by_issuer.values()))

    def _of(self, text: str) -> Trusted | None:
        """Remembered: our own tokens pass here, too, with every request."""
        if text in self._whose:
            return self._whose[text]
        found = self._by_issuer.get(unverified_issuer(text) or "")
        if len(text) <= _SHORT:
            if len(self._whose) >= _KEPT:
                self._whose.clear()
            self._whose[text] = found
        return found

    def _judged(self, text: str, one: Trusted) -> Bearer | BadToken | None:
        """None: its key is not known."""
        if not one.keys.are_believed():
            return None
        kept = self._verified.get(text)
        if kept is None or kept[1] is not one.keys.by_kid:
            return self._read(text, one)
        bearer = kept[0]
        return bearer if self._clock() < bearer.ends else BadToken("token_expired")

    def _read(self, text: str, one: Trusted) -> Bearer | BadToken | None:
        keys = one.keys.by_kid
        asked_for: list[str] = []

        def find(kid: str, _: str) -> VerifyingKey | None:
            asked_for.append(kid)
            return keys.get(kid)

        try:
            claims = one.issuer.read(text, find, self._clock())
        except BadToken as error:
            is_unknown = any(kid not in keys for kid in asked_for)
            return None if is_unknown else error
        bearer = Bearer(text, claims.user, ends=claims.expires + one.issuer.leeway, claims=claims)
        if len(self._verified) >= _KEPT:
            self._verified.clear()
        self._verified[text] = bearer, keys
        return bearer


_UNKNOWN = BadToken("token_unknown_key")
