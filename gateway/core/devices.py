"""A browser in words, for people who look through the list of their sessions: ``Firefox on Linux``.

``User-Agent`` says whatever its sender likes (RFC 9110 §10.1.5): this is a hint to its owner, and proves nothing.
"""

from __future__ import annotations

import re

LONGEST = 40
_READ = 512  # real ones are shorter; nobody's is worth more work

# The first that is found counts: nearly all of them also name those that come later.
_BROWSERS = (
    ("MicroMessenger/", "WeChat"),
    ("QQBrowser/", "QQ Browser"),
    ("UCBrowser/", "UC Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chrome/", "Chrome"),
    ("Trident/", "Internet Explorer"),
    ("MSIE ", "Internet Explorer"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("OpenHarmony", "HarmonyOS"),
    ("HarmonyOS", "HarmonyOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
    ("X11", "Linux"),
)
_PRODUCT = re.compile(r"[^\s/(;,]*")


def describe_device(user_agent: str) -> str:
    """Browser and system; of what is no browser its first product token, at most 40 printable characters; else empty."""
    text = user_agent[:_READ].strip()
    browser, system = _first(_BROWSERS, text), _first(_SYSTEMS, text)
    if not browser or not text.startswith(("Mozilla/", "Opera/")):
        product = _PRODUCT.match(text)
        return "".join(filter(str.isprintable, product[0] if product else ""))[:LONGEST]
    return f"{browser} on {system}" if system else browser


def _first(names: tuple[tuple[str, str], ...], text: str) -> str:
    return next((shown for token, shown in names if token in text), "")
