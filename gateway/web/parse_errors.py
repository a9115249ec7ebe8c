"""The answer to bytes that are no request: in our JSON, closed, without a word of the parser's."""

from __future__ import annotations

import json
import os
import re
import time

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.core.request_ids import request_id
from gateway.errors import REASONS
from gateway.telemetry.logs import AccessLine, write_access
from gateway.web.answers import SERVER

_CODES = {408: "slow_request", 413: "too_large", 500: "internal_error"}
_LONG_TARGET = re.compile(r"reading: (?:bytearray\()?b['\"](?:/|https?:)")


def answer_parse_error(request: web.BaseRequest, status: int, error: BaseException | None) -> web.Response:
    """400, or 414 or 431, for what the parser refused; the connection is closed (contract, section 4)."""
    reason = REASONS[_code(status, error)]
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    line = AccessLine(
        request_id(time.time(), os.urandom(10)), "", "", address, "refuse", reason.code, status=reason.status
    )
    write_access(line)
    message = reason.words("en", what="it is no HTTP", limit="")
    body = {"ret": reason.status, "msg": message, "reason": reason.code, "request_id": line.request_id}
    response = web.Response(
        text=json.dumps(body, separators=(",", ":")),
        status=reason.status,
        content_type="application/json",
        charset="utf-8",
    )
    headers = {"Cache-Control": "no-store", "X-Request-Id": line.request_id, "Server": SERVER, "Vary": "Accept"}
    response.headers.update({**headers, "X-Content-Type-Options": "nosniff"})
    response.force_close()
    return response


def _code(status: int, error: BaseException | None) -> str:
    """aiohttp tells causes apart by its text only: what was read when a line was too long, or that there are too many."""
    if isinstance(error, LineTooLong):
        return "target_too_long" if _LONG_TARGET.search(str(error)) else "headers_too_large"
    if "Too many headers" in str(error):
        return "headers_too_large"
    return _CODES.get(status, "bad_request")
