"""Every setting there is: its type, its default, and why in one line (``config/gateway.yaml`` shows them all).

Durations are seconds. A ``…_file`` beside a secret names a file that holds it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from gateway.core.head import is_host
from gateway.core.keys import parse_ring
from gateway.core.redirects import safe_next

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
WholeSeconds = Annotated[int, Field(gt=0, le=10 * 366 * 86400)]
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_UPSTREAM = re.compile(r"https?://[^/?#@\s]+/?")


def _listed(value: object) -> object:
    """One value may be written without brackets."""
    return [value] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Slice(BaseModel):
    """A frozen part of the settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class SiteSettings(Slice):
    """Where the site is and how it speaks."""

    url: str | None = Field(
        None,
        description="The site's own address, https://www.example.org; from it follow Secure cookies, their __Host- prefix and HSTS. Empty: plain http under whatever Host is asked for.",
    )
    language: Literal["auto", "en", "zh"] = Field(
        "auto", description="Language of messages and pages; auto: by Accept-Language, else English."
    )
    prefix: str = Field(
        "/auth", description="Where the gateway's own endpoints live; nothing below it reaches a backend."
    )
    title: str = Field("Sign in", max_length=100, description="The name of the site, on the gateway's pages.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None or value == "":
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not is_host(parts.netloc) or parts.path.strip("/") or parts.query:
            raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT], without a path")
        return f"{parts.scheme}://{parts.netloc}".lower()

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
            raise ValueError("must be a path like /auth, without a slash at its end")
        return value


