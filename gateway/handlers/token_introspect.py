"""``POST /auth/token/introspect`` (RFC 7662): what a token is worth now, for backends that the operator named
(docs/tokens.md)."""

from __future__ import annotations

from aiohttp import web

from gateway.web.answers import Answers
from gateway.web.bodies import may_be_foreign_form, read_fields
from gateway.web.cross_site import require_same_site
from gateway.web.endpoint import by_method
from gateway.web.state import head_of
from gateway.web.token_clients import TokenClients
from gateway.web.tokens import Tokens, needed_token


class TokenIntrospection:
    """For nobody else: it would tell whoever found a token what it is good for (RFC 7662 §4)."""

    def __init__(self, answers: Answers, tokens: Tokens, clients: TokenClients) -> None:
        self._answers = answers
        self._tokens = tokens
        self._clients = clients

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """By method."""
        return await by_method(request, {"POST": self.post})

    async def post(self, request: web.Request) -> web.Response:
        """:raises GatewayError: it is not told."""
        if may_be_foreign_form(request):  # guesses through visitors would shut out their addresses
            require_same_site(head_of(request), self._answers.site)
        fields = await read_fields(request, once=True)
        await self._clients.require(request, fields)
        return self._answers.json(request, {"ret": 0, **await self._tokens.described(needed_token(fields, "token"))})
