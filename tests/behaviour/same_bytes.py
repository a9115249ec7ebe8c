"""The backend of ``test_same_bytes.py``, and what its clients ask for."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import web

LARGE = random.Random(5).randbytes(5 * 1024 * 1024)
TEXT = ("Grüße, 世界\n" * 400).encode()
PACKED = gzip.compress(TEXT, mtime=0)
FORM_FIELD, FORM_FILE = "Zoë", "grüße.bin"
_ODD = [("X-Name", "Müller"), ("X-Twice", "1"), ("x-twice", "2"), ("X-Empty", "")]
# what the gateway adds (docs/http-api.md), and what is of one connection only
_NOT_TOLD = ("x-forwarded-", "x-request-id", "via", "connection", "transfer-encoding")


# -- what is asked for
@dataclass(frozen=True, slots=True)
class Ask:
    """One request, and the status at its end. ``sends``: how the body goes."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""
    sends: Literal["whole", "chunks", "form"] = "whole"
    status: int = 200


ASKS: dict[str, Ask] = {
    "small": Ask("/small"),
    "no bytes": Ask("/empty"),
    "204": Ask("/nothing", status=204),
    "5 MiB": Ask("/large"),
    "gzip": Ask("/packed", headers=(("Accept-Encoding", b"gzip"),)),
    "chunks": Ask("/chunks"),
    "a range": Ask("/large", headers=(("Range", b"bytes=1000-70000"),), status=206),
    "the last bytes": Ask("/large", headers=(("Range", b"bytes=-5"),), status=206),
    "a range behind the end": Ask("/large", headers=(("Range", b"bytes=99999999-"),), status=416),
    "304": Ask("/cached", headers=(("If-None-Match", b'"one"'),), status=304),
    "200 with an ETag": Ask("/cached", headers=(("If-None-Match", b'"two"'),)),
    "HEAD": Ask("/large", "HEAD"),
    "HEAD of chunks": Ask("/chunks", "HEAD"),
    "404": Ask("/not-here", status=404),
    "a redirect": Ask("/moved"),
    "a redirect with a host": Ask("/moved?far"),
    "a redirect that repeats the body": Ask("/again", "POST", body=b"once and again"),
    "cookies": Ask("/cookies"),
    "cookies come back": Ask("/seen"),
    "an odd query": Ask("/seen?q=%2F..%2f&x=//;&empty=&q="),
    "odd headers": Ask("/seen", headers=(("X-Name", b"caf\xe9"), ("X_Under", b"1"), ("X-Dots", b"a, b;c"), ("X-Empty-One", b""))),
    "OPTIONS": Ask("/seen", "OPTIONS"),
    "DELETE": Ask("/seen", "DELETE"),
    "PATCH": Ask("/seen", "PATCH", body=b"{}"),
    "POST of nothing": Ask("/seen", "POST"),
    "an upload": Ask("/seen", "PUT", body=LARGE),
    "an upload that waits": Ask("/seen", "POST", headers=(("Expect", b"100-continue"),), body=LARGE),
    "an upload in chunks": Ask("/seen", "POST", body=LARGE, sends="chunks"),
    "a form with a file": Ask("/seen", "POST", body=LARGE, sends="form"),
}  # fmt: skip


def pieces(body: bytes) -> Iterator[bytes]:
    """For clients that send in chunks."""
    for at in range(0, len(body), 100_003):
        yield body[at : at + 100_003]


# -- the backend: its answers do not depend on when they are asked for
def backend_app(folder: Path) -> web.Application:
    """Serves all of the above. ``folder``: for its file."""
    large = folder / "large.bin"
    large.write_bytes(LARGE)

    async def send_large(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(large)  # ranges, ETag and Last-Modified are aiohttp's

    app = web.Application(client_max_size=0)
    app.on_response_prepare.append(_same_each_time)
    app.router.add_get("/large", send_large)
    app.router.add_get("/small", _plain(TEXT[:100], {"Content-Type": "text/html; charset=utf-8"}))
    app.router.add_get("/empty", _plain(b""))
    app.router.add_get("/packed", _plain(PACKED, {"Content-Encoding": "gzip"}))
    for path, handler in (
        ("nothing", _nothing),
        ("chunks", _chunks),
        ("cached", _cached),
        ("moved", _moved),
        ("cookies", _cookies),
    ):
        app.router.add_get(f"/{path}", handler)
    app.router.add_post("/again", _again)
    app.router.add_route("*", "/seen", _seen)
    return app


async def _same_each_time(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Date"], response.headers["Server"] = "Fri, 20 Nov 2026 12:00:00 GMT", "old"
    for name, value in _ODD:
        response.headers.add(name, value)


def _plain(
    body: bytes, headers: dict[str, str] | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers=headers)

    return answer


async def _nothing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def _chunks(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in pieces(LARGE[:500_000] if request.method == "GET" else b""):  # aiohttp would send a body to HEAD
        await response.write(piece)
    return response


async def _cached(request: web.Request) -> web.StreamResponse:
    is_known = request.headers.get("If-None-Match") == '"one"'
    return web.Response(status=304 if is_known else 200, headers={"ETag": '"one"'}, text=None if is_known else "one")


async def _moved(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(f"http://{request.host}/small" if "far" in request.query else "/small")


async def _again(_: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/seen")


async def _cookies(_: web.Request) -> web.StreamResponse:
    response = web.Response(text="two cookies")
    response.headers.add("Set-Cookie", "sessionid=abc; Path=/; HttpOnly; SameSite=Lax")
    response.headers.add("Set-Cookie", 'theme="dark, blue"; Path=/; Expires=Fri, 31 Dec 2027 23:59:59 GMT')
    return response


async def _seen(request: web.Request) -> web.StreamResponse:
    """The request as it arrived. Which host it was sent to and how a form marks its parts is new each time."""
    boundary = request.headers.get("Content-Type", "").partition("boundary=")[2]

    def known(data: bytes) -> bytes:
        data = data.replace(request.host.encode(), b"HOST")
        return data.replace(boundary.encode(), b"BOUNDARY") if boundary else data

    told = [(n, v) for n, v in request.raw_headers if not n.decode().lower().startswith(_NOT_TOLD)]
    body = known(await request.read())
    lines = [f"{request.method} {request.raw_path}", *(repr((n, known(v))) for n, v in told)]
    return web.Response(text="\n".join([*lines, f"{len(body)} bytes {hashlib.sha256(body).hexdigest()}"]))
