"""The kinds of password hashes that are verified here: how each is written, what it may cost, how a password is tried.

A hash says itself how much work it wants, and whoever can write one could ask for hours or for all the memory there is. So
each kind has a bound, and a hash beyond it counts as unreadable: no check takes more than 1 GiB or some five seconds. What
OWASP recommends and what Django, PHP and passlib write is far below that; only the 2 GiB of RFC 9106's first option are not.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

import bcrypt
from argon2 import Type

from gateway.identity.argon2_memory import Cost, argon2

Parts = re.Match[str]
TODAY = Cost(passes=3, memory=65536, lanes=4, length=32)
"""Of new hashes: argon2id with 64 MiB (RFC 9106 §4, the second recommended option)."""
SALT_BYTES = 16

_MOST_MEMORY_KIB = 2**20
_MOST_ARGON2_WORK = 2**22  # KiB times passes
_MOST_LANES = 64
_MOST_BCRYPT_COST = 16
_MOST_SCRYPT_WORK = 2**23  # N times r times p; the memory is 128 bytes times N times r
_MOST_PBKDF2_ROUNDS = 10_000_000
_BCRYPT_BYTES = 72


class BrokenHash(ValueError):
    """A stored hash that cannot be read here. The text says why, without the hash."""


def _always(parts: Parts, password: bytes) -> bool:
    return True


def _never(parts: Parts, password: bytes) -> bool:
    return False


def ends_at_nul(parts: Parts, password: bytes) -> bool:
    """C programs take a NUL for the end; and bcrypt repeats what it has with one, so that "x", NUL, "x" would be "x"."""
    return b"\0" in password


def _is_padded(parts: Parts, password: bytes) -> bool:
    """HMAC fills a short key with NULs (RFC 2104 §2)."""
    return password.endswith(b"\0")


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to write a hash. ``fits`` may raise any error of its library for a hash that is broken inside."""

    pattern: re.Pattern[str]
    is_affordable: Callable[[Parts], bool]
    fits: Callable[[Parts, bytes], bool]
    is_weak: Callable[[Parts, bytes], bool] = _always
    """Is it to be replaced, now that this password fits? Every kind but today's is weaker than that."""
    overlooks: Callable[[Parts, bytes], bool] = _never
    """Would this kind overlook a NUL of the password, and take it for one without? Then it fits nothing."""
    is_legacy: bool = False


# -- argon2 (RFC 9106); Django writes its own name before it, and wrote argon2i until 3.2
_ARGON2 = re.compile(
    r"(?:argon2)?\$argon2(?P<variant>id|i)(?:\$v=(?P<version>16|19))?"
    r"\$m=(?P<memory>[1-9][0-9]{0,9}),t=(?P<time>[1-9][0-9]{0,9}),p=(?P<lanes>[1-9][0-9]{0,7})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,86})\$(?P<hash>[A-Za-z0-9+/]{22,86})"
)


def _argon2_is_affordable(parts: Parts) -> bool:
    memory, lanes = int(parts["memory"]), int(parts["lanes"])
    return memory <= _MOST_MEMORY_KIB and memory * int(parts["time"]) <= _MOST_ARGON2_WORK and lanes <= _MOST_LANES


def _argon2_fits(parts: Parts, password: bytes) -> bool:
    wanted, salt = _exact(parts["hash"]), _exact(parts["salt"])
    kind = Type.ID if parts["variant"] == "id" else Type.I
    cost = Cost(
        int(parts["time"]), int(parts["memory"]), int(parts["lanes"]), len(wanted), kind, int(parts["version"] or 16)
    )
    return hmac.compare_digest(argon2(password, salt, cost), wanted)


def _exact(text: str) -> bytes:
    """:raises ValueError: not what an encoder writes: argon2's own reader takes nothing else either."""
    value = _unpadded(text)
    if b64encode(value).decode().rstrip("=") != text:
        raise ValueError("bits are left over")
    return value


def _argon2_is_weak(parts: Parts, password: bytes) -> bool:
    """Memory is what costs an attacker most; of passes there may be fewer for more of it."""
    memory, work = int(parts["memory"]), int(parts["memory"]) * int(parts["time"])
    return (
        (parts["variant"], parts["version"]) != ("id", "19")
        or memory < TODAY.memory
        or work < TODAY.memory * TODAY.passes
        or len(parts["salt"]) * 3 // 4 < SALT_BYTES
        or len(parts["hash"]) * 3 // 4 < TODAY.length
    )


