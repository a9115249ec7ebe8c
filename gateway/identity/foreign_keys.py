"""The public keys of a foreign issuer, fetched from its JWKS (RFC 7517) and kept.

They are asked for again in the background, before they are old, and once a minute at most when a token names a key that is
not among them: anybody can invent key ids. While the issuer cannot be reached, those known before stay for a day; after that
nobody knows, which is an outage and no bad token. Redirects are not followed, and what is no key is left out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.core.jwk import VerifyingKey, public_key_from_jwk, strict_object

log = logging.getLogger("gateway.identity")
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_PIECE = 1 << 16
_MAX_CAUSE = 300


class _Unusable(Exception):
    """The answer is no key set; its text is for the log, and holds nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: how often keys are fetched, how soon again when that failed, how often for an unknown key at most, how long
    keys are believed that cannot be fetched again, and how long an answer may take."""

    every: float = 600
    again: float = 10
    unknown: float = 60
    stale: float = 86_400
    timeout: float = 5


class ForeignKeys:
    """Of one issuer. ``algorithms``: keys for others are left out. ``by_kid`` is another object when the keys changed."""

    def __init__(self, url: str, algorithms: Collection[str], pace: Pace | None = None) -> None:
        self.url = url
        self.by_kid: Mapping[str, VerifyingKey] = {}
        self.is_away = False
        """Did the last attempt fail?"""
        self._algorithms = frozenset(algorithms)
        self._pace = pace or Pace()
        self._body = b""
        self._fetched: float | None = None
        self._asked_for_unknown: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    def get(self, kid: str) -> VerifyingKey | None:
        """None: it is not known, or no key is by now. Never awaits."""
        return self.by_kid.get(kid) if self.are_believed() else None

    def are_believed(self) -> bool:
        """Were they fetched at all, and not too long ago?"""
        return self._fetched is not None and time.monotonic() - self._fetched < self._pace.stale

    def may_ask(self) -> bool:
        """May a token with an unknown key wait for an answer?"""
        last = self._asked_for_unknown
        is_asking = self._asking is not None and not self._asking.done()
        return is_asking or last is None or time.monotonic() - last >= self._pace.unknown

    async def ask(self) -> None:
        """For a key that is not known; all who ask at the same time share one question."""
        if self._asking is None or self._asking.done():
            if not self.may_ask():
                return
            self._asked_for_unknown = time.monotonic()
        await asyncio.wait({self._started()})

    async def watch(self) -> None:
        """Fetches them again and again, until it is cancelled."""
        while True:
            await asyncio.wait({self._started()})
            await asyncio.sleep(self._pace.again if self.is_away else self._pace.every)

    async def close(self) -> None:
        """Lets go of what is open."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        if self._session is not None:
            await self._session.close()

    def _started(self) -> asyncio.Task[None]:
        """A task of its own: who waits for it may go away."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh())
        return self._asking

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._pace.timeout):
                body = await self._answer()
            self._take_over(body)
        except TimeoutError:
            self._failed(f"no whole answer within {self._pace.timeout:g} s")
        except _Unusable as error:
            self._failed(str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._failed(type(error).__name__ if isinstance(error, ValueError) else str(error) or type(error).__name__)

    def _failed(self, cause: str) -> None:
        if not self.is_away:
            fields = {"jwks_url": self.url, "cause": cause[:_MAX_CAUSE], "keys_kept": len(self.by_kid)}
            log.warning("the keys of a token issuer cannot be fetched", extra={"fields": fields})
        self.is_away = True

    def _take_over(self, body: bytes) -> None:
        """The same keys stay the same object: what was verified with them stays verified.

        :raises _Unusable: no key of use is in it; then those known before stay.
        """
        if body != self._body:
            self.by_kid, self._body = _read_keys(body, self._algorithms, self.url), body
            log.info("the keys of a token issuer: %d from %s", len(self.by_kid), self.url)
        elif self.is_away:
            log.info("the keys of a token issuer can be fetched again: %s", self.url)
        self.is_away, self._fetched = False, time.monotonic()

    async def _answer(self) -> bytes:
        async with self._open().get(self.url, allow_redirects=False) as response:
            if response.status != 200:
                raise _Unusable(f"the answer was {response.status}")
            data = bytearray()
            while piece := await response.content.read(_PIECE):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise _Unusable(f"the answer is longer than {_MOST_BYTES} bytes")
            return bytes(data)

    def _open(self) -> aiohttp.ClientSession:
        """No proxy from the environment, nothing kept, nothing unpacked (a small answer may be a large one)."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "auth-gateway", "Accept-Encoding": "identity", "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _read_keys(body: bytes, algorithms: Collection[str], url: str) -> dict[str, VerifyingKey]:
    """:raises _Unusable: there is none."""
    data = strict_object(body)
    listed = data.get("keys") if data is not None else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise _Unusable("the answer is no JSON Web Key Set, or one of too many keys")
    found: dict[str, VerifyingKey] = {}
    for number, jwk in enumerate(listed, 1):
        why = _add(jwk, algorithms, found)
        if why:
            log.info("a key of a token issuer is left out: number %d of %s: %s", number, url, why)
    if not found:
        raise _Unusable("there is no key of use in the answer")
    return found


def _add(jwk: Any, algorithms: Collection[str], found: dict[str, VerifyingKey]) -> str:
    """Why not; empty: it is there now. Of two keys with one id the first counts."""
    try:
        key = public_key_from_jwk(jwk)
    except ValueError as error:
        return str(error)
    if not key.kid:
        return "it has no kid"
    if key.algorithm not in algorithms:
        return f"{key.algorithm} is not among the algorithms of this issuer"
    if key.kid in found:
        return "its kid is another key's, too"
    found[key.kid] = key
    return ""
