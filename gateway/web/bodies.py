"""Bodies of requests to our own endpoints: JSON or a form, small, and never a 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import RequestError

MAX_BYTES = 64 * 1024
SECONDS = 30.0
FORM_TYPE = "application/x-www-form-urlencoded"
_FORM_TYPES = frozenset({FORM_TYPE, "multipart/form-data", "text/plain"})  # the three of HTML's <form enctype>
_MAX_FIELDS = 100


def invite_body(request: web.BaseRequest) -> None:
    """``100 Continue`` for a client that waits for it: only now, when somebody will read the body (hazard D13)."""
    if request.headers.get("Expect") and request.version >= (1, 1) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def media_type(request: web.BaseRequest) -> str:
    """``type/subtype`` in lower case. aiohttp asks the e-mail parser, which one header can keep busy for seconds."""
    return str(request.headers.get("Content-Type", "")).partition(";")[0].strip().lower()[:100]


def is_form(request: web.BaseRequest) -> bool:
    """Does the body say it is a form? Only the plain kind: a multipart one is for files."""
    return media_type(request) == FORM_TYPE


def may_be_foreign_form(request: web.BaseRequest) -> bool:
    """Does it say a type that any page can post to any site, with or without a body?"""
    return media_type(request) in _FORM_TYPES


async def read_fields(request: web.Request, *, once: bool = False) -> dict[str, Any]:
    """The fields of the body; of a field given twice the last counts, or with ``once`` the request is malformed.

    :raises RequestError: 413, 415, 400, or 408 when it does not come in :data:`SECONDS`.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _read_fields(request, once)
    except TimeoutError as error:
        raise RequestError("slow_request") from error


async def _read_fields(request: web.Request, once: bool) -> dict[str, Any]:
    if (request.content_length or 0) > MAX_BYTES:
        raise RequestError("too_large", limit=str(MAX_BYTES))
    if not request.can_read_body:
        return {}
    invite_body(request)
    kind = media_type(request)
    if kind == FORM_TYPE:
        return _form(await _read(request), once)
    if kind == "application/json" or kind.endswith("+json"):
        return _json(await _read(request), once)
    raise RequestError("unsupported_type", got=kind or "nothing")


async def _read(request: web.BaseRequest) -> bytes:
    data = bytearray()
    try:
        async for piece in request.content.iter_any():
            data += piece
            if len(data) > MAX_BYTES:
                raise RequestError("too_large", limit=str(MAX_BYTES))
    except (HttpProcessingError, ClientPayloadError) as error:
        raise RequestError("bad_request", what="its body is not framed as HTTP says") from error
    return bytes(data)


def _json(data: bytes, once: bool) -> dict[str, Any]:
    try:
        fields = json.loads(data, object_pairs_hook=_each_once if once else None)
    except (ValueError, RecursionError) as error:
        raise RequestError("bad_request", what="the body is not JSON") from error
    if not isinstance(fields, dict):
        raise RequestError("bad_request", what="the body is not a JSON object")
    return fields


def _form(data: bytes, once: bool) -> dict[str, Any]:
    """Of a field given twice the last counts: a checkbox stands behind its hidden "0"."""
    try:
        pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:  # bytes that a form has percent-encoded, or too many fields
        raise RequestError("bad_request", what="the body is not the form it says it is") from error
    return _each_once(pairs) if once else dict(pairs)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 6749 §3.2: no parameter more than once. Whoever reads the first and whoever reads the last see two requests."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise RequestError("bad_request", what="a field is given twice")
    return fields


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
