"""The gateway's own endpoints, put together: where they answer, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.device_cookie import DeviceTickets
from gateway.core.headers import HeaderPolicy
from gateway.core.keys import KeyRing
from gateway.core.refusals import Site
from gateway.core.tickets import FormTickets
from gateway.engines import SessionParts
from gateway.errors import Problem, SettingsError
from gateway.gate import Endpoint, Gate
from gateway.handlers.account import Account
from gateway.handlers.api_keys import ApiKeyEndpoint
from gateway.handlers.jwks import Jwks
from gateway.handlers.login import Login
from gateway.handlers.logout import Logout
from gateway.handlers.password import ChangePassword
from gateway.handlers.reset import ResetPassword
from gateway.handlers.session import SessionExtension, SessionInfo
from gateway.handlers.sessions import SessionList
from gateway.handlers.static import Static
from gateway.identity.foreign_tokens import ForeignTokens
from gateway.identity.passwords import PasswordChecker
from gateway.identity.reset_links import ResetLinks
from gateway.identity.sign_in import SignIn
from gateway.identity.users import Users
from gateway.key_store import KeyParts, key_rules
from gateway.pages import Brand, make_brand
from gateway.settings.model import Settings
from gateway.settings.site import SiteSettings
from gateway.store.bearers import Bearers
from gateway.throttles import device_cookie
from gateway.token_endpoints import token_endpoints, token_paths
from gateway.tokens import TokenParts
from gateway.told import keeps_passwords
from gateway.upstream.upstream import Upstream
from gateway.user_sources import password_policy
from gateway.web.answers import Answers
from gateway.web.cookies import CookieOptions
from gateway.web.devices import Devices
from gateway.web.leaving import Leaving
from gateway.web.own_door import Handler
from gateway.web.own_sessions import OwnSessions
from gateway.web.signed_cookies import signed_cookies, with_signed_cookies
from gateway.web.storage import SessionStorage, with_session

FORM_COOKIE = "gw_form"
_OWN = ("login", "logout", "session", "sessions", "account", "password", "reset")


@dataclass(frozen=True, slots=True)
class AppParts:
    """What :mod:`gateway.app` has put together for everybody."""

    settings: Settings
    site: Site
    ring: KeyRing
    users: Users
    sign_in: SignIn
    store: SessionParts
    storage: SessionStorage
    answers: Answers
    upstreams: dict[str, Upstream]
    checker: PasswordChecker
    header_policy: HeaderPolicy
    tokens: TokenParts | None
    api_keys: KeyParts | None
    bearers: Bearers | None
    foreign: ForeignTokens | None


def _form_cookie(site: Site) -> CookieOptions:
    """Lax, not Strict: the sign-in page is often reached from another site's link."""
    return CookieOptions(("__Secure-" if site.is_https else "") + FORM_COOKIE, None, site.prefix, site.is_https, "Lax")


def brand(site: SiteSettings) -> Brand:
    """How the pages look.

    :raises SettingsError: the logo is gone, or is none any more.
    """
    try:
        logo = site.logo.read_bytes() if site.logo is not None else None
        return make_brand(logo=logo, colour=site.colour, colour_dark=site.colour_dark, support=site.support or "")
    except (OSError, ValueError) as error:
        raise SettingsError([Problem("the configuration", "site.logo", str(error))]) from error


def endpoints(settings: Settings) -> dict[str, Endpoint]:
    """By path; one that ends with a slash has what is below it, too."""
    prefix = settings.site.prefix
    endpoints = {f"{prefix}/{name}": Endpoint(name) for name in _OWN}
    endpoints[f"{prefix}/sessions/"] = endpoints[f"{prefix}/sessions"]
    endpoints[f"{prefix}/session/extend"] = Endpoint("extend")
    endpoints[f"{prefix}/static/"] = Endpoint("static")
    if settings.tokens.keys_file is not None:
        endpoints[f"{prefix}/jwks.json"] = Endpoint("jwks")
    if settings.api_keys.enabled:
        endpoints[f"{prefix}/keys"] = endpoints[f"{prefix}/keys/"] = Endpoint("keys")
    endpoints |= token_paths(settings)
    endpoints |= {alias.path: Endpoint("login", True, alias.wrong_status) for alias in settings.login.aliases}
    return endpoints | {path: Endpoint("logout", True) for path in settings.logout.aliases}


def handlers(parts: AppParts, gate: Gate) -> dict[str, Handler]:
    """By the name of their endpoint."""
    shared = (parts.answers, FormTickets(parts.ring), _form_cookie(parts.site))
    devices = Devices(DeviceTickets(parts.ring), device_cookie(parts.site))
    logout = parts.settings.logout
    clear = [CookieOptions(name, secure=parts.site.is_https) for name in logout.clear_cookies]
    leaving = Leaving(logout.redirect, clear, logout.clear_site_data)
    sessions, users = parts.store.sessions, parts.users
    own_sessions = OwnSessions(sessions)
    policy, passwords = sessions.policy, password_policy(parts.settings)
    book = parts.api_keys.book if parts.api_keys is not None else None
    tokens, keeps = token_endpoints(parts, devices), keeps_passwords(parts.settings)
    own: dict[str, Handler] = {
        "login": Login(
            *shared,
            sign_in=parts.sign_in,
            devices=devices,
            clear=clear,
            may_remember=policy.remember is not None,
            may_pass=gate.may_pass,
            tokens=tokens.tokens,
            keeps_password=keeps,
        ),
        "logout": Logout(*shared, leaving=leaving),
        "session": SessionInfo(parts.answers, policy),
        "extend": SessionExtension(parts.answers, policy),
        "sessions": SessionList(parts.answers, own_sessions, f"{parts.site.prefix}/sessions"),
        "account": Account(*shared, users=users, sessions=own_sessions, leaving=leaving, book=book),
        "password": ChangePassword(
            *shared,
            sign_in=parts.sign_in,
            devices=devices,
            users=users,
            sessions=sessions,
            policy=passwords,
            keeps_password=keeps,
        ),
        "reset": ResetPassword(
            *shared, links=ResetLinks(users, parts.ring), devices=devices, sessions=sessions, policy=passwords
        ),
    }
    if book is not None:
        own["keys"] = ApiKeyEndpoint(*shared, book=book, rules=key_rules(parts.settings))
    plain: dict[str, Handler] = {"static": Static(parts.site, parts.answers.pages.files), **tokens.handlers}
    if parts.tokens is not None:
        plain["jwks"] = Jwks(parts.answers, parts.tokens.keys.keys)
    cookies = signed_cookies(parts.ring, secure=parts.site.is_https)

    def dressed(name: str, one: Handler) -> Handler:
        return with_session(parts.storage, with_signed_cookies(cookies, one), activity=name != "session")

    return {name: dressed(name, one) for name, one in own.items()} | plain
