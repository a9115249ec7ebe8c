"""Tokens of another issuer, read as strictly as ours, and who their claims say somebody is.

Only claims that were named count: a foreign issuer may have an opinion of its own on who is ``admin``. A name that begins with
``/`` is a JSON pointer (RFC 6901) into the claims, such as ``/realm_access/roles``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core import jwt
from gateway.core.access_tokens import AccessClaims
from gateway.core.identity import Identity
from gateway.core.jwk import strict_object
from gateway.core.jwt import BadToken
from gateway.core.keys import from_b64url

_LONGEST_NAME = 254
_MOST_GROUPS = 500


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where a claim of ours stands in a foreign token; empty: nowhere. The id is always ``sub``."""

    username: str = "preferred_username"
    name: str = "name"
    email: str = "email"
    usertype: str = ""
    groups: str = ""


@dataclass(frozen=True, slots=True)
class ForeignIssuer:
    """Whose tokens are taken, and how they are read. ``types``: which ``typ`` its access tokens have, in lower case;
    ``leeway``: seconds; ``prefix`` is put before ids and usernames, so that backends take nobody for one of ours. Its
    users' source is ``token:ISSUER``, as no other is called: ids count within a source."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    types: frozenset[str] = jwt.ACCESS_TOKEN
    names: ClaimNames = field(default_factory=ClaimNames)
    leeway: float = 10
    prefix: str = ""

    def read(self, token: str, find_key: jwt.FindKey, now: float) -> AccessClaims:
        """:raises BadToken: it is not good."""
        claims = jwt.read(token, find_key, types=self.types, algorithms=self.algorithms)
        issued, expires = jwt.check_claims(
            claims, issuer=self.issuer, audience=self.audience, now=now, leeway=self.leeway
        )
        sid, jti, client = (_text(claims, name) for name in ("sid", "jti", "client_id"))
        return AccessClaims(self._user(claims), sid, jti, client, (), issued, expires, is_foreign=True)

    def _user(self, claims: Mapping[str, Any]) -> Identity:
        """An id and a name there must be; what else is promised may be missing, but is never made to fit."""
        names = self.names
        username = _text(claims, names.username)
        if not username or max(len(username), len(claims["sub"])) > _LONGEST_NAME:
            raise BadToken("token_claims")
        return Identity(
            self.prefix + claims["sub"],
            self.prefix + username,
            _text(claims, names.name),
            _text(claims, names.email),
            _text(claims, names.usertype),
            _texts(claims, names.groups),
            f"token:{self.issuer}",
        )


def unverified_issuer(token: str) -> str | None:
    """Who a token says that it is from, to find the key that may prove it; None: nobody."""
    if len(token) > jwt.MAX_TOKEN:
        return None
    parts = token.split(".", 3)
    payload = from_b64url(parts[1]) if len(parts) == 3 else None
    claims = strict_object(payload) if payload is not None else None
    issuer = claims.get("iss") if claims is not None else None
    return issuer if isinstance(issuer, str) else None


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Empty: not there."""
    found = _at(claims, name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadToken("token_claims")
    return found


def _texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts, or one text."""
    found = _at(claims, name)
    listed = [found] if isinstance(found, str) else found if found is not None else []
    if not isinstance(listed, list) or len(listed) > _MOST_GROUPS or not all(isinstance(one, str) for one in listed):
        raise BadToken("token_claims")
    return tuple(listed)


def _at(claims: Mapping[str, Any], name: str) -> Any:
    """None: nothing is there."""
    if not name.startswith("/"):
        return claims.get(name) if name else None
    here: Any = claims
    for part in name.split("/")[1:]:
        if not isinstance(here, dict):
            return None
        here = here.get(part.replace("~1", "/").replace("~0", "~"))
    return here
