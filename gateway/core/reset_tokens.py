"""The token in a link that sets a new password, once.

Nothing is stored for it: as in Django's ``PasswordResetTokenGenerator`` it is tied to what is stored of the user now, so
that any change of the password spends it. ``key id ‖ end ‖ state ‖ length ‖ source ‖ user id ‖ MAC``: 4 + 8 + 32 + 2 bytes,
the two texts (UTF-8, the length is the first one's: no byte can move from one to the other, P79), and 32 bytes, as
base64url. *state* is a MAC of the stored hash and the generation; the MAC at the end is of all before it, so that an
invented token is refused before anybody is looked up.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from gateway.core.identity import Identity
from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url, from_b64url

MAX_TEXT = 4096
"""Characters of a token; a name and an id of 254 characters each, four bytes in each, need 2,800."""
_END_BYTES, _MAC_BYTES, _LENGTH_BYTES = 8, 32, 2
_HEAD_BYTES = ID_BYTES + _END_BYTES + _MAC_BYTES + _LENGTH_BYTES
_PURPOSE, _STATE = b"reset link", b"reset link state"


@dataclass(frozen=True, slots=True)
class ResetToken:
    """An authentic token: whose password it may set, and until when (epoch seconds)."""

    source: str
    user_id: str
    end: int
    key: MasterKey = field(repr=False)
    state: bytes = field(repr=False)

    def fits(self, user: Identity, stored_hash: str) -> bool:
        """Is the user's password still the one that it was when the token was made?"""
        return hmac.compare_digest(self.state, _state(self.key, user, stored_hash))


def sign_reset(ring: KeyRing, user: Identity, stored_hash: str, end: int) -> str:
    """A token for the user's link, until ``end`` (epoch seconds)."""
    key, source, user_id = ring.active, _bytes(user.source), _bytes(user.id)
    head = key.id + end.to_bytes(_END_BYTES, "big") + _state(key, user, stored_hash)
    message = head + len(source).to_bytes(_LENGTH_BYTES, "big") + source + user_id
    return b64url(message + _mac(key, message))


def open_reset(ring: KeyRing, text: str, now: float) -> ResetToken | None:
    """None for what is not ours, cut, changed, over, or under a key that is no longer in the ring."""
    data = from_b64url(text) if len(text) <= MAX_TEXT and text.isascii() else None
    if data is None or len(data) < _HEAD_BYTES + _MAC_BYTES:
        return None
    message, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
    key = ring.get(message[:ID_BYTES])
    if key is None or not hmac.compare_digest(mac, _mac(key, message)):
        return None
    state_at = ID_BYTES + _END_BYTES
    end = int.from_bytes(message[ID_BYTES:state_at], "big")
    state = message[state_at : state_at + _MAC_BYTES]
    split = _HEAD_BYTES + int.from_bytes(message[_HEAD_BYTES - _LENGTH_BYTES : _HEAD_BYTES], "big")
    if now >= end:
        return None
    return ResetToken(_text(message[_HEAD_BYTES:split]), _text(message[split:]), end, key, state)


def _mac(key: MasterKey, message: bytes) -> bytes:
    return hmac.digest(key.derived(_PURPOSE), message, "sha256")


def _state(key: MasterKey, user: Identity, stored_hash: str) -> bytes:
    """Of this user, so that one's hash in another one's row spends nothing."""
    parts = (_bytes(user.source), _bytes(user.id), _bytes(stored_hash), b"%d" % user.generation)
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key.derived(_STATE), message, "sha256")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
