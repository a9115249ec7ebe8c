"""What a route tells its backend beside the identity headers; docs/backends.md says how backends use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from gateway.settings.sources import Loc
from gateway.settings.values import Slice, Whole


class SessionDataSettings(Slice):
    """The backend's own part of the session, in X-Session-Data and X-Session-Update."""

    enabled: bool = Field(False, description="true: the backend has a part of the session that it reads and changes.")
    namespace: str | None = Field(
        None, description="Name of that part; routes with the same one share it. None: the name of the upstream."
    )
    max_bytes: Whole = Field(
        4096, ge=64, le=32768, description="Bytes of X-Session-Data; an update that would make it longer is not stored."
    )

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            raise ValueError("must be at most 64 letters, digits, . _ and -")
        return value

    @field_validator("namespace", "max_bytes")
    @classmethod
    def _check_purpose(cls, value: object, info: ValidationInfo) -> object:
        default = cls.model_fields[info.field_name or ""].default
        if info.data.get("enabled") is False and value != default:
            raise ValueError("is for routes with session_data.enabled: true")
        return value


class AssertionSettings(Slice):
    """A signed statement of who is asking, in X-Gateway-Assertion."""

    audience: str | None = Field(
        None,
        max_length=254,
        description="aud of X-Gateway-Assertion, by which the backend knows its own. None: none is sent.",
    )

    @field_validator("audience")
    @classmethod
    def _check_audience(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value):
            raise ValueError("must be printable ASCII without blanks")
        return value


class BackendAuthSettings(Slice):
    """How the gateway signs in to the backend, for those that know nothing but Authorization: Basic."""

    basic: Literal["nobody", "user", "account"] = Field(
        "nobody", description="Whose name and password the backend gets: nobody's, the user's own, or those of account."
    )
    username: str | None = Field(None, min_length=1, max_length=254, description="Name of the account for the backend.")
    password: SecretStr | None = Field(None, description="Its password; better in a file.")
    password_file: Path | None = Field(None, description="File that holds the password of the account.")

    @field_validator("username")
    @classmethod
    def _check_username(cls, value: str | None) -> str | None:
        if value is not None and (":" in value or not value.isprintable()):
            raise ValueError("must be without : (RFC 7617)")
        return value

    @model_validator(mode="after")
    def _check_account(self) -> BackendAuthSettings:
        given = self.username is not None, self.password is not None or self.password_file is not None
        if self.basic == "account" and not all(given):
            raise ValueError("account needs username and password_file")
        if self.basic != "account" and any(given):
            raise ValueError("username and password are for basic: account")
        return self


def check_told(data: dict[str, Any], route: dict[str, Any], loc: Loc, add: Callable[[Loc, str], None]) -> None:
    """What a route cannot know of itself: whether there are keys, and what the session engine can do."""
    looks = route.get("access") != "public" or route.get("identity") == "optional"
    session_data, assertion = _part(route, "session_data"), _part(route, "assertion")
    if session_data.get("enabled") in (True, "true"):
        where: Loc = (*loc, "session_data", "enabled")
        if not looks:
            add(where, "a public route looks up no session: it needs identity: optional")
        if _part(data, "session").get("engine") == "cookie":
            add(where, "the engine cookie cannot keep it: parallel answers would overwrite each other's")
    _check_basic(data, route, loc, add, looks)
    if assertion.get("audience") is not None:
        where = (*loc, "assertion", "audience")
        if not looks:
            add(where, "a public route looks up no session: it needs identity: optional")
        if _part(data, "tokens").get("keys_file") is None:
            add(where, "needs tokens.keys_file, the keys that sign")


def _check_basic(
    data: dict[str, Any], route: dict[str, Any], loc: Loc, add: Callable[[Loc, str], None], looks: bool
) -> None:
    basic, where = _part(route, "backend_auth").get("basic"), (*loc, "backend_auth", "basic")
    if basic in ("user", "account") and route.get("authorization") == "backend":
        add(where, "with authorization: backend the header is the client's: one of the two")
    elif basic == "user" and not looks:
        add(where, "a public route looks up no session: it needs identity: optional")
    elif basic == "user" and _part(data, "session").get("engine") == "cookie":
        add(where, "the engine cookie would put passwords into cookies")


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    part = data.get(name)
    return part if isinstance(part, dict) else {}
