"""Signed JSON Web Tokens (RFC 7515 compact, RFC 7519), read strictly and in this order; the first that is wrong ends it:

1. size, then exactly three parts, each canonical base64url without padding (P76: a limit before any parsing);
2. the header: a JSON object with no name twice, nothing that brings or points to a key, nothing that changes how to read;
   ``alg`` from our list, ``typ`` as expected, ``kid`` of a key that we have, ``alg`` that key's (RFC 8725 §3.1, P74);
3. the signature, of the one length that it can have;
4. only then the claims: a JSON object with no name twice, and what :func:`check_claims` asks of them.

A refusal is a :class:`BadToken` with the code of an event for the log. Nothing of the token is in it, nor in what caused it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from gateway.core.jwk import ALGORITHMS as ALGORITHMS
from gateway.core.jwk import PUBLIC_ALGORITHMS as PUBLIC_ALGORITHMS
from gateway.core.jwk import Algorithm as Algorithm
from gateway.core.jwk import VerifyingKey as VerifyingKey
from gateway.core.jwk import is_kid, strict_object
from gateway.core.jwk import public_key_from_jwk as public_key_from_jwk
from gateway.core.keys import b64url, from_b64url
from gateway.core.signing_keys import SigningKey

MAX_TOKEN = 8 * 1024
"""Characters. A head of a request has little more room."""
DAY = 86_400
_LAST_TIME = 2**53
ACCESS_TOKEN: Final = frozenset({"at+jwt"})
"""RFC 9068 §2.1: so that no other token of the same issuer passes for one."""
_REFUSED_MEMBERS: Final = ("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "p2c")
"""Keys from the token itself (RFC 8725 §3.10), extensions (RFC 7515 §4.1.11: not understood is refused), unencoded content
(RFC 7797), compression and what makes a key slow to derive (P77)."""


class BadToken(Exception):
    """It is not good; ``event`` says why, for the log."""

    def __init__(self, event: str) -> None:
        super().__init__(event)
        self.event = event


class Verifier(Protocol):
    """A key as the reading of a token needs it: ours (:class:`~gateway.core.signing_keys.SigningKey`) or a foreign one."""

    @property
    def algorithm(self) -> Algorithm:
        """The only one that it is for."""

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Was this signed with it?"""


FindKey = Callable[[str, str], Verifier | None]
"""``kid`` and ``alg`` of a header → the key, or None."""


def sign(claims: Mapping[str, Any], key: SigningKey, typ: str) -> str:
    """A compact token.

    :raises ValueError: a claim cannot be written as JSON.
    """
    header = {"typ": typ, "alg": key.algorithm, "kid": key.kid}
    message = f"{_written(header)}.{_written(claims)}"
    return f"{message}.{b64url(key.sign(message.encode()))}"


def _written(data: Mapping[str, Any]) -> str:
    return b64url(json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode())


def read(
    token: str,
    find_key: FindKey,
    *,
    types: Collection[str] | None = ACCESS_TOKEN,
    algorithms: Collection[str] = ALGORITHMS,
) -> dict[str, Any]:
    """The claims of a token that was signed with a key that ``find_key`` knows; they are not judged yet.

    ``types``: which ``typ`` it may have (lower case); None: any or none.

    :raises BadToken: anything else.
    """
    header_part, payload_part, signature_part = _parts(token)
    key = _key_for(_decoded(header_part), find_key, types, algorithms)
    payload, signature = from_b64url(payload_part), from_b64url(signature_part)
    if payload is None or signature is None:
        raise BadToken("token_malformed")
    if not key.verifies(f"{header_part}.{payload_part}".encode("ascii"), signature):
        raise BadToken("token_signature")
    claims = strict_object(payload)
    if claims is None:
        raise BadToken("token_claims")
    return claims


def _parts(token: str) -> list[str]:
    if len(token) > MAX_TOKEN:
        raise BadToken("token_too_long")
    parts = token.split(".", 3)
    if len(parts) != 3:
        raise BadToken("token_malformed")
    return parts


def _decoded(part: str) -> dict[str, Any]:
    data = from_b64url(part)
    header = strict_object(data) if data is not None else None
    if header is None:
        raise BadToken("token_malformed")
    return header


def _key_for(
    header: dict[str, Any], find_key: FindKey, types: Collection[str] | None, algorithms: Collection[str]
) -> Verifier:
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in algorithms:
        raise BadToken("token_algorithm")
    if any(name in header for name in _REFUSED_MEMBERS):
        raise BadToken("token_header")
    if types is not None and _type(header.get("typ")) not in types:
        raise BadToken("token_type")
    if not is_kid(kid):
        raise BadToken("token_unknown_key")
    key = find_key(kid, alg)
    if key is None:
        raise BadToken("token_unknown_key")
    if key.algorithm != alg:
        raise BadToken("token_algorithm")
    return key


def _type(typ: object) -> str | None:
    """RFC 7515 §4.1.9: a media type, so its case does not count, and ``application/`` may stand before it."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else None


def check_claims(
    claims: Mapping[str, Any],
    *,
    issuer: str,
    audience: str,
    now: float,
    leeway: float,
    texts: Iterable[str] = ("sub",),
    longest: float = DAY,
) -> tuple[int, int]:
    """``iat`` and ``exp`` of claims that are from this issuer, for this audience and of now (RFC 7519 §4.1).

    ``texts``: claims that have to be there, as texts that are not empty. ``longest``: seconds that a token may last.

    :raises BadToken: anything else.
    """
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if any(not isinstance(claims.get(name), str) or not claims[name] for name in ("iss", *texts)):
        raise BadToken("token_claims")
    _check_addressee(claims, issuer, audience)
    starts = max(issued, _time(claims, "nbf") if "nbf" in claims else issued)
    _check_times(issued, starts, expires, now, leeway, longest)
    return issued, expires


def _time(claims: Mapping[str, Any], name: str) -> int:
    """A NumericDate that is whole: ``True`` is no second one, and 1e300 no year (P80)."""
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < _LAST_TIME:
        raise BadToken("token_claims")
    return value


def _check_addressee(claims: Mapping[str, Any], issuer: str, audience: str) -> None:
    if claims["iss"] != issuer:
        raise BadToken("token_issuer")
    aud = claims.get("aud")
    for_whom = [aud] if isinstance(aud, str) else aud  # RFC 7519 §4.1.3: one text, or a list of them (P75)
    if not isinstance(for_whom, list) or not all(isinstance(one, str) for one in for_whom):
        raise BadToken("token_claims")
    if audience not in for_whom:
        raise BadToken("token_audience")


def _check_times(issued: int, starts: int, expires: int, now: float, leeway: float, longest: float) -> None:
    if expires < issued or expires - issued > longest:
        raise BadToken("token_claims" if expires < issued else "token_forever")
    if now >= expires + leeway:
        raise BadToken("token_expired")
    if now + leeway < starts:
        raise BadToken("token_not_yet")
