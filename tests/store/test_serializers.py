"""What a session's data become in the store: it comes back equal or is refused, and no bytes crash the reader."""

from __future__ import annotations

import functools
import json
import math
import pickle
import sys
import tracemalloc
import types
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.store.serializers import (
    MAX_DEPTH,
    MAX_VALUES,
    Serializer,
    UnwritableValue,
    dumps_mapping,
    serializer_named,
)
from tests.core.tables import table

JSON, MSGPACK = serializer_named("json"), serializer_named("msgpack")
both = pytest.mark.parametrize("serializer", [JSON, MSGPACK], ids=["json", "msgpack"])
unhurried = settings(deadline=None, database=None)

anything = st.characters(exclude_categories=())  # lone surrogates, too
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(anything)
)


def nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


class Colour(Enum):
    RED = 1


class Weekday(IntEnum):
    MONDAY = 1


Point = namedtuple("Point", "x y")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def holds_itself(times: int) -> Any:
    value: list[Any] = []
    value.extend([value] * times)
    return value


def all_same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down: ``1 == True == 1.0`` would hide a change."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(all_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(all_same, one, other))
    return bool(one == other) and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


# -- what is written comes back
@unhurried
@given(nested(scalars | st.integers(-(10**1000), 10**1000), st.text(anything)))
def test_json_gives_back_what_it_was_given(value: Any) -> None:
    assert all_same(JSON.loads(JSON.dumps(value)), value)


@unhurried
@given(nested(scalars | st.binary(), st.text(anything) | st.binary()))
def test_msgpack_gives_back_what_it_was_given(value: Any) -> None:
    assert all_same(MSGPACK.loads(MSGPACK.dumps(value)), value)


def test_json_is_compact_and_readable_elsewhere() -> None:
    data = JSON.dumps({"name": "深色", "list": [1, 2.5, None, True]})
    assert data == '{"name":"深色","list":[1,2.5,null,true]}'.encode()
    assert json.loads(data) == {"name": "深色", "list": [1, 2.5, None, True]}


def test_msgpack_is_readable_elsewhere() -> None:
    value = {"name": "深色", "bytes": b"\xff", "list": [1, 2.5, None, True]}
    assert msgpack.unpackb(MSGPACK.dumps(value)) == value


EQUAL = {
    "an ordered mapping": (OrderedDict(a=1, b=2), {"a": 1, "b": 2}),
    "a named number": (Weekday.MONDAY, 1),
    "an empty tuple": ((), []),
    "a tuple, as in Django": ((1, (2, "x")), [1, [2, "x"]]),
    "a named tuple": (Point(1, 2), [1, 2]),
    "a lone surrogate": ("\ud800", "\ud800"),
    "two surrogates are not one character": ("\ud83d\ude00", "\ud83d\ude00"),
    "NUL": ("\0", "\0"),
    "the deepest": (deep(MAX_DEPTH), deep(MAX_DEPTH)),
    "the same list twice": ([[1], [1]], [[1], [1]]),
}


@both
@pytest.mark.parametrize(("value", "back"), table(EQUAL))
def test_what_comes_back_as_something_like_it(serializer: Serializer, value: Any, back: Any) -> None:
    assert all_same(serializer.loads(serializer.dumps(value)), back)


REFUSED = {  # value, why
    "NaN": (math.nan, "NaN"),
    "infinity": (math.inf, "infinity"),
    "minus infinity": (-math.inf, "infinity"),
    "a date": (datetime(2024, 1, 1, tzinfo=UTC), "datetime.datetime"),
    "a decimal": (Decimal(1), "decimal.Decimal"),
    "a set": ({1}, "set"),
    "an object": (object(), "object"),
    "a type": (int, "type"),
    "a path": (Path("x"), "Path"),
    "an enumeration": (Colour.RED, "Colour"),
    "a complex number": (1j, "complex"),
    "a range": (range(3), "range"),
    "a generator": ((number for number in range(3)), "generator"),
    "a bytearray": (bytearray(b"x"), "bytearray"),
    "an extension": (msgpack.ExtType(1, b"x"), "ExtType"),
    "a timestamp": (msgpack.Timestamp(1), "Timestamp"),
    "a number as a key": ({1: "x"}, "int"),
    "true as a key": ({True: "x"}, "bool"),
    "nothing as a key": ({None: "x"}, "NoneType"),
    "a tuple as a key": ({(1, 2): "x"}, "tuple"),
    "too deep": (deep(MAX_DEPTH + 1), "nested"),
    "much too deep": (deep(100_000), "nested"),
    "holds itself": (holds_itself(1), "holds itself"),
    "holds itself twice": (holds_itself(2), "holds itself"),
    "too many": ([0] * MAX_VALUES, "more than"),
}


