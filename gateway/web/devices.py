"""Who is calling, as signing in wants to know it: the address, and the device cookie (:mod:`gateway.core.device_cookie`)."""

from __future__ import annotations

import os

from aiohttp import web

from gateway.core.device_cookie import COOKIE_SECONDS, ID_BYTES, DeviceTickets
from gateway.core.tickets import cookies_named
from gateway.identity.sign_in import Caller
from gateway.web.cookies import CookieOptions
from gateway.web.state import head_of


class Devices:
    """Reads the cookie and sets it."""

    def __init__(self, tickets: DeviceTickets, cookie: CookieOptions) -> None:
        self._tickets = tickets
        self._cookie = cookie

    def caller(self, request: web.BaseRequest) -> Caller:
        """What is forged, foreign or too long is no device."""
        texts = cookies_named(request.headers.getall("Cookie", ()), self._cookie.name)
        return Caller(head_of(request).peer, self._tickets.open(texts))

    def remember(self, request: web.BaseRequest, response: web.StreamResponse, account: str) -> None:
        """This account has signed in with this browser: a year from now on, also when it signs out."""
        known = self.caller(request).device
        value = self._tickets.signed_in(known, account, os.urandom(ID_BYTES))
        self._cookie.set(response, value, COOKIE_SECONDS)
