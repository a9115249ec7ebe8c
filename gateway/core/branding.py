"""An operator's colour and logo on the pages: is it readable, and is it a picture?

Contrast is WCAG 2.2's (relative luminance, 1.4.3 and 1.4.11). Colours are ``#rrggbb``.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

LIGHT_PAGE, DARK_PAGE = "#fbfcfb", "#0d1412"
"""The grounds of the pages, as in ``gateway.css``."""
NEEDED = 4.5
"""WCAG 2.2, 1.4.3 (AA): text. Links and buttons are in this colour."""
MAX_LOGO = 256 * 1024
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SVG = "{http://www.w3.org/2000/svg}svg"
_TINT = 0.06


def is_colour(value: str) -> bool:
    """``#rrggbb``."""
    return _COLOUR.fullmatch(value) is not None


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]


def mix(colour: str, other: str, share: float) -> str:
    """``share`` (0 to 1) of ``other`` in ``colour``."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (n / 255 for n in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """1 (the same) to 21 (black on white)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def tint(page: str, accent: str) -> str:
    """The ground of boxes: the page with a breath of the accent."""
    return mix(page, accent, _TINT)


def least_contrast(accent: str, page: str) -> float:
    """The lower of those on the page and on its boxes, cut to two places."""
    return int(min(contrast(accent, ground) for ground in (page, tint(page, accent))) * 100) / 100


def accent_for_dark(accent: str) -> str:
    """The same colour, as light as it has to be on the dark page; WCAG's AAA (7:1), since it is ours to choose."""
    steps = (mix(accent, "#ffffff", step / 20) for step in range(21))
    return next(shade for shade in steps if least_contrast(shade, DARK_PAGE) >= 7)


def logo_type(data: bytes) -> str:
    """``png`` or ``svg``.

    :raises ValueError: it is neither, or too large; the text says why.
    """
    if len(data) > MAX_LOGO:
        raise ValueError(f"has {len(data)} bytes; at most {MAX_LOGO} are served")
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":  # PNG specification, 5.2 and 11.2.2
        return "png"
    if b"<!ENTITY" in data:  # a few lines of them grow to gigabytes
        raise ValueError("is an SVG with <!ENTITY …> in it: save it as a plain SVG")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - the operator's own file, and without entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError("is neither an SVG nor a PNG file") from error
    if root.tag != _SVG:
        raise ValueError('is XML, but no SVG: <svg xmlns="http://www.w3.org/2000/svg"> is not its outermost element')
    return "svg"
