"""Who the gateway says is asking.

The backend trusts this header as it stands. That is safe only because the gateway removes whatever a client sent under
the name before it adds its own, and because nothing but the gateway can reach the backend.
"""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

USERNAME_HEADER = "X-Forwarded-Preferred-Username"


def preferred_username(headers: Mapping[str, str]) -> str | None:
    """Return the signed-in user's name, or None when the gateway named nobody.

    ``headers`` are a request's headers. The value is percent-encoded UTF-8; bytes that are no UTF-8 become U+FFFD, so
    the result can always be written out again. It is not escaped for HTML.
    """
    value = headers.get(USERNAME_HEADER)
    if not value:
        return None
    # aiohttp keeps undecodable header bytes as lone surrogates, which could not be encoded into a page.
    return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
