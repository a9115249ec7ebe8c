"""API keys: their form, what is kept of one, and whether it is good. No store here, and no clock.

A key is ``gwk_`` and 60 characters of base62: 11 for the id (8 bytes), 43 for the secret (256 random bits) and 6 for a CRC-32
of all that stands before it. GitHub does the same with its tokens ("Behind GitHub's new authentication token formats", 2021):
whoever scans files for lost secrets knows one by its looks, and a key with a typo in it costs no look-up. The checksum keeps
nobody out; the secret does. Of a key only its SHA-256 is kept: 256 random bits need no slow hash.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

from gateway.core.identity import Identity
from gateway.core.jwt import BadToken

PREFIX = "gwk_"
ID_BYTES, SECRET_BYTES = 8, 32
NAME_LENGTH = 100
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH, _SUM_LENGTH = 11, 43, 6  # base62 digits that hold 64, 256 and 32 bits
_LENGTH = len(PREFIX) + _ID_LENGTH + _SECRET_LENGTH + _SUM_LENGTH
_FORM = re.compile(r"gwk_[0-9A-Za-z]{60}")
_ID_FORM = re.compile(r"[0-9A-Za-z]{11}")


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """What somebody showed: whose key it says it is, and the hash of the whole."""

    id: str
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. ``user`` as he is by now, in what :meth:`~gateway.store.api_keys.ApiKeys.known` returns; as he
    was when the key was made, in what is kept. ``routes``: names, empty: every one. Times are epoch seconds; ``expires``
    None: never."""

    id: str
    name: str
    user: Identity
    routes: frozenset[str] = frozenset()
    created: float = 0.0
    expires: float | None = None
    last_used: float | None = None
    hash: bytes = field(default=b"", repr=False)

    def is_over(self, now: float) -> bool:
        """Has it expired?"""
        return self.expires is not None and now >= self.expires

    def fits(self, presented: PresentedKey) -> bool:
        """Is it this key that was shown?"""
        return hmac.compare_digest(self.hash, presented.hash)

    def dump(self) -> dict[str, Any]:
        """What is kept of it, for :meth:`load`; when it was used last is kept apart."""
        return {
            "hash": self.hash.hex(),
            "name": self.name,
            "user": self.user.dump(),
            "routes": sorted(self.routes),
            "created": self.created,
            "expires": self.expires,
        }

    @classmethod
    def load(cls, key_id: str, data: Mapping[str, Any]) -> ApiKey:
        """:raises ValueError: it was not written by :meth:`dump`."""
        try:
            created, expires, routes = data["created"], data["expires"], data["routes"]
            if not all(isinstance(route, str) for route in routes) or not isinstance(data["name"], str):
                raise TypeError("not a key")
            return cls(
                key_id,
                data["name"],
                Identity.load(data["user"]),
                frozenset(routes),
                float(created),
                None if expires is None else float(expires),
                hash=bytes.fromhex(data["hash"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a key") from error


def make_key(id_bytes: bytes, secret: bytes) -> tuple[str, str]:
    """A new key's id, and its text, which is shown once. Both arguments are random."""
    assert len(id_bytes) == ID_BYTES
    assert len(secret) == SECRET_BYTES
    key_id = _base62(id_bytes, _ID_LENGTH)
    body = PREFIX + key_id + _base62(secret, _SECRET_LENGTH)
    return key_id, body + _checksum(body)


def hash_of(text: str) -> bytes:
    """What is kept of a key's text."""
    return sha256(text.encode("ascii")).digest()


def looks_like_key(text: str) -> bool:
    """Does it say that it is one?"""
    return text.startswith(PREFIX)


def is_key_id(text: str) -> bool:
    """Could a key have this id?"""
    return _ID_FORM.fullmatch(text) is not None


@lru_cache(maxsize=10_000)  # a script says the same key again and again; what is no key is not kept
def parse_key(text: str) -> PresentedKey:
    """The checksum comes first: a typo is no key, and nobody is asked about it.

    :raises BadToken: ``api_key_malformed``.
    """
    if len(text) != _LENGTH or _FORM.fullmatch(text) is None:
        raise BadToken("api_key_malformed")
    if text[-_SUM_LENGTH:] != _checksum(text[:-_SUM_LENGTH]):
        raise BadToken("api_key_malformed")
    return PresentedKey(text[len(PREFIX) : len(PREFIX) + _ID_LENGTH], hash_of(text))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")).to_bytes(4, "big"), _SUM_LENGTH)


def _base62(data: bytes, length: int) -> str:
    """Always ``length`` digits, the first the highest."""
    number, digits = int.from_bytes(data, "big"), []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    assert number == 0
    return "".join(reversed(digits))
