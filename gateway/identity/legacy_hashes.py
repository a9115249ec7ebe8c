"""Hashes of old applications: only read where a source of users says ``legacy_hashes: true``.

They are quick to try by the million on hardware made for it, or not even salted, so each is replaced at its user's next
sign-in where the source can be written. libpass (the maintained fork of passlib) knows them all; it is loaded when the first
of them is seen. It computes them in Python, which is fast enough for these, and holds up other requests for milliseconds.
"""

from __future__ import annotations

import re
from typing import Protocol

from gateway.identity.hash_kinds import Kind, Parts, ends_at_nul

_MOST_SHA_CRYPT_ROUNDS = 1_000_000  # passlib's own default was 656,000; a plain $6$ has 5,000
_LONGEST = 4096
"""Bytes that libpass takes; 1,024 characters have no more."""

_CHARACTER = "[./0-9A-Za-z]"
_ROUNDS = r"(?:rounds=(?P<rounds>[1-9][0-9]{3,8})\$)?"
_SHA256_CRYPT = re.compile(rf"\$(?P<kind>5)\${_ROUNDS}{_CHARACTER}{{0,16}}\${_CHARACTER}{{43}}")
_SHA512_CRYPT = re.compile(rf"\$(?P<kind>6)\${_ROUNDS}{_CHARACTER}{{0,16}}\${_CHARACTER}{{86}}")
_MD5_CRYPT = re.compile(rf"\$(?P<kind>1|apr1)\${_CHARACTER}{{0,8}}\${_CHARACTER}{{22}}")
_PHPASS = re.compile(rf"\$(?P<kind>[PH])\$[5-9A-I]{_CHARACTER}{{30}}")  # the letter: 2^7 to 2^20 rounds
_SHA1 = re.compile(r"(?P<kind>\{SHA\})[A-Za-z0-9+/]{27}=")
_SALTED_SHA1 = re.compile(r"(?P<kind>\{SSHA\})[A-Za-z0-9+/]{32,48}={0,2}")  # of 4 to 16 bytes of salt


class _Handler(Protocol):
    def verify(self, secret: bytes, hash: str) -> bool:
        """Does the secret fit?"""


def _handler(kind: str) -> _Handler:
    """libpass's own, which compares in constant time."""
    from passlib.handlers import ldap_digests, md5_crypt, phpass, sha2_crypt

    known: dict[str, _Handler] = {
        "5": sha2_crypt.sha256_crypt,
        "6": sha2_crypt.sha512_crypt,
        "1": md5_crypt.md5_crypt,
        "apr1": md5_crypt.apr_md5_crypt,
        "P": phpass.phpass,
        "H": phpass.phpass,
        "{SHA}": ldap_digests.ldap_sha1,
        "{SSHA}": ldap_digests.ldap_salted_sha1,
    }
    return known[kind]


def _fits(parts: Parts, password: bytes) -> bool:
    return len(password) <= _LONGEST and _handler(parts["kind"]).verify(password, parts[0])


def _any(parts: Parts) -> bool:
    return True


def _sha_crypt_is_affordable(parts: Parts) -> bool:
    return int(parts["rounds"] or 0) <= _MOST_SHA_CRYPT_ROUNDS


LEGACY_KINDS = (
    Kind(_SHA256_CRYPT, _sha_crypt_is_affordable, _fits, overlooks=ends_at_nul, is_legacy=True),
    Kind(_SHA512_CRYPT, _sha_crypt_is_affordable, _fits, overlooks=ends_at_nul, is_legacy=True),
    Kind(_MD5_CRYPT, _any, _fits, overlooks=ends_at_nul, is_legacy=True),
    Kind(_PHPASS, _any, _fits, is_legacy=True),
    Kind(_SHA1, _any, _fits, is_legacy=True),
    Kind(_SALTED_SHA1, _any, _fits, is_legacy=True),
)
