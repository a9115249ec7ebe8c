"""``Authorization: Basic`` for backends that know nothing else (RFC 7617): a fixed account, or the user's own.

The user's own password is in his session's record when he signed in after the operator asked for it; the record is sealed in
the store, and neither handlers nor backends see that part of it. It is written nowhere else, and never logged.
"""

from __future__ import annotations

import base64
import logging

from gateway.core.identity import Identity
from gateway.core.session_data import PASSWORD_KEY
from gateway.core.sessions import Session

log = logging.getLogger("gateway.basic")
_REMEMBERED = 10_000


class BasicAccount:
    """The same account for everybody, also for who is not signed in."""

    def __init__(self, username: str, password: str) -> None:
        self._line = _line(username, password)

    def line(self, user: Identity | None, session: Session | None) -> bytes:
        """The header line."""
        return self._line


class BasicOfUser:
    """The name and password that the user signed in with; none where they are not known."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def line(self, user: Identity | None, session: Session | None) -> bytes:
        """The header line, or nothing."""
        if user is None or session is None:
            return b""
        password = session.record.data.get(PASSWORD_KEY)
        if isinstance(password, str) and ":" not in user.username:  # RFC 7617 §2: the first colon ends the name
            return _line(user.username, password)
        self._say(user, session.card.handle)
        return b""

    def _say(self, user: Identity, handle: str) -> None:
        """Once for each session."""
        if handle in self._said:
            return
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said.add(handle)
        log.warning("no password is known to give a backend: sign in again", extra={"fields": {"user": user.id}})


def _line(username: str, password: str) -> bytes:
    text = f"{username}:{password}".encode("utf-8", "surrogatepass")
    return b"Authorization: Basic %b\r\n" % base64.b64encode(text)
