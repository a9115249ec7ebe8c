"""Events of requests, for the audit log: with the address, the id of the request and the public handle of its session."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from aiohttp import web

from gateway.core.identity import Identity
from gateway.core.sessions import Session
from gateway.errors import GatewayError
from gateway.identity.source import canonical
from gateway.telemetry.audit import AuditLog, Event, Fields
from gateway.web.state import STATE, head_of

AUDIT = web.AppKey("audit", AuditLog)


def install_audit(app: web.Application, audit: AuditLog) -> None:
    """From now on handlers of this application write there."""

    async def start(app: web.Application) -> None:
        app[AUDIT].start()

    async def close(app: web.Application) -> None:
        await asyncio.to_thread(app[AUDIT].close)

    app[AUDIT] = audit
    app.on_startup.append(start)
    app.on_cleanup.append(close)


def note(request: web.Request, event: Event, user: Identity | None = None, **fields: Unpack[Fields]) -> None:
    """Something happened in this request."""
    given: Fields = {"address": head_of(request).peer, "request_id": request[STATE].request_id, **fields}
    request.app[AUDIT].note(event, user, **given)


def note_failure(request: web.Request, user: Identity | None, login: str, reason: str) -> None:
    """Nobody signed in. ``login`` is shown as a keyed hash; ``user``: whose it is, if anybody's."""
    if user is None:
        note(request, "sign_in_failed", reason=reason, typed=canonical(login))
    else:
        note(request, "sign_in_failed", user, reason=reason)


@contextmanager
def noting_failure(request: web.Request, login: str, user: Identity | None = None) -> Iterator[None]:
    """Notes that nobody signs in because of an error of ours: throttled, nobody can say, too many sessions."""
    try:
        yield
    except GatewayError as error:
        about = error.about if isinstance(error.about, Identity) else user
        note_failure(request, about, login, error.reason.code)
        raise


@contextmanager
def noting_refusal(request: web.Request, user: Identity) -> Iterator[None]:
    """Notes that his password was not changed because of an error of ours: throttled, or nobody can say."""
    try:
        yield
    except GatewayError as error:
        note(request, "password_refused", user, reason=error.reason.code)
        raise


def handle_of(session: Session | None) -> str:
    """What the list of a user's sessions calls it."""
    return session.card.handle if session is not None else ""
