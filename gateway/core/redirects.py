"""Where somebody may be sent after signing in: always a place on this site.

Django's own checker lets eight strings leave the site (``//<TAB>/host`` and kin), because ``urlsplit`` and a browser read
them differently. So: no byte a browser would drop, one slash at the start, and then a WHATWG parser, the browsers' own
algorithm, decides; what is sent is the *parsed* form (tests/hazards.toml, P40 to P45; P40, P41). The parsed path is looked at
once more: ``/.//host`` resolves to ``//host``.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import ada_url

MAX_LENGTH = 2048
_OWN_PLACES = ("/account", "/password")
"""Pages of ours that somebody may want to come back to; from the others he would go round in circles."""
_ORIGIN = "http://site.invalid"


def safe_next(value: str, own_pages: str = "") -> str | None:
    """The place on this site that ``value`` means, in the parser's spelling, or None when it is none.

    ``own_pages``: our own prefix (``/auth``); of the places below it my account and my password are to come back to, the
    others are not.
    """
    if len(value) > MAX_LENGTH or any(
        char <= " " or char in "\x7f\\" or "\ud800" <= char <= "\udfff" for char in value
    ):
        return None
    if not value.startswith("/") or value.startswith("//"):
        return None
    try:
        url = ada_url.URL(value, base=_ORIGIN)
    except ValueError:
        return None
    if url.origin != _ORIGIN or url.pathname.startswith("//"):
        return None
    if own_pages and _is_no_place(url.pathname, own_pages):
        return None
    place = url.pathname + url.search + url.hash
    # Escapes have made it longer, and it has to pass here again on its way in.
    return place if len(place) <= MAX_LENGTH else None


def _is_no_place(path: str, own_pages: str) -> bool:
    is_ours = f"{unquote(path)}/".startswith(f"{own_pages}/")  # decoded, as the gate will read it
    return is_ours and path.removeprefix(own_pages) not in _OWN_PLACES


def path_of_same_origin(referer: str, origin: str) -> str | None:
    """Path and query of ``referer`` when it is a page of ``origin`` (``scheme://host[:port]``), else None."""
    try:
        url, ours = ada_url.URL(referer), ada_url.URL(origin)
    except ValueError:
        return None
    return url.pathname + url.search if url.origin == ours.origin and url.origin != "null" else None


def same_origin(value: str, origin: str) -> bool:
    """Do both name the same scheme, host and port? ``null`` is nobody's origin."""
    theirs = origin_of(value)
    return theirs is not None and theirs == origin_of(origin)


def origin_of(value: str) -> str | None:
    """The origin of an address (``https://app.example.org``), or None when it has none."""
    try:
        origin = ada_url.URL(value).origin
    except ValueError:
        return None
    return origin if origin != "null" else None


def with_next(page: str, next_url: str) -> str:
    """``page`` with ``?next=``; the whole of ``next_url`` encoded, so that it is one value."""
    return f"{page}?next={quote(next_url, safe='')}"
