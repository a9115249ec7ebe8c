"""JSON Web Keys (RFC 7517) of the four algorithms that we know, each key tied to one of them.

A key knows its algorithm, and a token that names another one is not read with it: so a public key is never the secret of an
HMAC (P74). PyJWT converts and computes; what reaches it was looked at here before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeGuard

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt.algorithms import Algorithm as Scheme
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from gateway.core.keys import b64url, from_b64url

Algorithm = Literal["EdDSA", "ES256", "RS256", "HS256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("EdDSA", "ES256", "RS256", "HS256")
PUBLIC_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("EdDSA", "ES256", "RS256")
MAX_KID = 200
SECRET_BYTES = 32
"""RFC 7518 §3.2: a secret of HS256 has at least the size of the hash."""
_LEAST_RSA, _MOST_RSA = 2048, 8192
"""Bits. Below: RFC 7518 §3.3. Above: a foreign issuer's key shall not cost us milliseconds a token."""
_MOST_EXPONENT = 2**32

SCHEMES: Final[dict[Algorithm, Scheme]] = {
    "EdDSA": OKPAlgorithm(),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256, SECP256R1),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "HS256": HMACAlgorithm(HMACAlgorithm.SHA256),
}
# kty and crv → the algorithm, and the members that make the key (RFC 7638 §3.2, RFC 8037 §2), in their lexical order
_KINDS: Final[dict[tuple[str, str | None], tuple[Algorithm, tuple[str, ...]]]] = {
    ("OKP", "Ed25519"): ("EdDSA", ("crv", "kty", "x")),
    ("EC", "P-256"): ("ES256", ("crv", "kty", "x", "y")),
    ("RSA", None): ("RS256", ("e", "kty", "n")),
    ("oct", None): ("HS256", ("k", "kty")),
}
PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi")
_SIZES = {"EdDSA": 64, "ES256": 64, "HS256": 32}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 §4: of two members of one name one reader takes the first, another the last."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name twice")
    return made


def _no_constant(word: str) -> Any:
    raise ValueError("no number of JSON")  # NaN, Infinity


def strict_object(data: bytes | str) -> dict[str, Any] | None:
    """The JSON object that this is; None: something else, a name twice (at any depth), NaN, half a character."""
    try:
        text = data if isinstance(data, str) else data.decode()
        made = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        if "\\u" in text:  # half a surrogate pair would be an error wherever it is written
            json.dumps(made, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def is_kid(kid: object) -> TypeGuard[str]:
    """A short text; which key it is, if any, says the key ring alone, never a file system or a database."""
    return isinstance(kid, str) and 0 < len(kid) <= MAX_KID


def signature_fits(algorithm: Algorithm, public: Any, signature: bytes) -> bool:
    """Has it the one length that a signature of this key has? And no zero: r = s = 0 once fitted everything (P83)."""
    size = (public.key_size + 7) // 8 if algorithm == "RS256" else _SIZES[algorithm]
    if len(signature) != size:
        return False
    return algorithm != "ES256" or (any(signature[:32]) and any(signature[32:]))


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key of somebody. ``kid`` is empty where its JWK had none."""

    kid: str
    algorithm: Algorithm
    _public: Any = field(repr=False)

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Was this signed with the private key that belongs to it?"""
        if not signature_fits(self.algorithm, self._public, signature):
            return False
        return SCHEMES[self.algorithm].verify(data, self._public, signature)


def algorithm_of(jwk: Mapping[str, Any]) -> Algorithm:
    """What a JWK is for.

    :raises ValueError: for nothing that we know.
    """
    kty, crv, alg = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if not isinstance(kty, str) or not isinstance(crv, str | None) or (kty, crv) not in _KINDS:
        raise ValueError("not a kind of key that is known here (Ed25519, P-256, RSA)")
    algorithm, _ = _KINDS[kty, crv]
    if alg not in (None, algorithm):
        raise ValueError(f"its alg is not {algorithm}")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("its use is not sig")
    return algorithm


def _check_members(jwk: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        text = jwk.get(name)
        if not isinstance(text, str) or not from_b64url(text):
            raise ValueError(f"its {name} is not base64url")


def key_from_jwk(jwk: Mapping[str, Any], algorithm: Algorithm) -> Any:
    """The key of ``cryptography`` (private where the JWK is, and then both parts belong together), or the secret's bytes.

    :raises ValueError: it is none, or too weak.
    """
    needed = _KINDS[jwk["kty"], jwk.get("crv")][1]
    _check_members(jwk, tuple(name for name in needed if name not in ("kty", "crv")))
    _check_members(jwk, tuple(name for name in PRIVATE_MEMBERS if name in jwk))
    scheme = SCHEMES[algorithm]
    material = {name: jwk[name] for name in (*needed, *PRIVATE_MEMBERS) if name in jwk}
    try:
        key = scheme.prepare_key(scheme.from_jwk(material))
    except (PyJWTError, ValueError, TypeError):
        key = None  # what they say may show the key
    if key is None:
        raise ValueError("its numbers are no key")
    _check_strength(key)
    return key


def _check_strength(key: Any) -> None:
    if isinstance(key, bytes) and len(key) < SECRET_BYTES:
        raise ValueError(f"a secret of less than {SECRET_BYTES} bytes")
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        public = key.public_key() if isinstance(key, RSAPrivateKey) else key
        if not _LEAST_RSA <= public.key_size <= _MOST_RSA or public.public_numbers().e >= _MOST_EXPONENT:
            raise ValueError(f"not an RSA key of {_LEAST_RSA} to {_MOST_RSA} bits")


def public_key_from_jwk(jwk: object) -> VerifyingKey:
    """A key from the JWKS of somebody else: Ed25519, P-256 or RSA (RS256).

    :raises ValueError: it is none of these, weak, not for signatures, or private.
    """
    if not isinstance(jwk, Mapping):
        raise ValueError("not a JSON object")
    algorithm = algorithm_of(jwk)
    if algorithm == "HS256" or any(name in jwk for name in PRIVATE_MEMBERS):
        raise ValueError("not a public key")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its key_ops have no verify")
    kid = jwk.get("kid", "")
    if kid != "" and not is_kid(kid):
        raise ValueError("its kid is not a short text")
    return VerifyingKey(kid, algorithm, key_from_jwk(jwk, algorithm))


def public_members(public: Any, algorithm: Algorithm) -> dict[str, str]:
    """What makes a public key, as JWK members in lexical order."""
    made = SCHEMES[algorithm].to_jwk(public, as_dict=True)
    names = next(names for known, names in _KINDS.values() if known == algorithm)
    return {name: made[name] for name in names}


def thumbprint(members: Mapping[str, str]) -> str:
    """RFC 7638 §3, SHA-256: the same for one key wherever it is computed."""
    text = json.dumps(dict(sorted(members.items())), separators=(",", ":"))
    return b64url(hashlib.sha256(text.encode()).digest())
