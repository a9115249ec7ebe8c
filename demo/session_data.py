"""This application's own part of the gateway's session: it has no sessions, no database and no cookies itself.

The gateway sends it with every request and takes changes of it from every answer. As with the user's name, that is safe only
because the gateway removes what a client sent under these names.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

DATA_HEADER = "X-Session-Data"
UPDATE_HEADER = "X-Session-Update"


def session_data(headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what this application has kept for the user, or None when the gateway keeps nothing for this request."""
    value = headers.get(DATA_HEADER)
    if value is None:
        return None
    data = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
    assert isinstance(data, dict)
    return data


def update(**changes: Any) -> dict[str, str]:
    """Return the header that changes it: what is named is merged in, None removes (RFC 7396)."""
    text = json.dumps(changes, ensure_ascii=False).encode()
    return {UPDATE_HEADER: base64.urlsafe_b64encode(text).decode().rstrip("=")}
