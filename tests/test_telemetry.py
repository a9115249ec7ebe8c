"""What the operator reads: one line cannot become two, and a cause is told once in a while, not once per request."""

from __future__ import annotations

import io
import json
import logging

import pytest

from gateway.errors import StoreUnavailable, UpstreamError
from gateway.telemetry.failures import Failures
from gateway.telemetry.logs import AccessLine, JsonFormatter, TextFormatter

HOSTILE = 'x"\n2026-01-01 fake line\r\x1b[2J\u2028\udcff'


def written(formatter: logging.Formatter) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    fields = AccessLine("01J", "GET", HOSTILE, "127.0.0.1", user=HOSTILE, status=200).fields()
    record = logging.makeLogRecord(
        {"name": "gateway.access", "levelno": logging.INFO, "msg": "request", "fields": fields}
    )
    handler.handle(record)
    return stream.getvalue()


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
def test_a_request_cannot_write_a_line_of_its_own(formatter: logging.Formatter) -> None:
    text = written(formatter)
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    text.encode("ascii")


def test_a_line_of_json_holds_what_the_request_sent() -> None:
    line = json.loads(written(JsonFormatter()))
    assert (line["path"], line["user"], line["status"]) == (HOSTILE, HOSTILE, 200)


def test_a_cause_is_told_once_in_a_while_for_each_reason_and_route(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for _ in range(100):
        failures.note(StoreUnavailable("ConnectionError: refused"))
        failures.note(UpstreamError("upstream_unreachable", "127.0.0.1:9: refused"), "/a/")
        failures.note(UpstreamError("upstream_unreachable", "127.0.0.1:9: refused"), "/b/")
    told = [record.__dict__["fields"] for record in caplog.records]
    assert [(one["reason"], one.get("route")) for one in told] == [
        ("store_unavailable", None),
        ("upstream_unreachable", "/a/"),
        ("upstream_unreachable", "/b/"),
    ]
    assert told[1]["cause"] == "127.0.0.1:9: refused"
