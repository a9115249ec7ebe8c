"""The settings of backends and rules: who may go where, and how a route says no."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from gateway.settings.values import Seconds, Slice, Whole, Words, check_decoded_path, check_upstream_url
from gateway.upstream.address import is_name_or_address


class UpstreamTlsSettings(Slice):
    """TLS to an https:// backend."""

    ca_file: Path | None = Field(None, description="Certificates to trust for this backend instead of the system's.")
    cert_file: Path | None = Field(None, description="The gateway's own certificate, for a backend that asks for one.")
    key_file: Path | None = Field(None, description="The key of cert_file for this backend, without a password.")
    server_name: str | None = Field(
        None, description="The name to ask for (SNI) and to find in the backend's certificate; none: the host of url."
    )
    verify: bool = Field(
        True, description="false: any certificate will do, and who sits in between can read and change everything."
    )

    @field_validator("key_file")
    @classmethod
    def _check_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "cert_file" in info.data and (info.data["cert_file"] is None) != (value is None):
            raise ValueError("cert_file and key_file go together")
        return value

    @field_validator("server_name")
    @classmethod
    def _check_server_name(cls, value: str | None) -> str | None:
        if value is not None and (not is_name_or_address(value) or value.endswith(".")):
            raise ValueError("must be a host name or an address, without a port and without a dot at its end")
        return value

    @field_validator("verify")
    @classmethod
    def _check_verify(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("ca_file"):
            raise ValueError("with verify: false nobody looks at ca_file: give one of the two")
        return value


class UpstreamSettings(Slice):
    """A backend."""

    url: str = Field(description="Where the backend listens: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")
    tls: UpstreamTlsSettings = UpstreamTlsSettings()

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_upstream_url(value)

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, value: UpstreamTlsSettings, info: ValidationInfo) -> UpstreamTlsSettings:
        if value.model_fields_set and not info.data.get("url", "https:").startswith("https:"):
            raise ValueError("is for https:// backends only")
        return value


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

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        return check_decoded_path(value)
