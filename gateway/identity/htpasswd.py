"""Users in a password file of Apache's: lines ``name:hash`` as ``htpasswd -B`` writes them, and maybe a file of groups.

Read as Apache reads it (mod_authn_file, mod_authz_groupfile): blank lines and lines that begin with ``#`` are skipped, blanks
around a line count for nothing, and so does what stands after a second colon. Other than there, a file with a line that
cannot be right is refused as a whole, with each such line: a user who is left out in silence would be looked for for long.
A name counts in every spelling (P66), so two lines that differ only in case are refused, too. A hash with ``!`` or ``*`` before
it is a user who is locked, as in /etc/shadow (P71).

It is never written: Apache reads the same file, and does not know what a new hash would be.
"""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.identity import Identity
from gateway.errors import Problem, SettingsError
from gateway.identity.hashed import HashedSource
from gateway.identity.hashes import what_is_wrong_with_hash
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import Found, canonical
from gateway.identity.watched_file import WatchedFile, stamps_of

_LONGEST_LINE = 8192  # bytes; Apache's MAX_STRING_LEN
_LONGEST_NAME = 254
_LOCKED = ("!", "*")
_MEMBER = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]\S*)')


@dataclass(frozen=True, slots=True)
class HtpasswdEntry:
    """One user of the file."""

    username: str
    password: str = field(repr=False)
    groups: tuple[str, ...] = ()

    @property
    def disabled(self) -> bool:
        """Is the line locked?"""
        return self.password.startswith(_LOCKED)


Entries = Mapping[str, HtpasswdEntry]
"""By canonical username, which is the id, too: the file has none."""


@dataclass(frozen=True, slots=True)
class HtpasswdFiles:
    """Where the users stand. ``legacy``: are old kinds of hashes read?"""

    path: Path
    groups: Path | None = None
    legacy: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.path,) if self.groups is None else (self.path, self.groups)

    def read(self) -> Entries:
        """:raises SettingsError: every problem of the files, with its line."""
        problems: list[Problem] = []
        groups = _groups_of(self.groups, problems) if self.groups else {}
        entries: dict[str, HtpasswdEntry] = {}
        for where, line in _lines(self.path, problems):
            username, colon, rest = line.partition(":")
            stored, user_id = rest.partition(":")[0], canonical(username)
            wrong = _what_is_wrong_with(username, stored, self.legacy) if colon else "no line of the form name:hash"
            if wrong is None and user_id in entries:
                wrong = f"there is already a user who signs in as {user_id}"
            if wrong is not None:
                problems.append(Problem(where, "", wrong))
            else:
                entries[user_id] = HtpasswdEntry(username, stored, tuple(groups.get(user_id, ())))
        if problems:
            raise SettingsError(problems)
        return entries


class HtpasswdUsers(HashedSource):
    """A :class:`~gateway.identity.source.UserSource`: the files' users in memory, read again when a file changes.

    An edit that is wrong leaves the users of before, and is logged.

    :raises SettingsError: the files are wrong at the start.
    """

    in_memory = True
    writable = False

    def __init__(self, files: HtpasswdFiles, checker: PasswordChecker, name: str, usertype: str = "") -> None:
        super().__init__(name, checker)
        self._usertype = usertype
        self._known: dict[str, Identity] = {}
        seen = stamps_of(files.paths)
        self._file = WatchedFile(files.paths, files.read, files.read(), seen, self._take_over)
        self._take_over(self._file.value)

    async def find(self, login: str) -> Found | None:
        """As the file says now."""
        return await self.find_by_id(canonical(login))

    async def find_by_id(self, user_id: str) -> Found | None:
        """As the file says now."""
        await self._file.refresh()
        entry = self._file.value.get(user_id)
        if entry is None:
            return None
        return Found(self._identity(user_id, entry), "" if entry.disabled else entry.password, entry.disabled)

    def known(self, user_id: str) -> Identity | None:
        """At most a second older than the file; None: gone or locked."""
        return self._known.get(user_id)

    async def write_hash(self, user_id: str, known_hash: str, made: str, *, same_password: bool) -> Identity | None:
        """Never: see above."""
        return None

    async def watch(self) -> None:
        """Notices within a second that a file was changed, until it is cancelled."""
        await self._file.watch()

    def _take_over(self, entries: Entries) -> None:
        """The same objects as before where nothing changed, which are quick to compare."""
        now = {user_id: self._identity(user_id, entry) for user_id, entry in entries.items() if not entry.disabled}
        before = self._known
        self._known = {user_id: old if (old := before.get(user_id)) == new else new for user_id, new in now.items()}
        for user_id in before.keys() - now.keys():
            self.on_gone(before[user_id])

    def _identity(self, user_id: str, entry: HtpasswdEntry) -> Identity:
        return Identity(user_id, entry.username, usertype=self._usertype, groups=entry.groups, source=self.name)


# -- the files
def _what_is_wrong_with(username: str, stored: str, legacy: bool) -> str | None:
    """In words that never hold the hash: they are printed and logged."""
    if not username or username != username.strip() or not username.isprintable():
        return "a name must not be empty, begin or end with a blank, nor hold control characters"
    if len(username) > _LONGEST_NAME:
        return f"a name must have at most {_LONGEST_NAME} characters"
    wrong = None if stored.startswith(_LOCKED) else what_is_wrong_with_hash(stored, legacy)
    return wrong and f"the password of {username} is {wrong}; make one with: htpasswd -B"


def _groups_of(path: Path, problems: list[Problem]) -> dict[str, list[str]]:
    """The groups of each canonical username; a group may have several lines."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for where, line in _lines(path, problems, longest=None):
        name, colon, rest = line.partition(":")
        group = name.strip()
        if not colon or not group or not group.isprintable():
            problems.append(Problem(where, "", "no line of the form group: name name"))
            continue
        for quoted, plain in _MEMBER.findall(rest):
            of_user = groups[canonical(plain or re.sub(r"\\(.)", r"\1", quoted))]
            if group not in of_user:
                of_user.append(group)
    return groups


def _lines(path: Path, problems: list[Problem], longest: int | None = _LONGEST_LINE) -> Iterator[tuple[str, str]]:
    """Where each line stands, and the line; without blank ones and comments."""
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        problems.append(Problem(str(path), "", f"cannot be read: {error.strerror}"))
        return
    for number, line in enumerate(map(bytes.strip, data.split(b"\n")), 1):
        where = f"{path}:{number}"
        if longest is not None and len(line) > longest:
            problems.append(Problem(where, "", f"the line is longer than {longest} bytes"))
        elif line and not line.startswith(b"#"):
            try:
                yield where, line.decode()
            except UnicodeDecodeError:
                problems.append(Problem(where, "", "is not UTF-8"))
