"""What an update makes of a backend's part of a session, and which ones are refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.session_data import BadUpdate, SessionDataRules, patched, read_patch, told
from gateway.core.sessions import SessionRecord
from tests.core.tables import table

RULES = SessionDataRules("shop", 200)
EMPTY = SessionRecord(1.0, 1.0, data={"other": 1})


def encoded(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def updated(record: SessionRecord, patch: Any, rules: SessionDataRules = RULES) -> SessionRecord:
    return patched(record, read_patch([encoded(json.dumps(patch))]), rules)


def read(record: SessionRecord, rules: SessionDataRules = RULES) -> Any:
    value = told(record, rules)
    assert value is not None
    return json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))


def test_a_session_without_data_tells_an_empty_object() -> None:
    assert read(EMPTY) == {}


def test_what_an_update_said_is_told_from_then_on() -> None:
    one = updated(EMPTY, {"cart": {"pen": 2}, "who": "王小明"})
    two = updated(one, {"cart": {"ink": 1, "pen": None}})
    assert read(two) == {"cart": {"ink": 1}, "who": "王小明"}
    assert two.data["other"] == 1


def test_two_namespaces_do_not_see_each_other() -> None:
    other = SessionDataRules("blog")
    record = updated(updated(EMPTY, {"a": 1}), {"b": 2}, other)
    assert (read(record), read(record, other)) == ({"a": 1}, {"b": 2})


@pytest.mark.parametrize("patch", [None, {"cart": None}])
def test_what_is_empty_takes_no_room_in_the_session(patch: Any) -> None:
    assert updated(updated(EMPTY, {"cart": 1}), patch).data == EMPTY.data


def test_an_update_that_changes_nothing_gives_the_same_record() -> None:
    record = updated(EMPTY, {"a": 1})
    assert updated(record, {"a": 1, "b": None}) is record


@pytest.mark.parametrize("text", ['{"a": 1}', ' {"a" : 1 } '])
@pytest.mark.parametrize("padding", [b"", b"=", b"=="])
def test_padding_and_blanks_do_not_matter(text: str, padding: bytes) -> None:
    assert read_patch([encoded(text) + padding]) == {"a": 1}


@pytest.mark.parametrize(
    "value",
    table(
        {
            "nothing": b"",
            "no base64url": b"{}",
            "standard base64": b"eyJhIjoiw7/Dvz8/In0+",
            "no JSON": encoded("hello"),
            "no UTF-8": encoded(b'{"a": "\xff"}'),
            "NaN": encoded('{"a": NaN}'),
            "infinite": encoded('{"a": -Infinity}'),
            "nested without an end": encoded('{"a":' * 100000 + "1" + "}" * 100000),
            "nested too deep": encoded('{"a":' * 65 + "1" + "}" * 65),
            "a number of ten thousand digits": encoded('{"a": ' + "9" * 10000 + "}"),
        }
    ),
)
def test_what_not_every_backend_could_read_again_is_refused(value: bytes) -> None:
    with pytest.raises(BadUpdate) as caught:
        read_patch([value])
    assert caught.value.code == "not_json"


@pytest.mark.parametrize("text", ['{"a": 1e999}', '{"a": "\\ud800"}'])
def test_what_could_not_be_written_as_json_is_refused(text: str) -> None:
    with pytest.raises(BadUpdate) as caught:
        patched(EMPTY, read_patch([encoded(text)]), RULES)
    assert caught.value.code == "not_json"


@pytest.mark.parametrize("count", [0, 2])
def test_only_one_update_is_taken(count: int) -> None:
    with pytest.raises(BadUpdate) as caught:
        read_patch([encoded("{}")] * count)
    assert caught.value.code == "repeated"


@pytest.mark.parametrize("patch", [[1], "text", 1, True])
def test_what_would_be_no_object_is_refused(patch: Any) -> None:
    with pytest.raises(BadUpdate) as caught:
        updated(EMPTY, patch)
    assert caught.value.code == "not_an_object"


def test_the_limit_is_on_what_comes_out_of_it_to_the_byte() -> None:
    fits = len(encoded('{"a":""}'))
    longest = "x" * ((RULES.max_bytes * 3) // 4 - len('{"a":""}'))
    record = updated(EMPTY, {"a": longest})
    assert fits < len(told(record, RULES) or "") == RULES.max_bytes
    with pytest.raises(BadUpdate) as caught:
        updated(record, {"b": 1})
    assert caught.value.code == "too_large"
    assert read(updated(record, {"a": None, "b": 1})) == {"b": 1}


def test_what_has_become_too_large_is_not_told() -> None:
    record = updated(EMPTY, {"a": "x" * 100})
    assert told(record, SessionDataRules("shop", 64)) is None
