"""What is wrong with a value, in words for a person. No message shows the value: it may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from gateway.settings.model import Settings
from gateway.settings.sources import Loc
from gateway.settings.users import KIND

_SIMPLE = {
    "missing": "is needed",
    "tuple_type": "must be a list: lines that begin with a dash, or [one, two]",
    "path_type": "must be the path of a file",
    "string_type": "must be a text; put a number in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a number",
}
_MAPPINGS = frozenset({"model_type", "model_attributes_type", "dict_type"})
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
}
ACCESS = "must be public, authenticated, or {usertype: …, groups: …}"
KEY_ACCESS = "must be authenticated, or {usertype: …, groups: …}"


def words(error: Mapping[str, Any], loc: Loc) -> str:
    """For one of pydantic's errors."""
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind == "union_tag_invalid":
        *kinds, last = str(context["expected_tags"]).replace(KIND, "").replace("'", "").split(", ")
        return f"must be {', '.join(kinds)} or {last}"
    if kind == "extra_forbidden":
        return "there is no such setting" + _suggestion(loc)
    if kind in _MAPPINGS:
        if loc == ("api_keys", "access"):
            return KEY_ACCESS
        return ACCESS if loc[-1] == "access" else "must be a mapping: settings below it, indented, like  name: value"
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), '')}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}"
    if kind.startswith("int_"):
        return "must be a whole number" + _unit(loc)
    if kind.startswith("float_"):
        return "must be a number" + _unit(loc)
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        return f"must not be longer than {context['max_length']} characters"
    return _SIMPLE.get(kind) or str(error["msg"]).removeprefix("Value error, ")


def _unit(loc: Loc) -> str:
    """Most wrong numbers are durations with a unit."""
    name = str(loc[-1])
    is_duration = "timeout" in name or name in ("age", "touch_interval") or "timeouts" in loc
    return " of seconds, without a unit" if is_duration else ""


def _suggestion(loc: Loc) -> str:
    """A name much like it here, else the same name elsewhere, else a name a little like it here."""
    wanted, here = str(loc[-1]), sorted(set(_keys_at(loc[:-1])))
    elsewhere = [name for name in all_settings() if name.rpartition(".")[2] == wanted and "[" not in name]
    choices = (
        difflib.get_close_matches(wanted.lower(), here, 1, 0.75),
        elsewhere if len(elsewhere) < 4 else [],
        difflib.get_close_matches(wanted.lower(), here, 1, 0.6),
    )
    found = next(filter(None, choices), None)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _keys_at(loc: Loc) -> Iterator[str]:
    """The names of the settings at a place of the model."""
    models: list[Any] = [Settings]
    for part in loc:
        if any(_has(model, part) for model in models):
            models = [
                one for model in models if _has(model, part) for one in models_in(model.model_fields[part].annotation)
            ]
    for model in models:
        yield from model.model_fields


def _has(model: Any, part: str | int) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields


def model_in(annotation: Any) -> Any:
    """The settings class inside ``tuple[X, ...]``, ``dict[str, X]`` or a union, or None."""
    return next(iter(models_in(annotation)), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """All of them: a union may have several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in models_in(part)]


def all_settings(model: type[BaseModel] = Settings, before: str = "") -> Iterator[str]:
    """Every setting's dotted name, as the docs write it: ``session.cookie.name``, ``routes[].path``, ``upstreams.NAME.url``,
    and ``users[sql].url`` where a list has several kinds of rows."""
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        shape = str(field.annotation)
        tail = "[]" if re.match(r"tuple\[", shape) else ".NAME" if re.match(r"dict\[str", shape) else ""
        if not inner or "Literal" in shape:
            yield before + name
        for one in inner:
            kind = f"[{_kind_of(one)}]" if len(inner) > 1 else tail
            yield from all_settings(one, f"{before}{name}{kind}.")


def _kind_of(model: type[BaseModel]) -> str:
    (kind,) = get_args(model.model_fields["source"].annotation)
    return str(kind)


def is_listed(loc: Loc) -> bool:
    """May a list stand at this place?"""
    model: Any = Settings
    for part in loc[:-1]:
        model = model_in(model.model_fields[part].annotation) if _has(model, part) else None
    return _has(model, loc[-1]) and "tuple[" in str(model.model_fields[loc[-1]].annotation)
