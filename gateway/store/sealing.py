"""Records at rest: AES-256-GCM under a key derived from the master key *and* the session's id (founding decision 3).

``key id ‖ nonce ‖ ciphertext``, with the store's key as associated data, so that the record of one session put under the
key of another does not open. A copy of Redis without the cookies, or the master key without the cookies, reveals nothing.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.keys import ID_BYTES, KeyRing, MasterKey

_NONCE_BYTES = 12
_PURPOSE = b"session record"


class SealBroken(Exception):
    """The bytes are cut, changed, under another's key, or sealed by nobody we know."""


class Sealer:
    """Seals and opens the records of sessions with a key ring."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def seal(self, session_id: bytes, store_key: bytes, plain: bytes) -> bytes:
        """``plain`` for the store, under the active key; the nonce is random (96 bits, one key per session)."""
        key = self._ring.active
        nonce = os.urandom(_NONCE_BYTES)
        return key.id + nonce + _cipher(key, session_id).encrypt(nonce, plain, store_key)

    def open(self, session_id: bytes, store_key: bytes, sealed: bytes) -> bytes:
        """:raises SealBroken: never says which part was wrong."""
        key = self._ring.get(sealed[:ID_BYTES])
        rest = sealed[ID_BYTES:]
        if key is None or len(rest) <= _NONCE_BYTES:
            raise SealBroken
        try:
            return _cipher(key, session_id).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], store_key)
        except InvalidTag as error:
            raise SealBroken from error


def _cipher(key: MasterKey, session_id: bytes) -> AESGCM:
    return AESGCM(key.derived_for(_PURPOSE, session_id))
