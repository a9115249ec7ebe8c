"""The ring of master keys, and the keys derived from them.

The ring is a text: one key a line (base64url of 32 bytes), the first seals and signs, all open and verify; ``#`` starts a
comment. A key's id is derived from the key, so that no line can carry a wrong one. What is used anywhere is never the
master key itself but one derived for a purpose (HKDF, RFC 5869), so that no use of one can be turned against another.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
ID_BYTES = 4


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_b64url(text: str) -> bytes | None:
    """The bytes of *canonical* unpadded base64url, else None: two spellings of one value would be two values (P59)."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if b64url(data) == text else None


def _derive(secret: bytes, purpose: bytes, salt: bytes | None, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, b"auth-gateway/1 " + purpose).derive(secret)


class MasterKey:
    """One key of the ring. ``repr`` shows its id only."""

    __slots__ = ("_secret", "derived", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self.id = _derive(secret, b"id", None, ID_BYTES)
        self.derived = lru_cache(maxsize=32)(self._derived)

    def _derived(self, purpose: bytes) -> bytes:
        return _derive(self._secret, purpose, None, KEY_BYTES)

    def derived_for(self, purpose: bytes, salt: bytes) -> bytes:
        """A key for one thing only (a session, say); not kept."""
        return _derive(self._secret, purpose, salt, KEY_BYTES)

    def __repr__(self) -> str:
        return f"<MasterKey {self.id.hex()}>"


class KeyRing:
    """Newest first: :attr:`active` seals and signs, :meth:`get` finds the one that did."""

    def __init__(self, keys: list[MasterKey]) -> None:
        if not keys:
            raise ValueError("the key ring holds no key")
        self._by_id = {key.id: key for key in keys}
        if len(self._by_id) != len(keys):
            raise ValueError("the key ring holds a key twice")
        self.active = keys[0]

    def get(self, key_id: bytes) -> MasterKey | None:
        """The key with this id, or None when it is not in this process's ring."""
        return self._by_id.get(key_id)

    def __iter__(self) -> Iterator[MasterKey]:
        return iter(self._by_id.values())

    def __repr__(self) -> str:
        return f"<KeyRing {' '.join(key.id.hex() for key in self)}>"


def parse_ring(text: str) -> KeyRing:
    """:raises ValueError: naming the line (never its content)."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        secret = from_b64url(word)
        if secret is None or len(secret) != KEY_BYTES:
            raise ValueError(f"line {number} is not base64url of {KEY_BYTES} bytes")
        keys.append(MasterKey(secret))
    return KeyRing(keys)


def format_key(secret: bytes) -> str:
    """One line of a ring."""
    return b64url(secret) + "\n"