# -- bcrypt; Django writes its own name before it, and hashes the password first where that name is bcrypt_sha256
_BCRYPT = re.compile(
    r"(?:bcrypt\$|(?P<digested>bcrypt_sha256\$))?(?P<encoded>\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53})"
)


def _bcrypt_is_affordable(parts: Parts) -> bool:
    return 4 <= int(parts["cost"]) <= _MOST_BCRYPT_COST


def _bcrypt_fits(parts: Parts, password: bytes) -> bool:
    """bcrypt reads 72 bytes: the writer of the hash had the password cut there, so the same is done here."""
    read = hashlib.sha256(password).hexdigest().encode() if parts["digested"] else password[:_BCRYPT_BYTES]
    return bcrypt.checkpw(read, parts["encoded"].encode())


def _bcrypt_overlooks(parts: Parts, password: bytes) -> bool:
    return not parts["digested"] and ends_at_nul(parts, password)


def _bcrypt_is_weak(parts: Parts, password: bytes) -> bool:
    """Not for a longer password: its tail was never checked, and a slip in it now would be part of the new hash."""
    return bool(parts["digested"]) or len(password) <= _BCRYPT_BYTES


# -- scrypt (RFC 7914), as Django and as passlib write it
_DJANGO_SCRYPT = re.compile(
    r"scrypt\$(?P<n>[1-9][0-9]{0,9})\$(?P<salt>[^$]{1,128})\$(?P<r>[1-9][0-9]{0,7})\$(?P<p>[1-9][0-9]{0,7})"
    r"\$(?P<hash>[A-Za-z0-9+/]{86}==)"
)
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<ln>[1-9][0-9]?),r=(?P<r>[1-9][0-9]{0,7}),p=(?P<p>[1-9][0-9]{0,7})"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,171})\$(?P<hash>[A-Za-z0-9+/]{43})"
)


def _scrypt_n(parts: Parts) -> int:
    return 1 << int(parts["ln"]) if "ln" in parts.re.groupindex else int(parts["n"])


def _scrypt_is_affordable(parts: Parts) -> bool:
    return _scrypt_n(parts) * int(parts["r"]) * int(parts["p"]) <= _MOST_SCRYPT_WORK


def _scrypt_fits(parts: Parts, password: bytes) -> bool:
    is_django = "n" in parts.re.groupindex
    salt = parts["salt"].encode() if is_django else _unpadded(parts["salt"])
    wanted = b64decode(parts["hash"]) if is_django else _unpadded(parts["hash"])
    n, r, p = _scrypt_n(parts), int(parts["r"]), int(parts["p"])
    memory = 128 * r * (n + p + 3)
    made = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(wanted))
    return hmac.compare_digest(made, wanted)


def _unpadded(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))


# -- PBKDF2 (RFC 8018), as Django writes it
_ROUNDS_AND_SALT = r"\$(?P<rounds>[1-9][0-9]{0,9})\$(?P<salt>[^$]{1,128})"
_PBKDF2_SHA256 = re.compile(rf"pbkdf2_(?P<digest>sha256){_ROUNDS_AND_SALT}\$(?P<hash>[A-Za-z0-9+/]{{43}}=)")
_PBKDF2_SHA1 = re.compile(rf"pbkdf2_(?P<digest>sha1){_ROUNDS_AND_SALT}\$(?P<hash>[A-Za-z0-9+/]{{27}}=)")


def _pbkdf2_is_affordable(parts: Parts) -> bool:
    return int(parts["rounds"]) <= _MOST_PBKDF2_ROUNDS


def _pbkdf2_fits(parts: Parts, password: bytes) -> bool:
    made = hashlib.pbkdf2_hmac(parts["digest"], password, parts["salt"].encode(), int(parts["rounds"]))
    return hmac.compare_digest(made, b64decode(parts["hash"]))


KINDS = (
    Kind(_ARGON2, _argon2_is_affordable, _argon2_fits, _argon2_is_weak),
    Kind(_BCRYPT, _bcrypt_is_affordable, _bcrypt_fits, _bcrypt_is_weak, _bcrypt_overlooks),
    Kind(_DJANGO_SCRYPT, _scrypt_is_affordable, _scrypt_fits, overlooks=_is_padded),
    Kind(_SCRYPT, _scrypt_is_affordable, _scrypt_fits, overlooks=_is_padded),
    Kind(_PBKDF2_SHA256, _pbkdf2_is_affordable, _pbkdf2_fits, overlooks=_is_padded),
    Kind(_PBKDF2_SHA1, _pbkdf2_is_affordable, _pbkdf2_fits, overlooks=_is_padded),
)
