"""A client and a backend, played in turn by one thread with blocking sockets: nothing here depends on time but the deadline
after which an answer counts as missing.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.differential.wire import SECONDS, Message, Wire, read_answer, read_request


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What one side sends, cut into several writes, and whether it closes then. ``method``: of the request."""

    data: bytes
    cuts: tuple[int, ...] = ()
    closes: bool = False
    method: bytes = b"GET"

    def pieces(self) -> Iterator[bytes]:
        """The writes."""
        for begin, end in zip([0, *self.cuts], [*self.cuts, len(self.data)], strict=True):
            yield self.data[begin:end]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the backend received (None: nothing) and what the client got."""

    received: Message | None
    answer: Message


AGAIN = Outgoing(b"GET /out/again HTTP/1.1\r\nHost: again\r\n\r\n")
OK = Outgoing(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass
class Lab:
    """A backend that answers as it is told, and a client. Connections that an answer leaves open are kept."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    gateway_port: int = 0
    _kept: list[Wire] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The backend's."""
        return int(self.listener.getsockname()[1])

    def close(self) -> None:
        """Ends every connection of the backend."""
        self._forget()
        self.listener.close()

    def directly(self, sent: Outgoing, answer: Outgoing) -> Observed:
        """Without the gateway."""
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            return self._exchange(self._wire(sock), sent, answer)

    def through_the_gateway(self, sent: Outgoing, answer: Outgoing) -> Observed:
        """With it. A connection that stays must serve another request, one that does not must have ended cleanly."""
        with socket.create_connection(("127.0.0.1", self.gateway_port)) as sock:
            wire = self._wire(sock)
            observed = self._exchange(wire, sent, answer)
            if observed.answer.stays:
                again = self._exchange(wire, AGAIN, OK)
                assert (again.answer.start[1], again.answer.body) == (b"200", b"ok"), again.answer.lines()
            else:
                assert wire.rest() == b"", "bytes behind the last answer"
        return observed

    @staticmethod
    def _wire(sock: socket.socket) -> Wire:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(sock)

    def _exchange(self, client: Wire, sent: Outgoing, answer: Outgoing) -> Observed:
        try:
            client.send(sent.pieces())
            received = self._serve(client, answer)
            return Observed(received, read_answer(client, sent.method))
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Nothing of an exchange that went wrong is left for the next one."""
        while self._kept:
            self._kept.pop().sock.close()
        while select.select([self.listener], [], [], 0)[0]:
            self.listener.accept()[0].close()

    def _serve(self, client: Wire, answer: Outgoing) -> Message | None:
        """None: the client has its answer, and the backend was not asked."""
        wire = self._asked(client)
        if wire is None:
            return None
        received = read_request(wire)
        assert wire.is_read, "bytes behind the request"
        wire.send(answer.pieces())
        if answer.closes:
            wire.sock.close()
        else:
            self._kept.append(wire)
        return received

    def _asked(self, client: Wire) -> Wire | None:
        """The connection on which a request comes: a new one, or one that was kept and is still open."""
        while True:
            watched = [self.listener, client.sock, *(wire.sock for wire in self._kept)]
            ready, _, _ = select.select(watched, [], [], SECONDS)
            assert ready, f"neither a request nor an answer in {SECONDS} s"
            if self.listener in ready:
                return self._wire(self.listener.accept()[0])
            for wire in [wire for wire in self._kept if wire.sock in ready]:
                self._kept.remove(wire)
                if wire.sock.recv(1, socket.MSG_PEEK):
                    return wire
                wire.sock.close()
            if ready == [client.sock]:
                return None
