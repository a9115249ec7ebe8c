"""What a connection behind a load balancer begins with: every form of the PROXY protocol, and what is none."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.proxy_protocol import ProxyHeader, ProxyHeaderError, read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31
V4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 51234, 443)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 51234, 443)
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.7") * 2 + struct.pack("!HH", 1, 2)
PATHS = b"/run/client.sock".ljust(108, b"\0") + b"/run/proxy.sock".ljust(108, b"\0")
TLVS = b"\x04\x00\x03abc" + b"\x20\x00\x05\x01\x00\x00\x00\x00"


def v2(command: int, family: int, addresses: bytes, *, length: int | None = None) -> bytes:
    size = len(addresses) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", size) + addresses


GOOD = {
    "v1 of IPv4": (b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", "203.0.113.7"),
    "v1 of IPv6": (b"PROXY TCP6 2001:DB8:0:0::7 ::1 51234 443\r\n", "2001:db8::7"),
    "v1 of IPv4 inside of IPv6": (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:10.0.0.1 1 2\r\n", "203.0.113.7"),
    "v1 with the longest addresses": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "v1 with port 0": (b"PROXY TCP4 203.0.113.7 10.0.0.1 0 0\r\n", "203.0.113.7"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1 unknown, and what it says is not looked at": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None),
    "v2 of IPv4": (v2(0x21, TCP4, V4), "203.0.113.7"),
    "v2 of IPv6": (v2(0x21, TCP6, V6), "2001:db8::7"),
    "v2 of IPv4 inside of IPv6": (v2(0x21, TCP6, MAPPED), "203.0.113.7"),
    "v2 of a unix socket": (v2(0x21, UNIX, PATHS), ""),
    "v2 with TLVs": (v2(0x21, TCP4, V4 + TLVS), "203.0.113.7"),
    "v2 as long as may be": (v2(0x21, TCP4, V4.ljust(4080, b"\0")), "203.0.113.7"),
    "v2 of no family": (v2(0x21, 0x00, b""), None),
    "v2 of no family, with TLVs": (v2(0x21, 0x00, TLVS), None),
    "v2 of the proxy itself": (v2(0x20, 0x00, b""), None),
    "v2 of the proxy itself, with addresses": (v2(0x20, TCP4, V4), None),
    "v2 of the proxy itself, of whatever family": (v2(0x20, 0xFF, b"abc"), None),
}


@pytest.mark.parametrize(("data", "address"), GOOD.values(), ids=GOOD)
def test_a_header_tells_who_is_at_the_other_end(data: bytes, address: str | None) -> None:
    assert read_proxy_header(data) == ProxyHeader(address, len(data))
    assert read_proxy_header(data + b"GET / HTTP/1.1\r\n") == ProxyHeader(address, len(data))
    assert read_proxy_header(data + data) == ProxyHeader(address, len(data)), "what follows belongs to the client"


@pytest.mark.parametrize("data", [data for data, _ in GOOD.values()], ids=list(GOOD))
def test_no_beginning_of_a_header_is_one_or_is_refused(data: bytes) -> None:
    assert all(read_proxy_header(data[:size]) is None for size in range(len(data)))


BAD = {
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "a space before it": b" PROXY TCP4",
    "lower case": b"proxy TCP4 203.0.113.7 10.0.0.1 1 2\r\n",
    "empty lines": b"\r\n\r\nGET / HTTP/1.1\r\n",
    "a tab": b"PROXY\tTCP4 203.0.113.7 10.0.0.1 1 2\r\n",
    "two spaces": b"PROXY TCP4  203.0.113.7 10.0.0.1 1 2\r\n",
    "a space at the end": b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 \r\n",
    "a line feed alone": b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n",
    "a line feed alone behind unknown": b"PROXY UNKNOWN\n",
    "a family that is none": b"PROXY TCP5 203.0.113.7 10.0.0.1 1 2\r\n",
    "a family in lower case": b"PROXY tcp4 203.0.113.7 10.0.0.1 1 2\r\n",
    "unknown in lower case": b"PROXY unknown\r\n",
    "unknown with more of it": b"PROXY UNKNOWNS\r\n",
    "IPv6 as IPv4": b"PROXY TCP4 2001:db8::7 10.0.0.1 1 2\r\n",
    "IPv4 as IPv6": b"PROXY TCP6 203.0.113.7 ::1 1 2\r\n",
    "an address that is none": b"PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n",
    "another address that is none": b"PROXY TCP4 203.0.113.7 10.0.0.x 1 2\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
    "a port too much": b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 2\r\n",
    "a port of leading zeros": b"PROXY TCP4 203.0.113.7 10.0.0.1 01 2\r\n",
    "a negative port": b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 2\r\n",
    "a port too few": b"PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n",
    "nothing": b"PROXY \r\n",
    "v1 that does not end": b"PROXY UNKNOWN " + b"f" * 93,
    "v1 that ends too late": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v2 of version 1": v2(0x11, TCP4, V4),
    "v2 of version 3": v2(0x31, TCP4, V4),
    "v2 with another command": v2(0x22, TCP4, V4),
    "v2 of datagrams": v2(0x21, 0x12, V4),
    "v2 of a family that is none": v2(0x21, 0x41, V4),
    "v2 of a family without a protocol": v2(0x21, 0x10, V4),
    "v2 of IPv4, too short": v2(0x21, TCP4, V4[:-1]),
    "v2 of IPv6, as long as IPv4": v2(0x21, TCP6, V4),
    "v2 of a unix socket, too short": v2(0x21, UNIX, PATHS[:-1]),
    "v2 too long": v2(0x21, TCP4, V4, length=4081),
    "v2 much too long, of the proxy itself": v2(0x20, 0x00, b"", length=65535),
    "a broken signature": SIGNATURE[:-1] + b"\r",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(data)


FAMILIES = st.sampled_from([(TCP4, 4), (TCP6, 16)])


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, str]:
    """One of version 2 that a correct sender makes, and the address in it."""
    family, size = draw(FAMILIES)
    source = draw(
        st.binary(min_size=size, max_size=size).filter(lambda one: not one.startswith(bytes(10) + b"\xff\xff"))
    )
    rest = draw(st.binary(min_size=size + 4, max_size=size + 4)) + draw(st.binary(max_size=300))
    kind = socket.AF_INET if family == TCP4 else socket.AF_INET6
    return v2(0x21, family, source + rest), socket.inet_ntop(kind, source)


@given(headers(), st.binary(max_size=50), st.integers(0, 400))
def test_a_header_is_the_same_however_it_is_cut_into_pieces(made: tuple[bytes, str], behind: bytes, cut: int) -> None:
    data, address = made
    whole = data + behind
    first = read_proxy_header(whole[:cut])
    told = first or read_proxy_header(whole)
    assert (first is None) == (cut < len(data))
    assert told is not None
    assert told.size == len(data)
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert told.address is not None
    assert socket.inet_pton(kind, told.address) == socket.inet_pton(kind, address)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda one: SIGNATURE + one)))
def test_any_bytes_are_a_header_or_none_or_need_more(data: bytes) -> None:
    try:
        told = read_proxy_header(data)
    except ProxyHeaderError:
        return
    assert told is None or told.size <= len(data)
