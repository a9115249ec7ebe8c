"""Where the sign-in that is under way comes from, for sources of users that tell it on."""

from __future__ import annotations

from contextvars import ContextVar

caller_address: ContextVar[str] = ContextVar("caller_address", default="")
"""Set by :mod:`gateway.identity.sign_in`; empty: nobody is signing in."""
