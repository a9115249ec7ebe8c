"""``POST /auth/token/revoke`` (RFC 7009): whoever has a token may end it (docs/tokens.md)."""

from __future__ import annotations

from aiohttp import web

from gateway.web.answers import Answers
from gateway.web.bodies import read_fields
from gateway.web.endpoint import by_method
from gateway.web.tokens import Tokens, needed_token


class TokenRevocation:
    """``token_type_hint`` is not needed: what a token is shows."""

    def __init__(self, answers: Answers, tokens: Tokens) -> None:
        self._answers = answers
        self._tokens = tokens

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def post(self, request: web.Request) -> web.Response:
        """200 also for what is no token, or none any more (RFC 7009 §2.2).

        :raises StoreUnavailable: it may be good still.
        """
        text = needed_token(await read_fields(request, once=True), "token")
        await self._tokens.revoke(request, text)
        return self._answers.json(request, {"ret": 0})
