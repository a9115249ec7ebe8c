"""Files that the configuration names: secrets are read from them, and their paths start at its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from gateway.errors import Problem
from gateway.settings.model import Settings
from gateway.settings.sources import Loc, Places
from gateway.settings.users_sql import SqlUsersSettings

Part = TypeVar("Part", bound=BaseModel)
TLS_FILES = ("ca_file", "cert_file", "key_file")
_SECRETS = (("redis", "password"), ("redis", "sentinel_password"), ("sql", "url"), ("keys", "master"))
_SECRETS_OF_USERS = ("url", "bind_password")
_FILES_OF_USERS = ("path", "groups_file", *TLS_FILES)


@dataclass(frozen=True, slots=True)
class NoUsersFile(Problem):
    """A users file that is not there yet: ``gateway users add`` can make it."""

    path: Path


@dataclass(slots=True)
class Checks:
    """What is gathered while checking. ``folder``: what relative paths are relative to."""

    places: Places
    folder: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, loc: Loc, what: str) -> None:
        """Notes a problem; a second one at the same place says nothing new."""
        key = ".".join(str(part) for part in loc)
        if not any(problem.key == key for problem in self.problems):
            self.problems.append(Problem(self.places.of(loc), key, what))


def read_secret_files(data: dict[str, Any], checks: Checks) -> None:
    """``password_file: x`` gives ``password``; in the environment too (``GATEWAY__REDIS__PASSWORD_FILE``)."""
    for loc, part, name in [*_sections(data), *_sources(data), *_clients(data), *_routes(data)]:
        file = part.get(f"{name}_file")
        if file is None:
            continue
        if name in part:
            checks.add((*loc, f"{name}_file"), f"give either {name} or {name}_file")
        elif isinstance(file, str):
            _read_secret_file(part, name, file, (*loc, f"{name}_file"), checks)
    keys = data.get("keys", {})
    if isinstance(keys, dict) and not {"master", "master_file"} & keys.keys():
        checks.add(("keys",), "a master key is needed: gateway secrets makes one; then keys.master_file names it")


def _sections(data: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any], str]]:
    for section, name in _SECRETS:
        if isinstance(part := data.get(section), dict):
            yield (section,), part, name


def _sources(data: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any], str]]:
    for loc, part in _listed_sources(data):
        yield from ((loc, part, name) for name in _SECRETS_OF_USERS)


def _clients(data: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any], str]]:
    tokens = data.get("tokens")
    clients = tokens.get("clients") if isinstance(tokens, dict) else None
    for index, part in enumerate(clients if isinstance(clients, list) else ()):
        if isinstance(part, dict):
            yield ("tokens", "clients", index), part, "secret"


def _routes(data: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any], str]]:
    routes = data.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        if isinstance(route, dict) and isinstance(part := route.get("backend_auth"), dict):
            yield ("routes", index, "backend_auth"), part, "password"


def _listed_sources(data: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    users = data.get("users")
    for index, part in enumerate(users if isinstance(users, list) else ()):
        if isinstance(part, dict):
            yield ("users", index), part


def _read_secret_file(part: dict[str, Any], name: str, file: str, loc: Loc, checks: Checks) -> None:
    try:
        text = (checks.folder / file).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        checks.add(loc, "the file is not UTF-8")
    except (OSError, ValueError) as error:
        checks.add(loc, f"{checks.folder / file} cannot be read: {getattr(error, 'strerror', None) or 'not a path'}")
    else:
        if text:
            part[name] = SecretStr(text)
        else:
            checks.add(loc, "the file is empty")


def check_named_files(data: dict[str, Any], checks: Checks) -> None:
    """Can they be read? The audit log is only written: a place for it has to be there."""
    audit = log.get("audit") if isinstance(log := data.get("log"), dict) else None
    if isinstance(audit, str) and audit.startswith("/") and not Path(audit).parent.is_dir():
        checks.add(("log", "audit"), f"there is no folder {Path(audit).parent}")
    elif isinstance(audit, str) and audit.startswith("/") and Path(audit).is_dir():
        checks.add(("log", "audit"), f"{audit} is a folder; give the path of a file")
    redis = data.get("redis")
    named = [((*loc, name), part.get(name)) for loc, part in _listed_sources(data) for name in _FILES_OF_USERS]
    if isinstance(redis, dict):
        named += [(("redis", name), redis.get(name)) for name in TLS_FILES]
    if isinstance(passwords := data.get("passwords"), dict):
        named.append((("passwords", "common_file"), passwords.get("common_file")))
    for loc, path in named:
        if not isinstance(path, str):
            continue
        try:
            (checks.folder / path).open("rb").close()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "not a path"
            checks.add(loc, f"{checks.folder / path} cannot be read: {why}")
            if isinstance(error, FileNotFoundError) and _is_users_file(data, loc):
                problem = checks.problems[-1]
                checks.problems[-1] = NoUsersFile(problem.where, problem.key, problem.what, checks.folder / path)


def _is_users_file(data: dict[str, Any], loc: Loc) -> bool:
    """One that ``gateway users`` writes; of other kinds of sources somebody else makes the files."""
    return loc[0] == "users" and loc[-1] == "path" and data["users"][loc[1]].get("source", "file") == "file"


def with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    """Every path in them starts at the folder, databases of SQLite included."""
    made = _absolute(settings, folder)
    sql = made.sql.model_copy(update={"url": absolute_sqlite(made.sql.url, folder)})
    users = tuple(
        one.model_copy(update={"url": absolute_sqlite(one.url, folder)}) if isinstance(one, SqlUsersSettings) else one
        for one in made.users
    )
    return made.model_copy(update={"sql": sql, "users": users})


def _absolute(part: Part, folder: Path) -> Part:
    update = {
        name: _moved(value, folder) for name in type(part).model_fields if (value := getattr(part, name)) is not None
    }
    return part.model_copy(update=update)


def _moved(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, BaseModel):
        return _absolute(value, folder)
    if isinstance(value, tuple):
        return tuple(_moved(one, folder) for one in value)
    return {name: _moved(one, folder) for name, one in value.items()} if isinstance(value, dict) else value


def absolute_sqlite(url: SecretStr | None, folder: Path) -> SecretStr | None:
    """``sqlite:///x.db`` is a path like any other here: every process and command means the same file."""
    scheme, found, path = url.get_secret_value().partition(":///") if url else ("", "", "")
    if not found or not scheme.startswith("sqlite") or path.startswith(("/", ":memory:")) or not path:
        return url
    return SecretStr(f"{scheme}:///{folder / path}")
