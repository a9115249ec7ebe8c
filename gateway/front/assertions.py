"""``X-Gateway-Assertion``: who is asking, signed, for backends that take no proxy's word for it.

A token of a type of its own: nobody can come with it as an access token. It is made once for a user of a session and used
again until half of its life is over, so that a request does not pay for a signature.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.core import jwt
from gateway.core.access_tokens import user_claims
from gateway.core.identity import Identity
from gateway.core.keys import b64url
from gateway.core.signing_keys import SigningKey, SigningKeys

log = logging.getLogger("gateway.assertions")
TYPE = "gateway-assertion+jwt"
LIFETIME = 60
_FRESH = LIFETIME / 2
_ID_BYTES = 16
_REMEMBERED = 2048
_AWAY_AFTER = 8192
"""Characters: servers take little more in one field (nginx 8 KiB, gunicorn 8190)."""


@dataclass(frozen=True, slots=True)
class _Made:
    """``stale``: from then on, in epoch seconds, another one is made."""

    user: Identity
    key: SigningKey
    stale: float
    line: bytes

    def is_good(self, user: Identity, key: SigningKey, now: float) -> bool:
        """For the same user with the same rights, and signed with the key that signs today."""
        return self.key is key and 0 < self.stale - now <= _FRESH and (self.user is user or self.user == user)


class Assertions:
    """For one route. ``keys`` gives today's keys, ``clock`` epoch seconds, ``entropy`` random bytes."""

    def __init__(
        self,
        keys: Callable[[], SigningKeys],
        issuer: str,
        audience: str,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._entropy = entropy
        self._made: dict[tuple[str, str, str], _Made] = {}

    def line(self, user: Identity, sid: str) -> bytes:
        """The header line. ``sid``: public name of the session; empty: there is none (an API key)."""
        name, now, key = (sid, user.source, user.id), self._clock(), self._keys().active
        known = self._made.get(name)
        if known is not None and known.is_good(user, key, now):
            return known.line
        made = _Made(user, key, now + _FRESH, self._signed(user, sid, key, int(now)))
        if len(self._made) >= _REMEMBERED:
            self._made.clear()
        self._made[name] = made
        return made.line

    def _signed(self, user: Identity, sid: str, key: SigningKey, now: int) -> bytes:
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            **user_claims(user),
            **({"sid": sid} if sid else {}),
            "jti": b64url(self._entropy(_ID_BYTES)),
            "iat": now,
            "exp": now + LIFETIME,
        }
        token = jwt.sign(claims, key, TYPE)
        if len(token) > _AWAY_AFTER:
            log.warning("a user's claims are too many for X-Gateway-Assertion", extra={"fields": {"user": user.id}})
            return b""
        return b"X-Gateway-Assertion: %b\r\n" % token.encode()