class ServerSettings(Slice):
    """The listener for everybody."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: Port = Field(8080, description="Port to listen on; 0: any free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes, each with an event loop of its own.")
    drain_timeout: Seconds = Field(30.0, description="How long requests under way may finish after SIGTERM.")
    max_header_bytes: int = Field(
        16384, ge=1024, le=1048576, description="Longest request line and longest header field."
    )


class ManagementSettings(Slice):
    """The listener for operators: /healthz and /readyz."""

    host: str = Field("127.0.0.1", description="Address of the management listener; keep it private.")
    port: Port = Field(8081, description="Its port; 0: any free one.")


class RedisSettings(Slice):
    """Where sessions live."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// (TLS) or unix://.")
    username: str | None = Field(None, description="ACL user.")
    password: SecretStr | None = Field(None, description="Or password_file, or GATEWAY__REDIS__PASSWORD_FILE.")
    password_file: Path | None = Field(None, description="File that holds the password.")
    prefix: str = Field(
        "gw:", max_length=64, description="Start of every key, so that several sites can share one Redis."
    )
    timeout: Annotated[float, Field(gt=0, le=30)] = Field(
        1.0, description="For one command in all; then the answer is 503."
    )
    pool_size: int = Field(32, ge=1, le=10000, description="Connections per process.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


class KeySettings(Slice):
    """The ring of master keys, from which the keys for cookies and records are derived."""

    master: SecretStr | None = Field(None, description="The ring itself; better in a file.")
    master_file: Path | None = Field(None, description="File that holds it (make secrets), mode 0600.")

    @field_validator("master")
    @classmethod
    def _check_ring(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_ring(value.get_secret_value())
        return value


class CookieSettings(Slice):
    """The session's cookie (Django: SESSION_COOKIE_*)."""

    name: str = Field("gw_session", description="Its name; prefixed __Host- or __Secure- when the site is https.")
    age: WholeSeconds = Field(14 * 86400, description="Longest life of a session without a write.")
    domain: str | None = Field(None, description="Set it only to share sessions with subdomains.")
    path: str = Field("/", description="Where the browser sends it.")
    samesite: Literal["Lax", "Strict", "None"] = Field(
        "Lax", description="When other sites' requests carry it; None needs https."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value) or value.startswith("__"):
            raise ValueError("must be a cookie name of letters, digits, _ or -, without a prefix (it gets its own)")
        return value

    @field_validator("domain", "path")
    @classmethod
    def _check_attribute(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._~/-]+", value):
            raise ValueError("holds a character that a cookie attribute may not have")
        return value


class SessionSettings(Slice):
    """How long a session lives."""

    cookie: CookieSettings = CookieSettings()
    idle_timeout: WholeSeconds = Field(30 * 60, description="Over after this long without a request.")
    absolute_timeout: WholeSeconds = Field(12 * 3600, description="Over this long after signing in, come what may.")
    touch_interval: WholeSeconds = Field(60, description="A sliding expiry is written at most this often.")
    expire_at_browser_close: bool = Field(
        False, description="Default for who does not say `remember`: a cookie without an age."
    )


class LoginAlias(Slice):
    """A path where an existing front end signs in."""

    path: str = Field(description="POST there is POST /auth/login.")
    wrong_status: int = Field(
        401, ge=200, le=499, description="Status for a wrong password, where the front end expects 200."
    )


class LoginSettings(Slice):
    """Signing in."""

    aliases: tuple[LoginAlias, ...] = Field((), description="Paths where existing front ends sign in.")
    threads: int = Field(2, ge=1, le=64, description="Password checks at once; more wait in a bounded queue.")


class LogoutSettings(Slice):
    """Signing out."""

    redirect: str = Field("/", description="Where a page load goes after signing out.")
    aliases: Words = Field((), description="Paths where existing front ends sign out (POST).")
    clear_cookies: Words = Field((), description="Cookies of backends that are deleted with the session.")

    @field_validator("redirect")
    @classmethod
    def _check_redirect(cls, value: str) -> str:
        if safe_next(value) is None:
            raise ValueError("must be a path on this site, like /")
        return value


class IdentitySettings(Slice):
    """How backends are told who is asking."""

    preset: Literal["forwarded", "remote", "auth-request"] = Field(
        "forwarded", description="X-Forwarded-User …, Remote-User …, or X-Auth-Request-User …."
    )
    headers: dict[Literal["user", "username", "email", "groups", "usertype"], str] = Field(
        {}, description="Other names for single fields."
    )
    encoding: Literal["percent", "utf8", "latin1"] = Field(
        "percent", description="Of characters outside printable ASCII."
    )

    @field_validator("headers")
    @classmethod
    def _check_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value.values():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is not a header name")
        return value


class HeaderSettings(Slice):
    """What else backends are told."""

    via: bool = Field(True, description="Add Via, as RFC 9110 asks of a proxy.")
    forwarded: bool = Field(False, description="Add Forwarded (RFC 7239) beside X-Forwarded-*.")


class FileSource(Slice):
    """Users in a YAML file."""

    source: Literal["file"] = Field("file", description="The kind of source.")
    path: Path = Field(description="The users file, relative to this file.")


class UpstreamSettings(Slice):
    """A backend."""

    url: str = Field(description="http://HOST:PORT or https://HOST:PORT.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not _UPSTREAM.fullmatch(value):
            raise ValueError(
                "must be http://HOST[:PORT] or https://HOST[:PORT], without a path: requests keep their own"
            )
        try:
            port = urlsplit(value).port
        except ValueError as error:
            raise ValueError("the port is not a number from 1 to 65535") from error
        if port == 0:
            raise ValueError("the port is not a number from 1 to 65535")
        return value


class AccessSettings(Slice):
    """Who may pass: all that is named must fit."""

    usertype: Words = Field((), description="One of these usertypes.")
    groups: Words = Field((), description="A member of one of these groups.")

    @model_validator(mode="after")
    def _check_any(self) -> AccessSettings:
        if not self.usertype and not self.groups:
            raise ValueError("names nobody: use public, authenticated, or usertype/groups")
        return self


class RefuseSettings(Slice):
    """How a route says no."""

    redirect: str | None = Field(
        None, description="Sign-in page instead of the gateway's own, told verbatim; {next} is filled in."
    )
    status: Literal[302, 401] = Field(302, description="For who is not signed in.")
    forbidden: Literal[302, 403] = Field(302, description="For who is signed in, but not as one of those wanted.")

    @field_validator("redirect")
    @classmethod
    def _check_redirect(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(/(?![/\\])|https?://)[!-~]*", value):
            raise ValueError("must be a path on this site or an http(s) address, in ASCII without spaces")
        return value


class TimeoutSettings(Slice):
    """Patience with a backend."""

    connect: Seconds = Field(5.0, description="To connect.")
    first_byte: Seconds = Field(60.0, description="Until the answer begins.")
    between_bytes: Seconds = Field(300.0, description="Between two pieces of a request or an answer.")


class RouteSettings(Slice):
    """One rule: a path, who may pass, where to."""

    path: str = Field(description="/app/ covers all below it; without a slash at its end it is exactly that path.")
    name: str | None = Field(None, max_length=100, description="For logs; the path when there is none.")
    upstream: str | None = Field(None, description="Name of a backend; may be left out when there is only one.")
    access: Literal["public", "authenticated"] | AccessSettings = Field(
        "authenticated", description="public, authenticated, or {usertype: …, groups: …}."
    )
    identity: Literal["none", "optional"] = Field(
        "none", description="On public routes: optional tells the backend who is asking when somebody is signed in."
    )
    authorization: Literal["gateway", "backend"] = Field(
        "gateway", description="Whose the Authorization header is; backend: passed on."
    )
    preserve_host: bool = Field(True, description="Pass on the Host the client sent; false: the upstream's own.")
    cache: Literal["as_is", "private", "no-store"] = Field(
        "as_is", description="What happens to the backend's cache headers."
    )
    refuse: RefuseSettings = RefuseSettings()
    timeouts: TimeoutSettings = TimeoutSettings()

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not value.startswith("/") or re.search(r"//|[\x00-\x20?#\\;%]|/\.{1,2}(/|$)", value):
            raise ValueError("must begin with / and be written decoded: no %, ?, #, ;, backslash, // or dot segments")
        return value


class LogSettings(Slice):
    """Logs go to standard error."""

    format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="warning leaves out the line per request."
    )


class Settings(Slice):
    """All of it."""

    site: SiteSettings = SiteSettings()
    server: ServerSettings = ServerSettings()
    management: ManagementSettings = ManagementSettings()
    redis: RedisSettings = RedisSettings()
    keys: KeySettings = KeySettings()
    session: SessionSettings = SessionSettings()
    login: LoginSettings = LoginSettings()
    logout: LogoutSettings = LogoutSettings()
    identity: IdentitySettings = IdentitySettings()
    headers: HeaderSettings = HeaderSettings()
    log: LogSettings = LogSettings()
    users: tuple[FileSource, ...] = Field((), description="Sources of users, tried in order.")
    upstreams: dict[str, UpstreamSettings] = Field({}, description="The backends, by name.")
    routes: tuple[RouteSettings, ...] = Field((), description="The rules; a path without one is 404.")
