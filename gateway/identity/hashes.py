"""Password hashes: argon2id for new ones (RFC 9106), what other applications have written verified too.

A password is hashed as it was typed, as UTF-8 and without Unicode normalisation: what other applications wrote was made so,
and a form that is changed here would not fit it. (A lone surrogate, which no UTF-8 has, is written as three bytes.)
Comparisons take constant time. All of this takes its time and memory by design: call it off the event loop.
"""

from __future__ import annotations

import os
from base64 import b64encode

from argon2.exceptions import Argon2Error

from gateway.identity.argon2_memory import argon2
from gateway.identity.hash_kinds import KINDS, SALT_BYTES, TODAY, BrokenHash, Kind, Parts
from gateway.identity.legacy_hashes import LEGACY_KINDS

__all__ = ["BrokenHash", "hash_password", "is_known_hash", "is_weak", "verify_password", "what_is_wrong_with_hash"]

UNKNOWN = "not an argon2id or bcrypt hash, nor of another known kind"
LEGACY = "a hash of an old kind: read only with legacy_hashes: true"
COSTLY = "a hash that asks for more work or memory than is done for one"


def hash_password(password: str) -> str:
    """An argon2id hash with today's parameters."""
    salt = os.urandom(SALT_BYTES)
    made = argon2(_encoded(password), salt, TODAY)
    cost = f"m={TODAY.memory},t={TODAY.passes},p={TODAY.lanes}"
    return f"$argon2id$v={TODAY.version}${cost}${_unpadded(salt)}${_unpadded(made)}"


def _unpadded(value: bytes) -> str:
    return b64encode(value).decode().rstrip("=")


def is_known_hash(stored: str, legacy: bool = False) -> bool:
    """Can :func:`verify_password` read it? ``legacy``: those of old applications too."""
    return what_is_wrong_with_hash(stored, legacy) is None


def what_is_wrong_with_hash(stored: str, legacy: bool = False) -> str | None:
    """Why this is not to be the hash of a user, in words that follow "the password is"; None: nothing."""
    try:
        kind, _ = _read(stored)
    except BrokenHash as error:
        return str(error)
    return LEGACY if kind.is_legacy and not legacy else None


def verify_password(stored: str, password: str) -> bool:
    """Does the password fit? Of whatever kind the hash is: who wants no old ones asks :func:`is_known_hash`.

    :raises BrokenHash: the stored hash cannot be read, or asks for more work than is done for one.
    """
    kind, parts = _read(stored)
    given = _encoded(password)
    try:
        return not kind.overlooks(parts, given) and kind.fits(parts, given)
    except (ValueError, MemoryError, Argon2Error) as error:
        raise BrokenHash(UNKNOWN) from error


def is_weak(stored: str, password: str) -> bool:
    """Is the hash weaker than a new one would be? Asked once ``password`` fits it: then it can be replaced.

    Never for a password beyond bcrypt's 72 bytes: nobody knows whether its tail was typed right.

    :raises BrokenHash: the stored hash cannot be read.
    """
    kind, parts = _read(stored)
    return kind.is_weak(parts, _encoded(password))


def _read(stored: str) -> tuple[Kind, Parts]:
    for kind in (*KINDS, *LEGACY_KINDS):
        parts = kind.pattern.fullmatch(stored)
        if parts is not None:
            if not kind.is_affordable(parts):
                raise BrokenHash(COSTLY)
            return kind, parts
    raise BrokenHash(UNKNOWN)


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
