"""Endpoints whose bodies flow: download, upload, server-sent events, WebSocket. None of them collects a body."""

import asyncio
import json

from aiohttp import WSMsgType, web

from demo import query
from demo.identity import preferred_username
from demo.probes import CHUNK_BYTES, digest

MAX_DOWNLOAD_BYTES = 2 * 1024**3
MAX_EVENTS = 1_000_000
MAX_INTERVAL_SECONDS = 60.0

# 251 is prime, so no two chunks in a row start alike: a lost, doubled or swapped chunk changes the bytes.
_PERIOD = 251
_PATTERN = bytes(range(_PERIOD)) * (CHUNK_BYTES // _PERIOD + 2)


def download_bytes(offset: int, size: int) -> bytes:
    """Return ``size`` bytes (at most CHUNK_BYTES) of the download from ``offset`` on: byte number i is i mod 251."""
    start = offset % _PERIOD
    return _PATTERN[start : start + size]


async def download(request: web.Request) -> web.StreamResponse:
    """Stream ``bytes`` deterministic bytes; ``chunked=1`` leaves Content-Length out."""
    total = query.require_int("bytes", request.query.get("bytes"), 0, MAX_DOWNLOAD_BYTES)
    chunked = query.require_int("chunked", request.query.get("chunked", "0"), 0, 1)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = None if chunked else total
    await response.prepare(request)
    for offset in range(0, total if request.method != "HEAD" else 0, CHUNK_BYTES):
        await response.write(download_bytes(offset, min(CHUNK_BYTES, total - offset)))
    return response


async def upload(request: web.Request) -> web.Response:
    """Read the body as a stream; answer its length (bytes) and SHA-256."""
    length, sha256 = await digest(request.content)
    return web.json_response({"length": length, "sha256": sha256})


async def events(request: web.Request) -> web.StreamResponse:
    """Send ``count`` server-sent events (0: without end), ``interval`` seconds apart, the first at once."""
    count = query.require_int("count", request.query.get("count", "0"), 0, MAX_EVENTS)
    interval = query.require_seconds("interval", request.query.get("interval", "1"), MAX_INTERVAL_SECONDS)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    await _send_events(response, count, interval, preferred_username(request.headers))
    return response


async def _send_events(response: web.StreamResponse, count: int, interval: float, user: str | None) -> None:
    number = 0
    while count == 0 or number < count:
        if number:
            await asyncio.sleep(interval)
        number += 1
        await response.write(b"data: " + json.dumps({"n": number, "user": user}).encode() + b"\n\n")


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Echo each text and binary message, whatever its size, until the client closes."""
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


ROUTES = [
    web.get("/download", download),
    web.post("/upload", upload),
    web.put("/upload", upload),
    web.get("/events", events, allow_head=False),
    web.get("/ws", websocket, allow_head=False),
]
