"""Bodies of any size pass without being collected: 500 MiB while the gateway grows by less than 16 MiB."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ALICE, GatewayProcess
from tests.test_commands import sign_in

SIZE = 500 * 1024 * 1024
MAY_GROW = 16 * 1024 * 1024
PIECE = bytes(range(251)) * 256  # the demo backend's pattern
pytestmark = pytest.mark.slow


class Watch:
    """Samples a process' resident memory while it runs (bytes)."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self.peak = 0

    def now(self) -> int:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self.now())

    def __enter__(self) -> Watch:
        self.before = self.peak = self.now()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def grown(self) -> int:
        return self.peak - self.before


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[GatewayProcess, str]]:
    with GatewayProcess("demo", "--port", "0") as process:
        cookie = sign_in(process.url, ALICE)
        _download(process, cookie, 8 * 1024 * 1024)  # what is imported and allocated once is not what is measured
        _upload(process, cookie, 8 * 1024 * 1024, chunked=True)
        yield process, cookie


def _connect(process: GatewayProcess, *, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(120)
    sock.connect(("127.0.0.1", process.port))
    return sock


def _download(process: GatewayProcess, cookie: str, size: int, *, slow_seconds: float = 0.0) -> int:
    """Bytes of the body that came; for ``slow_seconds`` at the start it is read in sips."""
    with _connect(process, receive_buffer=65536 if slow_seconds else None) as sock:
        sock.sendall(
            f"GET /download?bytes={size} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        assert data.startswith(b"HTTP/1.1 200 "), data
        got = len(data.partition(b"\r\n\r\n")[2])
        sips_end = time.monotonic() + slow_seconds
        while piece := sock.recv(4096 if time.monotonic() < sips_end else 1 << 20):
            got += len(piece)
            if time.monotonic() < sips_end:
                time.sleep(0.01)
    return got


def _upload(process: GatewayProcess, cookie: str, size: int, *, chunked: bool) -> dict[str, object]:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    digest = hashlib.sha256()
    with _connect(process) as sock:
        head = f"POST /upload HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n{framing}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        left = size
        while left:
            piece = PIECE[:left]
            digest.update(piece)
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            left -= len(piece)
        if chunked:
            sock.sendall(b"0\r\n\r\n")
        answer = b""
        while data := sock.recv(65536):
            answer += data
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["sha256"] == digest.hexdigest()
    return dict(body)


@pytest.mark.parametrize("slow_seconds", [0.0, 5.0], ids=["fast", "slow-reader"])
def test_a_download_of_500_mib_passes_through(demo: tuple[GatewayProcess, str], slow_seconds: float) -> None:
    process, cookie = demo
    with Watch(process.pid) as watch:
        assert _download(process, cookie, SIZE, slow_seconds=slow_seconds) == SIZE
    print(f"grown by {watch.grown / 1048576:.1f} MiB")
    assert watch.grown < MAY_GROW


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_of_500_mib_passes_through(demo: tuple[GatewayProcess, str], chunked: bool) -> None:
    process, cookie = demo
    with Watch(process.pid) as watch:
        assert _upload(process, cookie, SIZE, chunked=chunked)["length"] == SIZE
    print(f"grown by {watch.grown / 1048576:.1f} MiB")
    assert watch.grown < MAY_GROW
