"""What signing out does to the browser, whichever page it began on: cookies of backends go, and what else is configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.web.cookies import CookieOptions


@dataclass(frozen=True, slots=True)
class Leaving:
    """``redirect``: where a page load goes afterwards; ``clear``: cookies of backends that go too; ``forget``: what else the
    browser forgets (Clear-Site-Data)."""

    redirect: str
    clear: Sequence[CookieOptions]
    forget: Sequence[str]

    def dress(self, response: web.StreamResponse) -> None:
        """Tells the browser."""
        for cookie in self.clear:
            cookie.drop(response)
        if self.forget:
            response.headers["Clear-Site-Data"] = ", ".join(f'"{what}"' for what in self.forget)
