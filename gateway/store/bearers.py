"""Who brings a token or an API key instead of a cookie: found without awaiting, but for what this process cannot know yet.

A token is verified from its own bytes (:mod:`gateway.core.access_tokens`); what only the store can say is whether it was
revoked, and while pushes of that are proven alive nobody has to be asked (:mod:`gateway.store.denylist`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.core.access_tokens import AccessClaims, AccessTokens
from gateway.core.head import RequestHead
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.routes import Route
from gateway.core.tickets import cookies_named
from gateway.store.denylist import Denylist, session_key, token_key

_KEPT = 10_000
_IN_QUERY = re.compile(r"[?&](?:access_token|api_key|refresh_token)=(?:eyJ|gwk_|gwr_)")
_OURS_IN_QUERY = re.compile(r"[?&](?:access_token|api_key|refresh_token)=(?:gwk_|gwr_)")
UserNow = Callable[[Identity], Identity | None]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Somebody whose token or key is good. ``routes``: names of those it is for (empty: all); ``ids``: what the denylist
    calls it; ``ends``: until when a connection that it opened may last, in epoch seconds."""

    text: str = field(repr=False)
    user: Identity
    routes: frozenset[str] = frozenset()
    ids: tuple[str, ...] = ()
    ends: float = float("inf")
    claims: AccessClaims | None = None

    def may_use(self, route: Route) -> bool:
        """Is it for this route?"""
        return not self.routes or route.name in self.routes


class Source(Protocol):
    """Another kind of token: API keys, those of foreign issuers. Its users are as they are now."""

    def takes(self, text: str) -> bool:
        """Is it one of these, by its looks?"""

    def known(self, text: str) -> Bearer | BadToken | None:
        """Without awaiting; None: it has to be asked for."""

    async def find(self, text: str) -> Bearer | BadToken:
        """:raises StoreUnavailable: nobody can say."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where tokens are looked for beside ``Authorization: Bearer``: a header and a cookie of these names."""

    header: str = ""
    cookie: str = ""


