"""Our cookies: set and deleted with the same attributes, else a browser keeps them (P52)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from aiohttp import web


@dataclass(frozen=True, slots=True)
class CookieOptions:
    """A cookie's name and attributes; ``name`` has its prefix (``__Host-``, ``__Secure-``) already."""

    name: str
    domain: str | None = None
    path: str = "/"
    secure: bool = False
    samesite: Literal["Lax", "Strict", "None"] = "Lax"
    httponly: bool = True

    def set(self, response: web.StreamResponse, value: str, max_age: int | None) -> None:
        """``max_age`` in seconds, None: until the browser is closed."""
        expires = None if max_age is None else formatdate(time.time() + max_age, usegmt=True)
        response.cookies.pop(self.name, None)  # aiohttp mixes the attributes of a cookie that is set twice
        response.set_cookie(
            self.name,
            value,
            max_age=max_age,
            expires=expires,
            domain=self.domain,
            path=self.path,
            secure=self.secure,
            httponly=self.httponly,
            samesite=self.samesite,
        )

    def header(self, value: str, max_age: int | None) -> str:
        """The value of a ``Set-Cookie`` header, for a response that is none of aiohttp's."""
        draft = web.StreamResponse()
        self.set(draft, value, max_age)
        return draft.cookies[self.name].OutputString()

    def drop(self, response: web.StreamResponse) -> None:
        """Deletes it in the browser."""
        self.set(response, "", 0)
