"""The settings of backends: where they are, how several share the work, and what is done about one that is not well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from gateway.settings.values import NO_FLAG, Seconds, Slice, Whole, check_pair, check_upstream_url
from gateway.upstream.address import is_name_or_address, parse_upstream_url

_Number = Annotated[float, Field(allow_inf_nan=False), NO_FLAG]


def _texts(value: object) -> object:
    """One value may be written without brackets, and 204 without quotes."""
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one) if type(one) is int else one for one in values]


_STATUS = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(_texts),
    WithJsonSchema({"anyOf": [*_STATUS["anyOf"], {"type": "array", "items": _STATUS}]}),
]


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
        return check_pair(value, info)

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


class ServerOfUpstream(Slice):
    """One of several servers."""

    url: str = Field(description="Where this server listens: http://HOST:PORT, https://HOST:PORT or unix:/PATH.")
    weight: Whole = Field(
        1, ge=1, le=1000, description="Its share: a server of weight 2 gets twice what one of weight 1 gets."
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return check_upstream_url(value)


class QueueSettings(Slice):
    """Who waits when every server has max_requests in flight."""

    size: Whole = Field(100, ge=0, le=100000, description="Requests that may wait for a server; more get 503.")
    timeout: Seconds = Field(5.0, description="Seconds that a request waits for a server at most; longer is 503.")


class EjectSettings(Slice):
    """When a server that fails gets no requests for a while."""

    failures: Whole = Field(3, ge=1, le=1000, description="Failures in a row after which a server is ejected.")
    seconds: Seconds = Field(10.0, description="Seconds that it is out; twice as long each time, up to 300.")
    slow_start: _Number = Field(
        10.0, ge=0, le=3600, description="Seconds in which a server that came back grows to its weight; 0: at once."
    )
    statuses: tuple[Annotated[int, Field(ge=400, le=599), NO_FLAG], ...] = Field(
        (), description="Statuses of answers that count as failures, like [502, 503]; none: no answer does."
    )


class HealthSettings(Slice):
    """Checks of each server, on a connection of their own."""

    path: str | None = Field(None, description="What is asked for, like /healthz; none: no checks.")
    interval: Seconds = Field(5.0, description="Seconds from one check to the next.")
    timeout: Seconds = Field(2.0, description="Seconds for a whole check; longer is a failed one.")
    healthy: Whole = Field(2, ge=1, le=100, description="Good checks in a row that bring a server back.")
    unhealthy: Whole = Field(3, ge=1, le=100, description="Failed checks in a row that take a server out.")
    status: _Statuses = Field(("200-399",), description="Statuses of a good check: numbers and ranges.")

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"/[!-~]*", value):
            raise ValueError("must be a path like /healthz, in ASCII without spaces")
        return value

    @field_validator("interval", "timeout", "healthy", "unhealthy", "status")
    @classmethod
    def _check_purpose(cls, value: object, info: ValidationInfo) -> object:
        default = cls.model_fields[info.field_name or ""].default
        if "path" in info.data and info.data["path"] is None and value != default:
            raise ValueError("is for upstreams with health.path")
        return value

    @field_validator("status")
    @classmethod
    def _check_status(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            low, _, high = one.partition("-")
            if not re.fullmatch(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?", one) or int(low) > int(high or low):
                raise ValueError("must be statuses and ranges of them, like 200-399 or [200, 204]")
        return value


class RetrySettings(Slice):
    """How many requests may be repeated on another server."""

    budget: _Number = Field(
        0.2, ge=0, le=1, description="Share of the requests that may be repeated: 0.2 is one in five."
    )
    min_per_second: _Number = Field(
        10.0, ge=0, le=10000, description="Repetitions a second that are possible however few requests there are."
    )


class UpstreamSettings(Slice):
    """A backend: one server, or several that do the same."""

    url: str | None = Field(
        None, description="Where the backend listens: http://HOST:PORT, https://HOST:PORT or unix:/PATH."
    )
    servers: tuple[ServerOfUpstream, ...] = Field((), description="Several servers that do the same, instead of url.")
    tls: UpstreamTlsSettings = UpstreamTlsSettings()
    balance: Literal["round_robin", "least_connections", "sticky"] = Field(
        "round_robin", description="Who gets the next request: round_robin, least_connections or sticky (by session)."
    )
    max_requests: Whole | None = Field(
        None, ge=1, le=100000, description="Requests in flight on one server; more wait. None: any number."
    )
    queue: QueueSettings = QueueSettings()
    eject: EjectSettings = EjectSettings()
    health: HealthSettings = HealthSettings()
    retries: RetrySettings = RetrySettings()
    resolve_seconds: Seconds = Field(30.0, description="Seconds after which a host's name is looked up again.")
    keepalive_timeout: Seconds = Field(55.0, description="Seconds that an idle connection to a backend is kept.")

    @property
    def urls(self) -> tuple[str, ...]:
        """Of all its servers."""
        return (self.url,) if self.url is not None else tuple(server.url for server in self.servers)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return None if value is None else check_upstream_url(value)

    @field_validator("servers")
    @classmethod
    def _check_servers(cls, value: tuple[ServerOfUpstream, ...], info: ValidationInfo) -> tuple[ServerOfUpstream, ...]:
        if value and info.data.get("url") is not None:
            raise ValueError("give either url or servers")
        addresses = [str(parse_upstream_url(server.url)) for server in value]
        if len(set(addresses)) < len(addresses):
            raise ValueError("the same server twice: give it a larger weight")
        if len({address.startswith("https:") for address in addresses}) > 1:
            raise ValueError("must all be https:// or none of them")
        return value

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, value: UpstreamTlsSettings, info: ValidationInfo) -> UpstreamTlsSettings:
        servers = info.data.get("servers") or ()
        first = info.data.get("url") or (servers[0].url if servers else "https:")
        if value.model_fields_set and not first.startswith("https:"):
            raise ValueError("is for https:// backends only")
        return value

    @field_validator("queue")
    @classmethod
    def _check_queue(cls, value: QueueSettings, info: ValidationInfo) -> QueueSettings:
        if value != QueueSettings() and "max_requests" in info.data and info.data["max_requests"] is None:
            raise ValueError("is for upstreams with max_requests")
        return value

    @field_validator("balance", "eject", "retries")
    @classmethod
    def _check_several(cls, value: object, info: ValidationInfo) -> object:
        default = cls.model_fields[info.field_name or ""].default
        if value != default and info.data.get("url") is not None:
            raise ValueError("is for upstreams with several servers")
        return value
