"""What an application's answer to a sign-in means: right, wrong or nonsense, and who it is. No network here.

Values are found by JSON pointers (RFC 6901). What was promised and is not there is nonsense: nobody can say then whether the
password is right, so it is never taken for a wrong one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from gateway.core.identity import Identity
from gateway.core.sessions import same
from gateway.errors import SourceUnavailable
from gateway.identity.source import canonical

_LONGEST = 254  # as the sign-in takes names
_NOT_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Absent(Exception):
    """Nothing is where the pointer leads."""


def follow(pointer: str, document: Any) -> Any:
    """What is at an RFC 6901 pointer.

    :raises Absent: nothing is.
    """
    here = document
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and name in here:
            here = here[name]
        elif isinstance(here, list) and _INDEX.fullmatch(name) and int(name) < len(here):
            here = here[int(name)]
        else:
            raise Absent(pointer)
    return here


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application said. ``cookies``: the names of those that it set to a value."""

    status: int
    body: bytes = field(default=b"", repr=False)
    location: str = ""
    cookies: frozenset[str] = frozenset()

    def document(self) -> Any:
        """:raises SourceUnavailable: no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise SourceUnavailable(f"the answer ({self.status}) is no JSON") from error


@dataclass(frozen=True, slots=True)
class Success:
    """How a right password is told from a wrong one: by everything that is given here, together.

    ``status``: one of these; none given: 2xx, or 3xx where a ``redirect`` is wanted, or anything below 400 where a ``cookie``
    is. ``json``: what is at these pointers. ``redirect``: ``*`` stands for anything.
    """

    status: frozenset[int] = frozenset()
    json: Mapping[str, Any] = field(default_factory=dict)
    redirect: str = ""
    cookie: str = ""

    def fits(self, answer: Answer) -> bool:
        """:raises SourceUnavailable: the answer says neither yes nor no."""
        if answer.status >= 500 or answer.status in _NOT_NOW:
            raise SourceUnavailable(f"the application answered {answer.status}")
        if not self.status_fits(answer.status) or not self._redirect_fits(answer):
            return False
        if self.cookie and self.cookie not in answer.cookies:
            return False
        return not self.json or self._json_fits(answer.document())

    def status_fits(self, status: int) -> bool:
        """Is it one that can stand for success?"""
        if self.status:
            return status in self.status
        if self.redirect:
            return 300 <= status < 400
        return 200 <= status < (400 if self.cookie else 300)

    def _redirect_fits(self, answer: Answer) -> bool:
        if not self.redirect:
            return True
        there = answer.location
        if self.redirect.startswith("/"):  # the same place may be written with its scheme and host
            there = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*", "", there) or "/"
        parts = map(re.escape, re.split(r"\*+", self.redirect))
        return bool(there) and re.fullmatch(".*?".join(parts), there) is not None

    def _json_fits(self, document: Any) -> bool:
        if not isinstance(document, dict | list):
            raise SourceUnavailable("the answer is JSON, but no object")
        return all(_is_at(pointer, wanted, document) for pointer, wanted in self.json.items())


def _is_at(pointer: str, wanted: Any, document: Any) -> bool:
    try:
        return same(follow(pointer, document), wanted)
    except Absent:
        return False


@dataclass(frozen=True, slots=True)
class StillThere:
    """How an application says that a user is still there. ``status``: one of these, none given: 2xx; ``gone``: not any more.
    ``json``: something else at one of these pointers says that he is gone, too; nothing there says nothing."""

    status: frozenset[int] = frozenset()
    json: Mapping[str, Any] = field(default_factory=dict)
    gone: frozenset[int] = frozenset({404})

    def fits(self, answer: Answer) -> bool:
        """:raises SourceUnavailable: the answer says neither yes nor no. A sign-out is never made of that."""
        if answer.status in self.gone:
            return False
        if not Success(self.status).status_fits(answer.status):
            raise SourceUnavailable(f"asked about a user, the application answered {answer.status}")
        document = answer.document() if self.json else {}
        try:
            as_wanted = [same(follow(pointer, document), wanted) for pointer, wanted in self.json.items()]
        except Absent as error:
            raise SourceUnavailable(f"asked about a user, the application answered without {error}") from error
        return all(as_wanted)


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where in the answer it says who he is. ``usertype`` may be a word instead, then it is everybody's."""

    id: str = ""
    username: str = ""
    name: str = ""
    email: str = ""
    usertype: str = ""
    groups: str = ""

    @property
    def need_json(self) -> bool:
        """Is there anything to be found in the answer?"""
        texts = (self.id, self.username, self.name, self.email, self.usertype, self.groups)
        return any(text.startswith("/") for text in texts)

    def as_asked(self, login: str) -> str:
        """The name to ask with: as it was typed, or, where it is all that will be known of him, in canonical form. Else one who
        has the account ``Admin`` of an application that minds the case would be ``admin`` here."""
        return login.strip() if self.id or self.username else canonical(login)

    def identity(self, answer: Answer, login: str, source: str) -> Identity:
        """Who has signed in as ``login``. What is not in the answer follows from that, in its canonical form: two spellings
        are one user. A name from the answer counts as it is: to an application ``Admin`` and ``admin`` may be two people.

        :raises SourceUnavailable: the id or the name is promised, and not there or no text.
        """
        document = answer.document() if self.need_json else {}
        name = canonical(login)
        username = _needed(self.username, document) if self.username else name
        user_id = _needed(self.id, document) if self.id else username
        found = Identity(user_id, username, source=source)
        return self._completed(found, document)

    def identity_of(self, answer: Answer, user_id: str, source: str) -> Identity:
        """Who the user with this id is by now.

        :raises SourceUnavailable: the answer is about somebody else, or as above.
        """
        document = answer.document() if self.need_json else {}
        if self.id and _needed(self.id, document) != user_id:
            raise SourceUnavailable("the answer is about another user")
        username = _needed(self.username, document) if self.username else user_id
        return self._completed(Identity(user_id, username, source=source), document)

    def _completed(self, found: Identity, document: Any) -> Identity:
        usertype = _optional(self.usertype, document) if self.usertype.startswith("/") else self.usertype
        return replace(
            found,
            name=_optional(self.name, document),
            email=_optional(self.email, document),
            usertype=usertype,
            groups=_groups(self.groups, document),
        )


def _needed(pointer: str, document: Any) -> str:
    found = _text(_at(pointer, document))
    if not found or not found.strip() or found in (".", ".."):
        raise SourceUnavailable(f"the answer has no usable text at {pointer}")
    return found


def _optional(pointer: str, document: Any) -> str:
    return _text(_at(pointer, document))


def _groups(pointer: str, document: Any) -> tuple[str, ...]:
    """A list of texts; one text is a list of one."""
    value = _at(pointer, document)
    rows: Sequence[Any] = value if isinstance(value, list) else [value]
    return tuple(text for row in rows if (text := _text(row)))


def _at(pointer: str, document: Any) -> Any:
    """None where nothing is, and for no pointer."""
    try:
        return follow(pointer, document) if pointer else None
    except Absent:
        return None


def _text(value: Any) -> str:
    """A text or a whole number; whatever else it is, it is no name. Control characters have no place in one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    return text if len(text) <= _LONGEST and is_plain(text) else ""


def is_plain(text: str) -> bool:
    """Nothing in it that ends a line, a text in C, or cannot be sent at all (half a surrogate pair)."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
