"""One connection to a directory (LDAPv3, RFC 4511): TLS, bind and search, one after the other, each within its time.

The messages are made and read by sansldap, which does no I/O; the bytes come and go here, on asyncio. So a server that
hangs, in the handshake or in the middle of an answer, costs nobody but who asked: no thread waits for it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPFilter,
    LDAPMessage,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)

from gateway.errors import SourceUnavailable

MAX_ANSWER = 1024 * 1024
"""Bytes of one answer: a directory of large entries must not fill the memory."""
_FAREWELL = 1.0
_REFUSED = frozenset(
    {
        LDAPResultCode.INVALID_CREDENTIALS,
        LDAPResultCode.CONSTRAINT_VIOLATION,  # ppolicy: locked
        LDAPResultCode.UNWILLING_TO_PERFORM,  # locked, expired, or not at this hour
        LDAPResultCode.NO_SUCH_OBJECT,
        LDAPResultCode.INAPPROPRIATE_AUTHENTICATION,  # an entry without a password
        LDAPResultCode.INSUFFICIENT_ACCESS_RIGHTS,
        LDAPResultCode.INVALID_DN_SYNTAX,
    }
)
"""Answers to a bind that are about the user: he does not sign in. Everything else is about the directory."""


class LinkFailed(SourceUnavailable):
    """The connection could not be made, broke, hung or carried nonsense: another one may do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a directory listens. ``tls``: none, asked for in the clear (``start``), or from the first byte on (``all``)."""

    host: str
    port: int
    tls: Literal["none", "start", "all"]

    def __str__(self) -> str:
        return f"{'ldaps' if self.tls == 'all' else 'ldap'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One of a directory: its name, and its attributes with their names in lower case."""

    dn: str
    attributes: dict[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """A search. ``limit``: more entries than that are not wanted; as many say that there may be more."""

    base: str
    filter: LDAPFilter
    attributes: Sequence[str]
    limit: int


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 at least (RFC 8996), certificate and name checked, by ``ca_file`` or else the system's authorities.

    :raises OSError: the file cannot be read or holds no certificate (ssl.SSLError).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not create_default_context: that one obeys SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=str(ca_file))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


class LdapLink(asyncio.Protocol):
    """See the module. Made by :func:`open_link`; whoever used it closes it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client = LDAPClient()
        self._transport: asyncio.Transport | None = None
        self._heard: list[LDAPMessage] = []
        self._bytes = 0
        self._answer: asyncio.Future[None] | None = None
        self._broken = ""

    @property
    def is_open(self) -> bool:
        """As far as anybody knows without asking."""
        return self._transport is not None and not self._broken

    # -- what asyncio calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            return self._break("it spoke without being asked")  # a notice of disconnection (RFC 4511 §4.4.1)
        self._bytes += len(data)
        if self._bytes > MAX_ANSWER:
            return self._break(f"its answer is larger than {MAX_ANSWER} bytes")
        try:
            self._heard += self._client.receive(data)
        except (LDAPError, ValueError, LookupError, RecursionError):  # the last two: the codec lets them through
            return self._break("it does not speak LDAP, or said goodbye")
        if self._heard and isinstance(self._heard[-1], BindResponse | ExtendedResponse | SearchResultDone):
            self._answer.set_result(None)
        return None

    def eof_received(self) -> None:
        self._break("it closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._break("it closed the connection")

    # -- what may be asked
    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """TLS on a connection that has none yet (RFC 4511 §4.14); never goes on without."""
        self._client.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        [answer] = await self._ask(seconds)
        if not isinstance(answer, ExtendedResponse) or answer.result.result_code != LDAPResultCode.SUCCESS:
            raise LinkFailed(f"it refuses StartTLS ({_words(answer)})")
        self._client = LDAPClient()  # whatever came in the clear behind the answer is not heard (CVE-2011-0411)
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(
            self._transport,
            self,
            context,
            server_hostname=host,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=_FAREWELL,
        )

    async def bind(self, dn: str, password: str, seconds: float) -> LDAPResultCode:
        """The directory's word on this name and password; :func:`is_refused` says what it means.

        :raises ValueError: there is no name or no password. A bind without one succeeds and proves nothing (RFC 4513 §5.1.2).
        """
        if not dn or not password:
            raise ValueError("a bind needs a name and a password")
        self._client.bind_simple(dn, password)
        [answer] = await self._ask(seconds)
        if not isinstance(answer, BindResponse):
            raise LinkFailed("it answers something else")
        return answer.result.result_code

    async def search(self, question: Question, seconds: float) -> list[Entry]:
        """The entries, at most as many as asked for and one; what other servers may know is not asked (referrals).

        :raises SourceUnavailable: the directory says why not.
        """
        self._client.search_request(
            question.base,
            SearchScope.SUBTREE,
            size_limit=question.limit,
            time_limit=math.ceil(seconds),
            filter=question.filter,
            attributes=list(question.attributes),
        )
        *heard, done = await self._ask(seconds)
        entries = [_entry(message) for message in heard if isinstance(message, SearchResultEntry)]
        if not isinstance(done, SearchResultDone):
            raise LinkFailed("it answers something else")
        code = done.result.result_code
        is_cut = code == LDAPResultCode.SIZE_LIMIT_EXCEEDED and len(entries) >= question.limit
        if code != LDAPResultCode.SUCCESS and not is_cut:
            raise SourceUnavailable(f"it refuses a search below {question.base!r} ({_words(done)})")
        return entries

    async def _ask(self, seconds: float) -> list[LDAPMessage]:
        """Sends what the codec has ready; all messages of the answer, the last one last. The link is done with if it fails:
        an answer that comes late must not be the next one's (P63).
        """
        if self._transport is None or self._broken:
            raise LinkFailed(self._broken or "not connected")
        self._heard, self._bytes = [], 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._client.data_to_send())
        try:
            async with asyncio.timeout(seconds):
                await self._answer
        except TimeoutError as error:
            self.abort()
            raise LinkFailed(f"no answer within {seconds:g} s") from error
        except asyncio.CancelledError:
            self.abort()
            raise
        return self._heard

    def _break(self, why: str) -> None:
        if not self._broken:
            self._broken = why
            self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LinkFailed(self._broken))

    def abort(self) -> None:
        """At once."""
        self._broken = self._broken or "given up"
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Says goodbye (RFC 4511 §4.3)."""
        if self._transport is None or self._broken:
            return
        self._broken = "closed"
        self._client.unbind()
        self._transport.write(self._client.data_to_send())
        self._transport.close()


