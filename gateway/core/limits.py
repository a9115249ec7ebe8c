"""What a route takes of a request (RFC 9112 §3, RFC 6585 §5, RFC 9110 §15.5.14)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.head import RequestHead
from gateway.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a target, number of header fields, bytes of all of them, bytes of a body."""

    target: int = 8192
    headers: int = 100
    header_bytes: int = 32768
    body: int = 1073741824


def check_limits(head: RequestHead, size: int, limits: Limits) -> None:
    """``size``: bytes of all header fields.

    :raises RequestError: 414 ``target_too_long`` or 431 ``headers_too_large``.
    """
    if len(head.target) > limits.target:
        raise RequestError("target_too_long")
    if len(head.raw) > limits.headers or size > limits.header_bytes:
        raise RequestError("headers_too_large")
