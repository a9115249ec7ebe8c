"""The keys that sign our tokens: one is active, those that come next are published already, old ones still verify.

The file is a JSON Web Key Set (RFC 7517 §5) with the private members, and two of ours in each key: ``state`` and ``at``, the
time of its last change. The id of a new key is its thumbprint (RFC 7638); that of a shared secret is random, as a thumbprint
would tell whether a guess is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.core.jwk import (
    SCHEMES,
    SECRET_BYTES,
    VerifyingKey,
    algorithm_of,
    is_kid,
    key_from_jwk,
    public_members,
    strict_object,
    thumbprint,
)
from gateway.core.jwk import Algorithm as Algorithm
from gateway.core.keys import b64url

State = Literal["next", "active", "old"]
STATES: tuple[State, ...] = get_args(State)
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key or a shared secret. ``repr`` shows id, algorithm and state only; ``dataclasses.replace`` changes the
    state. ``at``: ISO time of the last change of state."""

    kid: str
    algorithm: Algorithm
    state: State
    at: str = field(default="", repr=False)
    _private: Any = field(default=None, repr=False, compare=False)
    _verifier: VerifyingKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        public = self._private if self.algorithm == "HS256" else self._private.public_key()
        object.__setattr__(self, "_verifier", VerifyingKey(self.kid, self.algorithm, public))

    def sign(self, data: bytes) -> bytes:
        """The signature of RFC 7515 (for ES256: r and s, 32 bytes each)."""
        return SCHEMES[self.algorithm].sign(data, self._private)

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Was this signed with it?"""
        return self._verifier.verifies(data, signature)

    def public_jwk(self) -> dict[str, str] | None:
        """For the JWKS; None: a shared secret has no public part."""
        if self.algorithm == "HS256":
            return None
        members = public_members(self._private.public_key(), self.algorithm)
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def private_jwk(self) -> dict[str, str]:
        """For the file, and for nothing else."""
        made: Any = SCHEMES[self.algorithm].to_jwk(self._private, as_dict=True)
        made.pop("key_ops", None)  # PyJWT writes it for RSA; use says the same
        shown = {"kid": self.kid, "alg": self.algorithm, "use": "sig", "state": self.state, "at": self.at}
        return {"kty": made.pop("kty"), **made, **shown}


class SigningKeys:
    """Never empty, exactly one active, no id twice; does not change: another state of affairs is another object."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        listed = list(keys)
        self._by_kid = {key.kid: key for key in listed}
        if len(self._by_kid) != len(listed):
            raise ValueError("two signing keys have the same kid")
        active = [key for key in listed if key.state == "active"]
        if len(active) != 1:
            raise ValueError(f"exactly one signing key is active, not {len(active)}")
        self.active = active[0]

    def get(self, kid: str) -> SigningKey | None:
        """The key with this id, whatever its state; None: there is none."""
        return self._by_kid.get(kid)

    def jwks(self) -> dict[str, Any]:
        """The public keys, those that come next among them: no verifier meets a key that it could not know."""
        return {"keys": [jwk for key in self if (jwk := key.public_jwk()) is not None]}

    def __iter__(self) -> Iterator[SigningKey]:
        return iter(self._by_kid.values())

    def __len__(self) -> int:
        return len(self._by_kid)

    def __repr__(self) -> str:
        return f"<SigningKeys {' '.join(f'{key.kid}:{key.state}' for key in self)}>"


def parse_signing_keys(text: str) -> SigningKeys:
    """:raises ValueError: naming the number of the key and what is wrong, never its content."""
    data = strict_object(text)
    listed = data.get("keys") if data is not None else None
    if not isinstance(listed, list):
        raise ValueError('not a JSON Web Key Set: {"keys": […]}, with no name twice in one object')
    return SigningKeys(_numbered(number, jwk) for number, jwk in enumerate(listed, 1))


def _numbered(number: int, jwk: object) -> SigningKey:
    try:
        return _from_jwk(jwk)
    except ValueError as error:
        raise ValueError(f"key {number}: {error}") from None


def _from_jwk(jwk: object) -> SigningKey:
    if not isinstance(jwk, Mapping):
        raise ValueError("not a JSON object")
    kid, state, at = jwk.get("kid"), jwk.get("state"), jwk.get("at", "")
    if not is_kid(kid) or not kid.isascii() or not kid.isprintable():
        raise ValueError("its kid is not a short text")
    if state not in STATES:
        raise ValueError(f"its state is not one of {', '.join(STATES)}")
    if not isinstance(at, str):
        raise ValueError("its at is not a time")
    algorithm = algorithm_of(jwk)
    if algorithm != "HS256" and "d" not in jwk:
        raise ValueError("not a private key: it has no d")
    return SigningKey(kid, algorithm, state, at, key_from_jwk(jwk, algorithm))


def new_signing_key(algorithm: Algorithm, state: State, at: str) -> SigningKey:
    """A fresh one; ``cryptography`` takes the random bits from the operating system."""
    if algorithm == "HS256":
        secret = AESGCM.generate_key(8 * SECRET_BYTES)
        return SigningKey(b64url(AESGCM.generate_key(256)), algorithm, state, at, secret)
    private: Any = _new_private(algorithm)
    return SigningKey(thumbprint(public_members(private.public_key(), algorithm)), algorithm, state, at, private)


def _new_private(algorithm: Algorithm) -> Any:
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    return new_ec_key(SECP256R1()) if algorithm == "ES256" else new_rsa_key(65537, _RSA_BITS)


def dump_signing_keys(keys: Iterable[SigningKey]) -> str:
    """The file; :func:`parse_signing_keys` reads it back."""
    return json.dumps({"keys": [key.private_jwk() for key in keys]}, indent=2) + "\n"
