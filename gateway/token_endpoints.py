"""The endpoints of tokens, put together: where they answer, and with what. Without tokens there are none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gateway.core.throttling import prefix_of
from gateway.gate import Endpoint
from gateway.handlers.token import PasswordGrant, SessionGrant, Token
from gateway.handlers.token_introspect import TokenIntrospection
from gateway.handlers.token_refresh import TokenRefresh
from gateway.handlers.token_revoke import TokenRevocation
from gateway.settings.model import Settings
from gateway.settings.tokens import TokenSettings
from gateway.store.refresh import Refreshing
from gateway.throttles import make_throttle, throttle_policy
from gateway.web.devices import Devices
from gateway.web.oauth import OAuthErrors
from gateway.web.own_door import Handler
from gateway.web.storage import with_session
from gateway.web.token_clients import TokenClients
from gateway.web.tokens import Tokens

if TYPE_CHECKING:
    from gateway.endpoints import AppParts

_PATHS = {
    "token": "token",
    "token/refresh": "token_refresh",
    "token/revoke": "token_revoke",
    "token/introspect": "token_introspect",
}


@dataclass(frozen=True, slots=True)
class TokenEndpoints:
    """``handlers`` by the name of their endpoint; ``tokens`` for whoever else answers with one."""

    handlers: dict[str, Handler]
    tokens: Tokens | None = None


def token_paths(settings: Settings) -> dict[str, Endpoint]:
    """Where they answer."""
    if settings.tokens.keys_file is None:
        return {}
    return {f"{settings.site.prefix}/{path}": Endpoint(name) for path, name in _PATHS.items()}


def token_endpoints(parts: AppParts, devices: Devices) -> TokenEndpoints:
    """With what they answer."""
    made, given, sessions = parts.tokens, parts.settings.tokens, parts.store.sessions
    if made is None:
        return TokenEndpoints({})
    refreshing = Refreshing(sessions, parts.ring, parts.store.announcements, grace=float(given.refresh_grace))
    tokens = Tokens(
        parts.answers,
        made.access,
        made.denylist,
        sessions,
        refreshing,
        parts.users.as_now,
        leeway=float(given.leeway),
        response_header=given.response_header or "",
    )
    by_password = PasswordGrant(parts.sign_in, devices, sessions, refreshing, tokens) if given.password_grant else None
    by_session = with_session(parts.storage, SessionGrant(parts.answers, tokens))
    throttle = make_throttle(parts.settings, parts.ring, parts.store.link)
    clients = TokenClients(_secrets(given), throttle, partial(prefix_of, policy=throttle_policy(parts.settings)))
    errors = OAuthErrors(parts.answers, parts.site)
    own: dict[str, Handler] = {
        "token": Token(tokens, by_session, by_password),
        "token_refresh": TokenRefresh(tokens),
        "token_revoke": TokenRevocation(parts.answers, tokens),
        "token_introspect": TokenIntrospection(parts.answers, tokens, clients),
    }
    return TokenEndpoints({name: errors.around(handler) for name, handler in own.items()}, tokens)


def _secrets(given: TokenSettings) -> dict[str, str]:
    return {client.id: client.secret.get_secret_value() for client in given.clients if client.secret is not None}
