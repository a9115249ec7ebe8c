"""Numbers out of a query string or path, within bounds; anything else is the client's mistake (400)."""

import re
from typing import NoReturn

from aiohttp import web

# int() and float() also take "1_0", " 5", "٣", "nan" and "1e9"; a test of a proxy wants none of these to pass.
_WHOLE = re.compile(r"[0-9]{1,12}")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def refuse(message: str) -> NoReturn:
    """Raise 400 with the JSON body ``{"error": message}``."""
    raise web.HTTPBadRequest(text=web.json_response({"error": message}).text, content_type="application/json")


def require_int(name: str, text: str | None, low: int, high: int) -> int:
    """Return ``text`` as a whole number from ``low`` to ``high``. Raises 400 naming the parameter."""
    if text is None or not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
        refuse(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def require_seconds(name: str, text: str | None, high: float) -> float:
    """Return ``text`` as decimal seconds from 0 to ``high``. Raises 400 naming the parameter."""
    if text is None or not _DECIMAL.fullmatch(text) or float(text) > high:
        refuse(f"{name} must be a number of seconds from 0 to {high:g}")
    return float(text)
