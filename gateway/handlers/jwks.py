"""The public keys, for everybody who verifies our tokens: a JWK Set (RFC 7517 §5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.core.signing_keys import SigningKeys
from gateway.web.answers import Answers, harden
from gateway.web.endpoint import by_method


@dataclass(frozen=True, slots=True)
class _Made:
    """The answer for these keys, which stay the same objects for as long as their file does."""

    keys: SigningKeys
    body: bytes
    tag: str


class Jwks:
    """``GET /auth/jwks.json``; ``keys``: those of this moment."""

    MAX_AGE = 300
    """Seconds for which verifiers keep it: no key signs until it has stood here longer (``gateway keys rotate``)."""

    def __init__(self, answers: Answers, keys: Callable[[], SigningKeys]) -> None:
        self._site = answers.site
        self._keys = keys
        self._made: _Made | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"GET": self.get})

    async def get(self, request: web.Request) -> web.Response:
        """The set, or 304 for who has it already. It says nothing about who asks, so that any cache may keep it."""
        made = self._of(self._keys())
        asked = request.if_none_match or ()  # compared weakly (RFC 9110 §13.1.2)
        if any(tag.value in ("*", made.tag) for tag in asked):
            response = web.Response(status=304)
        else:
            response = web.Response(body=made.body, content_type="application/json")
        response.headers["Cache-Control"] = f"public, max-age={self.MAX_AGE}"
        response.headers["ETag"] = f'"{made.tag}"'
        response.headers["Access-Control-Allow-Origin"] = "*"  # front ends verify, too; nothing here is anybody's own
        harden(response, self._site)
        return response

    def _of(self, keys: SigningKeys) -> _Made:
        if self._made is None or self._made.keys is not keys:
            # Who reads the set ignores what he does not know in it (RFC 7517 §5), and so our ``ret``.
            body = json.dumps({**keys.jwks(), "ret": 0}, separators=(",", ":")).encode()
            self._made = _Made(keys, body, hashlib.sha256(body).hexdigest()[:32])
        return self._made
