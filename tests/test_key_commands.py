"""``gateway keys``: a ring in its file, changed by the commands as an operator gives them."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.commands.keys import keys as commands
from gateway.core.keys import format_key, parse_ring
from gateway.engines import session_parts
from gateway.errors import SettingsError, StartError
from gateway.key_files import RingText, change_ring
from gateway.settings import load_settings
from gateway.store.redis_server import RedisServer
from tests.harness import ROOT, GatewayProcess, run_gateway

WORDS = [format_key(bytes([number]) * 32).strip() for number in range(8)]
IDS = [parse_ring(word).active.id.hex() for word in WORDS]
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended; ``err`` is what a person reads on standard error."""

    code: int
    out: str
    err: str


def keys(*arguments: str | Path) -> Done:
    result = CliRunner().invoke(commands, list(map(str, arguments)))
    if isinstance(result.exception, StartError | SettingsError):
        return Done(1, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def ring_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "master_key"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def ids(path: Path) -> list[str]:
    return [key.id.hex() for key in parse_ring(path.read_text())]


def ago(**how_long: float) -> str:
    return (datetime.now(UTC) - timedelta(**how_long)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """One key, as ``gateway secrets`` makes it."""
    return ring_file(tmp_path, WORDS[0] + "\n")


# -- a rotation
def test_a_key_is_handed_out_in_two_steps_and_the_old_one_goes_last(ring: Path) -> None:
    assert keys("new", "--file", ring).code == 0
    old, new = ids(ring)
    assert old == IDS[0], "nothing is sealed with the new one yet"
    assert keys("rotate", "--file", ring).code == 0
    assert ids(ring) == [new, old]
    refused = keys("retire", old, "--file", ring)
    assert refused.code == 1
    assert "--force" in refused.err
    assert ids(ring) == [new, old]
    assert keys("retire", old, "--file", ring, "--force").code == 0
    assert ids(ring) == [new]


def test_a_new_key_is_another_one_each_time_and_32_bytes_long(ring: Path) -> None:
    for _ in range(5):
        keys("new", "--file", ring)
    assert len(set(ids(ring))) == 6


def test_each_command_says_which_key_it_means_and_what_comes_next(ring: Path) -> None:
    told = keys("new", "--file", ring).out
    new = ids(ring)[1]
    assert new in told
    assert f"gateway keys rotate --file {ring}" in told
    told = keys("rotate", "--file", ring).out
    assert new in told
    assert IDS[0] in told
    assert IDS[0] in keys("retire", IDS[0][:4], "--file", ring, "--force").out


def test_the_list_shows_line_id_and_use_of_each_key(tmp_path: Path) -> None:
    path = ring_file(
        tmp_path, f"# ours\n{WORDS[0]}\n{WORDS[1]}  # active until {ago(days=1)}\n{WORDS[2]} # added {ago(hours=1)}\n"
    )
    rows = [line.split() for line in keys("list", "--file", path).out.splitlines()]
    assert rows[0] == ["LINE", "ID", "USE", "NOTE"]
    assert [row[:3] for row in rows[1:]] == [["2", IDS[0], "active"], ["3", IDS[1], "opens"], ["4", IDS[2], "waits"]]
    assert rows[2][3:5] == ["active", "until"]


def test_no_command_shows_a_key(ring: Path) -> None:
    said = ""
    for arguments in (["new"], ["list"], ["rotate"], ["list"], ["retire", IDS[0]], ["retire", IDS[0], "--force"]):
        secret = [line.partition("#")[0].strip() for line in ring.read_text().splitlines()]
        done = keys(*arguments, "--file", ring)
        said += done.out + done.err
        assert [word for word in secret if word and word in said] == []
    assert len(said.splitlines()) > 6


# -- which key becomes active
def test_the_last_key_added_becomes_active(ring: Path) -> None:
    keys("new", "--file", ring)
    keys("new", "--file", ring)
    last = ids(ring)[2]
    keys("rotate", "--file", ring)
    assert ids(ring)[0] == last


def test_a_key_that_was_active_never_comes_back_by_itself(ring: Path) -> None:
    keys("new", "--file", ring)
    keys("rotate", "--file", ring)
    before = ring.read_bytes()
    again = keys("rotate", "--file", ring)
    assert again.code == 1
    assert "--to" in again.err
    assert ring.read_bytes() == before
    assert keys("rotate", "--file", ring, "--to", IDS[0]).code == 0
    assert ids(ring)[0] == IDS[0]
    assert keys("list", "--file", ring).out.splitlines()[1].split()[3:5] == ["active", "since"]


def test_keys_written_by_hand_become_active_only_when_they_are_named(tmp_path: Path) -> None:
    """``[new, old]`` and ``[old, new]`` look alike: an old one must not be promoted by a guess."""
    path = ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]}\n")
    assert keys("rotate", "--file", path).code == 1
    assert keys("rotate", "--file", path, "--to", IDS[1].upper()).code == 0
    assert ids(path) == [IDS[1], IDS[0]]


