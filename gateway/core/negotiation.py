"""What kind of answer the asker can use: a page or JSON, English or Chinese.

A *page load* (docs/http-api.md) is ``Sec-Fetch-Mode: navigate`` where the header is sent (browsers send it to https and
localhost only); otherwise GET or HEAD, ``Accept`` prefers ``text/html``, and no ``X-Requested-With: XMLHttpRequest``.
``Accept: */*`` alone is not a page load.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from gateway.core.head import Headers, RequestHead
from gateway.errors import Language

LanguageSetting = Literal["auto", "en", "zh"]
PAGE_LOAD_DEPENDS_ON = ("Accept", "Sec-Fetch-Mode", "X-Requested-With")
_MAX_ITEMS = 32  # an Accept header of a megabyte is not worth reading to its end


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """``(item, q)`` of a weighted list (RFC 9110 §12.4.2); an item with a broken q counts as 0."""
    for part in header.split(",", _MAX_ITEMS)[:_MAX_ITEMS]:
        item, _, parameters = part.partition(";")
        quality = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                quality = _quality(value.strip())
        if item.strip():
            yield item.strip().lower(), quality


def _quality(text: str) -> float:
    digits = text.replace(".", "", 1)
    return float(text) if digits.isascii() and digits.isdigit() and len(text) <= 5 and float(text) <= 1 else 0.0


def prefers_html(accept: str) -> bool:
    """Is ``text/html`` named, and liked no less than JSON?"""
    weights = dict(_weighted(accept))
    html = max(weights.get("text/html", 0.0), weights.get("application/xhtml+xml", 0.0))
    return html > 0 and html >= weights.get("application/json", 0.0)


def is_page_load(head: RequestHead) -> bool:
    """Does a browser show the answer to a person?"""
    mode = head.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return mode == "navigate"
    return head.method in ("GET", "HEAD") and wants_page(head.headers)


def is_form_page_load(head: RequestHead) -> bool:
    """The same for a form posted to a page of ours: a browser that sends no ``Sec-Fetch-Mode`` (plain http) posts too."""
    mode = head.headers.get("Sec-Fetch-Mode")
    return mode == "navigate" if mode is not None else wants_page(head.headers)


def wants_page(headers: Headers) -> bool:
    """The second half of the rule: by ``Accept`` and ``X-Requested-With``."""
    if headers.get("X-Requested-With", "").lower() == "xmlhttprequest":
        return False
    return prefers_html(",".join(headers.getall("Accept", ())))


def pick_language(setting: LanguageSetting, headers: Headers) -> Language:
    """``auto``: by ``Accept-Language``, else English (RFC 9110 §12.5.4; a tie goes to the one named first)."""
    if setting != "auto":
        return setting
    best: Language = "en"
    best_quality = 0.0
    for tag, quality in _weighted(",".join(headers.getall("Accept-Language", ()))):
        primary = tag.partition("-")[0]
        if quality > best_quality and primary in ("en", "zh"):
            best, best_quality = ("zh" if primary == "zh" else "en"), quality
    return best