class Bearers:
    """``lasts``: seconds after its issue that a connection opened with a token may go on; ``leaves_others``: what no source
    takes is nothing to us, as where there are API keys and no tokens; ``memory``: seconds for which revocations are
    remembered."""

    def __init__(
        self,
        tokens: AccessTokens | None,
        denylist: Denylist,
        user_now: UserNow,
        *,
        places: Places | None = None,
        sources: Iterable[Source] = (),
        leaves_others: bool = False,
        lasts: float = 12 * 3600,
        memory: float = float("inf"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._denylist = denylist
        self._user_now = user_now
        self._places = places or Places()
        self._header = self._places.header.lower().encode()
        self._sources = tuple(sources)
        self._leaves_others = leaves_others
        self._query = _OURS_IN_QUERY if leaves_others else _IN_QUERY
        self._lasts = lasts
        self._memory = memory
        self._clock = clock
        self._kept: dict[str, Bearer] = {}

    # -- what a request brings
    def presented(self, head: RequestHead) -> str | BadToken | None:
        """The one token of the request; more than one, or one in the address, is none."""
        found = self._in_query(head) or self._in_fields(head)
        if self._leaves_others and isinstance(found, str) and not any(one.takes(found) for one in self._sources):
            return None
        return found

    def _in_fields(self, head: RequestHead) -> str | BadToken | None:
        given = head.by_name.get(b"authorization")
        if given is None and not self._header and not self._places.cookie:
            return None
        if given is not None and not self._header and len(head.by_name) == len(head.raw):
            text = _of_scheme(given.decode("latin-1"))
            if text is not None:
                return text
        return self._collected(head)

    def _collected(self, head: RequestHead) -> str | BadToken | None:
        """RFC 6750 §2: one way for each request."""
        texts = head.values(b"authorization")
        if len(texts) > 1 and any(text[:6].lower() == "bearer" for text in texts):
            return BadToken("token_repeated")
        found = [text for text in map(_of_scheme, texts) if text is not None]
        if self._header:
            found += [_bare(text) for text in head.values(self._header)]
        if not found and self._places.cookie:
            found += list(cookies_named(head.values(b"cookie"), self._places.cookie))[:1]
        if len(set(found)) > 1:
            return BadToken("token_repeated")
        return found[0] if found else None

    def _in_query(self, head: RequestHead) -> BadToken | None:
        """An address stands in logs and in ``Referer``: a token of ours there is given away (RFC 9700 §4.3.2)."""
        target = head.target
        return BadToken("token_in_url") if "=" in target and self._query.search(target) else None

    # -- is it good?
    def known(self, text: str) -> Bearer | BadToken | None:
        """Without awaiting; None: somebody has to be asked."""
        for source in self._sources:
            if source.takes(text):
                return source.known(text)
        try:
            bearer = self._verified(text)
        except BadToken as error:
            return error
        is_revoked = self._denylist.known(bearer.ids)
        if is_revoked is None:
            return None
        return BadToken("token_revoked") if is_revoked else self._as_now(bearer)

    async def find(self, text: str) -> Bearer | BadToken:
        """As :meth:`known`.

        :raises StoreUnavailable: nobody can say.
        """
        for source in self._sources:
            if source.takes(text):
                return await source.find(text)
        try:
            bearer = self._verified(text)
        except BadToken as error:
            return error
        if await self._denylist.ask(bearer.ids):
            return BadToken("token_revoked")
        return self._as_now(bearer)

    def _verified(self, text: str) -> Bearer:
        """:raises BadToken: it is not good."""
        if self._tokens is None:
            raise BadToken("token_unknown_kind")
        claims = self._tokens.verify(text)
        bearer = self._kept.get(text)
        if bearer is None or bearer.claims is not claims:
            ids = session_key(claims.sid), token_key(claims.jti)
            bearer = Bearer(text, claims.user, ids=ids, ends=claims.issued + self._lasts, claims=claims)
            self._keep(bearer)
        return bearer

    def _keep(self, bearer: Bearer) -> None:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[bearer.text] = bearer

    def _as_now(self, found: Bearer) -> Bearer | BadToken:
        """With its user as he is now: disabled or gone, nothing of his is good."""
        now = self._user_now(found.user)
        if now is found.user:
            return found
        if now is None:
            return BadToken("token_user_gone")
        fresh = replace(found, user=now)
        self._keep(fresh)  # one object for all requests: what is made of it is made once
        return fresh

    # -- what it holds open
    def still_good(self, bearer: Bearer) -> Bearer | BadToken | None:
        """A token's end is the end of its use, not of what it has opened: that ends with its session, its user's rights,
        or its key. None: somebody has to be asked."""
        for source in self._sources:
            if source.takes(bearer.text):
                return source.known(bearer.text)
        if self._clock() >= bearer.ends:
            return BadToken("token_expired")
        is_revoked = self._denylist.known(bearer.ids)
        now = BadToken("token_revoked") if is_revoked else self._as_now(bearer)
        return now if is_revoked is not None or isinstance(now, BadToken) else None

    async def ask_still_good(self, bearer: Bearer) -> Bearer | BadToken:
        """As :meth:`still_good`.

        :raises StoreUnavailable: nobody can say.
        """
        for source in self._sources:
            if source.takes(bearer.text):
                return await source.find(bearer.text)
        if self._clock() >= bearer.ends:
            return BadToken("token_expired")
        return BadToken("token_revoked") if await self._denylist.ask(bearer.ids) else self._as_now(bearer)

    def memory_of(self, bearer: Bearer) -> float:
        """Seconds: who could not ask for longer does not know whether it was revoked meanwhile."""
        return self._memory if bearer.ids else float("inf")


def _of_scheme(text: str) -> str | None:
    """The token behind ``Bearer`` (RFC 6750 §2.1); None: another scheme, which is not ours."""
    scheme, _, token = text.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _bare(text: str) -> str:
    return text[7:].strip(" ") if text[:7].lower() == "bearer " else text
