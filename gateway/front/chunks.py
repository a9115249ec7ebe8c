"""Where a body in chunks ends (RFC 9112 §7.1), for cutting bytes into slices before the parser judges them.

It follows the sizes, so that nothing is searched for inside of chunks. What it takes for no chunk it leaves to the parser,
which refuses it.
"""

from __future__ import annotations

import re

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LINE = 16  # bytes of a line that a size can need
_END = b"\r\n\r\n"


class ChunkFollower:
    """For one body."""

    __slots__ = ("_left", "_line", "_tail")

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        self._tail: bytes | None = None
        """Behind the last chunk: the last bytes, as the end may be cut in two."""

    def end(self, data: bytes, at: int) -> int:
        """Where in ``data``, which goes on at ``at``, the body ends; else the end of ``data``."""
        size = len(data)
        while at < size and self._tail is None:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
            else:
                at = self._read_size(data, at)
        return at if self._tail is None else self._find_end(self._tail, data, at)

    def _read_size(self, data: bytes, at: int) -> int:
        """A chunk's first line, or what has come of it."""
        newline = data.find(b"\n", at)
        if len(self._line) < _LINE:
            self._line += data[at : at + _LINE if newline < 0 else min(newline, at + _LINE)]
        if newline < 0:
            return len(data)
        found = _SIZE.match(self._line)
        self._line = b""
        length = int(found[0], 16) if found else 0
        self._left = length + 2 if length else 0  # with the line's end behind it
        if not length:
            self._tail = b"\r\n"
        return newline + 1

    def _find_end(self, tail: bytes, data: bytes, at: int) -> int:
        seam = tail + data[at : at + 3]
        found = seam.find(_END)
        if found >= 0:
            return at + found + len(_END) - len(tail)
        found = data.find(_END, at)
        self._tail = (tail + data[max(at, len(data) - 3) :])[-3:]
        return len(data) if found < 0 else found + len(_END)
