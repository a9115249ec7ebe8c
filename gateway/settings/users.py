"""Sources of users (``users:``): one slice for each kind, told apart by ``source``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from gateway.settings.users_http import HttpUsersSettings
from gateway.settings.users_ldap import LdapUsersSettings
from gateway.settings.users_sql import SqlUsersSettings
from gateway.settings.values import Slice

KIND = "users: "
"""What the name of each branch of the union begins with: no setting is called so."""
LEGACY_HASHES = "true: read old kinds of hashes, too ($6$, $1$, $apr1$, phpass, {SHA} …)."


class FileSource(Slice):
    """Users in a YAML file."""

    source: Literal["file"] = Field("file", description="The kind of source: file.")
    path: Path = Field(description="The users file; a relative path starts at the folder of the configuration.")
    legacy_hashes: bool = Field(False, description=LEGACY_HASHES)


class HtpasswdSource(Slice):
    """Users in a password file of Apache's."""

    source: Literal["htpasswd"] = Field(description="The kind of source: htpasswd.")
    path: Path = Field(description="The password file, lines of name:hash as htpasswd -B writes them.")
    groups_file: Path | None = Field(
        None, description="File of groups, lines of group: name name (AuthGroupFile). None: no groups."
    )
    usertype: str | None = Field(
        None, min_length=1, max_length=254, description="Usertype of all users of this file. None: none."
    )
    legacy_hashes: bool = Field(False, description=LEGACY_HASHES)


def _kind(value: object) -> str:
    """Which slice is meant, so that a mistake in one is not reported as one in each."""
    source = value.get("source", "file") if isinstance(value, dict) else getattr(value, "source", "file")
    return f"{KIND}{source}"


UserSourceSettings = Annotated[
    Annotated[FileSource, Tag(f"{KIND}file")]
    | Annotated[HtpasswdSource, Tag(f"{KIND}htpasswd")]
    | Annotated[HttpUsersSettings, Tag(f"{KIND}http")]
    | Annotated[LdapUsersSettings, Tag(f"{KIND}ldap")]
    | Annotated[SqlUsersSettings, Tag(f"{KIND}sql")],
    Discriminator(_kind),
]
"""Any of them."""
