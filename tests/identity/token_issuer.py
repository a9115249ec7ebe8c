"""A foreign issuer of tokens on a real socket: signs what it is told to, and serves its keys well or badly."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.core import jwt
from gateway.core.signing_keys import SigningKey, new_signing_key

AUDIENCE = "https://app.example.com"


class TokenIssuer:
    """``jwks`` is what it serves; ``answer`` replaces the whole answer; ``asked`` counts the questions."""

    def __init__(self, port: int | None = None) -> None:
        self.key = new_signing_key("EdDSA", "active", "")
        self.jwks: Any = {"keys": [self.key.public_jwk()]}
        self.answer: web.Response | None = None
        self.asked = 0
        self.holds = asyncio.Event()
        self.holds.set()
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        self._server = TestServer(app, port=port)
        self.url = ""
        self.issuer = ""

    async def start(self) -> TokenIssuer:
        """On a free port, or on the one that was given."""
        await self._server.start_server()
        self.url = str(self._server.make_url("/keys"))
        self.issuer = str(self._server.make_url("")).rstrip("/")
        return self

    async def stop(self) -> None:
        """Nobody listens from now on."""
        self.holds.set()
        await self._server.close()

    async def _keys(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.holds.wait()
        if self.answer is not None:
            return self.answer
        return web.Response(body=json.dumps(self.jwks).encode(), content_type="application/json")

    def new_key(self, algorithm: Any = "EdDSA") -> SigningKey:
        """From now on it signs with this one; whether it is published says ``jwks``."""
        self.key = new_signing_key(algorithm, "active", "")
        return self.key

    def token(self, key: SigningKey | None = None, typ: str = "at+jwt", **claims: Any) -> str:
        """A good one, but for what ``claims`` say; ``None`` removes one."""
        now = int(time.time())
        made = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "f1",
            "preferred_username": "francine",
            "name": "Françoise",
            "email": "f@other.example",
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        return jwt.sign({name: value for name, value in made.items() if value is not None}, key or self.key, typ)
