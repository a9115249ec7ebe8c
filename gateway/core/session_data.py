"""A backend's own part of a session: what is told of it, and what an update makes of it. Pure: nothing is stored here.

It is kept as JSON text under a key of its own in the session's data, so that it reads the same with every serializer and
its size is known. What goes over the wire is base64url without padding (RFC 4648 §5).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from gateway.core.keys import b64url, from_b64url
from gateway.core.merge_patch import merge_patch
from gateway.core.sessions import RESERVED, SessionRecord

Failure = Literal[
    "no_session", "session_over", "store_unavailable", "too_large", "not_json", "not_an_object", "repeated"
]
"""Why an update was not stored: the values of ``X-Session-Update-Failed``."""
PASSWORD_KEY = f"{RESERVED}password"
"""Where a session keeps what its user signed in with, when a backend is to get it."""
_DEPTH = 64
_EMPTY = "{}"


class BadUpdate(Exception):
    """An update that cannot be applied; ``code`` says why."""

    def __init__(self, code: Failure) -> None:
        super().__init__(code)
        self.code: Failure = code


@dataclass(frozen=True, slots=True)
class SessionDataRules:
    """``namespace``: routes with the same one share their data; ``max_bytes``: of the header's value, at most."""

    namespace: str
    max_bytes: int = 4096

    @property
    def key(self) -> str:
        """Where it stands in a session's data."""
        return f"{RESERVED}backend.{self.namespace}"


def told(record: SessionRecord, rules: SessionDataRules) -> str | None:
    """The value of ``X-Session-Data``; None: it has become larger than is allowed today, so nothing is told."""
    value = b64url(_text(record, rules).encode())
    return value if len(value) <= rules.max_bytes else None


def read_patch(values: Sequence[bytes]) -> Any:
    """The patch in the values of ``X-Session-Update``.

    :raises BadUpdate: it is not one, or no JSON that every backend could read again (RFC 7493).
    """
    if len(values) != 1:
        raise BadUpdate("repeated")
    raw = from_b64url(values[0].decode("latin-1").rstrip("="))
    try:
        patch = json.loads((raw or b"").decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadUpdate("not_json") from error
    if not _is_flat(patch, _DEPTH):
        raise BadUpdate("not_json")
    return patch


def patched(record: SessionRecord, patch: Any, rules: SessionDataRules) -> SessionRecord:
    """The record with the patch applied to this backend's part; the same object when that changes nothing.

    :raises BadUpdate: what comes out is too large, or no object.
    """
    text = _text(record, rules)
    after = {} if patch is None else merge_patch(json.loads(text), patch)
    if not isinstance(after, dict):
        raise BadUpdate("not_an_object")
    new = _dumped(after)
    if new == text:
        return record
    if len(b64url(new.encode())) > rules.max_bytes:
        raise BadUpdate("too_large")
    data = {key: value for key, value in record.data.items() if key != rules.key}
    if after:
        data[rules.key] = new
    return replace(record, data=data)


def _text(record: SessionRecord, rules: SessionDataRules) -> str:
    kept = record.data.get(rules.key)
    return kept if isinstance(kept, str) else _EMPTY


def _dumped(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # half of a surrogate pair is no text (RFC 7493 §2.1)
    except ValueError as error:
        raise BadUpdate("not_json") from error
    return text


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON (RFC 8259 §6)")


def _is_flat(value: Any, levels: int) -> bool:
    """Does it nest no deeper? What is deeper could be written, but perhaps not read again."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)
