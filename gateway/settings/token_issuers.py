"""Foreign issuers of tokens (``tokens.issuers``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from gateway.settings.sources import Loc
from gateway.settings.users_ldap import is_loopback
from gateway.settings.values import Slice, Words, check_site_url

PublicAlgorithm = Literal["EdDSA", "ES256", "RS256"]
DEFAULT_ISSUER = "gateway"
"""Of our own tokens, where neither ``tokens.issuer`` nor ``site.url`` is set."""
_POINTER = re.compile(r"(/([^~/]|~[01])*)+")


class TokenIssuerSettings(Slice):
    """Somebody else who issues tokens that are taken here."""

    issuer: str = Field(
        min_length=1,
        max_length=254,
        description="iss of its tokens, exactly as they say it; the source of its users is token:ISSUER.",
    )
    jwks_url: str = Field(description="Address of its public keys: https://; http:// for this machine only.")
    audience: str = Field(min_length=1, max_length=254, description="aud that its tokens for us have.")
    algorithms: tuple[PublicAlgorithm, ...] = Field(
        ("EdDSA", "ES256", "RS256"), min_length=1, description="Algorithms that it may sign with."
    )
    types: Words = Field(("at+jwt",), min_length=1, description="Which typ its access tokens have; often only JWT.")
    prefix: str | None = Field(
        None,
        max_length=64,
        description="Put before ids and usernames, so that nobody of theirs is one of ours. None: nothing.",
    )
    username_claim: str = Field(
        "preferred_username", min_length=1, description="Claim that is the username; sub is always the id."
    )
    name_claim: str = Field("name", description="Claim that is the display name.")
    email_claim: str | None = Field(
        None, description="Claim that is the e-mail address. None: email; with a prefix none."
    )
    usertype_claim: str | None = Field(
        None, description="Claim that is the usertype, or a JSON pointer, like /gateway/usertype. None: none."
    )
    groups_claim: str | None = Field(
        None, description="Claim that is the groups, or a JSON pointer, like /realm_access/roles. None: none."
    )

    @field_validator("issuer", "audience", "prefix")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value):
            raise ValueError("must be printable ASCII without blanks")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        """Who can change the keys on the way can be everybody."""
        try:
            parts = urlsplit(value)
            fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
            fits = fits and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(value)))
        except ValueError:
            fits = False
        if not fits or "@" in parts.netloc or parts.fragment or not re.fullmatch(r"[!-~]+", value):
            raise ValueError("must be https://HOST[:PORT]/PATH, without a user and without #; http:// only on loopback")
        return value

    @field_validator("types")
    @classmethod
    def _check_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """RFC 7515 §4.1.9: their case does not count, and ``application/`` may stand before them."""
        return tuple(one.lower().removeprefix("application/") for one in value)

    @field_validator("username_claim", "name_claim", "email_claim", "usertype_claim", "groups_claim")
    @classmethod
    def _check_claim(cls, value: str | None) -> str | None:
        if value and value.startswith("/") and not _POINTER.fullmatch(value):
            raise ValueError("must be the name of a claim, or a JSON pointer, like /realm_access/roles")
        return value


def check_token_issuers(data: dict[str, Any], add: Callable[[Loc, str], None]) -> None:
    """What no single issuer can know: who the others are."""
    tokens, site = data.get("tokens"), data.get("site")
    issuers = tokens.get("issuers") if isinstance(tokens, dict) else None
    if not isinstance(tokens, dict) or not isinstance(issuers, list | tuple) or not issuers:
        return
    url = site.get("url") if isinstance(site, dict) else None
    own = tokens.get("issuer") or url or DEFAULT_ISSUER
    normalised = _normalised(url) if isinstance(url, str) and not tokens.get("issuer") else None
    seen = {name: "is the issuer of our own tokens" for name in (own, normalised) if name}
    for index, row in enumerate(issuers):
        name = row.get("issuer") if isinstance(row, dict) else None
        if isinstance(name, str):
            if name in seen:
                add(("tokens", "issuers", index, "issuer"), seen[name])
            seen.setdefault(name, "given twice")


def _normalised(url: str) -> str | None:
    try:
        return check_site_url(url)
    except ValueError:  # said of site.url itself
        return None
