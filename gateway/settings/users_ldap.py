"""Users in a directory (``source: ldap``): where it is, how users are found in it, and what their entries say."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.settings.values import Seconds, ShortSeconds, Slice, Whole, Words

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+")  # RFC 4512 §2.5
_RDN = rf"\s*(?:{_ATTRIBUTE.pattern})\s*=(?:[^\\,+]|\\.)+"
_DN = re.compile(rf"{_RDN}(?:[,+]{_RDN})*", re.DOTALL)  # RFC 4514 §3, and laxer: the directory has the last word
_AD_LOGIN = re.compile(r"[^@\\=,]+@[^@\\=,]+|[^@\\=,]+\\[^@\\=,]+")  # [MS-ADTS] §5.1.1.1.1: user@domain, DOMAIN\user
_HOLE = re.compile(r"\{([a-z_]+)\}")
_PORTS = {"ldap": 389, "ldaps": 636}


def _check_attribute(value: str) -> str:
    if not _ATTRIBUTE.fullmatch(value):
        raise ValueError("must be the name of an attribute, like mail")
    return value


def _check_filter(value: str) -> str:
    if not (value.startswith("(") and value.endswith(")")) or "\0" in value:
        raise ValueError("must be a filter in brackets, like (uid={login})")
    return value


def _check_holes(value: str | None, *known: str) -> str | None:
    for name in _HOLE.findall(value or ""):
        if name not in known:
            may = " and ".join(f"{{{one}}}" for one in known) or "nothing"
            raise ValueError(f"{{{name}}} is nothing that can be filled in here: {may} can")
    return value


def _check_dn(value: str) -> str:
    if not _DN.fullmatch(value):
        raise ValueError("must be a name in the directory, like ou=people,dc=example,dc=org")
    return value


def _check_bind_dn(value: str) -> str:
    return value if _AD_LOGIN.fullmatch(value) else _check_dn(value)


def _check_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_right = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right or parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be ldap://HOST[:PORT] or ldaps://HOST[:PORT], and nothing behind it")
    return value


Attribute = Annotated[str, AfterValidator(_check_attribute)]
Filter = Annotated[str, Field(max_length=4096), AfterValidator(_check_filter)]
Name = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check_dn)]
BindName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check_bind_dn)]


class LdapAttributes(Slice):
    """Which attribute of an entry says what."""

    id: Attribute = Field(
        "entryUUID", description="What stays the same when somebody is renamed; Active Directory: objectGUID."
    )
    username: Attribute = Field("uid", description="The name to sign in with; Active Directory: sAMAccountName.")
    email: Attribute | None = Field("mail", description="The e-mail address; it signs in, too.")
    name: Attribute | None = Field("cn", description="The name for people; Active Directory: displayName.")
    usertype: Attribute | None = Field(None, description="The usertype.")
    generation: Attribute | None = Field(
        None, description="What grows with a new password, pwdChangedTime or pwdLastSet: older sessions are over then."
    )


class LdapGroups(Slice):
    """Where groups come from: an attribute of the user's entry, or a search."""

    attribute: Attribute = Field("memberOf", description="Attribute of the user's entry that names his groups.")
    filter: Filter | None = Field(
        None, description="Search for groups instead: {dn} and {username} are the user's, as in (member={dn})."
    )
    base: Name | None = Field(
        None, description="Branch that holds the groups; others do not count. Left out: any; a search begins at base."
    )
    name: Attribute = Field("cn", description="Attribute that is a group's name.")

    @field_validator("filter")
    @classmethod
    def _check_filled(cls, value: str | None) -> str | None:
        return _check_holes(value, "dn", "username")


