"""What the endpoints of tokens have in common: issuing for a session, refreshing, revoking, and their answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.core.access_tokens import AccessClaims, AccessTokens
from gateway.core.identity import Identity
from gateway.core.jwt import BadToken
from gateway.core.refusals import Site
from gateway.core.sessions import Session, SessionPolicy, absolute_end, ends_at
from gateway.errors import RequestError
from gateway.store.denylist import Denylist, session_key, token_key
from gateway.store.refresh import NotRefreshed, Opened, Refreshing
from gateway.store.sessions import Sessions
from gateway.web.answers import Answers
from gateway.web.auditing import handle_of, note
from gateway.web.bodies import text_field
from gateway.web.oauth import NO_STORE
from gateway.web.state import STATE, head_of

log = logging.getLogger("gateway.tokens")
FOR_SESSION, FOR_PASSWORD = "session", "password"
"""``client_id`` of tokens: who asked for them."""
MAX_TOKEN = 32 * 1024
UserNow = Callable[[Identity], Identity | None]


class Tokens:
    """``leeway`` in seconds; ``response_header``: where answers say the access token, too (empty: nowhere)."""

    def __init__(
        self,
        answers: Answers,
        access: AccessTokens,
        denylist: Denylist,
        sessions: Sessions,
        refreshing: Refreshing,
        user_now: UserNow,
        *,
        leeway: float,
        response_header: str = "",
    ) -> None:
        self._answers = answers
        self._access = access
        self._denylist = denylist
        self._sessions = sessions
        self._refreshing = refreshing
        self._user_now = user_now
        self._leeway = leeway
        self._response_header = response_header

    @property
    def site(self) -> Site:
        """Where the gateway is."""
        return self._answers.site

    # -- issuing
    def issue(self, session: Session, client_id: str) -> tuple[str, int]:
        """An access token for the user of this session, and its seconds. It ends with the session at the latest.

        :raises RequestError: 501: his groups do not fit into one.
        """
        user = session.record.user
        assert user is not None
        end, _ = ends_at(session.record, session.last_seen, self._sessions.policy)
        try:
            return self._access.issue(user, session.card.handle, client_id=client_id, ends_at=end)
        except ValueError as error:
            raise RequestError("not_possible", what="this user's groups do not fit into a token") from error

    def answer(self, request: web.Request, session: Session, client_id: str, refresh: str = "") -> web.Response:
        """As RFC 6749 §5.1 says it; ``refresh``: the refresh token that goes with it."""
        assert session.record.user is not None
        request[STATE].line.user = session.record.user.id
        token, seconds = self.issue(session, client_id)
        body: dict[str, Any] = {"ret": 0, "access_token": token, "token_type": "Bearer", "expires_in": seconds}
        if refresh:
            body["refresh_token"] = refresh
        response = self._answers.json(request, {**body, "scope": ""})
        response.headers.update(NO_STORE)
        self._say(response, token)
        return response

    def dress(self, response: web.StreamResponse, session: Session | None) -> None:
        """Somebody has signed in: a front end that expects its token in a header finds it there. Without one he is signed in
        all the same."""
        if not self._response_header or session is None:
            return
        try:
            self._say(response, self.issue(session, FOR_SESSION)[0])
        except RequestError as error:
            log.warning("a sign-in was answered without a token", extra={"fields": {"cause": str(error)}})

    def _say(self, response: web.StreamResponse, token: str) -> None:
        if self._response_header:
            response.headers[self._response_header] = token

    # -- refreshing
    async def refresh(self, request: web.Request, fields: dict[str, Any]) -> web.Response:
        """A new access token and the next refresh token.

        :raises RequestError: 400 ``bad_grant``: it is not good, whyever.
        """
        text = needed_token(fields, "refresh_token")
        found = await self._refreshing.refresh(text)
        if isinstance(found, Opened):
            return self.answer(request, found.session, FOR_PASSWORD, found.text)
        request[STATE].line.detail = found.code
        if found.ended is not None:
            self._tell_reuse(request, found)
        raise RequestError("bad_grant")

    def _tell_reuse(self, request: web.Request, found: NotRefreshed) -> None:
        assert found.ended is not None
        user, handle = found.ended.record.user, handle_of(found.ended)
        note(request, "session_revoked", user, session=handle, reason=found.code, count=1)
        fields = {"user": user.id if user else "", "session": handle, "address": head_of(request).peer}
        log.warning("a refresh token was used twice: its session was ended", extra={"fields": fields})

    # -- revoking
    async def revoke(self, request: web.Request, text: str) -> None:
        """A refresh token ends its session, an access token alone itself; what is none does nothing (RFC 7009 §2.2).

        :raises StoreUnavailable: it may be good still.
        """
        if self._refreshing.is_one(text):
            session = await self._refreshing.find(text)
            if session is not None:
                await self._sessions.delete(session)
                note(request, "session_revoked", session.record.user, session=handle_of(session), count=1)
            return
        try:
            claims = self._access.verify(text)
        except BadToken as error:
            request[STATE].line.detail = error.event
            return
        left = max(claims.expires - time.time(), 0) + self._leeway
        await self._denylist.revoke([token_key(claims.jti)], min(left, self._access.lifetime + 2 * self._leeway))

    # -- introspection
    async def described(self, text: str) -> dict[str, Any]:
        """RFC 7662 §2.2; ``{"active": False}`` for whatever is not good now, and never why.

        :raises StoreUnavailable: nobody can say.
        """
        if self._refreshing.is_one(text):
            session = await self._refreshing.find_present(text)
            return {"active": False} if session is None else self._described_session(session, self._sessions.policy)
        try:
            claims = self._access.verify(text)
        except BadToken:
            return {"active": False}
        ids = (session_key(claims.sid), token_key(claims.jti))
        is_revoked = self._denylist.known(ids)
        if is_revoked is None:
            is_revoked = await self._denylist.ask(ids)
        user = None if is_revoked else self._user_now(claims.user)
        return {"active": False} if user is None else self._described_token(claims, user)

    def _described_token(self, claims: AccessClaims, user: Identity) -> dict[str, Any]:
        return {
            **_described_user(user),
            "token_type": "Bearer",
            "client_id": claims.client_id,
            "scope": " ".join(claims.scope),
            "iss": self._access.issuer,
            "aud": self._access.audience,
            "sid": claims.sid,
            "jti": claims.jti,
            "iat": int(claims.issued),
            "exp": int(claims.expires),
        }

    def _described_session(self, session: Session, policy: SessionPolicy) -> dict[str, Any]:
        assert session.record.user is not None
        return {
            **_described_user(session.record.user),
            "token_type": "refresh_token",
            "client_id": FOR_PASSWORD,
            "iss": self._access.issuer,
            "sid": session.card.handle,
            "iat": int(session.record.created),
            "exp": int(absolute_end(session.record, policy)),
        }


def _described_user(user: Identity) -> dict[str, Any]:
    shown = {"sub": user.id, "username": user.username, "usertype": user.usertype, "groups": list(user.groups)}
    return {"active": True, **shown}


def needed_token(fields: dict[str, Any], name: str) -> str:
    """:raises RequestError: 400 ``bad_field``: it is missing, or no text."""
    text = text_field(fields, name, MAX_TOKEN)
    if not text:
        raise RequestError("bad_field", field=name, what="is missing")
    return text
