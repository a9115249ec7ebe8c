"""The users of all sources, and those of a file: who is current, and a file that changes while it is used."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from gateway.core.identity import Identity
from gateway.errors import SettingsError, SourceUnavailable
from gateway.identity.hashes import verify_password
from gateway.identity.passwords import PasswordChecker
from gateway.identity.source import Found, NotChanged, RemoteSource, UserSource
from gateway.identity.users import Users
from gateway.identity.users_file import FileUsers, UsersFile, read_users
from tests.core.tables import table

HASH = bcrypt.hashpw(b"alice-demo", bcrypt.gensalt(4)).decode()
FILE = f"""# the people
users:
- username: alice  # the boss
  password: {HASH}
  id: a1

# from here on: guests
- username: bob
  password: {HASH}
  generation: 4
- {{username: carol, password: {HASH}, disabled: true}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users.yaml"
    file.write_text(FILE)
    return file


@pytest.fixture(scope="module")
def checker() -> Iterator[PasswordChecker]:
    checker = PasswordChecker(1)
    yield checker
    checker.close()


@pytest.fixture
def source(path: Path, checker: PasswordChecker) -> FileUsers:
    return FileUsers(read_users(path), checker, "file:users")


class Elsewhere(RemoteSource):
    """A source that has nothing in memory: LDAP, a database. ``away``: it does not answer."""

    def __init__(self, user: Identity | None = None, name: str = "elsewhere", recheck: float = 0.0) -> None:
        super().__init__(name, recheck)
        self.user = user
        self.away = False
        self.asked = 0

    def _answer(self) -> None:
        if self.away:
            raise SourceUnavailable("it is away")

    async def find(self, login: str) -> Found | None:
        self._answer()
        return Found(self.user) if self.user and login == self.user.username else None

    async def verify(self, found: Found | None, login: str, password: str) -> Identity | None:
        self._answer()
        return found.identity if found and password == "right" else None

    async def get(self, user_id: str) -> Identity | None:
        self.asked += 1
        self._answer()
        return self.user if self.user and self.user.id == user_id else None


def generation(source: FileUsers, user_id: str) -> int | None:
    known = source.known(user_id)
    return known.generation if known else None


async def sign_in(source: UserSource, login: str, password: str) -> Identity | None:
    return await source.verify(await source.find(login), login, password)


async def sign_in_anywhere(users: Users, login: str, password: str) -> Identity | None:
    verified = await users.verify(await users.find(login), password)
    return verified.user if verified else None


def somebody(user_id: str, generation: int = 0, source: str = "file:users", name: str = "") -> Identity:
    username = name or {"a1": "alice"}.get(user_id, user_id)
    return Identity(user_id, username, source=source, generation=generation)


# -- who is current
CURRENT = {
    "as at the sign-in": (somebody("a1"), True),
    "as at the sign-in, after changes": (somebody("bob", 4), True),
    "the password was changed since": (somebody("bob", 3), False),
    "changed by another worker, not noticed here yet": (somebody("bob", 5), True),
    "gone": (somebody("dora"), False),
    "another name under the same id: perhaps somebody else": (somebody("a1", name="bob"), False),
    "another spelling of the name": (somebody("a1", name="ＡＬＩＣＥ"), True),
    "the username is not the id": (somebody("alice"), False),
    "disabled": (somebody("carol"), False),
    "of a source no longer configured": (somebody("a1", source="file:others"), False),
    "of no source": (somebody("a1", source=""), False),
    "of a source that cannot say": (somebody("x", 7, "elsewhere"), True),
}


@pytest.mark.parametrize(("user", "is_current"), table(CURRENT))
def test_a_session_goes_on_while_its_user_is_who_signed_in(source: FileUsers, user: Identity, is_current: bool) -> None:
    assert (Users([source, Elsewhere()]).as_now(user) is not None) is is_current


@pytest.mark.parametrize(("user", "is_current"), table(CURRENT))
async def test_a_user_that_is_not_current_is_not_loaded(source: FileUsers, user: Identity, is_current: bool) -> None:
    users = Users([source, Elsewhere(somebody("x", 7, "elsewhere"))])
    loaded = await users.get(user)
    assert (loaded is not None and loaded.id == user.id) is is_current


async def test_users_of_a_source_that_does_not_tell_are_looked_up_again_while_they_are_active() -> None:
    """Never on the path of a request: what is asked is what was known, and the next answer is the new one."""
    before = somebody("x", 7, "elsewhere")
    source = Elsewhere(before, recheck=0.05)
    users = Users([source])
    watching = asyncio.create_task(users.watch())

    async def becomes(expected: Identity | None) -> None:
        async with asyncio.timeout(10):
            while users.as_now(before) != expected:
                await asyncio.sleep(0.01)

    try:
        assert users.as_now(before) is before
        assert source.asked == 0
        source.user = replace(before, usertype="mgr", groups=("a",))
        await becomes(source.user)
        source.away = True
        asked = source.asked
        async with asyncio.timeout(10):
            while source.asked < asked + 3:
                assert users.as_now(before) == source.user, "an outage is no news"
                await asyncio.sleep(0.01)
        source.away, source.user = False, replace(before, generation=8)
        await becomes(None)
        assert users.as_now(somebody("x", 9, "elsewhere")) == somebody("x", 9, "elsewhere"), "it signed in later"
        source.user = None
        await becomes(None)
        async with asyncio.timeout(10):
            while users.as_now(somebody("x", 9, "elsewhere")) is not None:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()


async def test_users_who_are_not_active_are_looked_up_no_more() -> None:
    source = Elsewhere(somebody("x", 7, "elsewhere"), recheck=0.02)
    users = Users([source])
    watching = asyncio.create_task(users.watch())
    try:
        users.as_now(somebody("x", 7, "elsewhere"))
        async with asyncio.timeout(10):
            while not source.asked:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert source.asked <= 2
        assert users.as_now(somebody("x", 7, "elsewhere")) == somebody("x", 7, "elsewhere")
    finally:
        watching.cancel()


async def test_a_newer_password_that_was_taken_back_ends_its_sessions_after_a_moment(source: FileUsers) -> None:
    """A users file from the backup: until another process could have noticed, the newer one is right."""
    now = 0.0
    users = Users([source], clock=lambda: now)
    ahead = somebody("bob", 5)
    assert users.as_now(ahead) is ahead
    now = 4.9
    assert users.as_now(ahead) is ahead
    now = 5.1
    assert users.as_now(ahead) is None


async def test_who_is_gone_for_sure_is_told_once_and_who_comes_back_is_not() -> None:
    """A table that is filled anew is empty for a moment: refused then, and told only when it stays so."""
    before = somebody("x", 0, "elsewhere")
    source = Elsewhere(before, recheck=0.2)
    users, told = Users([source]), list[Identity]()
    users.tell_gone(told.append)
    watching = asyncio.create_task(users.watch())

    async def becomes(expected: Identity | None) -> None:
        async with asyncio.timeout(10):
            while users.as_now(before) != expected:
                await asyncio.sleep(0.005)

    try:
        source.user = None
        await becomes(None)
        source.user = before
        await becomes(before)
        assert told == []
        source.user = None
        await becomes(None)
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.01)
        asked = source.asked
        async with asyncio.timeout(10):
            while source.asked < asked + 2:
                users.as_now(before)
                await asyncio.sleep(0.01)
        assert told == [before]
    finally:
        watching.cancel()


