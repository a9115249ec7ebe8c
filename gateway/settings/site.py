"""``site:``: where the site is, how it speaks, and how its pages look."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateway.core.branding import DARK_PAGE, LIGHT_PAGE, NEEDED, is_colour, least_contrast, logo_type
from gateway.core.hosts import Hosts, is_pattern
from gateway.settings.sources import Loc
from gateway.settings.values import Slice, Words, check_site_url


class SiteSettings(Slice):
    """Where the site is and how it speaks."""

    url: str | None = Field(
        None,
        description="The site's address, https://www.example.org: makes cookies Secure, turns HSTS on. None: http, any Host.",
    )
    hosts: Words = Field(
        (), description="Names of the site, as in Host: www.example.org or *.example.org; others get 421. None: any."
    )
    language: Literal["auto", "en", "zh"] = Field(
        "auto", description="Language of messages and pages: auto (by Accept-Language, else English), en or zh."
    )
    prefix: str = Field(
        "/auth", description="Where the gateway's own endpoints live; nothing below it reaches a backend."
    )
    title: str = Field("Gateway", max_length=100, description="The name of the site, on the gateway's pages.")
    logo: Path | None = Field(
        None, description="An SVG or PNG file of at most 256 KiB, on the gateway's pages. None: the gateway's own."
    )
    colour: str | None = Field(
        None, description="Accent of the gateway's pages, #rrggbb; it has to be readable on white. None: green."
    )
    colour_dark: str | None = Field(
        None, description="Accent in dark mode, #rrggbb; readable on black. None: a lighter shade of colour."
    )
    support: str | None = Field(
        None,
        max_length=200,
        description="Behind Need help? on the gateway's pages: mailto:…, https://… or a line of text. None: nothing.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return check_site_url(value) if value else None

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not all(map(is_pattern, value)):
            raise ValueError("must be names like www.example.org or *.example.org; a port may stand behind one")
        url = info.data.get("url")
        if value and url and not Hosts(value).allows(url.partition("://")[2]):
            raise ValueError("must have the host of site.url among them")
        return value

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
            raise ValueError("must be a path like /auth, without a slash at its end")
        return value

    @field_validator("colour", "colour_dark")
    @classmethod
    def _check_colour(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not is_colour(value):
            raise ValueError('must be "#rrggbb", in quotes')
        dark = info.field_name == "colour_dark"
        found = least_contrast(value, DARK_PAGE if dark else LIGHT_PAGE)
        if found < NEEDED:
            ground, way = ("dark", "lighter") if dark else ("light", "darker")
            raise ValueError(f"has a contrast of {found} on the {ground} page; {NEEDED} is needed: take a {way} one")
        return value.lower()

    @field_validator("support")
    @classmethod
    def _check_support(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.isprintable():
            raise ValueError("must be one line")
        if value.startswith("mailto:") and not re.fullmatch(r"mailto:[^\s@:?]+@[^\s@:?]+(\?\S*)?", value):
            raise ValueError("must be like mailto:help@example.org")
        if value.startswith("https:") and not re.fullmatch(r"https://[^\s/\\][^\s\\]*", value):
            raise ValueError("must be like https://help.example.org/")
        return value


def check_logo(folder: Path, site: Any, add: Callable[[Loc, str], None]) -> None:
    """A logo that is none must not wait for the first page to be found."""
    path = site.get("logo") if isinstance(site, dict) else None
    if not isinstance(path, str):
        return
    try:
        logo_type((folder / path).read_bytes())
    except OSError as error:
        add(("site", "logo"), f"{folder / path} cannot be read: {error.strerror}")
    except ValueError as error:  # also of a path with a NUL
        add(("site", "logo"), f"{folder / path} {error}")
