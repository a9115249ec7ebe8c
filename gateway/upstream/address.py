"""Where a backend listens, as plain data: ``http://HOST[:PORT]``, ``https://HOST[:PORT]`` or ``unix:/PATH``.

What parsers of URLs forgive and read in different ways (tabs, a backslash, a user name, ``127.1``) is refused: what stands in
the configuration, what is looked up and what the backend's Host header says are one and the same. No message shows the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAX_SOCKET_PATH = 107  # bytes: sun_path of Linux's unix(7) is 108, with the NUL at its end
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")  # Compose's names have _ in them
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_FORMS = "must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH"
_NO_HOST = "the host is no host name or address (write international names in their xn-- form)"
_NO_PORT = "the port is not a number from 1 to 65535"
_NO_SOCKET = "must be unix:/PATH, the absolute path of a socket"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a backend listens; ``scheme`` is http, https or unix.

    ``authority`` is what its own Host header would say: without the scheme's own port (RFC 9110 §4.2.3); ``localhost`` for a
    unix socket, as nginx says. ``path`` is the socket's, and empty for the others; a socket's ``port`` is 0.
    """

    scheme: str
    host: str
    port: int
    authority: str
    path: str = ""

    @property
    def tls_name(self) -> str:
        """What the certificate must be for: without the dot at the end of an absolute name (RFC 6066 §3)."""
        return self.host.rstrip(".")

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.scheme}://{self.authority}"


def parse_upstream_url(url: str) -> Address:
    """The address that is meant; without a port: 80 or 443.

    :raises ValueError: saying what is wrong.
    """
    if not url.isprintable() or " " in url:
        raise ValueError("must not hold spaces or control characters")
    if url.startswith("unix:"):
        return _parse_socket(url.removeprefix("unix:"))
    scheme, colon, rest = url.partition("://")
    rest = rest.removesuffix("/")
    if scheme not in _PORTS or not colon or not rest:
        raise ValueError(_FORMS)
    if "@" in rest:
        raise ValueError("must be without a user name: requests bring their own Authorization")
    if re.search(r"[/?#\\]", rest):
        raise ValueError("must be without a path: requests keep their own")
    host, port = _split(rest, _PORTS[scheme])
    shown = f"[{host}]" if ":" in host else host
    return Address(scheme, host, port, shown if port == _PORTS[scheme] else f"{shown}:{port}")


def _parse_socket(path: str) -> Address:
    path = path.removeprefix("//") if path.startswith("///") else path  # unix:///PATH, as redis.url has it
    if not path.startswith("/") or path.startswith("//") or path.endswith("/"):
        raise ValueError(_NO_SOCKET)
    if re.search(r"[?#]", path):
        raise ValueError("must be without a query: requests keep their own")
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"the path of a socket must not be longer than {MAX_SOCKET_PATH} bytes")
    return Address("unix", "localhost", 0, "localhost", path)


def _split(authority: str, default: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        if ":" not in host or not bracket or port[:1] not in ("", ":"):
            raise ValueError(_NO_HOST)
    elif authority.count(":") > 1:
        raise ValueError("an IPv6 address must be in brackets, like http://[::1]:8080")
    else:
        host, colon, port = authority.partition(":")
        port = colon + port
    if not is_name_or_address(host):
        raise ValueError(_NO_HOST)
    return host.lower(), _port(port[1:]) if port else default


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ValueError(_NO_PORT)
    return int(text)


def is_name_or_address(text: str) -> bool:
    """Is this a host name or an address? IPv6 without brackets; no zone; what ends in a number is IPv4 or nothing."""
    last = text.rstrip(".").rpartition(".")[2]
    try:
        if ":" in text:
            return "%" not in text and bool(IPv6Address(text))
        return bool(IPv4Address(text)) if _NUMBER.fullmatch(last) else _NAME.fullmatch(text) is not None
    except AddressValueError:
        return False
