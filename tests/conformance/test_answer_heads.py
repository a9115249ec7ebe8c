"""What a backend may say in its head, and what of it the client sees (RFC 9112 §4, §5; RFC 9110 §7.6.1)."""

from __future__ import annotations

from tests.conformance.answers import Said, check_said, nonsense, says, table
from tests.conformance.cases import paces
from tests.conformance.lab import Case

END = b"Content-Length: 2\r\n\r\nok"


def start(line: bytes) -> bytes:
    return line + b"\r\n" + END


def fields(*lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, END])


STATUSES = [
    *(says(str(status), start(b"HTTP/1.1 %d Some Words" % status)) for status in (
        200, 201, 202, 203, 205, 206, 207, 226, 299, 300, 301, 302, 303, 305, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409, 410,
        411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 599)),
    *(says(f"{status}, which nobody knows", start(b"HTTP/1.1 %d X" % status)) for status in (234, 399, 450, 598, 600, 777, 999)),
    *(nonsense(text.decode("latin-1"), start(b"HTTP/1.1 " + text)) for text in (
        b"0 OK", b"1 OK", b"9 OK", b"10 OK", b"20 OK", b"99 OK", b"000 OK", b"001 OK", b"020 OK", b"099 OK", b"1000 OK", b"2000 OK",
        b"200OK", b"-200 OK", b"+200 OK", b"2x0 OK", b"OK", b"", b"0x1 OK", b"20\xb2 OK", b"2 00 OK", b"200.0 OK", b"\xef\xbc\x92\x30\x30 OK")),
    nonsense("101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    nonsense("101 without a word", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    nonsense("101 with a body", b"HTTP/1.1 101 Switching Protocols\r\n" + END),
    nonsense("101 and more", b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + start(b"HTTP/1.1 200 OK")),
]  # fmt: skip
PHRASES = [  # §4: its bytes mean nothing, and stay as they are
    says("none", start(b"HTTP/1.1 200 ")),
    says("none and no blank", start(b"HTTP/1.1 200"), start(b"HTTP/1.1 200 ")),  # §4: the blank MUST be sent
    says("another than usual", start(b"HTTP/1.1 404 OK")),
    says("many words", start(b"HTTP/1.1 200 Everything is  fine, thanks!")),
    says("a tab", start(b"HTTP/1.1 200 a\tb")),
    says("Latin-1", start(b"HTTP/1.1 200 caf\xe9")),
    says("UTF-8", start("HTTP/1.1 200 没问题".encode())),
    says("bytes of no text", start(b"HTTP/1.1 200 \xff\xfe\x80")),
    says("a thousand bytes", start(b"HTTP/1.1 200 " + b"x" * 1000)),
    *(nonsense(f"byte {byte:02x}", start(b"HTTP/1.1 200 a" + bytes([byte]) + b"b")) for byte in (0, 1, 8, 0x0B, 0x0C, 0x0D, 0x1B, 0x1F, 0x7F)),
    nonsense("a bare LF", start(b"HTTP/1.1 200 a\nX: y")),
    nonsense("a bare LF at its end", b"HTTP/1.1 200 OK\n" + END),
]  # fmt: skip
VERSIONS = [  # RFC 9110 §2.5: the gateway's own version on the way out
    says("HTTP/1.0", start(b"HTTP/1.0 200 OK"), kept=None),
    says("HTTP/1.0 that stays", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + END, start(b"HTTP/1.0 200 OK"), kept=None),
    *(nonsense(text.decode(), start(text + b" 200 OK")) for text in (
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/2", b"HTTP/3.0", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/1,1", b"HTTP/01.1", b"HTTP/1.10",
        b"HTTP/1.1.1", b"HTTP/ 1.1", b"http/1.1", b"Http/1.1", b"HTTPS/1.1", b"HTTP1.1", b"RTSP/1.0", b"RTSP/1.1", b"ICE/1.0", b"ICY", b"SIP/2.0", b"")),
    nonsense("two blanks", start(b"HTTP/1.1  200 OK")),
    nonsense("a tab", start(b"HTTP/1.1\t200 OK")),
    nonsense("a blank before it", start(b" HTTP/1.1 200 OK")),
    nonsense("an empty line before it", b"\r\n" + start(b"HTTP/1.1 200 OK")),
    nonsense("a bare LF before it", b"\n" + start(b"HTTP/1.1 200 OK")),
    nonsense("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n", end="close"),
    nonsense("a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", end="close"),
    nonsense("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46", end="close"),
    nonsense("HTML", b"<html>hello</html>", end="close"),
    nonsense("a line end", b"\r\n", end="close"),
    nonsense("one byte", b"H", end="close"),
    nonsense("half a status line", b"HTTP/1.1 200", end="close"),
    nonsense("a status line alone", b"HTTP/1.1 200 OK\r\n", end="close"),
    nonsense("half a head", b"HTTP/1.1 200 OK\r\nContent-Le", end="close"),
    nonsense("a head without its end", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", end="close"),
    nonsense("a head without its end, reset", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", end="reset"),
    nonsense("nothing", b"", end="close", reason="upstream_unreachable"),
    nonsense("nothing, reset", b"", end="reset", reason="upstream_unreachable"),
]  # fmt: skip
KEPT = [
    says("order, letters, repetition", fields(b"X-A: 1", b"x-b: 2", b"X-A: 3", b"X-B: 4", b"X-A: 1")),
    says("bytes that are not ASCII", fields(b"X: " + bytes(range(0x80, 0x100)))),
    says("UTF-8", fields("X: 中文".encode())),
    says("everything printable", fields(b"X: " + bytes(range(0x21, 0x7F)))),
    says("blanks and tabs inside", fields(b"X: a  b\tc")),
    says("blanks around", fields(b"X:  \t y \t "), fields(b"X: y")),
    says("no blanks", fields(b"X:y"), fields(b"X: y")),
    says("empty ones", fields(b"X-A:", b"X-B: "), fields(b"X-A: ", b"X-B: ")),
    says("every character of a name", fields(b"!#$%&'*+-.^_`|~09azAZ: x")),
    says("cookies", fields(b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2, 3", b"set-cookie: a=4")),
    says("challenges", fields(b'WWW-Authenticate: Basic realm="a, b"', b"WWW-Authenticate: Bearer", b"Proxy-Authenticate: x")),
    says("what caches read", fields(b"Date: x", b"Age: 1", b"Expires: 0", b"Vary: *", b"Cache-Control: no-cache", b"Warning: 199 a", b'ETag: W/"x"', b"Last-Modified: y")),
    says("who answers", fields(b"Server: x/1 (y)", b"Via: 1.1 other", b"X-Powered-By: z")),
    says("where to", fields(b"Location: //elsewhere/?a#b", b"Content-Location: x", b"Refresh: 0", b"Allow: GET", b"Retry-After: 1")),
    says("what the body is", fields(b"Content-Type: x", b"Content-Encoding: gzip", b"Content-Language: zh", b"Accept-Ranges: none")),
    says("150 fields", fields(*(b"X-%d: y" % number for number in range(150)))),
    says("a value of 16,000 bytes", fields(b"X: " + b"y" * 16_000)),
    says("a head of 60,000 bytes", fields(*(b"X-%d: " % number + b"y" * 590 for number in range(100)))),
    says("a length in other letters", b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\nok"),
]  # fmt: skip
REMOVED = [  # RFC 9110 §7.6.1
    *(says(name.decode(), fields(b"X-A: 1", name + b": x", b"X-B: 2"), fields(b"X-A: 1", b"X-B: 2"))
      for name in (b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Upgrade")),
    says("Connection", fields(b"Connection: keep-alive"), fields()),
    says("what Connection names", fields(b"X-A: 1", b"Connection: X-A, x-c", b"X-B: 2", b"X-C: 3"), fields(b"X-B: 2")),
    says("what several lines of Connection name", fields(b"Connection: X-A", b"X-A: 1", b"X-B: 2", b"connection: x-b"), fields()),
    says("Connection: close", fields(b"Connection: close"), fields(), kept=False),
    says("Connection: close, X-A", fields(b"X-A: 1", b"Connection: close, X-A"), fields(), kept=False),
    says("the length's name in Connection", fields(b"Connection: Content-Length"), fields()),
    says("an upgrade that is only offered", fields(b"Connection: Upgrade", b"Upgrade: h2c"), fields(), kept=None),
    says("our own cookie", fields(b"Set-Cookie: gw_session=x", b"Set-Cookie: a=1", b"Set-Cookie: __Host-gw_session=y"), fields(b"Set-Cookie: a=1")),
]  # fmt: skip
FAULTY = [
    nonsense("a blank before the colon", fields(b"X : y")),  # §5.1 has it removed; who says nothing of it passes nothing on
    nonsense("a blank before the first field", fields(b" X: y")),
    nonsense("a fold", fields(b"X: y\r\n z")),
    nonsense("a fold with a tab", fields(b"X: y\r\n\tz")),
    nonsense("a fold of the length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok"),
    nonsense("a bare LF", fields(b"X: y\nZ: a")),
    nonsense("a bare LF behind the last", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok"),
    nonsense("a bare LF as the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    nonsense("bare LFs only", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    nonsense("a bare CR", fields(b"X: y\rZ: a")),
    nonsense("a bare CR as the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\rok"),
    *(nonsense(f"byte {byte:02x} in a value", fields(b"X: a" + bytes([byte]) + b"b")) for byte in (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)),
    *(nonsense(f"byte {byte:02x} in a name", fields(b"X" + bytes([byte]) + b"Y: a")) for byte in (0, 1, 9, 0x20, 0x22, 0x28, 0x2F, 0x3B, 0x40, 0x5B, 0x7B, 0x7F, 0x80, 0xE9)),
    nonsense("no colon", fields(b"X")),
    nonsense("no name", fields(b": x")),
    nonsense("a colon alone", fields(b":")),
    nonsense("too many fields", fields(*[b"X: y"] * 201)),
    nonsense("far too many fields", fields(*[b"X: y"] * 5000)),
    nonsense("too large a head", fields(*[b"X: " + b"y" * 1000] * 100)),
    nonsense("too large a field", fields(b"X: " + b"y" * 100_000)),
    nonsense("too large a name", fields(b"X" * 100_000 + b": y")),
    nonsense("too long a phrase", start(b"HTTP/1.1 200 " + b"x" * 100_000)),
    nonsense("a field without end", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000),
]  # fmt: skip


@paces()
@table(status=STATUSES, phrase=PHRASES, version=VERSIONS, kept=KEPT, removed=REMOVED, faulty=FAULTY)
def test_the_head_of_an_answer_is_http_or_a_502(case: Case, said: Said, pieces: int) -> None:
    check_said(case, said, pieces)
