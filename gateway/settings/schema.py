"""The JSON Schema of the configuration, for editors: from the model, with what YAML and the reader allow besides."""

from __future__ import annotations

import json
from typing import Any

from gateway.settings.model import Settings


def schema() -> dict[str, Any]:
    """Draft 07: the one that editors' YAML support knows best."""
    made = Settings.model_json_schema(ref_template="#/definitions/{model}")
    definitions = made.pop("$defs")
    found = {"$schema": "http://json-schema.org/draft-07/schema#", **made, "definitions": definitions}
    for model in (found, *definitions.values()):
        model.pop("title", None)
        for name, one in model.get("properties", {}).items():
            model["properties"][name] = _tidy(one, name in model.get("required", ()), definitions)
    return {**found, "title": "Configuration of the gateway"}


def schema_text() -> str:
    """What ``config/gateway.schema.json`` holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(one: dict[str, Any], is_needed: bool, definitions: dict[str, Any]) -> dict[str, Any]:
    """No machine-made titles; a section or list with everything in it commented out is no mistake."""
    kept = {key: value for key, value in one.items() if key not in ("title", "writeOnly")}
    if is_needed or not ("$ref" in one or one.get("type") in ("object", "array")):
        return kept
    told = definitions[one["$ref"].rpartition("/")[2]]["description"] if "$ref" in one else one["description"]
    shape = {key: value for key, value in kept.items() if key not in ("description", "default")}
    return {"description": told, "anyOf": [shape, {"type": "null"}]}
