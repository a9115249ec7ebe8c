"""API keys for scripts; part of the list in ``model.py``. What they are stands in docs/api-keys.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gateway.settings.rules import AccessSettings
from gateway.settings.sources import Loc
from gateway.settings.values import Slice, Whole

_ENGINES = ("redis", "cached_sql", "cookie", "memory")


def _branch(value: object) -> str:
    return "word" if isinstance(value, str) else "rule"


KeyAccess = Annotated[
    Annotated[Literal["authenticated"], Tag("word")] | Annotated[AccessSettings, Tag("rule")], Discriminator(_branch)
]


class ApiKeySettings(Slice):
    """Keys that stand for their user, for scripts that cannot sign in."""

    enabled: bool = Field(False, description="true: users may make API keys; false: none is made, listed or taken.")
    max_per_user: Whole = Field(20, ge=1, le=1000, description="Keys that one user may have at once.")
    longest: Whole = Field(365, ge=0, le=3650, description="Days: the longest life of a key. 0: it may be for ever.")
    access: KeyAccess = Field(
        "authenticated", description="Who may have and use keys: authenticated, or usertype and groups."
    )


def check_api_keys(data: dict[str, Any], add: Callable[[Loc, str], None]) -> None:
    """They are kept in Redis, or in the memory of the one process there is."""
    given, session = data.get("api_keys"), data.get("session")
    engine = session.get("engine", "redis") if isinstance(session, dict) else "redis"
    is_on = isinstance(given, dict) and given.get("enabled") in (True, "true")
    if is_on and engine in ("sql", "file"):
        words = ", ".join(_ENGINES[:-1])
        add(("api_keys", "enabled"), f"keys are kept in Redis: session.engine must be {words} or {_ENGINES[-1]}")
