"""How the data of a session become bytes (Django: ``SESSION_SERIALIZER``): ``json``, ``msgpack``, or an object of yours.

What these two write comes back equal, or they refuse to write it. One exception, as in Django's ``JSONSerializer``: a
tuple comes back as a list. What they read is what they could have written; all else is a ``ValueError``, whatever the bytes.

pickle and its kin are refused: who can write into the store, or once knew a key, would run code in the gateway.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import partial, reduce
from importlib import import_module
from math import isfinite
from types import MethodType, ModuleType
from typing import Any, Protocol

import msgpack  # type: ignore[import-untyped]

MAX_DEPTH = 100
"""Levels of nesting: written deep in a call stack or not, it can be read (Python gives up at about 1000 in all)."""
MAX_VALUES = 100_000
"""Values in all, counting those inside others: more would hold up every other request while they are walked."""

_HARMLESS = frozenset({str, int, bool, type(None)})  # most values there are; not even looked at
_RUN_CODE = frozenset({"marshal", "shelve", "dill"})  # and whatever has pickle in its name


class UnwritableValue(Exception):
    """The serializer cannot write a value so that it comes back. ``key``: under which it stands, None when not known.

    Its words name types and keys, never a value.
    """

    def __init__(self, why: str, key: str | None = None) -> None:
        super().__init__(why if key is None else f"the value under {key!r} cannot be written: {why}")
        self.why = why
        self.key = key


class Serializer(Protocol):
    """Turns plain data into bytes and back."""

    def dumps(self, value: Any) -> bytes:
        """:raises UnwritableValue: ``value``, or something in it, cannot be written."""

    def loads(self, data: bytes) -> Any:
        """:raises ValueError: these bytes were not written by this serializer."""


class _Json:
    """UTF-8 without blanks; lone surrogates survive."""

    _encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))

    def dumps(self, value: Any) -> bytes:
        """See :class:`Serializer`."""
        _require_plain(value, binary=False)
        try:
            return self._encoder.encode(value).encode("utf-8", "surrogatepass")
        except ValueError as error:
            raise UnwritableValue("a number has more digits than Python reads back") from error

    def loads(self, data: bytes) -> Any:
        """See :class:`Serializer`."""
        try:
            value = json.loads(data.decode("utf-8", "surrogatepass"))
            _require_plain(value, binary=False)
        except (ValueError, RecursionError, UnwritableValue) as error:
            raise ValueError("this is not JSON as it is written here") from error
        return value


class _MsgPack:
    """MessagePack without extension types; bytes are possible, also as keys of inner mappings."""

    def dumps(self, value: Any) -> bytes:
        """See :class:`Serializer`."""
        _require_plain(value, binary=True)
        try:
            packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogatepass")
        except (OverflowError, ValueError) as error:
            raise UnwritableValue("a number does not fit into 64 bits, or a text is too long") from error
        return packed

    def loads(self, data: bytes) -> Any:
        """See :class:`Serializer`."""
        try:
            _require_complete(data)
            value = msgpack.unpackb(data, raw=False, strict_map_key=True, unicode_errors="surrogatepass")
            _require_plain(value, binary=True)
        except (ValueError, RecursionError, msgpack.UnpackException, UnwritableValue) as error:
            raise ValueError("this is not MessagePack as it is written here") from error
        return value


def _require_complete(data: bytes) -> None:
    """Everything announced is there. Before anything is built: each array that says it has a million items, one inside the
    other, would get room for them first (P58).
    """
    reader = msgpack.Unpacker(max_buffer_size=len(data), read_size=min(len(data), 4096))
    reader.feed(data)
    reader.skip()


def _require_plain(value: Any, *, binary: bool) -> None:
    """Depth first and without recursion, so that a value which holds itself ends at the limit of depth.

    :raises UnwritableValue: for the first thing found that would not come back equal.
    """
    waiting, count = [(value, 0)], 1
    while waiting:
        each, depth = waiting.pop()
        inside = _inside(each, binary)
        count += len(inside)
        if inside and depth >= MAX_DEPTH:
            raise UnwritableValue(f"it is nested deeper than {MAX_DEPTH} levels, or holds itself")
        if count > MAX_VALUES:
            raise UnwritableValue(f"it holds more than {MAX_VALUES} values")
        waiting += [(inner, depth + 1) for inner in inside if type(inner) not in _HARMLESS]


def _inside(value: Any, binary: bool) -> Collection[Any]:
    """What a value holds; nothing for a scalar."""
    if value is None or isinstance(value, str | int) or (binary and isinstance(value, bytes)):
        return ()
    if isinstance(value, float):
        if not isfinite(value):
            raise UnwritableValue("NaN and infinity are no numbers for JSON, and NaN does not equal itself")
        return ()
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) and not (binary and isinstance(key, bytes)):
                raise UnwritableValue(f"the key of a mapping must be a text, not {_kind(key)}")
        return value.values()
    if isinstance(value, list | tuple) and not isinstance(value, msgpack.ExtType):
        return value
    raise UnwritableValue(f"{_kind(value)} is no type that can be written")


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def dumps_mapping(serializer: Serializer, mapping: Mapping[str, Any]) -> bytes:
    """The whole mapping; when that fails, each value is tried, to say which one it is.

    :raises UnwritableValue: with ``key``; nothing was written.
    """
    whole = dict(mapping)
    try:
        return serializer.dumps(whole)
    except UnwritableValue:
        for key, value in whole.items():
            _require_writable(serializer, key, value)
        raise  # each alone can be written, all together cannot


def _require_writable(serializer: Serializer, key: object, value: object) -> None:
    try:
        serializer.dumps({key: value})
    except UnwritableValue as error:
        raise UnwritableValue(error.why, key if isinstance(key, str) else repr(key)) from error


# -- serializers of others
class _Foreign:
    """An object with ``dumps`` and ``loads`` from a dotted path. What it writes comes back as it sees fit."""

    def __init__(self, name: str, target: Any) -> None:
        self._name = name
        self._target = target

    def dumps(self, value: Any) -> bytes:
        """:raises UnwritableValue: the object raised an error, or gave neither bytes nor a text."""
        try:
            written = self._target.dumps(value)
        except Exception as error:
            raise UnwritableValue(f"{self._name} raised {_kind(error)}") from error
        if not isinstance(written, str | bytes):
            raise UnwritableValue(f"{self._name} wrote {_kind(written)}, not bytes or a text")
        return written.encode("utf-8", "surrogatepass") if isinstance(written, str) else written

    def loads(self, data: bytes) -> Any:
        """:raises ValueError: the object raised an error."""
        try:
            return self._target.loads(data)
        except Exception as error:
            raise ValueError(f"{self._name} cannot read this") from error

    def __repr__(self) -> str:
        return f"<serializer {self._name}>"


_OURS: dict[str, Serializer] = {"json": _Json(), "msgpack": _MsgPack()}


def serializer_named(name: str) -> Serializer:
    """``json``, ``msgpack``, or ``package.module.object`` (also ``package.module:object``); a class is instantiated.

    :raises ValueError: there is no such thing, it lacks a method, or it is one that runs code when it reads.
    """
    return _OURS.get(name) or _Foreign(name, _found(name))


def _found(name: str) -> Any:
    _require_harmless(name, *name.replace(":", ".").split("."))
    module, _, path = name.partition(":") if ":" in name else name.rpartition(".")
    if not module or not path or module.startswith("."):
        raise ValueError(f"{name!r} is not json, msgpack or a path like package.module.object")
    try:
        target = reduce(getattr, path.split("."), import_module(module))
        target = target() if isinstance(target, type) else target
    except Exception as error:
        raise ValueError(f"{name} cannot be imported: {error}") from error
    methods = [getattr(target, method, None) for method in ("dumps", "loads")]
    if not all(map(callable, methods)):
        raise ValueError(f"{name} lacks a method: dumps and loads are needed")
    _require_harmless(name, *(origin for part in (target, *methods) for origin in _origins(part)))
    return target


def _require_harmless(name: str, *origins: str) -> None:
    """A wrapper that calls pickle inside cannot be noticed; one that is pickle under another name can."""
    for word in {word.lower().lstrip("_") for origin in origins for word in origin.split(".")}:
        if "pickle" in word or word in _RUN_CODE:
            raise ValueError(f"{name} is refused: reading with {word} runs whatever code the bytes name")


def _origins(thing: Any) -> Iterator[str]:
    """The modules that a thing was made in: itself, its classes, what it is bound to or wraps."""
    yield thing.__name__ if isinstance(thing, ModuleType) else str(getattr(thing, "__module__", ""))
    for base in type(thing).__mro__:
        yield base.__module__
    if isinstance(thing, MethodType):
        yield from _origins(thing.__self__)
    elif isinstance(thing, partial):
        yield from _origins(thing.func)