class LdapUsersSettings(Slice):
    """Users in a directory (LDAP, Active Directory)."""

    source: Literal["ldap"] = Field("ldap", description="The kind of source: ldap.")
    url: Annotated[Words, Field(min_length=1, max_length=16)] = Field(
        description="ldaps://HOST[:PORT] or ldap://HOST[:PORT]; several are tried in their order."
    )
    allow_plain: bool = Field(
        False, description="true: start_tls may be false for other hosts, so that passwords go there in the clear."
    )
    start_tls: bool | None = Field(
        None, description="TLS for ldap:// before anything is said; left out: true, except on this machine."
    )
    ca_file: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    bind_dn: BindName | None = Field(
        None, description="The entry as which the gateway searches; left out: it searches as nobody."
    )
    bind_password_file: Path | None = Field(None, description="File that holds the password of bind_dn.")
    bind_password: SecretStr | None = Field(None, description="Password of bind_dn; better in a file.")
    base: Name = Field(description="Branch that holds the users, like ou=people,dc=example,dc=org.")
    filter: Filter | None = Field(
        None, description="Finds a user, like (uid={login}): that is what was typed. Left out: by username or email."
    )
    disabled_filter: Filter | None = Field(
        None, description="Finds those who may not sign in, like (employeeType=gone)."
    )
    attributes: LdapAttributes = LdapAttributes()
    groups: LdapGroups = LdapGroups()
    usertype_by_group: dict[str, str] = Field(
        {}, description="Group: usertype; the first group here that the user is in counts, else attributes.usertype."
    )
    recheck: Seconds = Field(60.0, description="Seconds after which users who are active are looked up again.")
    connect_timeout: ShortSeconds = Field(
        3.0, description="Seconds to connect to one of the servers, TLS included, 30 at most."
    )
    timeout: ShortSeconds = Field(3.0, description="Seconds for one answer of the directory, 30 at most; then 503.")
    pool_size: Whole = Field(8, ge=1, le=1000, description="Connections per process.")

    @field_validator("usertype_by_group")
    @classmethod
    def _check_branch(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if value and "groups" in info.data and info.data["groups"].base is None:
            raise ValueError("needs groups.base: a group of the same name elsewhere must not make anybody that")
        return value

    @field_validator("url")
    @classmethod
    def _check_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_check_url(url) for url in value)

    @field_validator("start_tls")
    @classmethod
    def _check_plain(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        elsewhere = [url for url in info.data.get("url", ()) if urlsplit(url).scheme == "ldap" and not is_loopback(url)]
        if value is False and elsewhere and not info.data.get("allow_plain"):
            raise ValueError(
                "passwords would go to another host in the clear: use ldaps://, or allow_plain: true if that is meant"
            )
        return value

    @field_validator("bind_password")
    @classmethod
    def _check_bind(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        has_dn = info.data.get("bind_dn") is not None
        has_password = value is not None or info.data.get("bind_password_file") is not None
        if has_dn != has_password or (value is not None and not value.get_secret_value()):
            raise ValueError("bind_dn and its password (bind_password_file) go together")
        return value

    @field_validator("filter")
    @classmethod
    def _check_login(cls, value: str | None) -> str | None:
        if value is not None and "{login}" not in value:
            raise ValueError("must have {login}, which is what was typed")
        return _check_holes(value, "login")

    @field_validator("disabled_filter")
    @classmethod
    def _check_disabled(cls, value: str | None) -> str | None:
        return _check_holes(value)

    @property
    def search_filter(self) -> str:
        """The one given, or the one for username and e-mail address."""
        if self.filter is not None:
            return self.filter
        named = [name for name in (self.attributes.username, self.attributes.email) if name]
        return "(|" + "".join(f"({name}={{login}})" for name in dict.fromkeys(named)) + ")"

    @property
    def addresses(self) -> list[tuple[str, int, Literal["none", "start", "all"]]]:
        """Host, port, and whether TLS is there from the start, asked for, or not at all."""
        return [self._address(url) for url in self.url]

    def _address(self, url: str) -> tuple[str, int, Literal["none", "start", "all"]]:
        parts = urlsplit(url)
        assert parts.hostname is not None
        port = parts.port or _PORTS[parts.scheme]
        if parts.scheme == "ldaps":
            return parts.hostname, port, "all"
        wants = not is_loopback(url) if self.start_tls is None else self.start_tls
        return parts.hostname, port, "start" if wants else "none"

    @property
    def name(self) -> str:
        """What sessions remember."""
        return f"ldap:{self.base}"


def is_loopback(url: str) -> bool:
    """Does it stay on this machine?"""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
