"""The answer to bytes that are no request: in our JSON, closed, without a word of the parser's."""

from __future__ import annotations

import json
import os
import re
import time

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.core.request_ids import request_id
from gateway.errors import REASONS, Language
from gateway.telemetry.logs import AccessLine, write_access
from gateway.web.answers import SERVER
from gateway.web.state import answer_in_own_version

_CODES = {408: "slow_request", 413: "too_large", 500: "internal_error"}
_BY_WORDS = {"Too many headers": "headers_too_large", "Invalid method": "unknown_method"}
_LONG_TARGET = re.compile(r"reading: (?:bytearray\()?b['\"](?:/|https?:)")


def answer_parse_error(
    request: web.BaseRequest, status: int, error: BaseException | None, language: Language
) -> web.Response:
    """400, or 414 or 431, for what the parser refused; the connection is closed (docs/http-api.md)."""
    reason = REASONS[_code(status, error)]
    peer = request.transport.get_extra_info("peername") if request.transport else None
    address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    line = AccessLine(
        request_id(time.time(), os.urandom(10)), "", "", address, "refuse", reason.code, status=reason.status
    )
    write_access(line)
    message = reason.words(language, what="it breaks the rules of HTTP", limit="")
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
    answer_in_own_version(request)
    return response


def _code(status: int, error: BaseException | None) -> str:
    """aiohttp tells causes apart by its text only: what was read when a line was too long, or that there are too many."""
    if isinstance(error, LineTooLong):
        return "target_too_long" if _LONG_TARGET.search(str(error)) else "headers_too_large"
    for words, code in _BY_WORDS.items():
        if words in str(error):
            return code
    return _CODES.get(status, "bad_request")
