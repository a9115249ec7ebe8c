"""The settings of listeners: TLS, more of them, and the one that sends http to https; and what they ask of each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from gateway.settings.sources import Loc
from gateway.settings.values import Port, Slice, check_pair

Add = Callable[[Loc, str], None]


def _as_text(value: object) -> object:
    """YAML reads 1.2 as a number."""
    return str(value) if isinstance(value, float) else value


TlsVersion = Annotated[
    Literal["1.2", "1.3"], BeforeValidator(_as_text), WithJsonSchema({"enum": ["1.2", "1.3", 1.2, 1.3]})
]


class CertificateSettings(Slice):
    """A certificate of several, chosen by the name that the client asks for (SNI)."""

    cert_file: Path = Field(description="One more certificate with its chain (PEM); the names are those in it.")
    key_file: Path = Field(description="The key of this certificate, without a password.")


class TlsSettings(Slice):
    """TLS at the listeners; off without a certificate."""

    cert_file: Path | None = Field(None, description="Certificate with its chain (PEM); turns TLS on.")
    key_file: Path | None = Field(None, description="The key of this cert_file, without a password.")
    certificates: tuple[CertificateSettings, ...] = Field(
        (), description="More certificates, chosen by the name asked for (SNI); the first of all is for any other name."
    )
    min_version: TlsVersion = Field("1.2", description="The oldest version of TLS that is spoken: 1.2 or 1.3.")

    @field_validator("key_file")
    @classmethod
    def _check_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        return check_pair(value, info)

    @property
    def is_on(self) -> bool:
        """Is there a certificate?"""
        return self.cert_file is not None or bool(self.certificates)

    @property
    def pairs(self) -> list[tuple[Path, Path]]:
        """Each certificate with its key; the first is for names that no certificate is for."""
        first = [(self.cert_file, self.key_file)] if self.cert_file and self.key_file else []
        return [*first, *((one.cert_file, one.key_file) for one in self.certificates)]


class RedirectSettings(Slice):
    """A listener that sends http to https."""

    host: str | None = Field(None, min_length=1, description="Address of the listener for http; none: server.host.")
    port: Port | None = Field(
        None, description="Port, as a rule 80, where http is sent to https with 308; none: there is no such listener."
    )


class ListenerSettings(Slice):
    """One more listener: an address and a port, or a unix socket."""

    host: str | None = Field(None, min_length=1, description="Address of this listener; none: server.host.")
    port: Port | None = Field(None, description="Port of this listener; 0: any free one.")
    unix: Path | None = Field(None, description="Instead of a port: path of a unix socket.")
    mode: str = Field("0660", description="Mode of the unix socket, in quotes: who may connect.")
    tls: bool | None = Field(
        None, description="true or false: speaks TLS; none: on a port as soon as there is a certificate."
    )

    @field_validator("mode")
    @classmethod
    def _check_mode(cls, value: str) -> str:
        if not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError('must be three octal digits in quotes, like "0660"')
        return value

    @model_validator(mode="after")
    def _check_place(self) -> ListenerSettings:
        if (self.port is None) == (self.unix is None):
            raise ValueError("needs either a port or unix")
        if self.unix is not None and self.host is not None:
            raise ValueError("a unix socket has no host")
        return self


# -- what no single setting can know, on the plain data (see gateway.settings.whole)
Address = tuple[str, str]


def check_listening(data: dict[str, Any], add: Add) -> None:
    """Calls ``add`` for each problem; values of a wrong type are somebody else's problem."""
    server = _mapping(data.get("server"))
    tls, redirect = _mapping(server.get("tls")), _mapping(server.get("redirect_http"))
    is_on = bool(tls.get("cert_file") or tls.get("certificates"))
    url = str(_mapping(data.get("site")).get("url") or "")
    if is_on and url.startswith("http:"):
        add(("site", "url"), "is http, but server.tls makes the site https")
    if is_on and server.get("proxy_protocol") is True:
        add(("server", "proxy_protocol"), "is for listeners without TLS: the proxy that sends it ends TLS")
    if redirect.get("port") is not None and not is_on and not url.startswith("https:"):
        add(
            ("server", "redirect_http"),
            "there is no https to go to: server.tls has no certificate, site.url is not https",
        )
    for index, one in _rows(server.get("more_listeners")):
        if one.get("tls") is True and not is_on:
            add(("server", "more_listeners", index, "tls"), "needs a certificate in server.tls")
    _check_places(data, server, add)


def _check_places(data: dict[str, Any], server: dict[str, Any], add: Add) -> None:
    """No address twice."""
    taken: dict[Address, str] = {}
    for loc, place in _places(data, server):
        if place[1] != "0" and place in taken:
            add(loc, f"the same address and port as {taken[place]}")
        taken.setdefault(place, ".".join(map(str, loc[:-1])))


def _places(data: dict[str, Any], server: dict[str, Any]) -> Iterator[tuple[Loc, Address]]:
    own = str(server.get("host") or "127.0.0.1")
    yield ("server", "port"), (own, str(server.get("port", 8080)))
    management = _mapping(data.get("management"))
    yield ("management", "port"), (str(management.get("host") or "127.0.0.1"), str(management.get("port", 8081)))
    redirect = _mapping(server.get("redirect_http"))
    if redirect.get("port") is not None:
        yield ("server", "redirect_http", "port"), (str(redirect.get("host") or own), str(redirect["port"]))
    for index, one in _rows(server.get("more_listeners")):
        loc: Loc = ("server", "more_listeners", index)
        if one.get("unix") is not None:
            yield (*loc, "unix"), ("unix", str(one["unix"]))
        elif one.get("port") is not None:
            yield (*loc, "port"), (str(one.get("host") or own), str(one["port"]))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, row in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(row, dict):
            yield index, row
