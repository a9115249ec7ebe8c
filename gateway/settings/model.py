"""Every setting there is: its type, its default, and why in one line (``config/gateway.yaml`` shows them all).

Durations are seconds. A ``…_file`` beside a secret names a file that holds it. A key with nothing behind it means its
default; true and false are no numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from gateway.core.callers import UNIX, as_network
from gateway.core.keys import parse_ring
from gateway.core.redirects import safe_next
from gateway.settings.api_keys import ApiKeySettings
from gateway.settings.listening import ListenerSettings, RedirectSettings, TlsSettings
from gateway.settings.passwords import PasswordSettings
from gateway.settings.rules import RouteSettings
from gateway.settings.site import SiteSettings
from gateway.settings.stores import RedisSettings, SessionSettings, SqlSettings
from gateway.settings.throttling import ThrottleSettings
from gateway.settings.tokens import TokenSettings
from gateway.settings.upstreams import UpstreamSettings
from gateway.settings.users import UserSourceSettings
from gateway.settings.values import (
    Port,
    Seconds,
    Slice,
    Whole,
    Words,
    check_decoded_path,
    is_token,
)

_NOT_FOR_IDENTITY = frozenset(
    {"host", "cookie", "authorization", "connection", "content-length", "content-type", "transfer-encoding", "te"}
    | {"trailer", "upgrade", "expect"}
)


class ServerSettings(Slice):
    """The listener for everybody."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all.")
    port: Port = Field(8080, description="Port to listen on; 0: any free one.")
    workers: Whole = Field(
        1, ge=1, le=256, description="Processes that serve; as many as there are cores is a good number."
    )
    drain_timeout: Seconds = Field(30.0, description="Seconds that requests under way have to finish after SIGTERM.")
    head_timeout: Seconds = Field(15.0, description="Seconds for the head of a request to arrive; longer is 408.")
    keepalive_timeout: Seconds = Field(75.0, description="Seconds that a connection may wait for its next request.")
    max_header_bytes: Whole = Field(
        16384, ge=1024, le=1048576, description="Bytes: the longest request line and the longest header field."
    )
    tls: TlsSettings = TlsSettings()
    redirect_http: RedirectSettings = RedirectSettings()
    more_listeners: tuple[ListenerSettings, ...] = Field((), description="More listeners beside host and port.")
    max_connections: Whole = Field(16384, ge=0, description="Connections in each process; more get 503. 0: any number.")
    max_connections_per_address: Whole = Field(
        0, ge=0, description="Connections from one address in each process, trusted proxies aside. 0: any number."
    )
    keepalive_requests: Whole = Field(
        0, ge=0, description="Requests on one connection, which is closed then. 0: any number."
    )
    trusted_proxies: Words = Field(
        (),
        description="Proxies in front, as addresses, networks (10.0.0.0/8) or unix; they tell who is calling. None: nobody.",
    )
    proxy_protocol: bool = Field(
        False, description="true: every connection begins with a PROXY header (v1 or v2) of one of trusted_proxies."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            if proxy != UNIX:
                as_network(proxy)
        return value

    @field_validator("proxy_protocol")
    @classmethod
    def _check_proxy_protocol(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("trusted_proxies", True):
            raise ValueError("needs server.trusted_proxies: from nobody else such a header is taken")
        return value


class ManagementSettings(Slice):
    """The listener for operators: /healthz and /readyz."""

    host: str = Field("127.0.0.1", min_length=1, description="Address of the management listener; keep it private.")
    port: Port = Field(8081, description="Port of the management listener; 0: any free one.")


class KeySettings(Slice):
    """The ring of master keys, from which the keys for cookies and records are derived."""

    master: SecretStr | None = Field(None, description="The ring of master keys itself; better in a file.")
    master_file: Path | None = Field(
        None, description="File that holds the ring of master keys; gateway secrets makes one."
    )

    @field_validator("master")
    @classmethod
    def _check_ring(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_ring(value.get_secret_value())
        return value


class LoginAlias(Slice):
    """A path where an existing front end signs in."""

    path: str = Field(description="Path where an existing front end signs in; POST there is POST /auth/login.")
    wrong_status: Whole = Field(
        401, ge=200, le=499, description="Status for a wrong password there; some front ends expect 200."
    )

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        return check_decoded_path(value)


class LoginSettings(Slice):
    """Signing in."""

    aliases: tuple[LoginAlias, ...] = Field((), description="Paths where existing front ends sign in.")
    threads: Whole = Field(2, ge=1, le=64, description="Password checks at once; more wait in a bounded queue.")
    failure_time: Seconds = Field(
        0.5,
        le=10,
        description="Seconds: a failed sign-in is answered after a multiple of this, whatever was wrong.",
    )
    throttle: ThrottleSettings = ThrottleSettings()


class LogoutSettings(Slice):
    """Signing out."""

    redirect: str = Field("/", description="Where a page load goes after signing out.")
    aliases: Words = Field((), description="Paths where existing front ends sign out; POST there is POST /auth/logout.")
    clear_cookies: Words = Field(
        (), description="Names of cookies of backends that are deleted at signing out, and when another user signs in."
    )
    clear_site_data: Words = Field(
        (), description="What else the browser forgets at signing out (Clear-Site-Data): cache, cookies, storage or *."
    )

    @field_validator("redirect")
    @classmethod
    def _check_redirect(cls, value: str) -> str:
        if safe_next(value) is None:
            raise ValueError("must be a path on this site, like /")
        return value

    @field_validator("aliases")
    @classmethod
    def _check_aliases(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_decoded_path, value))

    @field_validator("clear_cookies")
    @classmethod
    def _check_cookies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_token, value)):
            raise ValueError("must be names of cookies")
        return value

    @field_validator("clear_site_data")
    @classmethod
    def _check_site_data(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not {"cache", "cookies", "storage", "*"}.issuperset(value):
            raise ValueError("must be of cache, cookies, storage and *")
        return value


class IdentitySettings(Slice):
    """How backends are told who is asking."""

    preset: Literal["forwarded", "remote", "auth-request"] = Field(
        "forwarded",
        description="Identity headers: forwarded (X-Forwarded-User …), remote (Remote-User …), auth-request (X-Auth-Request-User …).",
    )
    headers: dict[Literal["user", "username", "email", "groups", "usertype"], str] = Field(
        {}, description="Other names for single identity headers: user, username, email, groups, usertype."
    )
    encoding: Literal["percent", "utf8", "latin1"] = Field(
        "percent", description="How identity headers write characters outside printable ASCII: percent, utf8 or latin1."
    )

    @field_validator("headers")
    @classmethod
    def _check_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value.values():
            if not is_token(name) or name.lower().replace("_", "-") in _NOT_FOR_IDENTITY:
                raise ValueError(f"{name!r} is no header that can name a user")
        if len({name.lower().replace("_", "-") for name in value.values()}) < len(value):
            raise ValueError("two fields in one header")
        return value


class HeaderSettings(Slice):
    """What else backends are told."""

    via: bool = Field(True, description="true: add Via, as RFC 9110 asks of a proxy.")
    forwarded: bool = Field(False, description="true: add Forwarded (RFC 7239) beside X-Forwarded-*.")


class LogSettings(Slice):
    """Logs go to standard error, the audit log elsewhere."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto (text on a terminal, JSON lines elsewhere), json or text."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error; warning leaves out the line per request."
    )
    audit: str = Field(
        "off",
        description="Audit log (who signed in, who changed what), JSON lines: off, stdout, or a file's whole path from /.",
    )

    @field_validator("audit")
    @classmethod
    def _check_audit(cls, value: str) -> str:
        if value not in ("off", "stdout") and not (value.startswith("/") and value.isprintable()):
            raise ValueError("must be off, stdout, or the whole path of a file, from /")
        return value


class Settings(Slice):
    """Everything the gateway is told; docs/configuration.md is the reference."""

    site: SiteSettings = SiteSettings()
    server: ServerSettings = ServerSettings()
    management: ManagementSettings = ManagementSettings()
    redis: RedisSettings = RedisSettings()
    sql: SqlSettings = SqlSettings()
    keys: KeySettings = KeySettings()
    session: SessionSettings = SessionSettings()
    login: LoginSettings = LoginSettings()
    logout: LogoutSettings = LogoutSettings()
    passwords: PasswordSettings = PasswordSettings()
    tokens: TokenSettings = TokenSettings()
    api_keys: ApiKeySettings = ApiKeySettings()
    identity: IdentitySettings = IdentitySettings()
    headers: HeaderSettings = HeaderSettings()
    log: LogSettings = LogSettings()
    users: tuple[UserSourceSettings, ...] = Field((), description="Sources of users, tried in order.")
    upstreams: dict[str, UpstreamSettings] = Field({}, description="The backends, each under a name of your own.")
    routes: tuple[RouteSettings, ...] = Field((), description="The rules; a path without one is 404.")
