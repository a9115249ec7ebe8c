"""What the kernel knows of a connection, and how it ends it."""

from __future__ import annotations

import asyncio
import enum
import fcntl
import socket
import struct
import sys
import termios
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER (socket(7)): the end is a reset."""


class Tcp(enum.Enum):
    """Of the other side: there, has said that it sends no more, or gone. ``UNKNOWN``: no TCP, or not Linux."""

    UNKNOWN = 0
    OPEN = 1
    FIN = 8
    GONE = 7


def tcp_state(transport: asyncio.BaseTransport | None) -> Tcp:
    """Without reading: what waits to be read hides it from asyncio (tcp(7), TCP_INFO: TCP_CLOSE, TCP_CLOSE_WAIT)."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or not hasattr(socket, "TCP_INFO"):
        return Tcp.UNKNOWN
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return Tcp.UNKNOWN
    return {7: Tcp.GONE, 8: Tcp.FIN}.get(state, Tcp.OPEN)


def address_of(transport: asyncio.BaseTransport) -> str:
    """Of the other side; empty when it has none (a unix socket)."""
    name = transport.get_extra_info("peername")
    address = str(name[0]) if isinstance(name, tuple) and name else ""
    return address[7:] if address.startswith("::ffff:") and "." in address else address  # IPv4 on a socket for both


def unread(transport: asyncio.BaseTransport | None) -> int:
    """Bytes that have come and were not read yet (ioctl_tty(2), FIONREAD)."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return 0
    number = bytearray(4)
    with suppress(OSError):
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, number)
    return int.from_bytes(number, sys.byteorder)


def unsent(transport: asyncio.BaseTransport) -> int:
    """Bytes that were given to the kernel and have not arrived yet (tcp(7), SIOCOUTQ)."""
    sock = transport.get_extra_info("socket")
    number = bytearray(4)
    if sock is not None:
        with suppress(OSError):
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, number)
    return int.from_bytes(number, sys.byteorder)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Who is silent is asked now and then whether he is still there (tcp(7)); whoever is gone is noticed after two minutes."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Its end will be a reset: what was sent must not pass for a whole answer."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
