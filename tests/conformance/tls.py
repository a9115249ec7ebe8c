"""A client like :class:`tests.conformance.wire.Wire` that speaks TLS, and tells an end with its farewell from one without."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field

from tests.conformance.lab import Case, Lab
from tests.conformance.wire import PATIENCE, Wire

_TCP_CLOSE = 7


@dataclass(slots=True)
class TlsWire(Wire):
    """``end``: 'closed' came with its farewell (close_notify), 'cut' without, 'reset' is an RST."""

    context: ssl.SSLContext = field(default_factory=ssl.create_default_context, kw_only=True)
    name: str = field(default="localhost", kw_only=True)

    def __post_init__(self) -> None:
        Wire.__post_init__(self)
        self._sock = self.context.wrap_socket(self._sock, server_hostname=self.name, suppress_ragged_eofs=False)

    def __enter__(self) -> TlsWire:
        return self

    @property
    def tls(self) -> ssl.SSLSocket:
        """The connection itself."""
        assert isinstance(self._sock, ssl.SSLSocket)
        return self._sock

    def send(self, data: bytes, *, pieces: int = 1) -> None:
        with contextlib.suppress(ssl.SSLError):  # closed by the gateway already
            Wire.send(self, data, pieces=pieces)

    def half_close(self) -> None:
        """TLS has no halves: a farewell, and what comes behind it is not heard."""
        with contextlib.suppress(OSError):
            self.tls.unwrap()

    def _fill(self, seconds: float | None = None) -> bool:
        try:
            return Wire._fill(self, seconds)
        except ssl.SSLEOFError:  # OpenSSL says so of an RST in the middle of a record, too: the kernel knows (tcp(7))
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            self.end = "reset" if state == _TCP_CLOSE else "cut"
            return False


@dataclass(slots=True)
class TlsCase(Case):
    """A case over TLS."""

    context: ssl.SSLContext = field(default_factory=ssl.create_default_context, kw_only=True)

    def connect(self, patience: float = PATIENCE) -> Wire:
        self.wires.append(TlsWire(self.lab.port, patience, context=self.context))
        return self.wires[-1]


def tls_case(lab: Lab, context: ssl.SSLContext) -> TlsCase:
    """A fresh one."""
    plain = lab.case()
    return TlsCase(plain.lab, plain.token, context=context)