async def test_users_of_a_file_who_stay_removed_or_disabled_are_told(source: FileUsers, path: Path) -> None:
    told: list[Identity] = []
    users = Users([source])
    users.tell_gone(told.append, 0.3)
    edited = FILE.replace("- username: alice", "- username: dora").replace("id: a1", "id: d1")
    for text in (edited, FILE, edited.replace("generation: 4", "disabled: true")):  # the first was a mistake
        path.write_text(text)
        settle(path)
        await source.refresh()
        assert (users.as_now(somebody("a1")) is None) is (text is not FILE)
        if text is FILE:
            await asyncio.sleep(0.5)
            assert [user.id for user in told] == ["d1"]
    await until(lambda: len(told) == 3)
    assert {user.id for user in told} == {"d1", "a1", "bob"}


@pytest.mark.parametrize(
    "now", [None, Identity("x", "x", usertype="former", source="elsewhere")], ids=["gone", "other"]
)
async def test_what_changed_is_not_forgotten_when_its_user_does_nothing_for_a_while(now: Identity | None) -> None:
    """Else his session would have its old rights back, until it is looked up again (P60)."""
    before = somebody("x", 0, "elsewhere")
    source = Elsewhere(before, recheck=0.02)
    users = Users([source])
    watching = asyncio.create_task(users.watch())
    try:
        source.user = now
        users.as_now(before)
        async with asyncio.timeout(10):
            while users.as_now(before) == before:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)  # fifteen times the time after which it would be forgotten
        assert users.as_now(before) == now
    finally:
        watching.cancel()


