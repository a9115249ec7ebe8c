"""The operator's own look: his logo, and a style sheet and pictures made of his colour. No inline style anywhere: the pages'
policy allows files of this site only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.core.branding import DARK_PAGE, LIGHT_PAGE, accent_for_dark, logo_type, mix, tint
from gateway.pages.assets import STATIC, StaticFile, static_file

_LOGO_TYPES = {"png": "image/png", "svg": "image/svg+xml"}
_BLACK, _WHITE = "#000000", "#ffffff"

# The colours of our own pictures, and how much of black or white makes them of the accent.
_SHADES = {
    "gate.svg": {
        "#093a31": (_BLACK, 0.45),
        "#0c453a": (_BLACK, 0.32),
        "#105145": (_BLACK, 0.18),
        "#176152": (_BLACK, 0.04),
        "#227562": (_WHITE, 0.1),
        "#3a8f79": (_WHITE, 0.26),
        "#6cb499": (_WHITE, 0.5),
        "#ffe3a6": (_WHITE, 0.88),
    },
    "mark.svg": {
        "#0c4a3e": (_BLACK, 0.0),
        "#2f7f6a": (_WHITE, 0.25),
        "#7cc0a6": (_WHITE, 0.55),
        "#ffe3a6": (_WHITE, 0.92),
    },
}


@dataclass(frozen=True, slots=True)
class Brand:
    """What the templates ask for: names of files (None: ours), and the line at the foot; ``files`` are all that are served."""

    logo: str | None = None
    style: str | None = None
    support: str = ""
    support_url: str = ""
    files: Mapping[str, StaticFile] = field(default_factory=lambda: STATIC, repr=False)


def make_brand(
    *, logo: bytes | None = None, colour: str | None = None, colour_dark: str | None = None, support: str = ""
) -> Brand:
    """:raises ValueError: the logo is none, or an accent is no colour."""
    files = dict(STATIC)
    if colour is not None:
        files |= {name: _recoloured(name, colour) for name in _SHADES}
    style = "brand.css" if colour is not None or colour_dark is not None else None
    if style is not None:
        files[style] = static_file(_style_sheet(colour, colour_dark).encode(), "text/css; charset=utf-8")
    name = None
    if logo is not None:
        kind = logo_type(logo)
        name = f"logo.{kind}"
        files[name] = static_file(logo, _LOGO_TYPES[kind])
    shown, url = _support(support)
    return Brand(name, style, shown, url, MappingProxyType(files))


def _support(support: str) -> tuple[str, str]:
    """What is shown, and where it leads; a line that is no link leads nowhere."""
    scheme, colon, rest = support.partition(":")
    if colon and scheme in ("mailto", "https"):
        return rest.removeprefix("//").partition("?")[0].rstrip("/"), support
    return support, ""


def _recoloured(name: str, accent: str) -> StaticFile:
    text = STATIC[name].body.decode()
    for ours, (other, share) in _SHADES[name].items():
        text = text.replace(ours, mix(accent, other, share))
    return static_file(text.encode(), STATIC[name].content_type)


def _style_sheet(colour: str | None, colour_dark: str | None) -> str:
    """The variables of ``gateway.css`` that follow the accent, for both schemes."""
    dark = colour_dark or (accent_for_dark(colour) if colour else None)
    light_rules = _rules(colour, LIGHT_PAGE, _BLACK, _WHITE) if colour else ""
    dark_rules = _rules(dark, DARK_PAGE, _WHITE, mix(dark, _BLACK, 0.88)) if dark else ""
    return f"{light_rules}@media (prefers-color-scheme: dark) {{\n{dark_rules}}}\n"


def _rules(accent: str, page: str, stronger: str, on_accent: str) -> str:
    values = {
        "accent": accent,
        "accent-strong": mix(accent, stronger, 0.3),
        "on-accent": on_accent,
        "tint": tint(page, accent),
    }
    return ":root {\n" + "".join(f"  --{name}: {value};\n" for name, value in values.items()) + "}\n"
