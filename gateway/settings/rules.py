"""The settings of rules: who may go where, and how a route says no."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gateway.core.redirects import origin_of
from gateway.settings.backend import AssertionSettings, BackendAuthSettings, SessionDataSettings
from gateway.settings.values import Seconds, Slice, Whole, Words, check_decoded_path


class AccessSettings(Slice):
    """Who may pass: all that is named must fit."""

    usertype: Words = Field((), description="Only users of one of these usertypes.")
    groups: Words = Field((), description="Only members of one of these groups.")

    @model_validator(mode="after")
    def _check_any(self) -> AccessSettings:
        if not self.usertype and not self.groups:
            raise ValueError("names nobody: use public, authenticated, or usertype/groups")
        return self


def _access_branch(value: object) -> str:
    """Which half of the union is meant, so that a mistake in one is not reported as two."""
    return "word" if isinstance(value, str) else "rule"


ACCESS_BRANCHES = frozenset({"word", "rule"})
AccessRule = Annotated[
    Annotated[Literal["public", "authenticated"], Tag("word")] | Annotated[AccessSettings, Tag("rule")],
    Discriminator(_access_branch),
]


class RefuseSettings(Slice):
    """How a route says no."""

    redirect: str | None = Field(
        None, description="Sign-in page instead of the gateway's own, told verbatim; {next} in it is filled in."
    )
    status: Literal[302, 401] = Field(302, description="Status for who is not signed in: 302 or 401.")
    forbidden: Literal[302, 403] = Field(
        302, description="Status for who is signed in, but not as one of those wanted: 302 or 403."
    )

    @field_validator("redirect")
    @classmethod
    def _check_redirect(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(/(?![/\\])|https?://)[!-~]*", value):
            raise ValueError("must be a path on this site or an http(s) address, in ASCII without spaces")
        return value


class TimeoutSettings(Slice):
    """Patience with a backend."""

    connect: Seconds = Field(5.0, description="Seconds to connect to the backend.")
    first_byte: Seconds = Field(60.0, description="Seconds until the backend's answer begins.")
    between_bytes: Seconds = Field(300.0, description="Seconds between two pieces of a request or an answer.")
    total: Seconds | None = Field(None, description="Seconds for the whole answer; none: as long as it takes.")


class LimitSettings(Slice):
    """The largest request that is passed on."""

    target: Whole = Field(8192, ge=64, le=1048576, description="Bytes of the path with its query; more is 414.")
    headers: Whole = Field(100, ge=1, le=10000, description="Number of header fields; more is 431.")
    header_bytes: Whole = Field(
        32768, ge=256, le=1048576, description="Bytes of all header fields together; more is 431."
    )
    body: Whole = Field(1073741824, ge=0, description="Bytes of the body; more is 413.")


class WebSocketSettings(Slice):
    """WebSockets."""

    origins: Words = Field(
        (), description='Other sites whose pages may open one, like https://app.example.org; "*": any.'
    )
    idle_timeout: Seconds = Field(3600.0, description="Seconds without a byte either way after which one is closed.")
    activity: bool = Field(True, description="true: what the client sends keeps its session alive, as requests do.")

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and (origin_of(origin) is None or origin_of(origin) != origin):
                raise ValueError(f"{origin!r} is no origin like https://app.example.org")
        return value


class RouteSettings(Slice):
    """One rule: a path, who may pass, where to."""

    path: str = Field(
        description="With a slash at its end it covers everything below; without one it is exactly that path."
    )
    name: str | None = Field(None, max_length=100, description="Name for logs; none: the path.")
    upstream: str | None = Field(None, description="Name of one of upstreams; not needed when there is only one.")
    access: AccessRule = Field(
        "authenticated", description="Who may pass: public, authenticated, or usertype and groups."
    )
    identity: Literal["none", "optional"] = Field(
        "none", description="optional, on public routes: tell the backend who is asking when somebody is signed in."
    )
    authorization: Literal["gateway", "backend"] = Field(
        "gateway", description="Whose the Authorization header is: gateway (not passed on) or backend (passed on)."
    )
    preserve_host: bool = Field(
        True, description="true: pass on the Host that the client sent; false: the upstream's own."
    )
    encoded_slash: Literal["refuse", "pass"] = Field(
        "refuse", description="A path with %2F: refuse it, or pass it on where every reading of it is this route's."
    )
    cache: Literal["as_is", "private", "no-store"] = Field(
        "as_is", description="The backend's cache headers: as_is, private (shared caches keep nothing) or no-store."
    )
    refuse: RefuseSettings = RefuseSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    session_data: SessionDataSettings = SessionDataSettings()
    assertion: AssertionSettings = AssertionSettings()
    backend_auth: BackendAuthSettings = BackendAuthSettings()

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        return check_decoded_path(value)