def test_to_make_the_active_key_active_changes_nothing(ring: Path) -> None:
    before = ring.stat()
    done = keys("rotate", "--file", ring, "--to", IDS[0])
    assert done.code == 0
    assert "nothing changed" in done.out
    assert ring.stat().st_ino == before.st_ino


# -- when a key may go
@pytest.mark.parametrize(
    ("behind", "may_go"),
    [
        pytest.param("# added {recently}", True, id="never active"),
        pytest.param("# active until {long_ago}", True, id="long ago"),
        pytest.param("# our old one  # active until {long_ago}", True, id="a comment before the mark"),
        pytest.param("# active until {long_ago} # our old one", True, id="a comment after the mark"),
        pytest.param("# active until {recently}", False, id="recently"),
        pytest.param("# active until {long_ago} # active until {recently}", False, id="two marks: the last counts"),
        pytest.param("# active until {tomorrow}", False, id="in the future"),
        pytest.param("", False, id="nothing is known"),
        pytest.param("# active since {long_ago}", False, id="moved by hand: nothing is known"),
        pytest.param("# active until 2020-02-31T00:00:00Z", False, id="no such day"),
        pytest.param("# active until 2020-01-01", False, id="no time"),
        pytest.param("# not active until {long_ago}", False, id="other words"),
    ],
)
def test_a_key_goes_only_when_it_is_known_that_no_session_needs_it(tmp_path: Path, behind: str, may_go: bool) -> None:
    behind = behind.format(recently=ago(seconds=3500), long_ago=ago(seconds=3700), tomorrow=ago(days=-1))
    path = ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]}  {behind}\n")
    before = path.read_bytes()
    done = keys("retire", IDS[1], "--file", path, "--absolute-timeout", "3600")
    assert done.code == (0 if may_go else 1)
    assert (ids(path) == [IDS[0]]) == may_go
    if not may_go:
        assert "--force" in done.err
        assert path.read_bytes() == before
        assert keys("retire", IDS[1], "--file", path, "--force").code == 0
        assert ids(path) == [IDS[0]]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_active_key_never_goes(tmp_path: Path, force: tuple[str, ...]) -> None:
    alone = ring_file(tmp_path, WORDS[0])
    assert "the only one" in keys("retire", IDS[0], "--file", alone, *force).err
    several = ring_file(tmp_path, f"{WORDS[0]} # active until {ago(days=9)}\n{WORDS[1]}\n")
    assert "is active" in keys("retire", IDS[0], "--file", several, *force).err
    assert ids(several) == IDS[:2]


def test_a_key_that_is_out_already_is_no_error_so_that_its_announcement_can_be_taken_back_later(ring: Path) -> None:
    keys("new", "--file", ring)
    waiting = ids(ring)[1]
    assert keys("retire", waiting, "--file", ring).code == 0
    before = ring.read_bytes()
    again = keys("retire", waiting[:5], "--file", ring)
    assert (again.code, ring.read_bytes()) == (0, before)
    assert waiting in again.out


