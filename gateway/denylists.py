"""Puts the denylist together: in Redis where the session engine has it, else in this process."""

from __future__ import annotations

from gateway.engines import SessionParts
from gateway.settings.model import Settings
from gateway.store.denylist import Denylist, MemoryDenylist, TokenEnds
from gateway.store.redis_denylist import RedisDenylist


def make_denylist(settings: Settings, store: SessionParts) -> Denylist | None:
    """To be started by who asks it, and closed before ``store``. From now on the tokens of a session end with it, whoever
    ends it: a gateway, a command, a script. None: there are no tokens.
    """
    given = settings.tokens
    if given.keys_file is None:
        return None
    longest = longest_token(given.lifetime, given.leeway)
    denylist: Denylist = MemoryDenylist()
    if store.link is not None:
        denylist = RedisDenylist(store.link, settings.redis.prefix, longest=longest)
    store.sessions.on_ended = TokenEnds(denylist, longest)
    return denylist


def longest_token(lifetime: float, leeway: float) -> float:
    """Seconds for which any token can still be good: it may have been issued by a clock that is ahead by ``leeway``, and is
    taken by one that is behind by as much."""
    return float(lifetime + 2 * leeway)
