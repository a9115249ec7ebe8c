"""RFC 6455 as an intermediary needs it: the handshake in both directions, and where a frame ends."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.head import RequestHead
from gateway.core.websockets import (
    FrameFollower,
    asks_for_websocket,
    check_handshake,
    check_origin,
    close_frame,
    is_accepted,
)
from gateway.errors import RequestError
from tests.core.tables import table

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
UPGRADE = (b"Upgrade", b"websocket")
CONNECTION = (b"Connection", b"Upgrade")
VERSION = (b"Sec-WebSocket-Version", b"13")
NONCE = (b"Sec-WebSocket-Key", KEY)
USUAL = (UPGRADE, CONNECTION, VERSION, NONCE)


def head(
    *raw: tuple[bytes, bytes], method: str = "GET", version: tuple[int, int] = (1, 1), host: bytes = b"site.test"
) -> RequestHead:
    return RequestHead(method, "/ws", version, [(b"Host", host), *raw], "192.0.2.1")


ASKS = {
    "as usual": ((UPGRADE, CONNECTION), True),
    "in other letters": (((b"UPGRADE", b"WebSocket"), (b"connection", b"keep-alive, UPGRADE")), True),
    "one of several": (((b"Upgrade", b"h2c, websocket"), CONNECTION), True),
    "two Connection lines": ((UPGRADE, (b"Connection", b"keep-alive"), CONNECTION), True),
    "no Connection": ((UPGRADE,), False),
    "no Upgrade": ((CONNECTION,), False),
    "Connection names another": ((UPGRADE, (b"Connection", b"keep-alive")), False),
    "h2c": (((b"Upgrade", b"h2c"), CONNECTION), False),
    "a word that begins so": (((b"Upgrade", b"websockets"), CONNECTION), False),
    "a version behind it": (((b"Upgrade", b"websocket/13"), CONNECTION), False),
}


@pytest.mark.parametrize(("raw", "asks"), table(ASKS))
def test_a_handshake_is_what_asks_for_it_in_both_headers(raw: tuple[tuple[bytes, bytes], ...], asks: bool) -> None:
    assert asks_for_websocket(head(*raw)) is asks


REFUSED = {
    "POST": (head(*USUAL, method="POST"), False, "bad_request"),
    "HEAD": (head(*USUAL, method="HEAD"), False, "bad_request"),
    "HTTP/1.0": (head(*USUAL, version=(1, 0)), False, "bad_request"),
    "a body": (head(*USUAL), True, "bad_request"),
    "no version": (head(UPGRADE, CONNECTION, NONCE), False, "websocket_version"),
    "an old version": (head(UPGRADE, CONNECTION, NONCE, (b"Sec-WebSocket-Version", b"8")), False, "websocket_version"),
    "two versions": (head(*USUAL, VERSION), False, "websocket_version"),
    "two versions in one line": (
        head(UPGRADE, CONNECTION, NONCE, (b"Sec-WebSocket-Version", b"13, 8")), False, "websocket_version",
    ),
    "no key": (head(UPGRADE, CONNECTION, VERSION), False, "bad_request"),
    "two keys": (head(*USUAL, NONCE), False, "bad_request"),
    "an empty key": (head(UPGRADE, CONNECTION, VERSION, (b"Sec-WebSocket-Key", b"")), False, "bad_request"),
    "a short key": (head(UPGRADE, CONNECTION, VERSION, (b"Sec-WebSocket-Key", b"AAAA")), False, "bad_request"),
    "a long key": (
        head(UPGRADE, CONNECTION, VERSION, (b"Sec-WebSocket-Key", base64.b64encode(bytes(17)))), False, "bad_request",
    ),
    "a key that is no base64": (
        head(UPGRADE, CONNECTION, VERSION, (b"Sec-WebSocket-Key", b"!" * 24)), False, "bad_request",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "has_body", "code"), table(REFUSED))
def test_a_handshake_that_breaks_a_rule_is_refused(asked: RequestHead, has_body: bool, code: str) -> None:
    with pytest.raises(RequestError) as raised:
        check_handshake(asked, has_body=has_body)
    assert raised.value.reason.code == code


def test_a_handshake_in_order_passes() -> None:
    check_handshake(head(*USUAL), has_body=False)


OURS = "https://site.test"
ORIGINS = {
    "none: no browser": ((), True),
    "ours": (((b"Origin", b"https://site.test"),), True),
    "ours with its port": (((b"Origin", b"https://site.test:443"),), True),
    "ours with a path": (((b"Origin", b"https://site.test/x"),), False),
    "ours with a name before it": (((b"Origin", b"https://evil@site.test"),), False),
    "ours without slashes": (((b"Origin", b"https:site.test"),), False),
    "ours with a blank": (((b"Origin", b"https://site .test"),), False),
    "one that is allowed": (((b"Origin", b"https://app.test"),), True),
    "another scheme": (((b"Origin", b"http://site.test"),), False),
    "another port": (((b"Origin", b"https://site.test:8443"),), False),
    "another site": (((b"Origin", b"https://evil.test"),), False),
    "one that begins so": (((b"Origin", b"https://site.test.evil.test"),), False),
    "a part of ours": (((b"Origin", b"https://a.site.test"),), False),
    "null": (((b"Origin", b"null"),), False),
    "empty": (((b"Origin", b""),), False),
    "two": (((b"Origin", b"https://site.test"), (b"Origin", b"https://evil.test")), False),
    "two in one line": (((b"Origin", b"https://site.test, https://evil.test"),), False),
    "no text": (((b"Origin", b"\xff\xfe"),), False),
}


@pytest.mark.parametrize(("raw", "passes"), table(ORIGINS))
def test_only_pages_of_the_site_and_of_those_allowed_may_open_one(
    raw: tuple[tuple[bytes, bytes], ...], passes: bool
) -> None:
    if passes:
        check_origin(head(*raw), OURS, {"https://app.test"})
    else:
        with pytest.raises(RequestError) as raised:
            check_origin(head(*raw), OURS, {"https://app.test"})
        assert raised.value.reason.code == "cross_site"
    check_origin(head(*raw), OURS, {"*"})


GOOD = [UPGRADE, CONNECTION, (b"Sec-WebSocket-Accept", ACCEPT)]
ANSWERS = {
    "as the RFC has it": (GOOD, True),
    "in other letters": ([(b"UPGRADE", b"WebSocket"), (b"connection", b"upgrade"), GOOD[2]], True),
    "a sub-protocol that was offered": ([*GOOD, (b"Sec-WebSocket-Protocol", b"chat")], True),
    "a sub-protocol that was not": ([*GOOD, (b"Sec-WebSocket-Protocol", b"soap")], False),
    "two sub-protocols": ([*GOOD, (b"Sec-WebSocket-Protocol", b"chat, v2")], False),
    "no accept": (GOOD[:2], False),
    "another accept": ([*GOOD[:2], (b"Sec-WebSocket-Accept", b"AAAA")], False),
    "two accepts": ([*GOOD, GOOD[2]], False),
    "no upgrade": (GOOD[1:], False),
    "another upgrade": ([(b"Upgrade", b"h2c"), *GOOD[1:]], False),
    "two upgrades": ([(b"Upgrade", b"websocket, h2c"), *GOOD[1:]], False),
    "no connection": ([GOOD[0], GOOD[2]], False),
    "connection names another": ([GOOD[0], (b"Connection", b"close"), GOOD[2]], False),
}


@pytest.mark.parametrize(("answer", "accepted"), table(ANSWERS))
def test_a_101_must_answer_this_handshake(answer: list[tuple[bytes, bytes]], accepted: bool) -> None:
    asked = head(*USUAL, (b"Sec-WebSocket-Protocol", b"chat, v2"))
    assert is_accepted(asked, answer) is accepted


# -- frames
def frame(size: int, opcode: int, *, fin: bool, masked: bool, form: int) -> bytes:
    """``form``: the shortest length (0), or a longer one than it takes (1, 2): §5.2 forbids those, the ends judge."""
    form = max(form, 2 if size > 65535 else 1 if size > 125 else 0)
    length = {
        0: bytes([size & 0x7F]),
        1: b"\x7e" + struct.pack("!H", size & 0xFFFF),
        2: b"\x7f" + struct.pack("!Q", size),
    }
    first = length[form][0] | (0x80 if masked else 0)
    start = bytes([opcode | (0x80 if fin else 0), first]) + length[form][1:]
    return start + (b"abcd" if masked else b"") + bytes(size)


FRAMES = st.lists(
    st.builds(
        frame,
        st.one_of(st.integers(0, 200), st.sampled_from([125, 126, 127, 65535, 65536, 70000])),
        st.sampled_from([0, 1, 2, 8, 9, 10, 0x41]),
        fin=st.booleans(),
        masked=st.booleans(),
        form=st.integers(0, 2),
    ),
    min_size=1,
    max_size=5,
)


@given(FRAMES, st.lists(st.integers(1, 20), max_size=60))
def test_the_end_of_every_frame_is_found_in_whatever_pieces_it_comes(frames: list[bytes], cuts: list[int]) -> None:
    data, ends, at = b"".join(frames), set(), 0
    for one in frames:
        at += len(one)
        ends.add(at)
    follower, at = FrameFollower(), 0
    assert follower.at_boundary
    while at < len(data):
        piece = data[at : at + (cuts.pop() if cuts else 50_000)]
        first = follower.feed(piece)
        inside = sorted(end - at for end in ends if at < end <= at + len(piece))
        assert first == (inside[0] if inside else -1)
        at += len(piece)
        assert follower.at_boundary is (at in ends)


WHAT_CAME = {
    "a text": (b"\x81\x01a", True, False),
    "a masked text": (b"\x81\x81abcda", True, False),
    "a long one": (b"\x82\x7e\x01\x00" + bytes(256), True, False),
    "a continuation": (b"\x80\x00", True, False),
    "a ping": (b"\x89\x01a", False, False),
    "a pong": (b"\x8a\x80abcd", False, False),
    "a close": (b"\x88\x02\x03\xe8", False, True),
    "a pong and a text": (b"\x8a\x00\x81\x00", True, False),
    "a close in two pieces": (b"\x88|\x82abcd\x00\x00", False, True),
    "a text in two pieces": (b"\x81|\x81abcda", True, False),
}


@pytest.mark.parametrize(("data", "has_data", "has_close"), table(WHAT_CAME))
def test_what_a_person_sent_is_told_from_what_the_protocol_sends(data: bytes, has_data: bool, has_close: bool) -> None:
    follower = FrameFollower()
    for piece in data.split(b"|"):
        follower.feed(piece)
    assert (follower.has_data, follower.has_close, follower.at_boundary) == (has_data, has_close, True)


def test_the_frames_of_a_piece_are_counted() -> None:
    follower = FrameFollower()
    follower.feed(b"\x89\x00" * 1000 + b"\x81\x05he")
    assert follower.ended == 1000
    follower.feed(b"llo")
    assert follower.ended == 1


def test_a_length_of_more_than_63_bits_is_none() -> None:
    with pytest.raises(ValueError, match="2\\^63"):
        FrameFollower().feed(b"\x82\x7f" + b"\xff" * 8)


def test_a_close_frame_is_what_the_rfc_says() -> None:
    assert close_frame(1000, "") == b"\x88\x02\x03\xe8"
    assert close_frame(4401, "revoked") == b"\x88\x09\x11\x31revoked"
    masked = close_frame(4401, "revoked", mask=b"abcd")
    assert masked[:6] == b"\x88\x89abcd"
    assert bytes(byte ^ b"abcd"[n % 4] for n, byte in enumerate(masked[6:])) == b"\x11\x31revoked"
    long = close_frame(4401, "订" * 100)
    assert len(long) == 2 + 2 + 123
    assert long[4:].decode() == "订" * 41