@both
@pytest.mark.parametrize(("value", "why"), table(REFUSED))
def test_what_would_not_come_back_is_refused_wherever_it_stands(serializer: Serializer, value: Any, why: str) -> None:
    for where in (value, [value], {"x": {"y": [value]}}, (1, value)):
        with pytest.raises(UnwritableValue, match=why):
            serializer.dumps(where)


@pytest.mark.parametrize("value", [b"x", {b"x": 1}, [b""]])
def test_json_refuses_bytes_and_msgpack_takes_them(value: Any) -> None:
    with pytest.raises(UnwritableValue, match="bytes"):
        JSON.dumps(value)
    assert MSGPACK.loads(MSGPACK.dumps(value)) == value


NUMBERS = {
    "msgpack, 64 bits": (MSGPACK, 2**64 - 1, True),
    "msgpack, more": (MSGPACK, 2**64, False),
    "msgpack, 64 bits below zero": (MSGPACK, -(2**63), True),
    "msgpack, more below zero": (MSGPACK, -(2**63) - 1, False),
    "json, more": (JSON, 2**64, True),
    "json, as many digits as Python reads": (JSON, 10**4299, True),
    "json, one digit more": (JSON, 10**4300, False),
}


@pytest.mark.parametrize(("serializer", "number", "is_written"), table(NUMBERS))
def test_numbers_that_are_too_large_are_refused(serializer: Serializer, number: int, is_written: bool) -> None:
    if is_written:
        assert serializer.loads(serializer.dumps([number])) == [number]
    else:
        with pytest.raises(UnwritableValue, match="number"):
            serializer.dumps([number])


@both
def test_the_last_of_as_many_values_as_are_possible_is_written(serializer: Serializer) -> None:
    value = [0] * (MAX_VALUES - 1)
    assert serializer.loads(serializer.dumps(value)) == value


# -- which key it was
@both
def test_the_key_that_cannot_be_written_is_named_and_its_value_is_not(serializer: Serializer) -> None:
    with pytest.raises(UnwritableValue) as caught:
        dumps_mapping(serializer, {"cart": [1], "owner": {"hush-hush"}, "when": datetime.now(UTC)})
    assert caught.value.key == "owner"
    assert "'owner'" in str(caught.value)
    assert "set" in caught.value.why
    assert "hush" not in str(caught.value)


@both
def test_a_key_that_is_no_text_is_named(serializer: Serializer) -> None:
    with pytest.raises(UnwritableValue) as caught:
        dumps_mapping(serializer, {"a": 1, 7: "x"})  # type: ignore[dict-item]
    assert caught.value.key == "7"


@both
def test_a_mapping_that_can_be_written_is(serializer: Serializer) -> None:
    mapping = types.MappingProxyType({"cart": [1], "name": "x"})
    assert serializer.loads(dumps_mapping(serializer, mapping)) == {"cart": [1], "name": "x"}


@both
def test_where_only_all_together_are_too_many_no_key_is_named(serializer: Serializer) -> None:
    half = [0] * (MAX_VALUES - 10)
    with pytest.raises(UnwritableValue, match="more than") as caught:
        dumps_mapping(serializer, {"a": half, "b": half})
    assert caught.value.key is None


# -- no bytes crash the reader
def read_or_refuse(serializer: Serializer, data: bytes) -> None:
    """Nothing but ValueError; what is read can be written and comes back."""
    try:
        value = serializer.loads(data)
    except ValueError:
        return
    assert serializer.loads(serializer.dumps(value)) == value


@both
@unhurried
@given(data=st.binary(max_size=300))
@example(data=b"")
def test_random_bytes_are_read_or_a_value_error(serializer: Serializer, data: bytes) -> None:
    read_or_refuse(serializer, data)


@both
@unhurried
@given(value=nested(scalars, st.text()), at=st.integers(0), byte=st.integers(0, 255), cut=st.integers(0, 3))
def test_damaged_bytes_are_read_or_a_value_error(
    serializer: Serializer, value: Any, at: int, byte: int, cut: int
) -> None:
    data = bytearray(serializer.dumps(value))
    data[at % len(data)] = byte
    read_or_refuse(serializer, bytes(data))
    read_or_refuse(serializer, bytes(data[: len(data) - cut]))
    read_or_refuse(serializer, bytes(data) + serializer.dumps(value))


@unhurried
@given(st.text(alphabet='[]{}":,0123456789.eE-+tfnrulasNI\\ud \ufeff\0'))
def test_what_looks_like_json_is_read_or_a_value_error(text: str) -> None:
    read_or_refuse(JSON, text.encode())


