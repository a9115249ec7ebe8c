"""Users of an application that is asked by HTTP (``source: http``): its own sign-in says who may come in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gateway.settings.users_ldap import is_loopback
from gateway.settings.values import SecondsOrNone, ShortSeconds, Slice, Whole, is_token

_POINTER = re.compile(r"(/([^~/]|~[01])*)+")
_OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "cookie", "expect"}
)
Value = StrictBool | StrictInt | StrictFloat | StrictStr | None


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


_ONE = {"type": "integer", "minimum": 200, "maximum": 499}
Statuses = Annotated[
    tuple[Annotated[int, Field(ge=200, le=499)], ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]


def _check_url(value: str) -> str:
    """No name and password in it: they would be in every log of a proxy."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or parts.fragment or not re.fullmatch(r"[!-~]+", value):
        raise ValueError("must be http://HOST[:PORT]/PATH or https://…, in ASCII, without a user and without #")
    return value


def _is_in_the_clear(url: str) -> bool:
    """A name without a dot is taken for a container beside this one."""
    host = urlsplit(url).hostname or ""
    is_elsewhere = "." in host or ":" in host
    return url.lower().startswith("http:") and is_elsewhere and not is_loopback(url)


def _check_pointers(pointers: dict[str, Value]) -> dict[str, Value]:
    for pointer in pointers:
        if not _POINTER.fullmatch(pointer):
            raise ValueError(f"{pointer!r} is no JSON pointer, like /user/id")
    return pointers


class HttpFields(Slice):
    """What the sign-in of the application calls its fields."""

    username: str = Field("username", min_length=1, description="The field for the name, as the application calls it.")
    password: str = Field(
        "password", min_length=1, description="The field for the password, as the application calls it."
    )


class HttpSuccess(Slice):
    """How the application says that a password is right: everything given here, together."""

    status: Statuses = Field((), description="Statuses that stand for success. None: 2xx, or 3xx with redirect.")
    answer: dict[str, Value] = Field(
        {}, description="JSON pointers into the answer and what has to stand there: {/ret: 0}."
    )
    redirect: str | None = Field(
        None, description="Where success leads, as its Location: /index.html; * stands for anything."
    )
    cookie: str | None = Field(None, description="The name of a cookie that is set at success only.")

    @field_validator("answer")
    @classmethod
    def _check_answer(cls, value: dict[str, Value]) -> dict[str, Value]:
        return _check_pointers(value)

    @field_validator("cookie")
    @classmethod
    def _check_cookie(cls, value: str | None) -> str | None:
        if value and not is_token(value):
            raise ValueError("must be the name of a cookie")
        return value

    @model_validator(mode="after")
    def _check_any(self) -> HttpSuccess:
        if not (self.status or self.answer or self.redirect or self.cookie):
            raise ValueError("say how success is told: status, answer, redirect or cookie; else any password would do")
        if any(status >= 400 for status in self.status):
            raise ValueError("no status of 4xx stands for success")
        if self.redirect and self.status and not any(300 <= status < 400 for status in self.status):
            raise ValueError("redirect needs a status of 3xx")
        return self


class HttpIdentity(Slice):
    """Where in the JSON of the answer it says who he is."""

    id: str | None = Field(None, description="JSON pointer to the id of the user. None: his name in lower case.")
    username: str | None = Field(None, description="JSON pointer to the username. None: what was typed, in lower case.")
    name: str | None = Field(None, description="JSON pointer to the display name.")
    email: str | None = Field(None, description="JSON pointer to the e-mail address.")
    usertype: str | None = Field(
        None, description="JSON pointer to the usertype; or a word, without a slash: everybody's usertype."
    )
    groups: str | None = Field(None, description="JSON pointer to the groups: a list of texts, or one text.")

    @field_validator("id", "username", "name", "email", "groups")
    @classmethod
    def _check_pointer(cls, value: str | None) -> str | None:
        if value and not _POINTER.fullmatch(value):
            raise ValueError("must be a JSON pointer, like /user/id")
        return value

    @field_validator("usertype")
    @classmethod
    def _check_usertype(cls, value: str | None) -> str | None:
        return cls._check_pointer(value) if value and value.startswith("/") else value


class HttpLookup(Slice):
    """Where the application tells about a user by his id, so that open sessions feel it when he is gone or has other rights."""

    url: str = Field(description="Address with {id} in it, asked by GET: http://app:8000/api/users/{id}.")
    status: Statuses = Field((), description="Statuses that mean: he is there. None: 2xx.")
    answer: dict[str, Value] = Field(
        {},
        description="JSON pointers and what has to stand there; something else: he is gone or disabled.",
    )
    gone: Statuses = Field(
        (404,), description="Statuses that mean: he is gone. Everything else means: ask again later."
    )
    identity: HttpIdentity | None = Field(None, description="Where that answer says who he is. None: as at sign-in.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if value.count("{id}") != 1 or "{id}" in urlsplit(value).netloc:
            raise ValueError("must have {id} in its path or query, once")
        _check_url(value)
        return value

    @field_validator("answer")
    @classmethod
    def _check_answer(cls, value: dict[str, Value]) -> dict[str, Value]:
        return _check_pointers(value)


class HttpUsersSettings(Slice):
    """Users whose passwords an application checks."""

    source: Literal["http"] = Field(description="The kind of source: http.")
    url: str = Field(description="The application's own sign-in, asked by POST: http://app:8000/api/signin.")
    format: Literal["form", "json"] = Field("form", description="How the fields are sent: form or json.")
    fields: HttpFields = HttpFields()
    extra: dict[str, StrictBool | StrictInt | StrictStr] = Field(
        {}, repr=False, description="More fields, always the same: {remember: 0}."
    )
    headers: dict[str, StrictStr] = Field({}, repr=False, description="Headers for every question: {X-Api-Key: …}.")
    success: HttpSuccess = Field(description="How the application says that a password is right.")
    identity: HttpIdentity = HttpIdentity()
    lookup: HttpLookup | None = Field(None, description="Where the application tells about a user by his id.")
    recheck: SecondsOrNone = Field(60, description="Seconds after which active users are looked up again; 0: never.")
    timeout: ShortSeconds = Field(5.0, description="Seconds for a whole answer of the application; longer: 503.")
    max_requests: Whole = Field(10, ge=1, le=1000, description="Questions at once; more wait, ten times as many.")
    forward_address: bool = Field(
        False, description="true: tell the application the person's address (X-Forwarded-For)."
    )
    ca_file: Path | None = Field(None, description="Certificates to trust for https://, instead of the system's.")

    @property
    def in_the_clear(self) -> list[str]:
        """Which addresses anybody on the way can read and answer for: ``http://`` to another host."""
        given = {"url": self.url, "lookup.url": self.lookup.url if self.lookup else ""}
        return [setting for setting, url in given.items() if _is_in_the_clear(url)]

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return _check_url(value)

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not is_token(name) or name.lower() in _OWN_HEADERS or not re.fullmatch(r"[\t -~]*", text):
                raise ValueError(f"{name!r} is no header that can be set here, or its value is not ASCII in one line")
        return value

    @model_validator(mode="after")
    def _check_lookup(self) -> HttpUsersSettings:
        if self.lookup is None:
            if "recheck" in self.model_fields_set:
                raise ValueError("recheck is nothing without lookup.url")
        elif self.identity.id and not (self.lookup.identity or self.identity).username:
            raise ValueError(
                "with identity.id and a lookup an identity.username is needed: a look-up knows the id only"
            )
        return self