async def open_link(address: Address, context: ssl.SSLContext | None, seconds: float) -> LdapLink:
    """Connected, and with TLS where the address says so, within ``seconds`` in all.

    :raises LinkFailed: with the cause.
    """
    link = LdapLink(address)
    try:
        async with asyncio.timeout(seconds):
            await _connect(link, address, context, seconds)
    except BaseException as error:
        link.abort()
        if isinstance(error, TimeoutError):
            raise LinkFailed(f"{address}: no connection within {seconds:g} s") from error
        if isinstance(error, OSError | LinkFailed | UnicodeError):  # the last: a host's name that cannot be one
            raise LinkFailed(f"{address}: {_cause(error)}") from error
        raise
    return link


async def _connect(link: LdapLink, address: Address, context: ssl.SSLContext | None, seconds: float) -> None:
    more: dict[str, Any] = {}
    if address.tls == "all":
        more = {
            "ssl": context,
            "server_hostname": address.host,
            "ssl_handshake_timeout": seconds,
            "ssl_shutdown_timeout": _FAREWELL,
        }
    await asyncio.get_running_loop().create_connection(lambda: link, address.host, address.port, **more)
    if address.tls == "start":
        assert context is not None
        await link.start_tls(context, address.host, seconds)


def is_refused(code: LDAPResultCode) -> bool:
    """Is it about the user, that he does not sign in?"""
    return code in _REFUSED


def _entry(message: SearchResultEntry) -> Entry:
    """Of very many values Active Directory sends the first ones, as ``memberOf;range=0-1499``."""
    named = ((part.name.lower().partition(";range=")[0], part.values) for part in message.attributes)
    return Entry(message.object_name, {name: tuple(values) for name, values in named if values})


def _cause(error: Exception) -> str:
    if isinstance(error, LinkFailed):
        return error.cause
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'broken off'}"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__


def _words(message: LDAPMessage) -> str:
    """The result's number and name, and what the directory says to it."""
    result = getattr(message, "result", None)
    if result is None:
        return "no result"
    said = "".join(character for character in result.diagnostics_message if character.isprintable())[:200]
    return f"{int(result.result_code)} {result.result_code.name}" + (f": {said}" if said else "")
