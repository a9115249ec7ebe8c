"""What comes from a client: bytes for a parser, requests in order, the body of the one under way; and when to stop reading."""

from __future__ import annotations

from gateway.front.ending import Ending
from gateway.front.incoming import Incoming
from gateway.front.parser import RequestParser

_HIGH_WATER = 64 * 1024  # bytes of a body that wait here at most


class Reading(Ending):
    """The part of a connection that knows what has come. ``request`` is the one under way."""

    def __init__(self) -> None:
        super().__init__()
        self._parser: RequestParser | None = None
        self.request: Incoming | None = None
        self.is_slow = False
        """Does the client take nothing of what was written?"""

    @property
    def _has_more(self) -> bool:
        """Have more requests come already?"""
        return self._parser is not None and (bool(self._parser.ready) or self._parser.has_more)

    def _read_or_pause(self) -> None:
        """Reads on unless somebody has too much to do: a body that nobody takes, or requests that wait for their turn."""
        request = self.request
        if request is None:
            self.pause(self._has_more or self.is_slow)
        else:
            self.pause(self._has_more or request.waiting > _HIGH_WATER)

    def take_body(self) -> bytes:
        """What there is of the body; more may come then."""
        assert self.request is not None
        data = self.request.take()
        if self._paused:
            self._read_or_pause()
        return data
