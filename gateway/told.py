"""What the settings say that the backend of a route is told beside the identity headers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gateway.core.session_data import SessionDataRules
from gateway.core.signing_keys import SigningKeys
from gateway.front.assertions import Assertions
from gateway.front.basic import BasicAccount, BasicOfUser
from gateway.front.session_data import SessionData
from gateway.front.told import Told
from gateway.settings.model import Settings
from gateway.settings.rules import RouteSettings
from gateway.settings.token_issuers import DEFAULT_ISSUER
from gateway.store.sessions import Sessions

Keys = Callable[[], SigningKeys]


def make_told(route: RouteSettings, settings: Settings, sessions: Sessions, keys: Keys | None) -> Told | None:
    """None: the identity headers say all. ``keys``: those that sign; the settings were checked, so that they are here."""
    data = route.session_data
    session_data = assertions = None
    if data.enabled:
        namespace = data.namespace or route.upstream or next(iter(settings.upstreams))
        session_data = SessionData(sessions, SessionDataRules(namespace, data.max_bytes))
    if route.assertion.audience is not None and keys is not None:
        issuer = settings.tokens.issuer or settings.site.url or DEFAULT_ISSUER
        audience = route.assertion.audience
        assertions = Assertions(keys, issuer, audience, clock=time.time, entropy=os.urandom)
    basic = _basic(route)
    return Told(session_data, assertions, basic) if session_data or assertions or basic else None


def keeps_passwords(settings: Settings) -> bool:
    """Does any backend get the user's own? Then what he signs in with is kept in his session."""
    return any(route.backend_auth.basic == "user" for route in settings.routes)


def _basic(route: RouteSettings) -> BasicAccount | BasicOfUser | None:
    given = route.backend_auth
    if given.basic == "account" and given.username is not None and given.password is not None:
        return BasicAccount(given.username, given.password.get_secret_value())
    return BasicOfUser() if given.basic == "user" else None