async def test_who_is_seen_for_the_first_time_is_looked_up_at_once() -> None:
    """By a process that has just been started, say: not after a share of ``recheck``."""
    source = Elsewhere(None, recheck=3600.0)
    users = Users([source])
    watching = asyncio.create_task(users.watch())
    try:
        async with asyncio.timeout(10):
            while users.as_now(somebody("x", 7, "elsewhere")) is not None:
                await asyncio.sleep(0.005)
    finally:
        watching.cancel()


class Restarted(Elsewhere):
    """Of a process that was just started: ``stuck`` users hang, the others are ``gone`` since they signed in."""

    def __init__(self, gone: set[str], stuck: set[str]) -> None:
        super().__init__(recheck=0.2)
        self.gone, self.stuck = gone, stuck

    async def get(self, user_id: str) -> Identity | None:
        await super().get(user_id)
        if user_id in self.stuck:
            await asyncio.sleep(60)
        return None if user_id in self.gone else somebody(user_id, 0, "elsewhere")


async def refused_after(users: Users, user: Identity) -> float:
    """Seconds from the first request on."""
    begun = time.monotonic()
    async with asyncio.timeout(20):
        while users.as_now(user) is not None:
            await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def test_a_round_that_takes_long_does_not_delay_who_is_seen_for_the_first_time() -> None:
    """A user who was disabled while this process was not there: within a second, of three that a loaded machine gets."""
    usual = [somebody(f"u{number}", 0, "elsewhere") for number in range(20)]
    source = Restarted({"x"}, set())
    users = Users([source])
    watching = asyncio.create_task(users.watch())
    try:
        for user in usual:
            users.as_now(user)
        await until(lambda: source.asked >= len(usual))
        source.stuck = {user.id for user in usual}
        asked = source.asked

        await until(
            lambda: all(map(users.as_now, usual)) and source.asked > asked
        )  # the next round has begun, and hangs
        assert await refused_after(users, somebody("x", 0, "elsewhere")) < 3
    finally:
        watching.cancel()


async def test_who_could_not_be_looked_up_is_looked_up_a_moment_after_his_source_is_back() -> None:
    """Not after a share of ``recheck``."""
    source = Elsewhere(None, recheck=3600.0)
    source.away = True
    users, user = Users([source]), somebody("x", 7, "elsewhere")
    watching = asyncio.create_task(users.watch())
    try:
        assert users.as_now(user) is user
        await until(lambda: source.asked > 0)
        assert users.as_now(user) is user, "an outage is no news"
        source.away = False
        assert await refused_after(users, user) < 3
    finally:
        watching.cancel()


async def test_a_login_that_is_not_asked_for_does_not_say_that_a_source_is_back() -> None:
    source = Elsewhere(somebody("x", 0, "elsewhere"))
    users = Users([source])
    source.away = True
    with pytest.raises(SourceUnavailable):
        await sign_in_anywhere(users, "x", "right")
    source.away = False
    assert await sign_in_anywhere(users, "", "wrong") is None, "as from a source that asks for no such name"
    assert users.remote() == {"elsewhere": False}
    assert await sign_in_anywhere(users, "x", "right") is not None
    assert users.remote() == {"elsewhere": True}


