"""Who somebody is, as the session remembers it and the backend is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Identity:
    """A user without secrets. ``id`` is stable over renames; ``source`` names where he comes from.

    ``generation`` counts how often his password has been changed (his *credentials generation*): a session that remembers
    an older one is over.
    """

    id: str
    username: str
    name: str = ""
    email: str = ""
    usertype: str = ""
    groups: tuple[str, ...] = ()
    source: str = ""
    generation: int = 0

    @property
    def shown_name(self) -> str:
        """For people."""
        return self.name or self.username

    @property
    def is_authenticated(self) -> bool:
        """Django's word: always true of somebody, never of :data:`gateway.web.users.ANONYMOUS`."""
        return True

    def is_same(self, other: Identity | None) -> bool:
        """The same person: an id counts within its source."""
        return other is not None and (self.id, self.source) == (other.id, other.source)

    def public(self) -> dict[str, Any]:
        """What ``/auth/session`` and the sign-in answer show (docs/http-api.md)."""
        shown = asdict(self)
        del shown["source"], shown["generation"]
        return {**shown, "groups": list(self.groups)}

    def dump(self) -> dict[str, Any]:
        """For the session's record; :meth:`load` reads it back."""
        return {**asdict(self), "groups": list(self.groups)}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Identity:
        """A record without a generation was written before there were any.

        :raises KeyError, TypeError: when the record was not written by :meth:`dump`.
        """
        texts = {field: data[field] for field in ("id", "username", "name", "email", "usertype", "source")}
        groups, generation = data["groups"], data.get("generation", 0)
        if not isinstance(groups, list) or not all(isinstance(text, str) for text in (*texts.values(), *groups)):
            raise TypeError("not an identity")  # nothing is made to fit: None would be a user named "None"
        if type(generation) is not int:
            raise TypeError("not a generation")
        return cls(groups=tuple(groups), **texts, generation=generation)
