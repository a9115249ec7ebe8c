"""Search filters (RFC 4515) with holes like ``{login}``: read once, and filled as a tree.

What somebody typed is never part of a filter's text: it becomes the value of an assertion that was parsed before, as
bytes, so that no ``*``, bracket, backslash or NUL in it can mean anything (the escaping of RFC 4515 §3 is for text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sansldap import FilterAnd, FilterEquality, FilterNot, FilterOr, FilterPresent, FilterSubstrings, LDAPFilter

_HOLE = re.compile(rb"\{([a-z_]+)\}")


class Template:
    """A filter with holes of these names, each where a value stands.

    :raises ValueError: it is no filter, or has a hole that nobody fills.
    """

    def __init__(self, text: str, *holes: str) -> None:
        if not text.startswith("("):  # the library takes 'a=b' too, and would stop at its end
            raise ValueError("must be a filter in brackets, like (uid={login})")
        tree = LDAPFilter.from_string(text)
        if re.sub(r"\s", "", text).count("(") != _brackets(tree):
            raise ValueError("must be one filter: put (& ) or (| ) around several")
        for name in {name for _, value in _assertions(tree) for name in _holes(value)}:
            if name not in holes:
                raise ValueError(f"{{{name}}} is nothing that can be filled in here")
        self._tree = tree

    def attributes(self, hole: str) -> tuple[str, ...]:
        """Those that are compared with what is filled in there."""
        named = [name for name, value in _assertions(self._tree) if hole in _holes(value)]
        return tuple(dict.fromkeys(named))

    def filled(self, **values: str) -> LDAPFilter:
        """With these values."""
        known = {name.encode(): value.encode() for name, value in values.items()}
        return _mapped(self._tree, lambda leaf: _filled(leaf, known))

    def opened(self, hole: str) -> LDAPFilter:
        """Any value will do there: who is still among those whom the filter can find."""
        return _mapped(self._tree, lambda leaf: _opened(leaf, hole))


def both(*filters: LDAPFilter) -> LDAPFilter:
    """All must be so."""
    return FilterAnd(list(filters))


def none_of(unwanted: LDAPFilter) -> LDAPFilter:
    """It must be known not to be so: what the directory cannot judge is not true of anybody (RFC 4511 §4.5.1.7)."""
    return FilterNot(unwanted)


def is_equal(attribute: str, value: bytes) -> LDAPFilter:
    """This attribute has this value."""
    return FilterEquality(attribute, value)


def _children(tree: LDAPFilter) -> list[LDAPFilter]:
    if isinstance(tree, FilterAnd | FilterOr):
        return list(tree.filters)
    return [tree.filter] if isinstance(tree, FilterNot) else []


def _brackets(tree: LDAPFilter) -> int:
    return 1 + sum(_brackets(child) for child in _children(tree))


def _assertions(tree: LDAPFilter) -> Iterator[tuple[str, bytes]]:
    """Every attribute with what it is compared with."""
    for child in _children(tree):
        yield from _assertions(child)
    for value in _values(tree):
        yield getattr(tree, "attribute", None) or "", value


def _values(leaf: LDAPFilter) -> list[bytes]:
    if isinstance(leaf, FilterSubstrings):
        return [value for value in (leaf.initial, *leaf.any, leaf.final) if value is not None]
    value = getattr(leaf, "value", None)
    return [value] if isinstance(value, bytes) else []


def _holes(value: bytes) -> list[str]:
    return [name.decode() for name in _HOLE.findall(value)]


def _mapped(tree: LDAPFilter, change: Callable[[LDAPFilter], LDAPFilter]) -> LDAPFilter:
    if isinstance(tree, FilterAnd):
        return FilterAnd([_mapped(child, change) for child in tree.filters])
    if isinstance(tree, FilterOr):
        return FilterOr([_mapped(child, change) for child in tree.filters])
    return FilterNot(_mapped(tree.filter, change)) if isinstance(tree, FilterNot) else change(tree)


def _filled(leaf: LDAPFilter, known: dict[bytes, bytes]) -> LDAPFilter:
    """All holes in one go: what is filled in is not looked at again."""

    def fill(value: bytes | None) -> bytes | None:
        return None if value is None else _HOLE.sub(lambda hole: known[hole[1]], value)

    changed: Any = leaf
    if isinstance(leaf, FilterSubstrings):
        return replace(
            leaf, initial=fill(leaf.initial), any=[fill(part) or b"" for part in leaf.any], final=fill(leaf.final)
        )
    return replace(changed, value=fill(changed.value)) if _values(leaf) else leaf


def _opened(leaf: LDAPFilter, hole: str) -> LDAPFilter:
    attribute = getattr(leaf, "attribute", None)
    is_open = any(hole in _holes(value) for value in _values(leaf))
    return FilterPresent(attribute) if is_open and attribute else leaf
