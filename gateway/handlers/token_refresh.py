"""``POST /auth/token/refresh``: the next access token and the next refresh token for one that was not used yet
(docs/tokens.md)."""

from __future__ import annotations

from aiohttp import web

from gateway.errors import RequestError
from gateway.web.bodies import read_fields, text_field
from gateway.web.endpoint import by_method
from gateway.web.tokens import Tokens


class TokenRefresh:
    """As ``POST /auth/token`` with ``grant_type=refresh_token``, which may be left out here."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def post(self, request: web.Request) -> web.Response:
        """:raises GatewayError: there is no token."""
        fields = await read_fields(request, once=True)
        if text_field(fields, "grant_type", 100) not in ("", "refresh_token"):
            raise RequestError("unsupported_grant_type")
        return await self._tokens.refresh(request, fields)
