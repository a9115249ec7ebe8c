"""What our own code costs per request, without sockets and kernel: ``python -m bench.hot_path get|token|refusal``.

``--profile`` says where it goes.

The transports are stand-ins that take bytes, so that the figure is steady on a busy machine; it is no figure to compare with
anybody (bench.compare has those), it is for telling before from after.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import io
import json
import pstats
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.app import Gateway, build
from gateway.front.client import ClientConnection
from gateway.settings import settings_from
from gateway.signing_key_files import first_keys
from gateway.store.reader import Belief
from gateway.telemetry import logs
from gateway.upstream.connection import Connection

ROOT = Path(__file__).resolve().parent.parent
MASTER = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"  # nosec: of this bench only
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b'Content-Length: 1024\r\nLast-Modified: Fri, 20 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nETag: "x"\r\n\r\n'
) + b"x" * 1024


class Wire(asyncio.Transport):
    """Takes bytes and remembers the last ones."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000)})
        self.last = b""
        self.count = 0

    def write(self, data: Any) -> None:
        """Kept until the next."""
        self.last = data
        self.count += 1

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


def gateway(folder: Path) -> Gateway:
    """Sessions in memory, the demo's users, one rule; keys for tokens in ``folder``."""
    keys = folder / "signing_keys.json"
    keys.touch(0o600)
    keys.write_text(first_keys("EdDSA", datetime.now(UTC)))
    data: dict[str, Any] = {
        "session": {"engine": "memory"},
        "keys": {"master": MASTER},
        "tokens": {"keys_file": str(keys)},
        "users": [{"source": "file", "path": str(ROOT / "config/users.yaml")}],
        "upstreams": {"app": {"url": "http://127.0.0.1:9"}},
        "routes": [{"path": "/"}],
    }
    return build(settings_from(data, {}, "bench", ROOT))


def connect(made: Gateway) -> tuple[ClientConnection, Wire]:
    """A client's connection."""
    client, wire = ClientConnection(made.front), Wire()
    client.connection_made(wire)
    return client, wire


async def sign_in(made: Gateway) -> bytes:
    """The Cookie header of a session."""
    client, wire = connect(made)
    body = b'{"username": "alice", "password": "alice-demo"}'
    head = b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    client.data_received(head % len(body) + body)
    while b"gw_session=" not in wire.last:  # noqa: ASYNC110  a stand-in has no events
        await asyncio.sleep(0.01)
    return b"Cookie: gw_session=" + wire.last.partition(b"gw_session=")[2].partition(b";")[0] + b"\r\n"


async def token(made: Gateway) -> bytes:
    """The Authorization header of a token from a session."""
    client, wire = connect(made)
    client.data_received(b"POST /auth/token HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n%b\r\n" % await sign_in(made))
    while b"access_token" not in wire.last:  # noqa: ASYNC110  a stand-in has no events
        await asyncio.sleep(0.01)
    given = str(json.loads(wire.last.partition(b"\r\n\r\n")[2])["access_token"])
    return b"Authorization: Bearer " + given.encode() + b"\r\n"


WHO = {"get": sign_in, "token": token}


async def measure(scenario: str, count: int, profile: bool) -> None:
    """Best of five, printed."""
    with TemporaryDirectory() as folder:
        made = gateway(Path(folder))
    made.app.freeze()
    made.front._sessions.keep(1000, Belief(in_cache=lambda: True))
    client, wire = connect(made)
    request = b"GET /orders?page=1 HTTP/1.1\r\nHost: site.test\r\nAccept: */*\r\nUser-Agent: wrk\r\n%b\r\n"
    who = WHO.get(scenario)
    request %= await who(made) if who is not None else b""
    upstream, far = Connection(), Wire()
    upstream.connection_made(far)
    pool = next(iter(made.front._upstreams.values())).only
    assert pool is not None
    pool._idle.append((asyncio.get_running_loop().time(), upstream))

    def once() -> None:
        client.data_received(request)
        if who is not None:
            upstream.flush()
            upstream.data_received(ANSWER)
        client.flush()

    client.data_received(request)
    while who is not None and not far.last:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if who is not None:
        upstream.data_received(ANSWER)
    await asyncio.sleep(0.01)
    assert wire.last, "no answer"
    profiler = cProfile.Profile() if profile else None
    best = float("inf")
    for _ in range(5):
        await asyncio.sleep(0.12)  # lets the log be written
        started = time.process_time()
        if profiler:
            profiler.enable()
        for _ in range(count):
            once()
        if profiler:
            profiler.disable()
        best = min(best, (time.process_time() - started) / count)
    assert wire.count >= 5 * count, f"{wire.count} answers to {5 * count} requests"
    assert wire.last.startswith(b"HTTP/1.1 200" if who is not None else b"HTTP/1.1 302"), wire.last[:200]
    print(f"{scenario}: {best * 1e6:.1f} µs")
    if profiler:
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(40)
        print(text.getvalue())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=["get", "token", "refusal"], nargs="?", default="get")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        logs.configure("json", nowhere)
        asyncio.run(measure(given.scenario, given.count, given.profile))


if __name__ == "__main__":
    main()
