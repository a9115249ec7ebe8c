"""Puts together what issues, verifies and revokes tokens, when the settings name a file of signing keys."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.access_tokens import AccessTokens
from gateway.denylists import longest_token, make_denylist
from gateway.engines import SessionParts, session_policy
from gateway.settings.model import Settings
from gateway.settings.token_issuers import DEFAULT_ISSUER
from gateway.signing_key_files import SigningKeyFile
from gateway.store.bearers import Bearers, Places, Source, UserNow
from gateway.store.denylist import Denylist, MemoryDenylist


@dataclass(frozen=True, slots=True)
class TokenParts:
    """``denylist`` is to be started and closed; ``keys`` notice that their file was changed while they are watched."""

    access: AccessTokens
    denylist: Denylist
    keys: SigningKeyFile


def make_tokens(settings: Settings, store: SessionParts, keys: SigningKeyFile | None = None) -> TokenParts | None:
    """None: there are no tokens. From now on the tokens of a session end with it.

    :raises gateway.errors.StartError: the file of the signing keys cannot be used.
    """
    given = settings.tokens
    denylist = make_denylist(settings, store)
    if given.keys_file is None or denylist is None:
        return None
    keys = keys or SigningKeyFile(given.keys_file)
    issuer = given.issuer or settings.site.url or DEFAULT_ISSUER
    access = AccessTokens(
        keys.keys,
        issuer,
        given.audience or issuer,
        clock=time.time,
        entropy=os.urandom,
        lifetime=given.lifetime,
        leeway=given.leeway,
    )
    return TokenParts(access, denylist, keys)


def make_bearers(
    settings: Settings, tokens: TokenParts | None, sources: Sequence[Source], user_now: UserNow
) -> Bearers | None:
    """Who brings a token is found here; ``sources``: of other kinds of them. None: nobody is."""
    if tokens is None and not sources:
        return None
    policy = session_policy(settings)
    lasts = max(one.absolute_timeout for one in (policy, policy.remember) if one is not None)
    places = Places(settings.tokens.header or "", settings.tokens.cookie or "")
    access, denylist = (tokens.access, tokens.denylist) if tokens is not None else (None, MemoryDenylist())
    return Bearers(
        access,
        denylist,
        user_now,
        places=places,
        sources=sources,
        leaves_others=tokens is None and not settings.tokens.issuers,
        lasts=float(lasts),
        memory=longest_token(settings.tokens.lifetime, settings.tokens.leeway),
    )
