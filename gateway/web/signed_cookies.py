"""Signed and encrypted cookies for handlers, with Django's meaning (``set_signed_cookie``, ``get_signed_cookie``).

A cookie is bound to its name and its salt: under another name, or read with another salt, it is none of ours. It holds its
own date, so ``max_age`` is checked here and not left to the browser. How to use them: docs/signed-cookies.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from email.utils import formatdate
from enum import Enum
from http.cookies import CookieError, Morsel
from typing import Literal, Protocol, TypedDict, TypeVar, Unpack

from aiohttp import web

from gateway.core.keys import KeyRing
from gateway.core.signing import BadSignature, Encrypter, SignatureExpired, Signer
from gateway.core.tickets import cookies_named

MAX_BYTES = 4096
"""Of one cookie: name, value and attributes (RFC 6265 §6.1). Browsers drop a longer one without a word."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Missing(Enum):
    """What a ``get_…_cookie`` without a default is given: it raises."""

    RAISE = "raise"


RAISE = Missing.RAISE


class CookieAttributes(TypedDict, total=False):
    """What may be said otherwise than by default: as in aiohttp's ``response.set_cookie``."""

    domain: str | None
    path: str
    expires: str | None
    secure: bool
    httponly: bool
    samesite: Literal["Lax", "Strict", "None"] | None
    partitioned: bool


class _Write(Protocol):
    def __call__(self, value: str, salt: str, now: float, *, name: str) -> str: ...


class _Read(Protocol):
    def __call__(self, text: str, salt: str, max_age: float | None, now: float, *, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class SignedCookies:
    """What the functions below work with. ``secure``: the site is https; ``clock`` gives epoch seconds."""

    signer: Signer
    encrypter: Encrypter
    secure: bool
    clock: Callable[[], float] = time.time


SIGNED_COOKIES = web.RequestKey("signed_cookies", SignedCookies)
_current: ContextVar[SignedCookies] = ContextVar("signed_cookies")  # a response does not know its request


def signed_cookies(ring: KeyRing, *, secure: bool) -> SignedCookies:
    """With the keys of ``ring``; ``secure``: browsers send them back over https only."""
    return SignedCookies(Signer(ring), Encrypter(ring, os.urandom), secure)


def with_signed_cookies(cookies: SignedCookies, handler: Handler) -> Handler:
    """``handler`` with the functions of this module working in it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        request[SIGNED_COOKIES] = cookies
        token = _current.set(cookies)
        try:
            return await handler(request)
        finally:
            _current.reset(token)

    return handle


def set_signed_cookie(
    response: web.StreamResponse,
    name: str,
    value: str,
    *,
    salt: str = "",
    max_age: float | timedelta | None = None,
    **attributes: Unpack[CookieAttributes],
) -> None:
    """A cookie that its owner can read and nobody can change. ``max_age`` in seconds, None: until the browser is closed.

    :raises ValueError: it would have more than 4096 bytes, or ``name`` is no name of a cookie.
    :raises RuntimeError: the head of the response is sent already, or no :func:`with_signed_cookies` is around the handler.
    """
    cookies = _require(_current.get(None))
    _put(response, cookies, cookies.signer.sign, name, value, salt, max_age, attributes)


def set_encrypted_cookie(
    response: web.StreamResponse,
    name: str,
    value: str,
    *,
    salt: str = "",
    max_age: float | timedelta | None = None,
    **attributes: Unpack[CookieAttributes],
) -> None:
    """As :func:`set_signed_cookie`; nobody but us can read it either. Its length shows."""
    cookies = _require(_current.get(None))
    _put(response, cookies, cookies.encrypter.encrypt, name, value, salt, max_age, attributes)


def get_signed_cookie(
    request: web.BaseRequest,
    name: str,
    default: T | Literal[Missing.RAISE] = RAISE,
    *,
    salt: str = "",
    max_age: float | timedelta | None = None,
) -> str | T:
    """The value that was set under this name and salt, at most ``max_age`` seconds ago (None: however long); else ``default``.

    :raises KeyError: there is no such cookie, and no default.
    :raises gateway.core.signing.BadSignature: there is one, but not of ours, and no default.
    :raises gateway.core.signing.SignatureExpired: there is one of ours that is too old, and no default.
    :raises RuntimeError: no :func:`with_signed_cookies` is around the handler.
    """
    cookies = _require(request.get(SIGNED_COOKIES))
    return _get(request, cookies, cookies.signer.unsign, name, default, salt, max_age)


def get_encrypted_cookie(
    request: web.BaseRequest,
    name: str,
    default: T | Literal[Missing.RAISE] = RAISE,
    *,
    salt: str = "",
    max_age: float | timedelta | None = None,
) -> str | T:
    """As :func:`get_signed_cookie`, for what :func:`set_encrypted_cookie` set."""
    cookies = _require(request.get(SIGNED_COOKIES))
    return _get(request, cookies, cookies.encrypter.decrypt, name, default, salt, max_age)


def _require(cookies: SignedCookies | None) -> SignedCookies:
    if cookies is None:
        raise RuntimeError("signed cookies need with_signed_cookies(…) around the handler")
    return cookies


def _seconds(max_age: float | timedelta | None) -> float | None:
    return max_age.total_seconds() if isinstance(max_age, timedelta) else max_age


def _put(
    response: web.StreamResponse,
    cookies: SignedCookies,
    write: _Write,
    name: str,
    value: str,
    salt: str,
    max_age: float | timedelta | None,
    attributes: CookieAttributes,
) -> None:
    if response.prepared:
        raise RuntimeError(f"cookie {name!r}: the head of the response is sent already")
    now, seconds = cookies.clock(), _seconds(max_age)
    text = write(value, salt, now, name=name)
    expires = None if seconds is None else formatdate(now + seconds, usegmt=True)
    given: CookieAttributes = {
        "expires": expires,
        "secure": cookies.secure,
        "httponly": True,
        "samesite": "Lax",
        **attributes,
    }
    morsel = _morsel(name, text, None if seconds is None else int(seconds), given)
    size = len(morsel.OutputString().encode())
    if size > MAX_BYTES:
        raise ValueError(
            f"cookie {name!r} would have {size} bytes with its attributes; browsers keep {MAX_BYTES} at most"
        )
    response.cookies[name] = morsel


def _morsel(name: str, text: str, max_age: int | None, attributes: CookieAttributes) -> Morsel[str]:
    """Made on a response of its own: aiohttp mixes the attributes of a cookie that is set twice."""
    draft = web.StreamResponse()
    try:
        draft.set_cookie(name, text, max_age=max_age, **attributes)
    except CookieError as error:
        raise ValueError(f"{name!r} is no name of a cookie") from error
    return draft.cookies[name]


def _get(
    request: web.BaseRequest,
    cookies: SignedCookies,
    read: _Read,
    name: str,
    default: T | Literal[Missing.RAISE],
    salt: str,
    max_age: float | timedelta | None,
) -> str | T:
    """Of several of this name the first that is good: a sibling site may have set another, or kept an old one (P49)."""
    now, seconds = cookies.clock(), _seconds(max_age)
    fault: Exception = KeyError(name)
    for text in cookies_named(request.headers.getall("Cookie", ()), name):
        try:
            return read(text, salt, seconds, now, name=name)
        except BadSignature as error:
            if not isinstance(fault, SignatureExpired):
                fault = error
    if default is Missing.RAISE:
        raise fault
    return default
