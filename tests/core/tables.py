"""What the tables of this folder are written with: rows with a name each, and heads of requests from plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from gateway.core.head import RequestHead

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
"""What a browser's ``Accept`` says when a person opens a page."""


def table(rows: Mapping[str, Any]) -> list[Any]:
    """Rows for ``parametrize``; the key is the row's id, a value that is no tuple is a row of one."""
    return [pytest.param(*(row if isinstance(row, tuple) else (row,)), id=name) for name, row in rows.items()]


def head(
    method: str = "GET",
    target: str = "/orders",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    host: str | None = "site.test",
    version: tuple[int, int] = (1, 1),
) -> RequestHead:
    """A head as a front door would hand it over."""
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    pairs = ([("Host", host)] if host is not None else []) + given
    raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in pairs]
    return RequestHead(method, target, version, raw, "192.0.2.7")