@unhurried
@given(
    st.lists(
        st.sampled_from([b"\xdd\0\x10\0\0", b"\xdf\0\x10\0\0", b"\xdc\xff\xff", b"\x91", b"\x81", b"\xa1x", b"\xc4\1x"])
    )
)
def test_what_looks_like_msgpack_is_read_or_a_value_error(pieces: list[bytes]) -> None:
    read_or_refuse(MSGPACK, b"".join(pieces))


NO_JSON = {
    "nothing": b"",
    "NaN": b"NaN",
    "infinity": b"[Infinity]",
    "minus infinity": b"[-Infinity]",
    "a number too large": b"1e999",
    "a number too long": b"1" * 10_000,
    "deep lists": b"[" * 1_000_000,
    "deep and closed": b"[" * 200_000 + b"]" * 200_000,
    "deep mappings": b'{"":' * 200_000,
    "a little too deep": b"[" * 102 + b"]" * 102,
    "two values": b"1 2",
    "a comma too many": b"[1,]",
    "no UTF-8": b'"\xff"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "too many": b"[" + b"0," * MAX_VALUES + b"0]",
    "msgpack": b"\x81\xa1a\x01",
    "a pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("data", table(NO_JSON))
def test_no_json_of_ours_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        JSON.loads(data)


NO_MSGPACK = {
    "nothing": b"",
    "never used": b"\xc1",
    "deep lists": b"\x91" * 1_000_000,
    "deep and closed": b"\x91" * 500 + b"\x01",
    "a little too deep": b"\x91" * 101 + b"\x01",
    "deep mappings": b"\x81\xa0" * 100_000,
    "a list that says it has 4 thousand million items": b"\xdd\xff\xff\xff\xff",
    "a mapping that says so": b"\xdf\xff\xff\xff\xff",
    "a text that says so": b"\xdb\xff\xff\xff\xff",
    "bytes that say so": b"\xc6\xff\xff\xff\xff",
    "an extension that says so": b"\xc9\xff\xff\xff\xff\x01",
    "P58 lists in lists that all say so": b"\xdd\xff\xff\xff\xff" * 10_000,
    "P58 lists in lists that say as much as there are bytes": b"\xdd\0\x0f\xff\xff" * 200 + bytes(1_048_575),
    "a number as a key": b"\x81\x01\x01",
    "a list as a key": b"\x81\x90\x01",
    "a mapping as a key": b"\x81\x80\x01",
    "an extension": b"\xd4\x01x",
    "a timestamp": msgpack.packb(msgpack.Timestamp(1)),
    "a broken timestamp": b"\xc7\x0c\xff" + b"\xff" * 12,
    "NaN": msgpack.packb(math.nan),
    "infinity": msgpack.packb(math.inf),
    "no UTF-8": b"\xa1\xff",
    "something behind it": b"\x01\x01",
    "too many": b"\xdd" + (MAX_VALUES + 1).to_bytes(4, "big") + bytes(MAX_VALUES + 1),
    "JSON": b'{"a":1}',
    "a pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("data", table(NO_MSGPACK))
def test_no_msgpack_of_ours_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        MSGPACK.loads(data)


def test_p58_what_a_list_says_of_its_length_makes_no_room_before_it_is_there() -> None:
    data = b"\xdd\0\x0f\xff\xff" * 90 + bytes(1_048_575)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            MSGPACK.loads(data)
        assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    finally:
        tracemalloc.stop()


# -- by name
class Reversed:
    """Writes text, backwards."""

    def dumps(self, value: Any) -> str:
        return json.dumps(value)[::-1]

    def loads(self, data: bytes) -> Any:
        return json.loads(data.decode()[::-1])


class Holder:
    """An object inside another."""

    inner = Reversed()


class NeedsMore(Reversed):
    def __init__(self, what: str) -> None:
        self.what = what


class WritesNumbers(Reversed):
    def dumps(self, value: Any) -> Any:
        return 7


class OnlyWrites:
    def dumps(self, value: Any) -> bytes:
        return b""


class NotCallable:
    dumps = loads = 7


class Disguised:
    """pickle under another name."""

    dumps = staticmethod(pickle.dumps)
    loads = staticmethod(pickle.loads)


class DisguisedOnce:
    """Writes JSON, reads anything."""

    dumps = staticmethod(json.dumps)
    loads = staticmethod(functools.partial(pickle.loads, encoding="ASCII"))


@functools.wraps(pickle.loads)
def wrapped(data: bytes) -> Any:
    return pickle.loads(data)


class DisguisedTwice(Reversed):
    loads = staticmethod(wrapped)


class Heir(pickle.Pickler):
    """Of a pickler, with both methods its own."""

    def __init__(self) -> None: ...
    def dumps(self, value: Any) -> bytes: ...  # type: ignore[empty-body]
    def loads(self, data: bytes) -> Any: ...


class Borrowed(Reversed):
    loads = Heir().loads


instance = Reversed()
other_name = pickle
HERE = __name__


@pytest.mark.parametrize("path", [".Reversed", ":Reversed", ".instance", ":instance", ":Holder.inner"])
def test_a_dotted_path_finds_an_object_or_makes_one_of_a_class(path: str) -> None:
    serializer = serializer_named(HERE + path)
    data = serializer.dumps({"a": "é\ud800"})
    assert isinstance(data, bytes)
    assert serializer.loads(data) == {"a": "é\ud800"}


def test_a_module_with_both_functions_is_a_serializer() -> None:
    serializer = serializer_named("gateway.store.serializers.json")
    assert serializer.loads(serializer.dumps({"a": 1})) == {"a": 1}


def test_what_a_serializer_of_others_cannot_do_ends_as_our_errors() -> None:
    serializer = serializer_named(f"{HERE}.Reversed")
    with pytest.raises(UnwritableValue) as caught:
        dumps_mapping(serializer, {"a": 1, "b": {"hush"}})
    assert caught.value.key == "b"
    assert "TypeError" in caught.value.why
    assert "hush" not in str(caught.value)
    for data in (b"", b"\xff", b"[[[", b"[" * 100_000):
        with pytest.raises(ValueError):
            serializer.loads(data)
    with pytest.raises(UnwritableValue, match="int"):
        serializer_named(f"{HERE}.WritesNumbers").dumps({})


NOT_FOUND = {  # the words that must be in the message
    "empty": ("", "path like"),
    "one word": ("yaml", "path like"),
    "case counts": ("JSON", "path like"),
    "a blank": (" json", "path like"),
    "no object": (f"{HERE}.", "path like"),
    "no object behind a colon": (f"{HERE}:", "path like"),
    "no module": (":Reversed", "path like"),
    "relative": (".serializers.x", "path like"),
    "relative with a colon": ("..serializers:x", "path like"),
    "an unknown module": ("no_such_package.thing", "cannot be imported"),
    "an unknown submodule": ("gateway.no_such.thing", "cannot be imported"),
    "an object inside another without a colon": (f"{HERE}.Holder.inner", "cannot be imported"),
    "an unknown object": (f"{HERE}.no_such", "cannot be imported"),
    "a class that needs arguments": (f"{HERE}.NeedsMore", "cannot be imported"),
    "a number": (f"{HERE}.MAX_DEPTH", "lacks a method"),
    "one method only": (f"{HERE}.OnlyWrites", "lacks a method"),
    "methods that are none": (f"{HERE}.NotCallable", "lacks a method"),
    "NUL": ("a\0b.c", "cannot be imported"),
    "two dots": ("gateway..serializers", "cannot be imported"),
}


@pytest.mark.parametrize(("name", "words"), table(NOT_FOUND))
def test_a_name_of_nothing_is_refused_in_clear_words(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        serializer_named(name)


@pytest.mark.parametrize("fault", ["syntax error here", "1 / 0", "undefined", "import no_such_package", "assert False"])
def test_a_module_that_fails_when_imported_is_refused(tmp_path: Path, monkeypatch: Any, fault: str) -> None:
    (tmp_path / "failing_serializer.py").write_text(fault)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("failing_serializer", None)
    with pytest.raises(ValueError, match="cannot be imported"):
        serializer_named("failing_serializer:thing")


CODE_RUNNERS = [
    *("pickle", "marshal", "shelve", "dill", "_pickle", "cPickle", "cloudpickle", "Pickle"),
    *("pickle.Pickler", "dill.loads", "shelve.Shelf", "marshal:loads", "pickle:thing", "_pickle.Pickler"),
    "django.contrib.sessions.serializers.PickleSerializer",
    "multiprocessing.reduction.ForkingPickler",
    "multiprocessing.reduction:ForkingPickler",
    *(f"{HERE}.{name}" for name in ("other_name", "Disguised", "DisguisedOnce", "DisguisedTwice", "Heir", "Borrowed")),
    f"{HERE}:other_name",
    f"{HERE}:Disguised",
]


@pytest.mark.parametrize("name", CODE_RUNNERS)
def test_what_runs_code_when_it_reads_is_refused_by_name_and_under_other_names(name: str) -> None:
    with pytest.raises(ValueError, match="is refused: reading with"):
        serializer_named(name)