# -- what else is in the file
def test_comments_stay_with_their_keys(tmp_path: Path) -> None:
    path = ring_file(
        tmp_path,
        f"# The ring of the shop.\n\n# made by Zoë\n{WORDS[0]}  # first\n# made by Bo\n{WORDS[1]}\t#second\n# end\n",
    )
    keys("rotate", "--file", path, "--to", IDS[1])
    text = re.sub(r"\d{4}\S+Z", "T", path.read_text())
    assert text == (
        "# The ring of the shop.\n\n"
        f"# made by Bo\n{WORDS[1]}\t#second  # active since T\n"
        f"# made by Zoë\n{WORDS[0]}  # first  # active until T\n# end\n"
    )
    keys("retire", IDS[0], "--file", path, "--force")
    text = re.sub(r"\d{4}-\S+Z", "T", path.read_text())
    assert text == (
        "# The ring of the shop.\n\n"
        f"# made by Bo\n{WORDS[1]}\t#second  # active since T\n"
        f"# made by Zoë\n# {IDS[0]} retired T  # first\n# end\n"
    )


def test_the_note_about_a_key_that_is_out_belongs_to_no_other_key(tmp_path: Path) -> None:
    path = ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]}  # added {ago(days=1)}\n# Bo's\n{WORDS[2]}\n")
    keys("retire", IDS[1], "--file", path)
    keys("rotate", "--file", path, "--to", IDS[2])
    assert [line.split("  ")[0].split(" retired")[0] for line in path.read_text().splitlines()] == [
        "# Bo's",
        WORDS[2],
        WORDS[0],
        f"# {IDS[1]}",
    ]


@pytest.mark.parametrize(
    "text", [WORDS[0], f"{WORDS[0]}\r\n# of Windows\r\n", f"\n\n  {WORDS[0]}  \n\n", f"{WORDS[0]}\n# é"]
)
def test_whatever_the_lines_end_with_a_key_gets_a_line_of_its_own(tmp_path: Path, text: str) -> None:
    path = ring_file(tmp_path, text)
    assert keys("new", "--file", path).code == 0
    assert len(ids(path)) == 2
    after = path.read_bytes()
    assert after.endswith(b"\n")
    assert after.count(b"\r\n") in (0, after.count(b"\n"))
    assert after.decode().replace("\r\n", "\n").startswith(text.replace("\r\n", "\n"))


operations = st.lists(st.tuples(st.sampled_from(["new", "rotate", "retire"]), st.integers(0, 9)), max_size=12)
comments = st.lists(st.sampled_from(["", "# a", "#b", "   # c", "# 0a1b2c3d retired 2020-01-01T00:00:00Z"]), max_size=3)


@given(
    st.lists(
        st.tuples(comments, st.integers(0, 7), st.sampled_from(["", " # x", "# y "])),
        min_size=1,
        max_size=5,
        unique_by=lambda one: one[1],
    ),
    operations,
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_is_done_no_other_key_and_no_comment_is_lost(
    lines: list[tuple[list[str], int, str]], steps: list[tuple[str, int]]
) -> None:
    ring = RingText("\n".join(line for above, key, behind in lines for line in [*above, WORDS[key] + behind]))
    wanted = [key.id for key in ring.keys]
    told = sorted(re.findall(r"# ?([abcxy])\b", str(ring)))
    for number, (what, which) in enumerate(steps):
        key = ring.keys[which % len(ring.keys)]
        if what == "new":
            ring = ring.with_new(bytes([100 + number]) * 32, NOW)
            wanted.append(ring.keys[-1].id)
        elif what == "rotate":
            ring = ring.with_active(key, NOW)
            wanted = [key.id, *(one for one in wanted if one != key.id)]
        elif not key.is_active:
            ring = ring.without(key, NOW)
            wanted.remove(key.id)
        assert [key.id for key in ring.keys] == wanted == [key.id.hex() for key in parse_ring(str(ring))]
        assert sorted(re.findall(r"# ?([abcxy])\b", str(ring))) == told


# -- the file itself
def test_mode_and_owner_are_kept_and_nothing_is_left_beside(ring: Path) -> None:
    ring.chmod(0o400 if os.getuid() == 0 else 0o600)
    if os.getuid() == 0:
        os.chown(ring, 10001, 10002)
    before = ring.stat()
    with ring.open() as opened:
        keys("new", "--file", ring)
        keys("rotate", "--file", ring)
        assert opened.read() == WORDS[0] + "\n", "replaced, not written over"
    after = ring.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [path.name for path in ring.parent.iterdir()] == ["master_key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660])
def test_a_ring_that_is_open_to_others_is_not_changed(tmp_path: Path, mode: int) -> None:
    path = ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]}\n", mode)
    before = path.read_bytes()
    for arguments in (["new"], ["rotate", "--to", IDS[1]], ["retire", IDS[1], "--force"]):
        done = keys(*arguments, "--file", path)
        assert done.code == 1
        assert "chmod 600" in done.err
    assert path.read_bytes() == before
    listed = keys("list", "--file", path)
    assert (listed.code, IDS[1] in listed.out, "chmod 600" in listed.err) == (0, True, True)


