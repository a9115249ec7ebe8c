"""What the browser holds: authenticated, so that an invented cookie is refused without asking Redis (founding
decisions 3 and 5).

A session ticket is ``key id ‖ session id ‖ MAC``: 4 + 32 + 16 bytes, base64url. The MAC is HMAC-SHA-256 cut to 128 bits
(RFC 2104 §5). A form ticket (the sign-in page's cookie: "does this browser keep cookies?" and the token against
cross-site forms in one) is ``key id ‖ nonce ‖ MAC``; the form's hidden field is derived from it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from itertools import islice

from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url, from_b64url

SESSION_ID_BYTES = 32
NONCE_BYTES = 16
MAC_BYTES = 16
COOKIES_TRIED = 100
"""Of one name, in one request. A sibling site can plant some before ours; each costs a MAC or more."""
_BLANK = " \t"  # not all that Unicode calls blank: what is a cookie of ours here must be one where it is removed, too


def _mac(key: MasterKey, purpose: bytes, message: bytes) -> bytes:
    return hmac.digest(key.derived(purpose), message, "sha256")[:MAC_BYTES]


class Tickets:
    """Signs and opens tickets of one kind; a ticket of one ``purpose`` is worth nothing for another."""

    def __init__(self, ring: KeyRing, purpose: bytes, size: int) -> None:
        self._ring = ring
        self._purpose = purpose
        self._total = ID_BYTES + size + MAC_BYTES
        self._text_length = len(b64url(bytes(self._total)))

    def sign(self, content: bytes) -> str:
        """The cookie's value for ``content`` (of the size this kind has)."""
        key = self._ring.active
        message = key.id + content
        return b64url(message + _mac(key, self._purpose, message))

    def open(self, text: str) -> bytes | None:
        """The content, or None when the ticket is not ours, cut, changed or of another kind."""
        if len(text) != self._text_length:
            return None
        data = from_b64url(text)
        if data is None:
            return None
        message, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
        key = self._ring.get(message[:ID_BYTES])
        if key is None or not hmac.compare_digest(mac, _mac(key, self._purpose, message)):
            return None
        return message[ID_BYTES:]

    def unknown_key(self, text: str) -> bytes | None:
        """The key id of a text that has the form of a ticket but whose key is not in the ring, else None."""
        data = from_b64url(text) if len(text) == self._text_length else None
        return data[:ID_BYTES] if data is not None and self._ring.get(data[:ID_BYTES]) is None else None

    def first(self, candidates: Iterable[str]) -> bytes | None:
        """The content of the first candidate that authenticates: a sibling site may have set one of our name (P49)."""
        return next((content for text in candidates if (content := self.open(text)) is not None), None)


def session_tickets(ring: KeyRing) -> Tickets:
    """Tickets whose content is a session id."""
    return Tickets(ring, b"session ticket", SESSION_ID_BYTES)


class FormTickets(Tickets):
    """The stateless cookie of our own pages, and the hidden field that belongs to it."""

    def __init__(self, ring: KeyRing) -> None:
        super().__init__(ring, b"form ticket", NONCE_BYTES)

    def field(self, nonce: bytes) -> str:
        """The hidden field for the page that carries the cookie with this nonce."""
        return b64url(_mac(self._ring.active, b"form field", nonce))

    def field_fits(self, nonce: bytes, field: str) -> bool:
        """Was this field on a page of ours, with that cookie? Under any key of the ring: keys rotate while pages are open."""
        given = field.encode("utf-8", "surrogatepass")
        fits = [hmac.compare_digest(given, b64url(_mac(key, b"form field", nonce)).encode()) for key in self._ring]
        return any(fits)


def cookies_named(headers: Iterable[str], name: str) -> Iterator[str]:
    """The values of the cookies of exactly this name in the ``Cookie`` headers, in order (RFC 6265 §5.4; case counts): the
    first :data:`COOKIES_TRIED`."""
    return islice(_named(headers, name), COOKIES_TRIED)


def _named(headers: Iterable[str], name: str) -> Iterator[str]:
    for header in headers:
        for pair in header.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip(_BLANK) == name:
                yield value.strip(_BLANK)
