"""The operator's own look: a colour that can be read, a logo that is a picture, and nothing inline."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import pytest

from gateway.core.branding import (
    DARK_PAGE,
    LIGHT_PAGE,
    MAX_LOGO,
    accent_for_dark,
    contrast,
    is_colour,
    least_contrast,
    logo_type,
    mix,
)
from gateway.errors import SettingsError
from gateway.pages import STATIC, LoginView, Pages, make_brand
from gateway.settings import settings_from
from gateway.settings.site import SiteSettings

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'
LOGIN = LoginView("en", "/auth/login", "/", "t0ken")


def png() -> bytes:
    """One grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


# -- contrast
@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#777777", "#ffffff", 4.48),
        ("#ffffff", "#ffffff", 1.0),
        ("#FF0000", "#fff00f", 3.4),
    ],
)
def test_contrast_is_wcags(one: str, other: str, ratio: float) -> None:
    assert round(contrast(one, other), 1) == round(ratio, 1)
    assert contrast(one, other) == contrast(other, one)


def test_the_grounds_are_those_of_the_style_sheet() -> None:
    assert re.findall(r"--page: (#\w{6});", STATIC["gateway.css"].body.decode()) == [LIGHT_PAGE, DARK_PAGE]


@pytest.mark.parametrize("colour", ["#1d4ed8", "#7a1f5c", "#000000", "#005a9c", "#b00020", "#0b6e4f", "#4d4d4d"])
def test_the_shade_for_the_dark_page_can_be_read_there(colour: str) -> None:
    assert least_contrast(accent_for_dark(colour), DARK_PAGE) >= 7


def test_a_colour_that_is_light_enough_already_stays_as_it_is_in_the_dark() -> None:
    assert accent_for_dark("#8bdcc0") == "#8bdcc0"


@pytest.mark.parametrize("value", ["red", "#fff", "1d4ed8", "#1d4ed8 ", "#1d4eg8", "", "#1d4ed8;}", "#１d4ed8"])
def test_only_six_hexadecimal_digits_are_a_colour(value: str) -> None:
    assert not is_colour(value)


def test_mixing_ends_at_both_ends() -> None:
    assert [mix("#102030", "#ffffff", share) for share in (0, 1)] == ["#102030", "#ffffff"]


# -- the logo
def test_an_svg_and_a_png_are_known_by_what_is_in_them() -> None:
    assert (logo_type(SVG), logo_type(b'<?xml version="1.0"?>\n' + SVG), logo_type(png())) == ("svg", "svg", "png")


