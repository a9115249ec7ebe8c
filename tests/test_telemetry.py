"""What the operator reads: one line cannot become two, and a cause is told once in a while, not once per request."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable

import pytest

from gateway.errors import StoreUnavailable, UpstreamError
from gateway.telemetry.access_log import AccessLine, Writer, as_json, as_text
from gateway.telemetry.failures import Failures
from gateway.telemetry.logs import JsonFormatter, TextFormatter

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


@pytest.mark.parametrize(
    ("form", "formatter"), [(as_json, JsonFormatter()), (as_text, TextFormatter())], ids=["json", "text"]
)
@pytest.mark.parametrize(
    "line",
    [
        AccessLine("01J", "", "", "", at=1e9),
        AccessLine("01J", "GET", "/", "", at=1e9, seconds=0.00004, upstream_seconds=0.00006),
        AccessLine("01J", "GET", "/", "", at=1e9, seconds=86400.12346, upstream_seconds=1 / 3),
        AccessLine(
            "01J", "GET", HOSTILE, "::1", decision="forward", reason=HOSTILE, route=HOSTILE, user=HOSTILE, status=200,
            upstream_status=200, received=1, sent=2, upstream_seconds=0.0012, seconds=0.5, at=1.7e9 + 0.25,
        ),
    ],
    ids=["empty", "nothing", "long", "full"],
)  # fmt: skip
async def test_a_batch_of_lines_reads_as_the_log_s_other_lines_do(
    form: Callable[[AccessLine], str], formatter: logging.Formatter, line: AccessLine
) -> None:
    stream = io.StringIO()
    writer = Writer(stream, form)
    writer.add(line)
    writer.add(line)
    writer.flush()
    record = logging.makeLogRecord({"name": "gateway.access", "levelno": logging.INFO, "msg": "request"})
    record.created, record.fields = line.at, line.fields()
    assert stream.getvalue() == f"{formatter.format(record)}\n" * 2


async def test_a_line_does_not_wait_for_others_for_long() -> None:
    stream = io.StringIO()
    Writer(stream, as_json).add(AccessLine("01J", "GET", "/", "::1"))
    async with asyncio.timeout(5):
        while not stream.getvalue():
            await asyncio.sleep(0.01)


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
