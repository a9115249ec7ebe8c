"""Users of an application that is asked by HTTP: its own sign-in says whether a password is right.

For backends whose stored passwords nobody can read. Each question has a connection and a time-out of its own, redirects are
not followed, cookies are thrown away, nothing is asked twice. What does not say clearly "right" or "wrong" is
:class:`~gateway.errors.SourceUnavailable`; which that is decides :mod:`gateway.identity.http_answers`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookies import Morsel
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.core.identity import Identity
from gateway.errors import Busy, SourceUnavailable
from gateway.identity.caller import caller_address
from gateway.identity.http_answers import Answer, Pointers, StillThere, Success, is_plain
from gateway.identity.source import Found, RemoteSource, canonical

_MOST_BYTES = 1 << 20
_PIECE = 1 << 16
_WAITING_FOR_EACH = 10


@dataclass(frozen=True, slots=True)
class SignInCall:
    """How to ask whether a password is right. ``extra``: fields that are always the same. ``success``: what says that it is."""

    url: str
    success: Success
    identity: Pointers = field(default_factory=Pointers)
    as_json: bool = False
    username_field: str = "username"
    password_field: str = "password"  # noqa: S105 - the name of a field
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class LookupCall:
    """How to ask who somebody is by now; ``{id}`` in ``url`` is his id."""

    url: str
    there: StillThere
    identity: Pointers


@dataclass(frozen=True, slots=True)
class Way:
    """How questions travel: for ``timeout`` seconds at most, so many at once. ``tls`` None: as the system trusts.
    ``forward_address``: tell the person's address in ``X-Forwarded-For``."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 5.0
    at_once: int = 10
    tls: ssl.SSLContext | None = None
    forward_address: bool = False


class HttpUsers(RemoteSource):
    """A :class:`~gateway.identity.source.UserSource`. Without ``lookup`` nobody is looked up again."""

    def __init__(
        self, name: str, sign_in: SignInCall, lookup: LookupCall | None, way: Way, recheck: float = 0.0
    ) -> None:
        super().__init__(name, recheck if lookup is not None else 0.0)
        self._sign_in = sign_in
        self._lookup = lookup
        self._way = way
        self._free = asyncio.Semaphore(way.at_once)
        self._waiting = 0
        self._session: aiohttp.ClientSession | None = None

    async def find(self, login: str) -> Found | None:
        """Nobody is known before his password is."""
        return None

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        """Who it is follows from the answer."""
        call = self._sign_in
        typed = call.identity.as_asked(login)
        if not canonical(typed) or not is_plain(typed) or not is_plain(password):
            return None  # what ends a text for some languages: they would check another name than this one
        fields = {**call.extra, call.username_field: typed, call.password_field: password}
        headers = (
            {"X-Forwarded-For": address} if self._way.forward_address and (address := caller_address.get()) else {}
        )
        answer = await self._ask("POST", URL(call.url), headers, **{"json" if call.as_json else "data": fields})
        if not call.success.fits(answer):
            return None
        return call.identity.identity(answer, typed, self.name)

    async def get(self, user_id: str) -> Identity | None:
        """As the application says now."""
        call = self._lookup
        if call is None:
            raise SourceUnavailable("there is no lookup for this source")
        url = URL(call.url.replace("{id}", quote(user_id, safe="")), encoded=True)
        answer = await self._ask("GET", url, {})
        return call.identity.identity_of(answer, user_id, self.name) if call.there.fits(answer) else None

    async def close(self) -> None:
        """Lets go of what is open."""
        if self._session is not None:
            await self._session.close()

    # -- asking
    async def _ask(self, method: str, url: URL, headers: Mapping[str, str], **body: Any) -> Answer:
        """:raises SourceUnavailable: no whole answer came in time.
        :raises Busy: too many wait already.
        """
        if self._waiting >= self._way.at_once * _WAITING_FOR_EACH:
            raise Busy
        self._waiting += 1
        try:
            async with asyncio.timeout(self._way.timeout), self._free:
                return await self._answer(method, url, headers, body)
        except TimeoutError as error:
            raise SourceUnavailable(f"{url.host}: no answer within {self._way.timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # the text of a ValueError may hold what was sent
            told = type(error).__name__ if isinstance(error, ValueError) else str(error) or type(error).__name__
            raise SourceUnavailable(f"{url.host}: {told}") from error
        finally:
            self._waiting -= 1

    async def _answer(self, method: str, url: URL, headers: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
        """Nothing is read beyond a mebibyte: what is to be found there is no answer to this question."""
        options: dict[str, Any] = {"allow_redirects": False, "headers": headers, **body}
        async with self._open().request(method, url, **options) as response:
            data = bytearray()
            while piece := await response.content.read(_PIECE):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise SourceUnavailable(f"{url.host}: the answer is longer than {_MOST_BYTES} bytes")
            there = response.headers.get("Location", "")
            cookies = frozenset(name for name, morsel in response.cookies.items() if _is_kept(morsel))
            return Answer(response.status, bytes(data), there, cookies)

    def _open(self) -> aiohttp.ClientSession:
        """No cookie and no connection passes from one user to the next; no proxy is taken from the environment."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=self._way.tls or True)
            defaults = {
                "User-Agent": "auth-gateway",
                "Accept-Encoding": "identity",
                "Accept": "application/json, */*;q=0.5",
            }
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={**defaults, **self._way.headers},
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
            )
        return self._session


def _is_kept(morsel: Morsel[str]) -> bool:
    """Does this Set-Cookie set something, or delete it (RFC 6265 §5.3)?"""
    if not morsel.value or morsel.value == "deleted":
        return False
    with suppress(ValueError):
        if morsel["max-age"]:
            return int(morsel["max-age"]) > 0
        if morsel["expires"]:
            return parsedate_to_datetime(morsel["expires"]).timestamp() > time.time()
    return True
