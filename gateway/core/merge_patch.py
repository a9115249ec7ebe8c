"""JSON Merge Patch (RFC 7396): a change of a JSON document that looks like the document."""

from __future__ import annotations

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with the patch applied (RFC 7396 §2); neither of the two is changed.

    Members that are null in the patch are removed, objects are merged, and anything else replaces what was there. Recursive:
    whoever takes patches from outside limits how deep they are.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result