def test_commands_at_the_same_time_take_turns_and_readers_see_whole_rings(ring: Path) -> None:
    over = threading.Event()
    seen: set[int] = set()

    def read() -> None:
        while not over.is_set():
            seen.add(len(ids(ring)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            changes = [
                pool.submit(change_ring, ring, lambda ring, n=number: ring.with_new(bytes([50 + n]) * 32, NOW))
                for number in range(24)
            ]
            lengths = sorted(len(change.result().keys) for change in changes)
    finally:
        over.set()
        reader.join()
    assert lengths == list(range(2, 26)), "each found what the one before had written"
    assert len(ids(ring)) == 25
    assert seen <= set(range(1, 26))


def test_links_are_followed_and_stay(tmp_path: Path, ring: Path) -> None:
    (tmp_path / "run").mkdir()
    link = tmp_path / "run" / "secret"
    link.symlink_to("../master_key")
    outer = tmp_path / "outer"
    outer.symlink_to(link)
    assert keys("new", "--file", outer).code == 0
    assert outer.is_symlink()
    assert link.is_symlink()
    assert len(ids(ring)) == 2
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600


def test_a_secret_that_kubernetes_mounted_is_listed_but_not_changed(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_31").mkdir()
    real = ring_file(tmp_path / "..2026_01_31", WORDS[0])
    (tmp_path / "..data").symlink_to("..2026_01_31")
    (tmp_path / "master_key").symlink_to("..data/master_key")
    done = keys("new", "--file", tmp_path / "master_key")
    assert done.code == 1
    assert "where it comes from" in done.err
    assert ids(real) == [IDS[0]]
    assert IDS[0] in keys("list", "--file", tmp_path / "master_key").out


@pytest.fixture
def stranger_s_folder(short_folder: Path) -> Path:
    """A folder where a user who is not root can write."""
    short_folder.chmod(0o755)
    (short_folder / "own").mkdir()
    if os.getuid() == 0:
        os.chown(short_folder / "own", 65534, 65534)
    return short_folder / "own"


def run_as_nobody_special(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The privileges go after the imports: another user may not be able to read this Python."""
    script = (
        "import os, sys; from gateway.commands.keys import keys; from gateway.errors import StartError\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: keys()\n"
        "except StartError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_read_only_file_is_not_changed_and_the_way_out_is_told(stranger_s_folder: Path) -> None:
    path = ring_file(stranger_s_folder, WORDS[0] + "\n")
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    done = run_as_nobody_special("new", "--file", path)
    assert done.returncode == 0, done.stderr
    path.chmod(0o400)
    before = path.read_bytes()
    done = run_as_nobody_special("new", "--file", path)
    assert done.returncode == 1
    assert "read-only" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told_and_nothing_changes(stranger_s_folder: Path) -> None:
    path = ring_file(stranger_s_folder, WORDS[0] + "\n")
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    stranger_s_folder.chmod(0o555)
    done = run_as_nobody_special("new", "--file", path)
    stranger_s_folder.chmod(0o755)
    assert done.returncode == 1
    assert f"{path}: cannot be used: Permission denied" in done.stderr
    assert ids(path) == [IDS[0]]


# -- bad input
@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        pytest.param(None, ("new",), "no such file", id="missing"),
        pytest.param("", ("new",), "holds no key", id="empty"),
        pytest.param("# only\n# comments\n", ("rotate",), "holds no key", id="comments only"),
        pytest.param(f"# x\n{WORDS[0]}\n{WORDS[1]}=\n", ("new",), "line 3 is not base64url", id="broken line"),
        pytest.param(f"{WORDS[0]}\n{WORDS[1]} {WORDS[2]}\n", ("list",), "line 2 is not base64url", id="two in a line"),
        pytest.param(f"{WORDS[0]}\n{WORDS[1][:-2]}\n", ("rotate",), "line 2 is not base64url", id="too short a key"),
        pytest.param(f"{WORDS[0]}\n{WORDS[0]}\n", ("new",), "holds a key twice", id="a key twice"),
        pytest.param(f"\ufeff{WORDS[0]}\n", ("new",), "line 1 is not base64url", id="byte order mark"),
        pytest.param("\udcff", ("new",), "is not UTF-8", id="not UTF-8"),
        pytest.param(f"{WORDS[0]}\n", ("rotate",), "no key waits", id="nothing to rotate to"),
        pytest.param(f"{WORDS[0]}\n", ("rotate", "--to", "deadbeef"), "there is no key deadbeef", id="unknown id"),
        pytest.param(f"{WORDS[0]}\n", ("retire", "deadbeef"), "there is no key deadbeef", id="unknown id to retire"),
        pytest.param(f"{WORDS[0]}\n", ("retire", ""), "too short", id="no id"),
        pytest.param(f"{WORDS[0]}\n", ("retire", IDS[0][:3]), "too short", id="short id"),
        pytest.param(f"{WORDS[0]}\n", ("retire", IDS[0] + "0"), "8 hexadecimal digits", id="long id"),
        pytest.param(f"{WORDS[0]}\n", ("rotate", "--to", "nothexad"), "8 hexadecimal digits", id="not hex"),
        pytest.param(f"{WORDS[0]}\n", ("rotate", "--to", WORDS[0]), "8 hexadecimal digits", id="the key as its id"),
        pytest.param(f"{WORDS[0]}\n", ("retire", IDS[0]), "the only one", id="last key"),
    ],
)
def test_bad_input_is_told_in_words_and_changes_nothing(
    tmp_path: Path, text: str | None, arguments: tuple[str, ...], words: str
) -> None:
    path = tmp_path / "master_key"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
        path.chmod(0o600)
    done = keys(*arguments, "--file", path)
    assert done.code == 1
    assert words in done.err
    assert [word for word in WORDS if word[:20] in done.out + done.err] == []
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if text is None else ["master_key"])
    if text is not None:
        assert path.read_bytes() == text.encode(errors="surrogateescape")


def test_an_id_that_begins_two_keys_is_ambiguous(tmp_path: Path) -> None:
    """Four hexadecimal digits of chance: two keys that share them are found by trying."""
    by_prefix: dict[str, int] = {}
    pair = next(
        (by_prefix[start], number)
        for number in range(100_000)
        if by_prefix.setdefault(start := _id(number)[:4], number) != number
    )
    path = ring_file(tmp_path, f"{WORDS[0]}\n" + "".join(format_key(number.to_bytes(32)) for number in pair))
    first, second = map(_id, pair)
    done = keys("rotate", "--to", first[:4], "--file", path)
    assert done.code == 1
    assert first in done.err
    assert second in done.err
    assert keys("rotate", "--to", second, "--file", path).code == 0
    assert ids(path)[0] == second


def _id(number: int) -> str:
    return parse_ring(format_key(number.to_bytes(32))).active.id.hex()


@pytest.mark.parametrize("command", ["new", "list", "rotate"])
def test_what_is_no_file_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    assert keys(command, "--file", tmp_path / "folder").code == 2
    os.mkfifo(tmp_path / "fifo")
    assert "is no file" in keys(command, "--file", tmp_path / "fifo").err
    (tmp_path / "loop").symlink_to("loop")
    done = keys(command, "--file", tmp_path / "loop")
    assert done.code == 1
    assert "loop" in done.err
    (tmp_path / "lost").symlink_to("nowhere")
    assert "no such file" in keys(command, "--file", tmp_path / "lost").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("new",),
        ("list", "--file", "x", "--config", "y"),
        ("retire", "--file", "x"),
        ("retire", "0a1b2c3d", "--config", "x", "--absolute-timeout", "1"),
        ("retire", "0a1b2c3d", "--file", "x", "--absolute-timeout", "0"),
    ],
)
def test_a_wrong_call_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = keys(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err


# -- with a configuration
def configuration(folder: Path, keys_section: str, redis: str = "unix:///nowhere/redis.sock") -> Path:
    (folder / "users.yaml").write_text((ROOT / "config/users.yaml").read_text())
    (folder / "gateway.yaml").write_text(
        f"server: {{port: 0}}\nmanagement: {{port: 0}}\nredis: {{url: '{redis}'}}\nkeys: {keys_section}\n"
        "session: {absolute_timeout: 86400, remember: {enabled: false}}\nusers: [{source: file, path: users.yaml}]\n"
        "upstreams: {app: {url: 'http://127.0.0.1:1'}}\nroutes: [{path: /}]\n"
    )
    return folder / "gateway.yaml"


def test_the_configuration_names_the_file_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ring_file(tmp_path, WORDS[0])
    config = configuration(tmp_path, "{master_file: master_key}")
    monkeypatch.chdir("/")
    done = keys("new", "--config", config)
    assert done.code == 0, done.err
    assert len(ids(ring)) == 2
    assert f"gateway keys rotate --config {config}" in done.out
    (tmp_path / "other").write_text(WORDS[2])
    (tmp_path / "other").chmod(0o600)
    monkeypatch.setenv("GATEWAY__KEYS__MASTER_FILE", "other")
    assert keys("new", "--config", config).code == 0
    assert (len(ids(ring)), len(ids(tmp_path / "other"))) == (2, 2)


@pytest.mark.parametrize("command", [("new",), ("rotate",), ("list",), ("retire", IDS[0])])
def test_keys_that_are_in_no_file_have_to_be_changed_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    config = configuration(tmp_path, f"{{master: {WORDS[0]}}}")
    done = keys(*command, "--config", config)
    assert done.code == 1
    assert f"keys.master in {config}" in done.err
    ring_file(tmp_path, WORDS[0])
    config = configuration(tmp_path, "{master_file: master_key}")
    monkeypatch.setenv("GATEWAY__KEYS__MASTER", WORDS[1])
    done = keys(*command, "--config", config)
    assert done.code == 1
    assert "the variable GATEWAY__KEYS__MASTER" in done.err
    assert WORDS[0] not in done.err
    assert WORDS[1] not in done.err
    assert ids(tmp_path / "master_key") == [IDS[0]]


def test_a_configuration_that_is_wrong_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path = ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]}=\n")
    done = keys("new", "--config", configuration(tmp_path, "{master_file: master_key}"))
    assert done.code == 1
    assert "line 2 is not base64url" in done.err
    assert WORDS[1] not in done.err
    assert path.read_text().count("\n") == 2


# -- with a store
@pytest.fixture
def away(tmp_path: Path) -> Path:
    """A configuration whose Redis is away, with a waiting key and one that is long over."""
    ring_file(tmp_path, f"{WORDS[0]}\n{WORDS[1]} # active until {ago(days=2)}\n{WORDS[2]} # added {ago(days=2)}\n")
    return configuration(tmp_path, "{master_file: master_key}")


@pytest.fixture
def site(away: Path, redis_server: RedisServer) -> Path:
    """The same with its Redis."""
    return configuration(away.parent, "{master_file: master_key}", f"unix://{redis_server.socket}")


def test_without_the_store_the_list_shows_the_file_and_says_what_is_missing(away: Path) -> None:
    done = keys("list", "--config", away)
    assert done.code == 1
    assert IDS[1] in done.out
    assert "the session store cannot be used" in done.err


def test_without_the_store_a_key_becomes_active_only_by_force(away: Path) -> None:
    done = keys("rotate", "--config", away)
    assert done.code == 1
    assert "--force" in done.err
    assert ids(away.parent / "master_key") == IDS[:3]
    assert keys("rotate", "--config", away, "--force").code == 0
    assert ids(away.parent / "master_key") == [IDS[2], IDS[0], IDS[1]]


def test_without_the_store_a_key_is_out_but_stays_announced_until_the_command_is_given_again(
    away: Path, redis_server: RedisServer
) -> None:
    done = keys("retire", IDS[1], "--config", away)
    assert done.code == 1
    assert f"gateway keys retire {IDS[1]} --config {away}" in done.err
    assert ids(away.parent / "master_key") == [IDS[0], IDS[2]]
    back = configuration(away.parent, "{master_file: master_key}", f"unix://{redis_server.socket}")
    assert keys("retire", IDS[1], "--config", back).code == 0


def test_session_absolute_timeout_says_how_long_a_key_is_needed(site: Path) -> None:
    path = ring_file(site.parent, f"{WORDS[0]}\n{WORDS[1]} # active until {ago(hours=23)}\n")
    assert "--force" in keys("retire", IDS[1], "--config", site).err
    path.write_text(f"{WORDS[0]}\n{WORDS[1]} # active until {ago(hours=25)}\n")
    assert keys("retire", IDS[1], "--config", site).code == 0


def test_whoever_asked_to_be_kept_signed_in_needs_a_key_for_longer(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY__SESSION__REMEMBER__ENABLED", "true")
    monkeypatch.setenv("GATEWAY__SESSION__REMEMBER__ABSOLUTE_TIMEOUT", str(3 * 86400))
    path = ring_file(site.parent, f"{WORDS[0]}\n{WORDS[1]} # active until {ago(hours=71)}\n")
    assert "--force" in keys("retire", IDS[1], "--config", site).err
    path.write_text(f"{WORDS[0]}\n{WORDS[1]} # active until {ago(hours=73)}\n")
    assert keys("retire", IDS[1], "--config", site).code == 0


def test_a_store_in_which_nobody_announced_anything_is_not_taken_for_a_yes(site: Path) -> None:
    """It was emptied, or it is another one than the gateways use."""
    done = keys("rotate", "--config", site)
    assert done.code == 1
    assert IDS[2] in done.err
    assert "--force" in done.err
    assert ids(site.parent / "master_key") == IDS[:3]
    assert keys("rotate", "--config", site, "--force").code == 0
    assert ids(site.parent / "master_key")[0] == IDS[2]


def test_with_engine_memory_there_is_nothing_to_ask(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY__SESSION__ENGINE", "memory")
    done = keys("rotate", "--config", away)
    assert done.code == 0, done.err
    assert ids(away.parent / "master_key")[0] == IDS[2]


def test_what_the_store_says_is_a_sentence_and_no_log_comes_with_it(away: Path, redis_server: RedisServer) -> None:
    """As a process: what is logged goes to its standard error."""
    done = run_gateway(
        "keys", "rotate", "--config", str(away), environment={"GATEWAY__REDIS__URL": "redis://127.0.0.1:1"}
    )
    assert done.returncode == 1
    assert "the session store cannot be used: " in done.stderr
    assert ".:" not in done.stderr
    site = configuration(away.parent, "{master_file: master_key}", f"unix://{redis_server.socket}")
    announce(site, [WORDS[7]])
    done = run_gateway("keys", "list", "--config", str(site))
    assert IDS[7] in done.stdout, "it is announced, and nobody here has it"
    assert (done.returncode, done.stderr) == (0, "")


def announce(config: Path, words: list[str]) -> None:
    """As a gateway with these keys does."""

    async def run() -> None:
        parts = session_parts(load_settings(config, {}), parse_ring("\n".join(words)))
        await parts.announcements.begin()
        await parts.close()

    asyncio.run(run())


def announced(config: Path) -> dict[str, str]:
    """Id → what the list says."""
    done = keys("list", "--config", config)
    assert done.code == 0, done.err
    rows = [re.split(r"  +", line) for line in done.out.splitlines()[1:]]
    return {row[1]: row[-1] for row in rows}


def test_a_rotation_with_gateways_that_run(site: Path) -> None:
    """No key is active that they do not have; a key that is out is announced no more."""
    ring = site.parent / "master_key"
    with GatewayProcess("serve", "--config", str(site)):
        assert keys("new", "--config", site).code == 0
        new = ids(ring)[3]
        until(lambda: announced(site) == {IDS[0]: "yes", IDS[1]: "yes", IDS[2]: "yes", new: "no"})
        early = keys("rotate", "--config", site)
        assert early.code == 1
        assert "503" in early.err
        assert ids(ring)[0] == IDS[0]
    with GatewayProcess("serve", "--config", str(site)):
        until(lambda: announced(site)[new] == "yes")
        assert keys("rotate", "--config", site).code == 0
        assert ids(ring)[0] == new
        assert keys("retire", IDS[1], "--config", site).code == 0
        assert IDS[1] not in announced(site)
        by_hand = ring.read_text().splitlines(keepends=True)
        ring.write_text("".join(line for line in by_hand if not line.startswith(WORDS[2])))
        assert announced(site)[IDS[2]] == "(announced, not in this file!)"


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
