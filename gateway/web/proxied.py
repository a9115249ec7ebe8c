"""A backend's answer on its way to the client: status line and headers as bytes, exactly as they are to be.

aiohttp's own response writes text as UTF-8, adds headers of its own and drops what is not text; nothing of that may
happen to somebody else's answer. The body goes through aiohttp's writer, whose back-pressure reaches the backend.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.core.headers import RawHeaderList

_NO_BODY = frozenset({204, 304})


class ProxiedResponse(web.StreamResponse):
    """Started by :meth:`prepare`, fed by :meth:`write`, ended by :meth:`write_eof`."""

    def __init__(self, status: int, phrase: bytes, raw: RawHeaderList, *, closes: bool = False) -> None:
        """``closes``: the client's connection serves no other request after this."""
        super().__init__(status=status)
        self._closes = closes
        self._phrase = phrase
        self._raw = raw
        self._writer: AbstractStreamWriter | None = None
        self._ended = False
        self._request: web.BaseRequest | None = None
        self._stays = True
        self.sent = 0

    @property
    def prepared(self) -> bool:
        """Has the head been sent?"""
        return self._writer is not None

    @property
    def keep_alive(self) -> bool:
        """May the client's connection serve another request?"""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Sends the head.

        :raises ConnectionResetError: the client is gone.
        """
        if self._writer is not None:
            return self._writer
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away")
        framing = self._framing(request)
        self._writer = request.writer
        version = b"HTTP/%d.%d" % (request.version.major, request.version.minor)
        lines = [b"%b %d %b" % (version, self.status, self._phrase)]
        lines += [name + b": " + value for name, value in [*self._raw, *framing]]
        transport.write(b"\r\n".join([*lines, b"", b""]))
        return self._writer

    def _framing(self, request: web.BaseRequest) -> RawHeaderList:
        """How the client learns where the body ends (RFC 9112 §6.3)."""
        if self.status == 204:  # RFC 9110 §8.6: no length there
            self._raw = [(name, value) for name, value in self._raw if name.lower() != b"content-length"]
        has_length = any(name.lower() == b"content-length" for name, _ in self._raw)
        bodiless = request.method == "HEAD" or self.status in _NO_BODY
        framing: RawHeaderList = []
        if not has_length and not bodiless:
            if request.version >= (1, 1):
                request.writer.enable_chunking()
                framing.append((b"Transfer-Encoding", b"chunked"))
            else:
                self._stays = False
        self._stays = self._stays and request.keep_alive and not self._closes
        if not self._stays:
            framing.append((b"Connection", b"close"))
        elif request.version < (1, 1):
            framing.append((b"Connection", b"keep-alive"))
        return framing

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """A piece of the body; returns when the client may take more."""
        assert self._writer is not None, "prepare() comes first"
        self.sent += len(data)
        await self._writer.write(data)

    async def write_eof(self, data: bytes = b"") -> None:
        """The end."""
        if self._writer is not None and not self._ended:
            self._ended = True
            await self._writer.write_eof(data)
