"""Puts together what knows the tokens of foreign issuers, when the settings name any."""

from __future__ import annotations

from gateway.core.foreign_tokens import ClaimNames, ForeignIssuer
from gateway.identity.foreign_keys import ForeignKeys
from gateway.identity.foreign_tokens import ForeignTokens, Trusted
from gateway.settings.model import Settings
from gateway.settings.token_issuers import TokenIssuerSettings


def make_foreign_tokens(settings: Settings) -> ForeignTokens | None:
    """None: nobody else's tokens are taken. Connects to nothing yet."""
    issuers = settings.tokens.issuers
    return ForeignTokens([_trusted(one, settings.tokens.leeway) for one in issuers]) if issuers else None


def _trusted(given: TokenIssuerSettings, leeway: float) -> Trusted:
    names = ClaimNames(
        given.username_claim,
        given.name_claim,
        given.email_claim or ("" if given.prefix else "email"),
        given.usertype_claim or "",
        given.groups_claim or "",
    )
    algorithms, types = frozenset(map(str, given.algorithms)), frozenset(given.types)
    reading = ForeignIssuer(given.issuer, given.audience, algorithms, types, names, leeway, given.prefix or "")
    return Trusted(reading, ForeignKeys(given.jwks_url, algorithms))