async def test_a_source_that_is_away_leaves_the_others_and_calls_no_password_wrong(source: FileUsers) -> None:
    away = Elsewhere()
    away.away = True
    users = Users([away, source])
    found = await sign_in_anywhere(users, "alice", "alice-demo")
    assert found is not None
    assert found.id == "a1"
    for login in ("alice", "nobody"):
        with pytest.raises(SourceUnavailable):
            await sign_in_anywhere(users, login, "wrong")


async def test_the_first_source_that_knows_login_and_password_signs_in(source: FileUsers) -> None:
    other = somebody("alice", 1, "elsewhere")
    users = Users([source, Elsewhere(other)])
    mine = await sign_in_anywhere(users, "alice", "alice-demo")
    assert mine is not None
    assert (mine.id, mine.source) == ("a1", "file:users")
    assert await sign_in_anywhere(users, "alice", "right") == other
    assert await sign_in_anywhere(users, "alice", "wrong") is None


async def test_a_password_is_changed_in_the_source_of_the_user(source: FileUsers) -> None:
    users = Users([source, Elsewhere()])
    for user in (somebody("a1", source="elsewhere"), somebody("a1", source="gone")):
        assert await users.change_password(user, "alice-demo", "a new secret") is NotChanged.IMPOSSIBLE
    changed = await users.change_password(somebody("a1"), "alice-demo", "a new secret")
    assert isinstance(changed, Identity)
    assert changed.generation == 1


def test_two_sources_of_one_name_are_refused(source: FileUsers) -> None:
    with pytest.raises(SettingsError, match="the same name"):
        Users([source, Elsewhere(name="file:users")])


# -- a change of the password
async def test_a_changed_password_counts_at_once_and_moves_the_generation(source: FileUsers, path: Path) -> None:
    before = await sign_in(source, "alice", "alice-demo")
    assert before is not None
    assert before.generation == 0
    assert await source.change_password("a1", "alice-demo", "a new secret") == replace(before, generation=1)
    assert source.known("a1") == replace(before, generation=1)
    assert await sign_in(source, "alice", "alice-demo") is None
    assert await sign_in(source, "alice", "a new secret") == replace(before, generation=1)
    kept = read_users(path)
    assert kept.by_id["a1"].password.startswith("$argon2id$")
    assert (kept.by_id["bob"].password, kept.by_id["bob"].generation) == (HASH, 4)


@pytest.mark.parametrize(
    ("user_id", "old"),
    [("a1", "wrong"), ("a1", ""), ("alice", "alice-demo"), ("nobody", "alice-demo"), ("carol", "alice-demo")],
    ids=["wrong", "empty", "username-for-id", "gone", "disabled"],
)
async def test_a_wrong_old_password_changes_nothing(source: FileUsers, path: Path, user_id: str, old: str) -> None:
    assert await source.change_password(user_id, old, "a new secret") is NotChanged.WRONG
    assert path.read_text() == FILE


async def test_of_two_changes_at_once_one_counts(source: FileUsers, path: Path, checker: PasswordChecker) -> None:
    """Both knew the old password; the second to write finds another one."""
    other = FileUsers(read_users(path), checker, source.name)  # another worker
    done = await asyncio.gather(
        *(one.change_password("a1", "alice-demo", f"secret {number}") for number, one in enumerate([source, other] * 2))
    )
    winners = [number for number, outcome in enumerate(done) if isinstance(outcome, Identity)]
    assert len(winners) == 1
    assert {outcome for outcome in done if not isinstance(outcome, Identity)} == {NotChanged.WRONG}
    kept = read_users(path).by_id["a1"]
    assert kept.generation == 1
    assert verify_password(kept.password, f"secret {winners[0]}")


async def test_a_file_that_is_wrong_since_an_edit_takes_no_new_password(source: FileUsers, path: Path) -> None:
    path.write_text("users: [")
    assert await source.change_password("a1", "alice-demo", "a new secret") is NotChanged.IMPOSSIBLE
    assert path.read_text() == "users: ["
    assert await sign_in(source, "alice", "alice-demo") is not None


