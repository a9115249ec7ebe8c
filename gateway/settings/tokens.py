"""Tokens (``tokens:``); part of the list in ``model.py``. They are off while ``keys_file`` is not set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.core.device_cookie import COOKIE_NAME as DEVICE_COOKIE
from gateway.settings.sources import Loc
from gateway.settings.stores import SessionSettings
from gateway.settings.token_issuers import TokenIssuerSettings
from gateway.settings.values import Slice, Whole, is_token

_FORM_COOKIE = "gw_form"
_NEEDS_REDIS = (
    "what was revoked is told by Redis: session.engine must be redis, cached_sql, cookie, or memory (one process)"
)
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_FRAMING = {"content-encoding", "content-length", "content-range", "content-type", "date", "expect", "host", "server"}
_NOT_IN_REQUESTS = frozenset({*_HOP_BY_HOP, *_FRAMING, "authorization", "cookie", "forwarded", "origin", "referer"})
_NOT_IN_ANSWERS = frozenset(
    {*_HOP_BY_HOP, *_FRAMING, "cache-control", "location", "retry-after", "set-cookie", "vary", "www-authenticate"}
)


class TokenClientSettings(Slice):
    """A backend that may ask what a token is worth (introspection)."""

    id: str = Field(min_length=1, max_length=64, description="Name that the backend says: letters, digits, . _ -.")
    secret: SecretStr | None = Field(
        None, description="Secret that the backend says, 16 characters at least; better in a file."
    )
    secret_file: Path | None = Field(None, description="File that holds the secret.")

    @field_validator("id")
    @classmethod
    def _check_id(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", value):
            raise ValueError("must be of letters, digits, . _ and -")
        return value

    @field_validator("secret")
    @classmethod
    def _check_secret(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else None
        if text is not None and not (len(text) >= 16 and text.isascii() and text.isprintable() and " " not in text):
            raise ValueError("must be 16 printable ASCII characters or more, no blanks among them")
        return value

    @model_validator(mode="after")
    def _check_given(self) -> TokenClientSettings:
        if self.secret is None and self.secret_file is None:
            raise ValueError("needs a secret or a secret_file")
        return self


class TokenSettings(Slice):
    """Signed access tokens and their refresh tokens; docs/tokens.md says how they are used."""

    keys_file: Path | None = Field(
        None, description="File of the keys that sign tokens; gateway secrets makes one. None: there are no tokens."
    )
    issuer: str | None = Field(
        None, max_length=254, description="iss of the tokens. None: site.url, or the word gateway without one."
    )
    audience: str | None = Field(None, max_length=254, description="aud of the tokens. None: the same as their iss.")
    lifetime: Whole = Field(300, ge=10, le=86400, description="Seconds for which an access token is good.")
    leeway: Whole = Field(10, ge=0, le=120, description="Seconds by which clocks may differ when a token is judged.")
    refresh_grace: Whole = Field(
        10, ge=0, le=60, description="Seconds for which a refresh token that was used gives the same successor again."
    )
    password_grant: bool = Field(
        False, description="true: a username and password at /auth/token, too; for scripts and old front ends."
    )
    header: str | None = Field(None, description="Header in which requests may bring a token, too. None: none.")
    cookie: str | None = Field(None, description="Cookie in which requests may bring a token, too. None: none.")
    response_header: str | None = Field(
        None, description="Header, JWT say, in which sign-in and token answers carry the access token, too. None: none."
    )
    clients: tuple[TokenClientSettings, ...] = Field((), description="Who may ask what a token is worth.")
    issuers: tuple[TokenIssuerSettings, ...] = Field(
        (), description="Others whose tokens are taken here; docs/foreign-issuers.md."
    )

    @field_validator("issuer", "audience")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value):
            raise ValueError("must be printable ASCII without blanks")
        return value

    @field_validator("header")
    @classmethod
    def _check_header(cls, value: str | None) -> str | None:
        return _checked_header(value, _NOT_IN_REQUESTS)

    @field_validator("response_header")
    @classmethod
    def _check_response_header(cls, value: str | None) -> str | None:
        return _checked_header(value, _NOT_IN_ANSWERS)

    @field_validator("cookie")
    @classmethod
    def _check_cookie(cls, value: str | None) -> str | None:
        if value is not None and not is_token(value):
            raise ValueError("must be the name of a cookie")
        return value


def _checked_header(value: str | None, forbidden: frozenset[str]) -> str | None:
    if value is not None and (not is_token(value) or value.lower().replace("_", "-") in forbidden):
        raise ValueError("is no header that can carry a token")
    return value


def check_tokens(data: dict[str, Any], add: Callable[[Loc, str], None]) -> None:
    """What no single setting can know: which session engines can do it, that our own cookies carry no token, and that every
    client has a name of its own."""
    tokens = data.get("tokens")
    if not isinstance(tokens, dict):
        return
    session = data.get("session")
    engine = str(session.get("engine", "redis")) if isinstance(session, dict) else "redis"
    if tokens.get("keys_file") is not None and engine in ("sql", "file"):
        add(("tokens", "keys_file"), f"{_NEEDS_REDIS}; session.engine is {engine}")
    if tokens.get("password_grant") in (True, "true") and engine == "cookie":
        add(("tokens", "password_grant"), "session.engine cookie keeps no session that a script could go on with")
    cookie = session.get("cookie") if isinstance(session, dict) else None
    name = cookie.get("name") if isinstance(cookie, dict) else None
    own = {str(name or SessionSettings().cookie.name), _FORM_COOKIE, DEVICE_COOKIE}
    if str(tokens.get("cookie")).removeprefix("__Host-").removeprefix("__Secure-") in own:
        add(("tokens", "cookie"), "is a cookie of the gateway's own; take another name")
    clients, seen = tokens.get("clients"), set()
    for index, row in enumerate(clients if isinstance(clients, list) else ()):
        if isinstance(row, dict) and str(row.get("id")) in seen:
            add(("tokens", "clients", index, "id"), "given twice")
        seen.add(str(row.get("id")) if isinstance(row, dict) else "")
