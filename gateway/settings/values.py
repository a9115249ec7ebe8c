"""The kinds of values that settings have, and what each may be. No message shows a value: it may hold a password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from gateway.core.head import is_host
from gateway.upstream.address import parse_upstream_url


def _number(value: object) -> object:
    """``port: yes`` would be port 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


NO_FLAG = BeforeValidator(_number)
Whole = Annotated[int, NO_FLAG]
Port = Annotated[int, Field(ge=0, le=65535), NO_FLAG]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False), NO_FLAG]
ShortSeconds = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False), NO_FLAG]
WholeSeconds = Annotated[int, Field(gt=0, le=10 * 366 * 86400), NO_FLAG]
SecondsOrNone = Annotated[int, Field(ge=0, le=10 * 366 * 86400), NO_FLAG]
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_REDIS_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})


def _listed(value: object) -> object:
    """One value may be written without brackets."""
    return [value] if isinstance(value, str | int | float) else value


Words = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _check_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not is_host(value) or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST:PORT")
    return value


Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_check_address)], ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def address_pair(value: str) -> tuple[str, int]:
    """``HOST:PORT`` as two."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def is_token(value: str) -> bool:
    """A name of a header or cookie."""
    return _TOKEN.fullmatch(value) is not None


def check_decoded_path(value: str) -> str:
    """A path as rules match it: percent-decoded, and with one meaning only."""
    if not value.startswith("/") or re.search(r"//|[\x00-\x20\x7f?#\\;%]|/\.{1,2}(/|$)", value):
        raise ValueError(
            "must begin with / and be written decoded: no %, ?, #, ;, space, backslash, // or dot segments"
        )
    return value


def check_site_url(value: str) -> str:
    """``scheme://host[:port]`` in lower case."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not is_host(parts.netloc) or parts.path.strip("/") or any(parts[3:]):
        raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT], without a path")
    return f"{parts.scheme}://{parts.netloc}".lower()


def check_upstream_url(value: str) -> str:
    """``http://HOST[:PORT]``, ``https://HOST[:PORT]`` or ``unix:/PATH``."""
    parse_upstream_url(value)
    return value


def check_redis_url(value: str) -> str:
    """What redis-py takes, looked at before it does: its own errors come at the first request."""
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(value)
        named = parts.path if parts.scheme == "unix" else parts.port is None or parts.hostname
    except ValueError as error:  # its text may hold the password
        raise ValueError("must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH") from error
    if not named or (parts.scheme != "unix" and not re.fullmatch(r"(/[0-9]*)?", parts.path)):
        raise ValueError("must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not _REDIS_OPTIONS.issuperset(options) or not options.get("db", "0").isdigit():
        raise ValueError(f"options behind ? can be {', '.join(sorted(_REDIS_OPTIONS))}")
    return value


class Slice(BaseModel):
    """A frozen part of the settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


def check_pair(value: Path | None, info: ValidationInfo) -> Path | None:
    """``key_file``, behind ``cert_file``: both or neither."""
    if "cert_file" in info.data and (info.data["cert_file"] is None) != (value is None):
        raise ValueError("cert_file and key_file go together")
    return value