@pytest.fixture
async def unwritable(checker: PasswordChecker) -> AsyncIterator[FileUsers]:
    """A source whose folder this process may read only; root, who may everything, is nobody meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="gwt-"))
    (folder / "users.yaml").write_text(FILE)
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield FileUsers(read_users(folder / "users.yaml"), checker)
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


async def test_a_file_that_cannot_be_written_takes_no_new_password(unwritable: FileUsers) -> None:
    assert await unwritable.change_password("a1", "wrong", "a new secret") is NotChanged.WRONG
    assert await unwritable.change_password("a1", "alice-demo", "a new secret") is NotChanged.IMPOSSIBLE
    assert await sign_in(unwritable, "alice", "alice-demo") is not None
    assert generation(unwritable, "a1") == 0


# -- the file for the commands
def test_setting_a_password_moves_the_generation_and_keeps_the_rest_where_it_was(path: Path) -> None:
    file = UsersFile(path)
    for name in ("ALICE", "bob", "carol"):
        assert file.set_password(name, HASH.replace("$2b$", "$2y$"))
    assert not file.set_password("dora", HASH)
    lines = path.read_text().splitlines()
    assert [lines.index(line) for line in ("# the people", "# from here on: guests", "- username: bob")] == [0, 7, 8]
    assert lines[2] == "- username: alice  # the boss"
    assert lines[3] == "  generation: 1"
    table = read_users(path)
    assert {entry.username: entry.generation for entry in table.by_id.values()} == {"alice": 1, "bob": 5, "carol": 1}
    assert table.by_id["carol"].disabled


def test_other_changes_leave_the_generations(path: Path) -> None:
    file = UsersFile(path)
    file.add({"username": "dora", "password": HASH})
    assert file.remove("alice")
    assert {entry.username: entry.generation for entry in file.entries()} == {"bob": 4, "carol": 0, "dora": 0}


def test_a_file_behind_a_link_is_changed_and_the_link_stays(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "people.yaml"
    link.parent.mkdir()
    link.symlink_to(path)
    assert UsersFile(link).set_password("alice", HASH)
    assert link.is_symlink()
    assert read_users(path).by_id["a1"].generation == 1


def test_a_changed_file_belongs_to_whom_it_belonged(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    path.chmod(0o640)
    before = path.stat()
    assert UsersFile(path).set_password("alice", HASH)
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert after.st_ino != before.st_ino


async def test_changes_at_the_same_time_are_all_kept(path: Path) -> None:
    names = [f"user{number}" for number in range(12)]
    rows = [{"username": name, "password": HASH} for name in names]
    await asyncio.gather(*(asyncio.to_thread(UsersFile(path).add, row) for row in rows))
    assert {entry.username for entry in UsersFile(path).entries()} == {"alice", "bob", "carol", *names}
    await asyncio.gather(*(asyncio.to_thread(UsersFile(path).set_password, "bob", HASH) for _ in range(6)))
    assert read_users(path).by_id["bob"].generation == 10
    assert [entry.name for entry in path.parent.iterdir()] == ["users.yaml"]


GENERATIONS = {
    "negative": ("-1", "must not be negative"),
    "a text": ("'1'", "must be a whole number"),
    "a fraction": ("1.5", "must be a whole number"),
    "a whole fraction": ("1.0", "must be a whole number"),
    "true": ("true", "must be a whole number"),
    "nothing": ("", "must be a whole number"),
    "a list": ("[1]", "must be a whole number"),
    "more than JSON keeps": ("9007199254740992", "must be at most"),
}


@pytest.mark.parametrize(("value", "words"), table(GENERATIONS))
def test_a_generation_that_is_none_is_told_with_its_line(tmp_path: Path, value: str, words: str) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"users:\n- username: alice\n  password: {HASH}\n  generation: {value}\n")
    with pytest.raises(SettingsError) as error:
        read_users(path)
    assert len(error.value.problems) == 1
    assert str(error.value).startswith(f"{path}:2: users.0.generation: {words}")


NO_YAML = {
    "a tag that does not fit": "id: !!bool",
    "a mapping that is none": "id: !!omap",
    "a number that is none": "id: !!int",
    "a date that is none": "id: 2020-13-99 #",
    "a field given twice": "password:",
    "an anchor that is none": "id: *x #",
    "another YAML": None,
}


@pytest.mark.parametrize("field", NO_YAML.values(), ids=NO_YAML)
def test_what_is_no_yaml_is_told_without_showing_a_hash(path: Path, field: str | None) -> None:
    path.write_text(FILE.replace("id: a1", f"{field} {HASH}") if field else f"%YAML 9.9\n---\n{FILE}")
    with pytest.raises(SettingsError) as error:
        read_users(path)
    assert str(error.value).startswith(str(path))
    assert HASH[7:] not in str(error.value)


# -- the file changes while it is used
async def test_whoever_signs_in_is_looked_for_in_the_file_as_it_is_now(source: FileUsers, path: Path) -> None:
    UsersFile(path).add({"username": "dora", "password": HASH})
    assert source.known("dora") is None
    assert await sign_in(source, "dora", "alice-demo") is not None
    assert generation(source, "dora") == 0
    assert UsersFile(path).remove("dora")
    assert await sign_in(source, "dora", "alice-demo") is None


EDITS = {
    "the password": FILE.replace(f"password: {HASH}\n  id: a1", f"password: {HASH}\n  id: a1\n  generation: 1"),
    "disabled": FILE.replace("id: a1", "id: a1\n  disabled: true"),
    "another id": FILE.replace("id: a1", "id: a2"),
    "no users": "users: []\n",
}


@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "in-place"])
@pytest.mark.parametrize("text", EDITS.values(), ids=EDITS)
async def test_an_edit_is_noticed_without_anybody_asking(
    source: FileUsers, path: Path, text: str, is_replaced: bool
) -> None:
    users = Users([source])
    alice = somebody("a1")
    watching = asyncio.create_task(users.watch())
    if is_replaced:
        (path.parent / "new").write_text(text)
        os.replace(path.parent / "new", path)
    else:
        path.write_text(text)
    await until(lambda: users.as_now(alice) is None)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


BROKEN = {
    "no YAML": "users: [",
    "nothing": "",
    "half a file": FILE[: FILE.index("password")],
    "no hash": FILE.replace(HASH, "secret"),
    "no text": "\x00\xff",
    "deep": "a: " + "[" * 200,
    "a list of nothing": "users: [5, null]",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_broken_edit_leaves_the_users_of_before_until_it_is_mended(
    source: FileUsers, path: Path, text: str
) -> None:
    path.write_text(text, encoding="latin-1")
    settle(path)
    await source.refresh()
    assert (generation(source, "a1"), generation(source, "bob")) == (0, 4)
    assert await sign_in(source, "alice", "alice-demo") is not None
    path.write_text(FILE.replace("generation: 4", "generation: 5"))
    settle(path)
    await source.refresh()
    assert generation(source, "bob") == 5


async def test_a_file_that_is_away_leaves_its_users_and_is_read_when_it_is_back(source: FileUsers, path: Path) -> None:
    path.rename(path.parent / "away")
    await source.refresh()
    assert generation(source, "bob") == 4
    (path.parent / "away").write_text(FILE.replace("generation: 4", "generation: 5"))
    settle(path.parent / "away")
    (path.parent / "away").rename(path)
    await source.refresh()
    assert generation(source, "bob") == 5


async def test_an_editor_that_is_half_way_has_removed_nobody(source: FileUsers, path: Path) -> None:
    path.write_text(FILE[: FILE.index("\n# from here on")])
    for _ in range(50):  # a machine that is busy may need more than one try to look early enough
        os.utime(path)
        started = time.time()
        await source.refresh()
        if time.time() - started < 0.04:
            break
    assert generation(source, "bob") == 4
    settle(path)
    await source.refresh()
    assert source.known("bob") is None


async def test_callers_at_the_same_time_all_see_what_was_written_before(source: FileUsers, path: Path) -> None:
    first = asyncio.create_task(source.refresh())
    await asyncio.sleep(0)
    assert UsersFile(path).set_password("bob", HASH)  # while the first one looks
    await asyncio.gather(*(source.refresh() for _ in range(10)))
    assert generation(source, "bob") == 5
    await first


def settle(path: Path) -> None:
    """As if the file had been written a while ago."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 10**9))


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
