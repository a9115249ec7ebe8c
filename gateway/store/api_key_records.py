"""What stands in a store of an API key: sealed, so that nobody who can write there can make a key for an administrator.

A value is ``K ‖ key id ‖ nonce ‖ AES-256-GCM(record)`` (1 + 4 + 12 bytes and the rest), under a key derived from the master
key and the API key's id, which is associated data, too: what is put under another id does not open. Master keys are
replaced, API keys live on: :meth:`Records.is_under_active_key` says which record has to be sealed again.
"""

from __future__ import annotations

import hmac
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.api_keys import ApiKey
from gateway.core.identity import Identity
from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url
from gateway.store.values import SealBroken, UnknownKey

_KIND = b"K"
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + ID_BYTES + _NONCE_BYTES
_OWNER_BYTES = 16


class Records:
    """Seals and opens with a key ring."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def seal(self, key: ApiKey) -> bytes:
        """The value of an API key."""
        active = self._ring.active
        head = _KIND + active.id + os.urandom(_NONCE_BYTES)
        plain = json.dumps(key.dump(), separators=(",", ":")).encode()
        return head + _cipher(active, key.id).encrypt(head[-_NONCE_BYTES:], plain, _KIND + key.id.encode())

    def open(self, key_id: str, value: bytes) -> ApiKey:
        """:raises SealBroken, UnknownKey: it never says which part was wrong."""
        if len(value) <= _HEAD_BYTES or value[:1] != _KIND:
            raise SealBroken
        master = self._ring.get(value[1 : 1 + ID_BYTES])
        if master is None:
            raise UnknownKey(value[1 : 1 + ID_BYTES])
        nonce, sealed = value[_HEAD_BYTES - _NONCE_BYTES : _HEAD_BYTES], value[_HEAD_BYTES:]
        try:
            plain = _cipher(master, key_id).decrypt(nonce, sealed, _KIND + key_id.encode())
            return ApiKey.load(key_id, json.loads(plain))
        except (InvalidTag, ValueError) as error:
            raise SealBroken from error

    def is_under_active_key(self, value: bytes) -> bool:
        """Was it sealed by the master key that seals today?"""
        return value[1 : 1 + ID_BYTES] == self._ring.active.id

    def owners(self, user: Identity) -> list[bytes]:
        """What the lists call a user, under the active master key first: who has a copy of the store does not read who has
        keys."""
        source, user_id = user.source.encode("utf-8", "surrogatepass"), user.id.encode("utf-8", "surrogatepass")
        message = len(source).to_bytes(4, "big") + source + user_id
        active = self._ring.active
        return [_owner(key, message) for key in (active, *(key for key in self._ring if key is not active))]


def _cipher(master: MasterKey, key_id: str) -> AESGCM:
    return AESGCM(master.derived_for(b"api key record", key_id.encode()))


def _owner(master: MasterKey, message: bytes) -> bytes:
    return b64url(hmac.digest(master.derived(b"api key owner"), message, "sha256")[:_OWNER_BYTES]).encode()
