"""``Date``, as HTTP writes it (RFC 9110 §5.6.7)."""

from __future__ import annotations

import time
from email.utils import formatdate


class _Clock:
    """The date as HTTP writes it, made once a second (RFC 9110 §6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def date(self) -> bytes:
        """Now."""
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, formatdate(now, usegmt=True).encode()
        return self._text


CLOCK = _Clock()
