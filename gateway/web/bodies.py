"""Bodies of requests to our own endpoints: JSON or a form, small, and never a 500."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import RequestError

MAX_BYTES = 64 * 1024
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def invite_body(request: web.BaseRequest) -> None:
    """``100 Continue`` for a client that waits for it: only now, when somebody will read the body (hazard D13)."""
    if request.headers.get("Expect") and request.version >= (1, 1) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def is_form(request: web.BaseRequest) -> bool:
    """Does the body say it is a form?"""
    return request.content_type in FORM_TYPES


async def read_fields(request: web.Request) -> dict[str, Any]:
    """The fields of the body; of a field given twice the last counts.

    :raises RequestError: 413, 415 or 400.
    """
    if (request.content_length or 0) > MAX_BYTES:
        raise RequestError("too_large", limit=str(MAX_BYTES))
    if not request.can_read_body:
        return {}
    invite_body(request)
    if is_form(request):
        return await _form(request)
    if request.content_type == "application/json" or request.content_type.endswith("+json"):
        return _json(await _read(request))
    raise RequestError("unsupported_type", got=request.content_type)


async def _read(request: web.BaseRequest) -> bytes:
    data = bytearray()
    async for piece in request.content.iter_any():
        data += piece
        if len(data) > MAX_BYTES:
            raise RequestError("too_large", limit=str(MAX_BYTES))
    return bytes(data)


def _json(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError("bad_request", what="the body is not JSON") from error
    if not isinstance(fields, dict):
        raise RequestError("bad_request", what="the body is not a JSON object")
    return fields


async def _form(request: web.Request) -> dict[str, Any]:
    try:
        return dict(await request.post())
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestError("too_large", limit=str(MAX_BYTES)) from error
    except (ValueError, LookupError, RuntimeError, EOFError, HttpProcessingError) as error:  # bytes, charset, multipart
        raise RequestError("bad_request", what="the body is not the form it says it is") from error


def text_field(fields: dict[str, Any], name: str, limit: int) -> str:
    """A text without control characters, at most ``limit`` characters; ``""`` when it is absent.

    :raises RequestError: 400 ``bad_field``.
    """
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError("bad_field", field=name, what="must be a text")
    if len(value) > limit:
        raise RequestError("bad_field", field=name, what=f"is longer than {limit} characters")
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in value):
        raise RequestError("bad_field", field=name, what="holds a character that no text has")
    return value


def flag_field(fields: dict[str, Any], name: str) -> bool | None:
    """True or False as a form or JSON says it, None when it is absent.

    :raises RequestError: 400 ``bad_field``.
    """
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return value
    words = {
        "1": True,
        "true": True,
        "on": True,
        "yes": True,
        "0": False,
        "false": False,
        "off": False,
        "no": False,
        "": False,
    }
    known = words.get(str(value).lower()) if isinstance(value, str | int) else None
    if known is None:
        raise RequestError("bad_field", field=name, what="must be true or false")
    return known
