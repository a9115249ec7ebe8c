"""Endpoints that show what a proxy passed on: echo, any status, slowness, a cookie, health."""

import asyncio
import hashlib
import re

from aiohttp import StreamReader, web

from demo import query

CHUNK_BYTES = 64 * 1024
MAX_SLOW_SECONDS = 60.0

# RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: these answers have no content.
BODILESS = {204, 205, 304}

# RFC 6265 section 4.1.1: cookie-name is a token, cookie-value is cookie-octets. Nothing that could start an attribute.
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{0,1024}")


async def digest(body: StreamReader) -> tuple[int, str]:
    """Read a body to its end without keeping it; return its length in bytes and its SHA-256 in hex."""
    length, hashed = 0, hashlib.sha256()
    async for chunk in body.iter_chunked(CHUNK_BYTES):
        length += len(chunk)
        hashed.update(chunk)
    return length, hashed.hexdigest()


def _latin1(raw: bytes) -> str:
    # One character per byte, so that the reader sees exactly what came over the wire.
    return raw.decode("latin-1")


async def echo(request: web.Request) -> web.Response:
    """Answer the request as it was received; the body only as length (bytes) and SHA-256."""
    length, sha256 = await digest(request.content)
    return web.json_response(
        {
            "method": request.method,
            "target": _latin1(request.raw_path.encode("utf-8", "surrogateescape")),
            "headers": [[_latin1(name), _latin1(value)] for name, value in request.raw_headers],
            "length": length,
            "sha256": sha256,
        }
    )


async def status(request: web.Request) -> web.Response:
    """Answer with the status in the path, 200 to 599."""
    code = query.require_int("code", request.match_info["code"], 200, 599)
    if code in BODILESS:
        return web.Response(status=code)
    return web.json_response({"status": code}, status=code)


async def slow(request: web.Request) -> web.Response:
    """Answer after ``seconds``."""
    seconds = query.require_seconds("seconds", request.query.get("seconds"), MAX_SLOW_SECONDS)
    await asyncio.sleep(seconds)
    return web.json_response({"seconds": seconds})


async def cookie(request: web.Request) -> web.Response:
    """Set the cookie ``name=value``, one of the backend's own."""
    name, value = request.query.get("name", ""), request.query.get("value", "")
    if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
        query.refuse("name must be a cookie name (1 to 64 characters), value a cookie value (0 to 1024 characters)")
    # Written by hand: http.cookies would put quotes around values such as "a/b".
    header = {"Set-Cookie": f"{name}={value}; Path=/; HttpOnly; SameSite=Lax"}
    return web.json_response({"name": name, "value": value}, headers=header)


async def healthz(_request: web.Request) -> web.Response:
    """Answer "ok" as long as the process serves."""
    return web.Response(text="ok")


ROUTES = [
    web.route("*", "/echo", echo),
    web.route("*", "/echo/{below:.*}", echo),
    web.route("*", "/status/{code}", status),
    web.get("/slow", slow),
    web.get("/cookie", cookie),
    web.get("/healthz", healthz),
]
