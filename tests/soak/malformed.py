"""Bytes that are no request and must not reach the backend, and requests with a few bytes changed, which may."""

from __future__ import annotations

import random

_HOST = b"Host: a\r\n"
_POST = b"POST /open/never HTTP/1.1\r\n" + _HOST
_GET = b"GET /open/never HTTP/1.1\r\n"
_END = b"\r\n\r\n"
_SHAPES: tuple[bytes, ...] = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + _END,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /open/never\r\n\r\n",
    b"GET /open/never HTTP/9.9\r\n" + _HOST + b"\r\n",
    b"GET /open/never#x HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /open/%2e%2e/never HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /open//never HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /open/never/" + b"a" * 20_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"FROB /open/never HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"CONNECT never:443 HTTP/1.1\r\nHost: never:443" + _END,
    _GET + b"\r\n",
    _GET + _HOST + _HOST + b"\r\n",
    _GET + b"Host : a" + _END,
    _GET + _HOST + b"X: a\r\n b" + _END,
    _GET + _HOST + b"X: a\x00b" + _END,
    _GET + _HOST + b"X: a\rb" + _END,
    _GET + _HOST + b": a" + _END,
    _GET + _HOST + b"X" + _END,
    _GET + _HOST + b"X: " + b"a" * 70_000 + _END,
    _GET + _HOST + b"X: y\r\n" * 5000 + b"\r\n",
    _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    _POST + b"Content-Length: +1\r\n\r\na",
    _POST + b"Content-Length: 1, 1\r\n\r\na",
    _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /open/never HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Expect: tea\r\nContent-Length: 3\r\n\r\nabc",
)
MALFORMED = [shape.replace(b"never", b"never-%d" % number) for number, shape in enumerate(_SHAPES)]
BAD_CHUNKS: tuple[bytes, ...] = (b"zz\r\n", b"-1\r\n", b"0x5\r\nabcde\r\n", b"5 5\r\nabcde\r\n", b"f" * 20 + b"\r\n", b"5\r\nabcdefgh\r\n", b"5;" + b"a" * 70_000)  # fmt: skip
_VALID = (
    b"POST /open/perhaps HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 5\r\nX-A: 1\r\nConnection: keep-alive\r\n\r\nabcde",
    b"POST /open/perhaps HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
    b"GET /open/perhaps?a=b HTTP/1.1\r\nHost: www.example.org\r\nCookie: a=b; gw_session=x\r\nExpect: 100-continue\r\n\r\n",
)
_LIKELY = b"\r\n\t :;,=\x00\x7f\xff0123456789abcdefxPOST/HTTP."


def mutated(dice: random.Random) -> bytes:
    """A good request in which a few bytes were changed, dropped, doubled or put in."""
    data = bytearray(dice.choice(_VALID) * dice.choice((1, 1, 3)))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data))
        piece = bytes((dice.choice(_LIKELY),))
        data[at : at + dice.choice((0, 1, 1, 2))] = piece * dice.choice((0, 1, 1, 2))
    return bytes(data)
