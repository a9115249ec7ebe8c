"""What every session engine can do: keep bytes under a name, for a while. It knows neither sessions nor keys' meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """What an engine found: the value, and when it was last touched (epoch seconds), or None when that is gone."""

    value: bytes
    touched: float | None


class SessionEngine(Protocol):
    """Every method may raise :class:`gateway.errors.StoreUnavailable`, and that is never a statement about a session.

    ``ttl`` is in seconds. Writes cannot resurrect (founding decision 4).
    """

    async def load(self, name: bytes) -> Kept | None:
        """What is kept under this name, or None."""

    async def create(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        """Keeps it only if nothing is there; False when something is."""

    async def update(self, name: bytes, value: bytes, touched: float, ttl: float) -> bool:
        """Keeps it only if something is still there; False when not."""

    async def touch(self, name: bytes, touched: float, ttl: float) -> None:
        """Moves the end, not the value; nothing happens when nothing is there."""

    async def delete(self, name: bytes) -> bool:
        """False when nothing was there."""

    async def ping(self) -> None:
        """Returns when the store answers."""

    async def close(self) -> None:
        """Gives up connections and files."""
