"""Values that somebody else keeps for us: signed (readable, not changeable) or encrypted (neither).

Django's meaning (``django.core.signing``), over our key ring. A signed value is ``key id ‖ time ‖ value ‖ MAC``, an
encrypted one ``key id ‖ random ‖ AES-256-GCM(time ‖ value)``, both in base64url: 4 bytes of key id, 6 of time
(milliseconds since the epoch), 16 of MAC (HMAC-SHA-256 cut as in RFC 2104 §5) or tag, 24 random ones.

What it is for is authenticated and not sent: its ``name`` (of the cookie, say) and its ``salt``, each behind its length, so
that no byte can move from one into the other or into the value (P79). Times are epoch seconds, durations seconds.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.keys import ID_BYTES, KeyRing, MasterKey, b64url, from_b64url

LEEWAY = 60
"""Seconds that the clock of the gateway which signed may be ahead of ours."""
_TIME_BYTES = 6
_MAC_BYTES = 16
_SEED_BYTES = 12
_NONCE_BYTES = 12
_SIGNING = b"signed value"
_ENCRYPTING = b"encrypted value"


class BadSignature(Exception):
    """Cut, changed, made for another name or salt, under a key we do not have, or dated in the future. It never says which."""


class SignatureExpired(BadSignature):
    """Authentic, but older than allowed: ``age`` seconds."""

    def __init__(self, age: float, max_age: float) -> None:
        super().__init__(f"signed {age:g} s ago, which is more than {max_age:g} s")
        self.age = age


class Signer:
    """Signs and checks values with a key ring; who holds a value can read it."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sign(self, value: str, salt: str, now: float, *, name: str = "") -> str:
        """``value`` as text of A–Z, a–z, 0–9, ``-`` and ``_``, under the active key."""
        key = self._ring.active
        message = key.id + _time(now) + _encoded(value)
        return b64url(message + _mac(key, _bound(name, salt), message))

    def unsign(self, text: str, salt: str, max_age: float | None, now: float, *, name: str = "") -> str:
        """The value; ``max_age`` None: however old.

        :raises BadSignature: it was not signed by us for this name and salt.
        :raises SignatureExpired: it was, more than ``max_age`` seconds ago.
        """
        key, data = _opened(self._ring, text, ID_BYTES + _TIME_BYTES + _MAC_BYTES)
        message, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(key, _bound(name, salt), message)):
            raise BadSignature
        return _fresh(message[ID_BYTES:], max_age, now)


class Encrypter:
    """Encrypts and decrypts values with a key ring; their length can be seen. ``entropy`` gives random bytes."""

    def __init__(self, ring: KeyRing, entropy: Callable[[int], bytes]) -> None:
        self._ring = ring
        self._entropy = entropy

    def encrypt(self, value: str, salt: str, now: float, *, name: str = "") -> str:
        """``value`` as text of A–Z, a–z, 0–9, ``-`` and ``_``, under the active key; another one each time."""
        key = self._ring.active
        seed, nonce = self._entropy(_SEED_BYTES), self._entropy(_NONCE_BYTES)
        sealed = _cipher(key, seed).encrypt(nonce, _time(now) + _encoded(value), key.id + _bound(name, salt))
        return b64url(key.id + seed + nonce + sealed)

    def decrypt(self, text: str, salt: str, max_age: float | None, now: float, *, name: str = "") -> str:
        """The value; ``max_age`` None: however old.

        :raises BadSignature: it was not encrypted by us for this name and salt.
        :raises SignatureExpired: it was, more than ``max_age`` seconds ago.
        """
        begin = ID_BYTES + _SEED_BYTES + _NONCE_BYTES
        key, data = _opened(self._ring, text, begin + _TIME_BYTES + _MAC_BYTES)
        seed, nonce = data[ID_BYTES : begin - _NONCE_BYTES], data[begin - _NONCE_BYTES : begin]
        try:
            plain = _cipher(key, seed).decrypt(nonce, data[begin:], key.id + _bound(name, salt))
        except InvalidTag as error:
            raise BadSignature from error
        return _fresh(plain, max_age, now)


def _mac(key: MasterKey, bound: bytes, message: bytes) -> bytes:
    return hmac.digest(key.derived(_SIGNING), bound + message, "sha256")[:_MAC_BYTES]


def _cipher(key: MasterKey, seed: bytes) -> AESGCM:
    """A key for each value: under one key, random nonces are good for 2**32 values only (NIST SP 800-38D §8.3)."""
    return AESGCM(key.derived_for(_ENCRYPTING, seed))


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _bound(name: str, salt: str) -> bytes:
    """Both behind their lengths: ``a`` + ``b`` is not ``ab`` + nothing."""
    parts = (_encoded(name), _encoded(salt))
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _time(now: float) -> bytes:
    return int(now * 1000).to_bytes(_TIME_BYTES, "big")


def _opened(ring: KeyRing, text: str, least: int) -> tuple[MasterKey, bytes]:
    """The bytes of a text that may be ours, and the key that it names."""
    data = from_b64url(text)
    key = ring.get(data[:ID_BYTES]) if data is not None and len(data) >= least else None
    if data is None or key is None:
        raise BadSignature
    return key, data


def _fresh(content: bytes, max_age: float | None, now: float) -> str:
    """The value behind an authentic time."""
    age = int(now * 1000) - int.from_bytes(content[:_TIME_BYTES], "big")
    if age < -LEEWAY * 1000:
        raise BadSignature
    if max_age is not None and not age <= max_age * 1000:  # also when max_age is NaN
        raise SignatureExpired(age / 1000, max_age)
    return content[_TIME_BYTES:].decode("utf-8", "surrogatepass")
