"""A request as the parser hands it on, and those that are known already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.head import RequestHead
from gateway.errors import RequestError

_COMMON = frozenset({"GET", "HEAD"})
_REMEMBERED, _SHORT = 2048, 2048  # heads that are remembered, and how many bytes each may have


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bytes of the request line and of one field, number of fields, bytes of a whole head: the most that is read."""

    line: int = 16 * 1024
    fields: int = 100
    head: int = 64 * 1024


class Incoming:
    """One request. ``error``: it is none, or its body went wrong; ``listen`` is called when there is news of the body."""

    __slots__ = (
        "chunked",
        "complete",
        "error",
        "expects_continue",
        "head",
        "head_bytes",
        "keep_alive",
        "length",
        "listen",
        "pieces",
        "received",
        "started",
        "upgrade",
        "waiting",
        "websocket",
    )

    def __init__(self, head: RequestHead | None) -> None:
        self.head = head
        self.head_bytes = 0
        self.error: RequestError | None = None
        self.pieces: deque[bytes] = deque()
        self.waiting = 0
        self.received = 0
        self.complete = False
        self.keep_alive = False
        self.chunked = False
        self.length = 0
        self.expects_continue = False
        self.upgrade = self.websocket = False
        self.started = 0.0
        self.listen: Callable[[], None] | None = None

    @property
    def has_body(self) -> bool:
        """Does it say that a body follows, be it an empty one?"""
        return self.chunked or self.length > 0

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        pieces = self.pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.waiting = 0
        return data


class KnownHeads:
    """Heads of requests without a body, by all their bytes: whoever polls sends the same again and again, and nothing has to
    be parsed twice. One for a door, whose limits they have passed."""

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[RequestHead, int]] = {}

    def find(self, data: bytes, peer: str) -> Incoming | None:
        """The request that these bytes are."""
        known = self._heads.get(data)
        if known is None:
            return None
        head, size = known
        if head.peer != peer:
            head = RequestHead(head.method, head.target, head.version, head.raw, peer)
        request = Incoming(head)
        request.head_bytes = size
        request.keep_alive = request.complete = True
        return request

    def keep(self, data: bytes, request: Incoming) -> None:
        """For the next time, unless there is anything special about it."""
        head = request.head
        if head is None or len(data) > _SHORT or head.method not in _COMMON or not data.endswith(b"\r\n\r\n"):
            return
        if request.keep_alive and not (request.has_body or request.upgrade or request.expects_continue):
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            head.is_shared = True
            self._heads[data] = head, request.head_bytes
