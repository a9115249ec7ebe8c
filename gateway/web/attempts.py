"""What somebody types to sign in: the fields of a page's form, of JSON, of a token's request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.core.passwords import MAX_LENGTH
from gateway.errors import RequestError
from gateway.web.bodies import flag_field, text_field

NAME_LENGTH = 254  # RFC 5321 §4.5.3.1.3: the longest e-mail address


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody typed; ``remember``: to be kept signed in, or not even when the browser is closed; None: as the policy
    says."""

    login: str
    password: str
    remember: bool | None
    next: str

    def __repr__(self) -> str:
        return f"Attempt(login={self.login!r})"


def read_attempt(fields: dict[str, Any], *, may_remember: bool = True) -> Attempt:
    """:raises RequestError: 400 ``bad_field`` naming the field."""
    login = text_field(fields, "username", NAME_LENGTH) or text_field(fields, "email", NAME_LENGTH)
    password = text_field(fields, "password", MAX_LENGTH)
    for name, value in (("username", login.strip()), ("password", password)):
        if not value:
            raise RequestError("bad_field", field=name, what="is missing")
    wanted = fields.get("next")
    remember = flag_field(fields, "remember") if may_remember else None
    return Attempt(login, password, remember, wanted if isinstance(wanted, str) else "")
