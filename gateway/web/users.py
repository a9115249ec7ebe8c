"""Who sent this request, for handlers: ``user = await get_user(request)``.

The session remembers who signed in; this is the user as his source knows him now. What Django calls ``request.user``,
``AnonymousUser`` and ``is_authenticated`` is here :func:`get_user`, :data:`ANONYMOUS` and ``is_authenticated``.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from gateway.core.identity import Identity
from gateway.identity.users import Users
from gateway.web.endpoint import session_of


class Anonymous:
    """Nobody, with the fields that people ask a user for."""

    id: None = None
    username = name = email = usertype = shown_name = ""
    groups: tuple[str, ...] = ()
    is_authenticated: Literal[False] = False

    def __repr__(self) -> str:
        return "ANONYMOUS"


ANONYMOUS = Anonymous()
USERS = web.AppKey("users", Users)
"""Where the application keeps the users of all sources: ``app[USERS] = users``."""
USER: web.RequestKey[Identity | Anonymous] = web.RequestKey("user")
"""Where a request keeps its user, once somebody has asked."""
_LOADED_FOR = web.RequestKey("user_loaded_for", Identity)


async def get_user(request: web.Request) -> Identity | Anonymous:
    """The user, loaded from his source at first use; loaded again when somebody else has signed in since.

    :data:`ANONYMOUS` when nobody is signed in, and when the user is gone, disabled, or has changed his password since the
    session was opened.

    :raises gateway.errors.StoreUnavailable: nobody can say who it is; never answered with nobody.
    """
    remembered = (await session_of(request)).user
    if remembered is None:
        return ANONYMOUS
    if request.get(_LOADED_FOR) != remembered:
        request[USER] = await request.config_dict[USERS].get(remembered) or ANONYMOUS
        request[_LOADED_FOR] = remembered
    return request[USER]
