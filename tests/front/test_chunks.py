"""Where a body in chunks ends, whatever stands in it and however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.front.chunks import ChunkFollower

PIECES = st.lists(
    st.sampled_from([b"\r\n\r\n", b"0\r\n\r\n", b"x", b"\n", b"GET / HTTP/1.1\r\n\r\n"]), min_size=1, max_size=6
)
EXTENSIONS = st.sampled_from([b"", b";a=b", b'; q="0"', b";" + b"x" * 40])
CHUNKS = st.lists(st.tuples(PIECES.map(b"".join), EXTENSIONS, st.sampled_from([b"", b"0", b"000"])), max_size=5)
TRAILERS = st.lists(st.sampled_from([b"X: y\r\n", b"Connection: close\r\n"]), max_size=3).map(b"".join)


def body_of(chunks: list[tuple[bytes, bytes, bytes]], trailers: bytes) -> bytes:
    lines = [b"%b%x%b\r\n%b\r\n" % (zeros, len(data), extension, data) for data, extension, zeros in chunks]
    return b"".join(lines) + b"0\r\n" + trailers + b"\r\n"


@given(CHUNKS, TRAILERS, st.lists(st.integers(1, 9), max_size=200))
def test_the_end_is_found_in_whatever_pieces_it_comes(
    chunks: list[tuple[bytes, bytes, bytes]], trailers: bytes, cuts: list[int]
) -> None:
    whole = body_of(chunks, trailers)
    sent = whole + b"GET / HTTP/1.1\r\n\r\n"
    follower, at = ChunkFollower(), 0
    while at < len(whole):
        upto = min(at + (cuts.pop() if cuts else len(sent)), len(sent))
        end = follower.end(sent[:upto], at)
        assert end <= len(whole)
        assert end in (upto, len(whole))
        at = end


def test_what_is_no_size_is_left_to_the_parser() -> None:
    for line in (b"\r\n", b"x\r\n", b"-1\r\n", b"g\r\n\r\n", b"\r\n\r\n"):
        assert 0 < ChunkFollower().end(line, 0) <= len(line)
