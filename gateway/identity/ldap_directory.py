"""A directory on one or several servers: searches on connections that are kept, each password on one of its own.

Servers are tried in the given order; one that failed a moment ago comes last. What is asked at once is bounded, and so is
who waits: a directory that hangs costs those who sign in there their time, and nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from sansldap import LDAPResultCode

from gateway.errors import SourceUnavailable
from gateway.identity.ldap_link import Address, Entry, LdapLink, LinkFailed, Question, is_refused, open_link

log = logging.getLogger("gateway.identity")

_REST = 30.0
"""Seconds for which a server that failed is asked after the others."""
_PAUSE = 2.0
"""Seconds without another try when the directory refuses the gateway's own password: it may count them and lock it."""
_IDLE = 60.0
"""Seconds after which a kept connection is not trusted any more: firewalls forget them silently."""
_WAITING = 16
"""How many may wait, for each that is served."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the directory is, and as whom the gateway searches it; without a ``dn`` anonymously. Times in seconds."""

    addresses: tuple[Address, ...]
    context: ssl.SSLContext | None
    dn: str = ""
    password: str = field(default="", repr=False)
    connect_timeout: float = 3.0
    timeout: float = 3.0
    connections: int = 8


class Directory:
    """See the module. Every method raises :class:`~gateway.errors.SourceUnavailable`, also when too many wait: this is one
    of several sources perhaps, and the others are not busy.
    """

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._name = name
        self._places = asyncio.Semaphore(access.connections)
        self._waiting = 0
        self._idle: list[tuple[float, LdapLink]] = []
        self._failed: dict[Address, float] = {}
        self._refused: tuple[float, str] = (0.0, "")
        self._away = ""
        """Why, since it cannot be reached; empty: it can."""
        self._is_tried = False
        self._is_closed = False

    async def search(self, question: Question) -> list[Entry]:
        """What it knows. A kept connection that turns out to be dead is replaced, once."""
        async with self._place():
            try:
                link = self._take_idle()
                if link is not None:
                    with contextlib.suppress(LinkFailed):
                        return await self._search(link, question)
                return await self._search(await self._bound(), question)
            except SourceUnavailable as error:
                raise self._trouble(error) from error

    async def fits(self, dn: str, password: str) -> bool:
        """Does the directory take this password for this name? Neither may be empty.

        :raises ValueError: one is.
        """
        async with self._place():
            try:
                link = await self._open()
                code = await self._bind(link, dn, password)
            except SourceUnavailable as error:
                raise self._trouble(error) from error
            self._away = ""
            link.close()
        if code != LDAPResultCode.SUCCESS and not is_refused(code):
            why = f"it cannot say whether a password is right ({int(code)} {code.name})"
            raise SourceUnavailable(f"{link.address}: {why}")
        if code not in (LDAPResultCode.SUCCESS, LDAPResultCode.INVALID_CREDENTIALS):
            log.info("the directory of %s does not sign %r in: %d %s", self._name, dn, code, code.name)
        return code == LDAPResultCode.SUCCESS

    def close(self) -> None:
        """Of the kept connections; none is kept any more."""
        self._is_closed = True
        while self._idle:
            self._idle.pop()[1].close()

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self._access.connections * _WAITING:
            raise SourceUnavailable("too many wait for it")
        self._look_whether_away()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._access.timeout):
                await self._places.acquire()
        except TimeoutError as error:
            raise SourceUnavailable(f"all connections were in use for {self._access.timeout:g} s") from error
        finally:
            self._waiting -= 1
        try:
            with self._trial():
                yield
        finally:
            self._places.release()

    @contextlib.contextmanager
    def _trial(self) -> Iterator[None]:
        """Once the directory is away, one at a time finds out whether it is back; all others are told at once, so that those
        who sign in by another source need not wait for this one.
        """
        self._look_whether_away()
        is_trial = self._is_tried = bool(self._away)
        try:
            yield
        finally:
            if is_trial:
                self._is_tried = False

    def _look_whether_away(self) -> None:
        if self._away and self._is_tried:
            raise SourceUnavailable(self._away)

    async def _search(self, link: LdapLink, question: Question) -> list[Entry]:
        """The connection is kept if all went well."""
        try:
            entries = await link.search(question, self._access.timeout)
        except SourceUnavailable as error:
            link.close()
            raise self._noted(link, error) from error
        self._idle.append((time.monotonic(), link))
        self._away = ""
        if self._is_closed:
            self.close()
        return entries

    async def _bind(self, link: LdapLink, dn: str, password: str) -> LDAPResultCode:
        try:
            return await link.bind(dn, password, self._access.timeout)
        except LinkFailed as error:
            raise self._noted(link, error) from error

    def _noted(self, link: LdapLink, error: SourceUnavailable) -> SourceUnavailable:
        """The same error with the server's name. One that failed is asked after the others."""
        if isinstance(error, LinkFailed):
            self._failed[link.address] = time.monotonic()
        return type(error)(f"{link.address}: {error.cause}")

    def _take_idle(self) -> LdapLink | None:
        """The one that was used last: those that nobody needs grow old."""
        while self._idle:
            since, link = self._idle.pop()
            if link.is_open and time.monotonic() - since < _IDLE:
                return link
            link.close()
        return None

    async def _bound(self) -> LdapLink:
        """A new connection on which the gateway has said who it is."""
        until, cause = self._refused
        if time.monotonic() < until:
            raise SourceUnavailable(cause)
        link = await self._open()
        if not self._access.dn:
            return link
        code = await self._bind(link, self._access.dn, self._access.password)
        if code != LDAPResultCode.SUCCESS:
            link.close()
            cause = f"{link.address}: it refuses bind_dn with its password ({int(code)} {code.name})"
            self._refused = (time.monotonic() + _PAUSE, cause)
            raise SourceUnavailable(cause)
        return link

    async def _open(self) -> LdapLink:
        """To the first server that can be reached."""
        causes = []
        for address in sorted(self._access.addresses, key=self._has_failed):
            try:
                return await open_link(address, self._access.context, self._access.connect_timeout)
            except LinkFailed as error:
                self._failed[address] = time.monotonic()
                causes.append(error.cause)
        raise LinkFailed("; ".join(causes))

    def _has_failed(self, address: Address) -> bool:
        return time.monotonic() - self._failed.get(address, -math.inf) < _REST

    def _trouble(self, error: SourceUnavailable) -> SourceUnavailable:
        """The error to raise: whoever gets it need not know of links."""
        if self._away or isinstance(error, LinkFailed):
            self._away = error.cause
        return SourceUnavailable(error.cause)
