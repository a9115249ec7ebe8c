"""The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): who is at the other end of a
connection that a load balancer passes on without a word of HTTP. One header, at its very beginning.

Strict: whatever a correct sender does not write is an error, and the connection is nobody's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from gateway.core.callers import as_address

LONGEST_V1, LONGEST_V2 = 107, 4096
"""Bytes; what version 2 may have beside addresses (TLVs: names, certificates) is bounded here, not by its own 64 KiB."""
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
# By family: bytes of both addresses and ports, and of them of the source's address.
_SIZES = {_UNSPEC: (0, 0), _TCP4: (12, 4), _TCP6: (36, 16), _UNIX: (216, 108)}
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})\r\n")


class ProxyHeaderError(Exception):
    """The connection does not begin with a header as the protocol has it; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """``address`` of who is at the other end: empty when he came to the proxy by a unix socket, None when the connection is
    the proxy's own (a health check) or it does not know who it is. ``size``: bytes of the header."""

    address: str | None
    size: int


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """What a connection begins with; None: more bytes are needed.

    :raises ProxyHeaderError: it can become no header any more.
    """
    if data.startswith(b"PROXY "):
        return _read_v1(data)
    if data.startswith(_SIGNATURE):
        return _read_v2(data)
    if b"PROXY ".startswith(data) or _SIGNATURE.startswith(data):
        return None
    raise ProxyHeaderError("it does not begin with a PROXY header")


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, LONGEST_V1)
    if end < 0:
        if len(data) >= LONGEST_V1:
            raise ProxyHeaderError("a PROXY header of version 1 is too long")
        return None
    line = data[: end + 1]
    if line.endswith(b"\r\n") and (line == b"PROXY UNKNOWN\r\n" or line.startswith(b"PROXY UNKNOWN ")):
        return ProxyHeader(None, len(line))
    found = _V1.fullmatch(line)
    addresses = [_checked(found[1], found[number].decode()) for number in (2, 3)] if found else []
    if found is None or None in addresses or not (_is_port(found[4]) and _is_port(found[5])):
        raise ProxyHeaderError("a PROXY header of version 1 is broken")
    return ProxyHeader(addresses[0], len(line))


def _checked(family: bytes, text: str) -> str | None:
    address = as_address(text)
    return str(address) if address is not None and (":" in text) == (family == b"TCP6") else None


def _is_port(digits: bytes) -> bool:
    return int(digits) < 65536 and (digits == b"0" or not digits.startswith(b"0"))


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED:
        return None
    command, family, length = data[12], data[13], int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("a PROXY header of version 2 has an unknown version or command")
    size = _FIXED + length
    if size > LONGEST_V2:
        raise ProxyHeaderError("a PROXY header of version 2 is too long")
    if command == _PROXY and (family not in _SIZES or length < _SIZES[family][0]):
        raise ProxyHeaderError("a PROXY header of version 2 has an unknown family or is too short for its own")
    if len(data) < size:
        return None
    return ProxyHeader(None if command == _LOCAL else _source(family, data[_FIXED:size]), size)


def _source(family: int, addresses: bytes) -> str | None:
    if family == _UNSPEC:
        return None
    if family == _UNIX:
        return ""
    packed = addresses[: _SIZES[family][1]]
    if family == _TCP4:
        return ".".join(map(str, packed))
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)