BOMB = b'<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither an SVG nor a PNG"),
        (b"GIF89a", "neither an SVG nor a PNG"),
        (b"\x89PNG\r\n\x1a\nnothing", "neither an SVG nor a PNG"),
        (b"<svg", "neither an SVG nor a PNG"),
        (b"<html><script>1</script></html>", "no SVG"),
        (b"<svg></svg>", "no SVG"),
        (BOMB, "<!ENTITY"),
        (SVG + b" " * MAX_LOGO, "at most 262144"),
    ],
    ids=["empty", "gif", "cut png", "cut svg", "html", "no namespace", "entities", "large"],
)
def test_what_is_no_logo_is_told_why(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        logo_type(data)


# -- what is served
def test_without_a_brand_the_pages_are_ours() -> None:
    brand = make_brand()
    assert (brand.files, brand.style, brand.logo) == (STATIC, None, None)


def test_a_colour_makes_a_style_sheet_and_pictures_of_its_own() -> None:
    files = make_brand(colour="#1d4ed8").files
    css = files["brand.css"].body.decode()
    assert "--accent: #1d4ed8;" in css.split("@media")[0]
    assert f"--accent: {accent_for_dark('#1d4ed8')};" in css.split("@media")[1]
    for name in ("gate.svg", "mark.svg"):
        assert files[name].etag != STATIC[name].etag
        ours = set(re.findall(rb"#\w{6}", STATIC[name].body))
        assert not ours & set(re.findall(rb"#\w{6}", files[name].body)), "every colour of ours follows the accent"
    assert files["gateway.css"] == STATIC["gateway.css"]


@pytest.mark.parametrize("colour", ["#1d4ed8", "#7a1f5c", "#000000", "#b00020"])
def test_text_on_and_in_the_accent_can_be_read_in_both_schemes(colour: str) -> None:
    light, dark = make_brand(colour=colour).files["brand.css"].body.decode().split("@media")
    for part, page in ((light, LIGHT_PAGE), (dark, DARK_PAGE)):
        palette = dict(re.findall(r"--([\w-]+): (#\w{6});", part))
        pairs = [(palette["accent"], page), (palette["accent"], palette["tint"])]
        pairs += [(palette["on-accent"], palette[name]) for name in ("accent", "accent-strong")]
        assert min(contrast(*pair) for pair in pairs) >= 4.5


def test_a_dark_colour_alone_leaves_the_light_page_as_it_is() -> None:
    css = make_brand(colour_dark="#ffcc00").files["brand.css"].body.decode()
    assert css.startswith("@media (prefers-color-scheme: dark)")
    assert "--accent: #ffcc00;" in css


@pytest.mark.parametrize(
    ("data", "name", "kind"), [(SVG, "logo.svg", "image/svg+xml"), (png(), "logo.png", "image/png")]
)
def test_the_logo_stands_on_the_pages_as_it_is(data: bytes, name: str, kind: str) -> None:
    brand = make_brand(logo=data)
    assert (brand.files[name].body, brand.files[name].content_type) == (data, kind)
    html = Pages("Orders", "/auth/static", brand).render(LOGIN)
    assert html.count(f"/auth/static/{name}?v={brand.files[name].etag}") == 2, "in the head of the page and as its icon"
    assert "mark.svg" not in html


@pytest.mark.parametrize(
    ("support", "shown", "url"),
    [
        ("Room 4, phone 117", "Room 4, phone 117", None),
        ("mailto:help@example.org?subject=Sign-in", "help@example.org", "mailto:help@example.org?subject=Sign-in"),
        ("https://help.example.org/", "help.example.org", "https://help.example.org/"),
        ("javascript:alert(1)", "javascript:alert(1)", None),
        ('<b onclick="x">', "&lt;b onclick=&#34;x&#34;&gt;", None),
    ],
)
def test_help_is_a_line_or_a_link_at_the_foot(support: str, shown: str, url: str | None) -> None:
    html = Pages("Orders", "/auth/static", make_brand(support=support)).render(LOGIN)
    foot = html.partition("<footer>")[2]
    assert f"<bdi>{shown}</bdi>" in foot
    assert re.findall(r'href="([^"]*)"', foot) == ([url] if url else [])


def test_without_help_there_is_no_foot() -> None:
    assert "<footer>" not in Pages("Orders", "/auth/static").render(LOGIN)


# -- the configuration
def site(**given: Any) -> SiteSettings:
    return SiteSettings.model_validate(given)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"colour": "#ffcc00"}, r"contrast of 1\.\d+ on the light page; 4\.5 is needed: take a darker one"),
        ({"colour_dark": "#123456"}, r"contrast of 1\.\d+ on the dark page; 4\.5 is needed: take a lighter one"),
        ({"colour": "blue"}, '"#rrggbb"'),
        ({"support": "mailto:nobody"}, "mailto:help@example.org"),
        ({"support": "https:///x"}, "https://help.example.org/"),
        ({"support": "two\nlines"}, "one line"),
    ],
    ids=repr,
)
def test_what_cannot_be_read_is_told_at_the_start(given: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        site(**given)


def test_good_values_pass() -> None:
    made = site(colour="#1D4ED8", colour_dark="#93c5fd", support="mailto:help@example.org")
    assert (made.colour, made.colour_dark, made.support) == ("#1d4ed8", "#93c5fd", "mailto:help@example.org")


def test_the_settings_of_this_module_are_part_of_the_whole(tmp_path: Any) -> None:
    (tmp_path / "logo.gif").write_bytes(b"GIF89a")
    with pytest.raises(SettingsError, match=r"site\.logo: .*neither an SVG nor a PNG file") as error:
        settings_from({"site": {"logo": "logo.gif", "colour": "#eeeeee"}}, {}, "the test", tmp_path)
    assert re.search(r"site\.colour: has a contrast of 1\.\d+ on the light page", str(error.value))
