"""Makes the sources of users that the configuration names, each from its slice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.passwords import PasswordPolicy
from gateway.errors import Problem, SettingsError
from gateway.identity.common_passwords import make_policy
from gateway.identity.htpasswd import HtpasswdFiles, HtpasswdUsers
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import UserSource
from gateway.identity.users_file import FileUsers, read_users
from gateway.settings.model import Settings
from gateway.settings.users import FileSource, HtpasswdSource, UserSourceSettings
from gateway.settings.users_http import HttpUsersSettings
from gateway.settings.users_ldap import LdapUsersSettings
from gateway.settings.users_sql import SqlUsersSettings
from gateway.upstream.tls import TlsError, client_context

if TYPE_CHECKING:
    from gateway.identity.ldap_directory import Access


def source_names(settings: Settings) -> list[str]:
    """What sessions remember of each source of users, in the configured order: its kind, and its file's name or host; of
    several of one name the later ones have a number, too.
    """
    names: list[str] = []
    for source in settings.users:
        name = _name(source)
        names.append(f"{name}#{len(names)}" if name in names else name)
    return names


def _name(source: UserSourceSettings) -> str:
    match source:
        case HttpUsersSettings():
            return f"http:{urlsplit(source.url).netloc.lower()}"
        case SqlUsersSettings():
            return source.name
        case LdapUsersSettings():
            return source.name
        case FileSource():
            return f"file:{source.path.name}"
        case HtpasswdSource():
            return f"htpasswd:{source.path.name}"


def make_sources(settings: Settings, checker: PasswordChecker) -> list[UserSource]:
    """Connects to nothing yet.

    :raises SettingsError: a file is wrong.
    """
    sources: list[UserSource] = []
    for number, (given, name) in enumerate(zip(settings.users, source_names(settings), strict=True)):
        try:
            sources.append(_make(given, checker, name))
        except SettingsError as error:
            raise SettingsError([_numbered(problem, number) for problem in error.problems]) from error
    return sources


def _numbered(problem: Problem, number: int) -> Problem:
    """A value's place among the sources; what is wrong in a file has its line already."""
    if problem.where != "users":
        return problem
    return replace(problem, where="the configuration", key=f"users.{number}.{problem.key}")


def _make(given: UserSourceSettings, checker: PasswordChecker, name: str) -> UserSource:
    match given:
        case HttpUsersSettings():
            return _http(given, name)
        case LdapUsersSettings():
            return _ldap(given, name)
        case SqlUsersSettings():
            return _sql(given, checker, name)
        case FileSource():
            return FileUsers(read_users(given.path, legacy=given.legacy_hashes), checker, name)
        case HtpasswdSource():
            return HtpasswdUsers(files_of(given), checker, name, given.usertype or "")


def files_of(given: HtpasswdSource) -> HtpasswdFiles:
    """Where the users of Apache's password file stand."""
    return HtpasswdFiles(given.path, given.groups_file, given.legacy_hashes)


def _sql(given: SqlUsersSettings, checker: PasswordChecker, name: str) -> UserSource:
    """Imported late: SQLAlchemy is half of the time that a start takes."""
    from gateway.identity.sql_users import SqlOptions, SqlUsers
    from gateway.sql_sources import asking_of, database_of

    asking = asking_of(given)
    options = SqlOptions(name, given.can_write, given.recheck, given.legacy_hashes)
    return SqlUsers(options, checker, database_of(given, asking), asking)


def _http(given: HttpUsersSettings, name: str) -> UserSource:
    from gateway.identity.http_answers import Pointers, StillThere, Success
    from gateway.identity.http_users import HttpUsers, LookupCall, SignInCall, Way

    success, lookup = given.success, given.lookup
    is_json = given.format == "json"
    sign_in = SignInCall(
        given.url,
        Success(frozenset(success.status), success.answer, success.redirect or "", success.cookie or ""),
        Pointers(**given.identity.model_dump(exclude_none=True)),
        is_json,
        given.fields.username,
        given.fields.password,
        given.extra if is_json else {key: _form_text(value) for key, value in given.extra.items()},
    )
    call = None
    if lookup is not None:
        there = StillThere(frozenset(lookup.status), lookup.answer, frozenset(lookup.gone))
        found = Pointers(**(lookup.identity or given.identity).model_dump(exclude_none=True))
        call = LookupCall(lookup.url, there, found)
    try:
        tls = client_context(ca_file=given.ca_file)
    except TlsError as error:
        raise SettingsError([Problem("users", error.setting, str(error))]) from error
    way = Way(given.headers, given.timeout, given.max_requests, tls, given.forward_address)
    return HttpUsers(name, sign_in, call, way, given.recheck)


def _form_text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ldap(given: LdapUsersSettings, name: str) -> UserSource:
    from gateway.identity.ldap_directory import Directory
    from gateway.identity.ldap_entries import Names
    from gateway.identity.ldap_filters import Template
    from gateway.identity.ldap_users import Groups, LdapUsers, Search

    def template(setting: str, text: str, *holes: str) -> Template:
        try:
            return Template(text, *holes)
        except ValueError as error:
            raise SettingsError([Problem("users", setting, str(error))]) from error

    groups = given.groups
    searched = template("groups.filter", groups.filter, "dn", "username") if groups.filter else None
    base = groups.base or (given.base if searched else "")
    attribute = "" if searched else groups.attribute
    disabled = template("disabled_filter", given.disabled_filter) if given.disabled_filter else None
    return LdapUsers(
        name,
        Directory(_ldap_access(given), name),
        Search(given.base, template("filter", given.search_filter, "login"), disabled),
        Names(**{key: value or "" for key, value in given.attributes.model_dump().items()}, groups=attribute),
        Groups(base, searched, groups.name, given.usertype_by_group),
        given.recheck,
    )


def _ldap_access(given: LdapUsersSettings) -> Access:
    from gateway.identity.ldap_directory import Access
    from gateway.identity.ldap_link import Address, tls_context

    try:
        context = tls_context(given.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError([Problem("users", "ca_file", f"{given.ca_file}: no certificates in it")]) from error
    return Access(
        tuple(Address(*address) for address in given.addresses),
        context,
        given.bind_dn or "",
        given.bind_password.get_secret_value() if given.bind_password else "",
        given.connect_timeout,
        given.timeout,
        given.pool_size,
    )


def password_policy(settings: Settings) -> PasswordPolicy:
    """What new passwords have to be.

    :raises SettingsError: the operator's list of common ones cannot be read.
    """
    given = settings.passwords
    return make_policy(given.min_length, refuse=given.common == "refuse", file=given.common_file)
