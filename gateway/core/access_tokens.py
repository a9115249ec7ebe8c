"""Access tokens: signed by us, for us and our backends (RFC 9068), known again without verifying them twice.

Claims: ``iss aud sub client_id sid jti iat exp scope``, who the user is (``preferred_username name email usertype groups``),
and two of ours: ``src``, where the user comes from, and ``gen``, his credentials generation. ``sid`` is the public handle of
the session that the token belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core import jwt
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.keys import b64url
from gateway.core.signing_keys import SigningKeys

TYPE = "at+jwt"
MAX_KNOWN = 10_000
_ID_BYTES = 16
_USER_TEXTS = ("preferred_username", "name", "email", "usertype", "src")


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a good token says. Times are epoch seconds; ``is_foreign``: somebody else issued it."""

    user: Identity
    sid: str
    jti: str
    client_id: str
    scope: tuple[str, ...]
    issued: float
    expires: float
    is_foreign: bool = False


class AccessTokens:
    """Issues and verifies. ``keys`` gives today's keys (another object when they changed), ``clock`` epoch seconds,
    ``entropy`` random bytes; ``lifetime`` and ``leeway`` are seconds."""

    def __init__(
        self,
        keys: Callable[[], SigningKeys],
        issuer: str,
        audience: str,
        *,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        lifetime: int = 300,
        leeway: int = 10,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.lifetime = lifetime
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._leeway = leeway
        self._max_known = max_known
        self._known: dict[str, AccessClaims] = {}
        self._known_with: SigningKeys | None = None

    def issue(
        self, user: Identity, sid: str, *, client_id: str, scope: Sequence[str] = (), ends_at: float
    ) -> tuple[str, int]:
        """A token and the seconds that it lasts: at most until ``ends_at``, the end of its session.

        :raises ValueError: it would be longer than we read (a user with hundreds of groups).
        """
        issued = int(self._clock())
        expires = max(issued, int(min(issued + self.lifetime, ends_at)))
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            **user_claims(user),
            "src": user.source,
            "gen": user.generation,
            "client_id": client_id,
            "scope": " ".join(scope),
            "sid": sid,
            "jti": b64url(self._entropy(_ID_BYTES)),
            "iat": issued,
            "exp": expires,
        }
        token = jwt.sign(claims, self._keys().active, TYPE)
        if len(token) > jwt.MAX_TOKEN:
            raise ValueError("this user's claims do not fit into a token")
        return token, expires - issued

    def verify(self, token: str) -> AccessClaims:
        """:raises BadToken: it is not ours, not for us, changed, or over."""
        keys = self._keys()
        if keys is not self._known_with:
            self._known, self._known_with = {}, keys  # a key may have been retired
        claims = self._known.get(token)
        if claims is None:
            return self._remembered(token, self._verified(token, keys))
        if self._clock() >= min(claims.expires, claims.issued + self.lifetime) + self._leeway:
            del self._known[token]
            raise BadToken("token_expired")
        return claims

    def _verified(self, token: str, keys: SigningKeys) -> AccessClaims:
        claims = jwt.read(token, lambda kid, _: keys.get(kid))
        issued, expires = jwt.check_claims(
            claims,
            issuer=self.issuer,
            audience=self.audience,
            now=self._clock(),
            leeway=self._leeway,
            texts=("sub", "jti", "sid", "client_id", "preferred_username"),
        )
        if self._clock() >= issued + self.lifetime + self._leeway:  # what was revoked is remembered for so long
            raise BadToken("token_expired")
        return AccessClaims(
            _user(claims), claims["sid"], claims["jti"], claims["client_id"], _scope(claims), issued, expires
        )

    def _remembered(self, token: str, claims: AccessClaims) -> AccessClaims:
        """Bounded: the one that was verified first goes first, as it ends first."""
        if len(self._known) >= self._max_known:
            del self._known[next(iter(self._known))]
        self._known[token] = claims
        return claims


def user_claims(user: Identity) -> dict[str, Any]:
    """Who he is, in all that we sign."""
    return {
        "sub": user.id,
        "preferred_username": user.username,
        "name": user.name,
        "email": user.email,
        "usertype": user.usertype,
        "groups": list(user.groups),
    }


def _user(claims: Mapping[str, Any]) -> Identity:
    """Nothing is made to fit: null would be a user named "None"."""
    texts = [claims.get(name) for name in _USER_TEXTS]
    groups, generation = claims.get("groups"), claims.get("gen")
    if not isinstance(groups, list) or not all(isinstance(text, str) for text in (*texts, *groups)):
        raise BadToken("token_claims")
    if type(generation) is not int:
        raise BadToken("token_claims")
    username, name, email, usertype, source = map(str, texts)
    return Identity(claims["sub"], username, name, email, usertype, tuple(groups), source, generation)


def _scope(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """RFC 6749 §3.3: words with a blank between them."""
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise BadToken("token_claims")
    return tuple(word for word in scope.split(" ") if word)
