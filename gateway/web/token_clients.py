"""Who may ask what a token is worth: the backends that the operator named, by their secret (RFC 6749 §2.3.1).

Wrong secrets are counted as sign-ins of their address are. An address that has to wait gets no answer for a right one,
either: else guesses would be free.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from gateway.errors import RequestError, Throttled
from gateway.identity.sign_in import Caller, Throttle
from gateway.web.bodies import text_field
from gateway.web.state import STATE, head_of

_MAX = 1024
_MOST_SHUT = 10_000
Pair = tuple[str, str]


class TokenClients:
    """``secrets`` by id; ``network``: what counts as one caller with an address; ``clock`` gives seconds that never go back."""

    def __init__(
        self,
        secrets: Mapping[str, str],
        throttle: Throttle,
        network: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hashes = {name: _hash(secret) for name, secret in secrets.items()}
        self._throttle = throttle
        self._network = network
        self._clock = clock
        self._shut: dict[str, float] = {}

    async def require(self, request: web.Request, fields: dict[str, Any]) -> str:
        """The id of the client that asks.

        :raises RequestError: 401 ``invalid_client``; 400: it says its secret in two ways (RFC 6749 §2.3).
        :raises Throttled: too many wrong ones from its address.
        """
        address = head_of(request).peer
        left = self._shut.get(self._network(address), 0.0) - self._clock()
        if left > 0:
            raise Throttled(int(left) + 1)
        pairs = _presented(request, fields)
        known = [name for name, secret in pairs if self._is_right(name, secret)]
        if known:
            return known[0]
        request[STATE].line.detail = "wrong_client_secret" if pairs else "no_client"
        if pairs:
            await self._count(address)
        raise RequestError("invalid_client")

    def _is_right(self, name: str, secret: str) -> bool:
        """In the same time for a client that there is not."""
        return hmac.compare_digest(self._hashes.get(name, bytes(32)), _hash(secret))

    async def _count(self, address: str) -> None:
        try:
            await self._throttle.enter(Caller(address))
        except Throttled as error:
            if len(self._shut) >= _MOST_SHUT:
                self._shut.clear()
            self._shut[self._network(address)] = self._clock() + error.retry_after
            raise


def _presented(request: web.Request, fields: dict[str, Any]) -> list[Pair]:
    """What it says, in each way in which that can be read. Empty: nothing that could be right."""
    given = request.headers.getall("Authorization", [])
    name, secret = text_field(fields, "client_id", _MAX), text_field(fields, "client_secret", _MAX)
    if not given:
        return [(name, secret)] if name and secret else []
    if secret or len(given) > 1:
        raise RequestError("bad_request", what="a client says its secret in one way only")
    scheme, _, text = given[0].partition(" ")
    pair = _basic(text.strip(" ")) if scheme.lower() == "basic" else None
    if pair is None:
        return []
    if name and name not in (pair[0], unquote_plus(pair[0])):
        raise RequestError("bad_field", field="client_id", what="is not that of the Authorization header")
    # RFC 6749 §2.3.1 has both encoded as in a form; many clients do not
    return [pair, (unquote_plus(pair[0]), unquote_plus(pair[1]))]


def _basic(text: str) -> Pair | None:
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8") if len(text) <= 4 * _MAX else ""
    except (binascii.Error, ValueError):
        return None
    name, colon, secret = decoded.partition(":")
    return (name, secret) if colon and name and secret else None


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
