"""``gateway keys … --signing``: the keys that sign tokens, in their file, changed by the commands as an operator gives them."""

from __future__ import annotations

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.signing_keys import PUBLISHED
from gateway.core.signing_keys import Algorithm, SigningKey, SigningKeys, State, parse_signing_keys
from gateway.handlers.jwks import Jwks
from gateway.signing_key_files import change_signing_keys, first_keys, fresh_key, read_signing_keys
from tests.harness import ROOT, run_gateway
from tests.test_key_commands import Done, ago, configuration, ring_file
from tests.test_key_commands import keys as any_keys

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NEEDED = 300 + 10 + 60
"""Seconds: tokens.lifetime, tokens.leeway and a margin."""
MASTER_WORD = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def keys(command: str, *arguments: str | Path) -> Done:
    return any_keys(command, "--signing", *arguments)


def read(path: Path) -> list[tuple[str, str]]:
    """Id and state of each key."""
    return [(key.kid, key.state) for key in read_signing_keys(path)]


def aged(path: Path, **how_long: float) -> None:
    """As if the last change of each key had been so long ago."""
    data = json.loads(path.read_text())
    for key in data["keys"]:
        key["at"] = ago(**how_long)
    path.write_text(json.dumps(data))


def key_file(folder: Path, *states: tuple[State, str]) -> Path:
    """Keys in these states since then."""
    path = folder / "signing_keys"
    made = [replace(fresh_key("EdDSA", state, NOW), at=at).private_jwk() for state, at in states]
    path.touch(0o600)
    path.write_text(json.dumps({"keys": made}))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One key that signs, as the first command makes it."""
    path = tmp_path / "signing_keys"
    assert keys("new", "--file", path).code == 0
    return path


# -- a rotation
def test_the_first_key_makes_the_file_for_its_owner_only_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signing_keys"
    done = keys("new", "--file", path)
    assert done.code == 0, done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = read_signing_keys(path)
    assert (key.state, key.algorithm) == ("active", "EdDSA")
    assert key.kid in done.out


def test_a_key_is_published_before_it_signs_and_kept_after_it_stopped(file: Path) -> None:
    ((old, _),) = read(file)
    done = keys("new", "--file", file)
    (_, (new, _)) = read(file)
    assert f"gateway keys rotate --signing --file {file}" in done.out
    assert read(file) == [(old, "active"), (new, "next")]
    assert {jwk["kid"] for jwk in read_signing_keys(file).jwks()["keys"]} == {old, new}
    early = keys("rotate", "--file", file)
    assert early.code == 1
    assert "--force" in early.err
    assert read(file) == [(old, "active"), (new, "next")]
    aged(file, seconds=PUBLISHED.total_seconds() + 1)
    assert keys("rotate", "--file", file).code == 0
    assert read(file) == [(old, "old"), (new, "active")]
    early = keys("retire", old, "--file", file)
    assert early.code == 1
    assert "--force" in early.err
    assert read(file) == [(old, "old"), (new, "active")]
    aged(file, seconds=NEEDED + 1)
    assert keys("retire", old, "--file", file).code == 0
    assert read(file) == [(new, "active")]


@pytest.mark.parametrize("command", ["rotate", "retire"])
def test_a_command_that_has_to_wait_says_until_when(tmp_path: Path, command: str) -> None:
    path = key_file(tmp_path, ("active", ""), ("next" if command == "rotate" else "old", ago(seconds=0)))
    told = keys(command, *([] if command == "rotate" else [read(path)[1][0]]), "--file", path).err
    until = [datetime.fromisoformat(text) for text in re.findall(r"until (\d\S+Z)", told)]
    wait = (until[-1] - datetime.now(UTC)).total_seconds()
    whole = PUBLISHED.total_seconds() if command == "rotate" else NEEDED
    assert whole - 60 < wait <= whole


def test_a_key_waits_longer_than_any_cache_keeps_the_set() -> None:
    assert PUBLISHED.total_seconds() > Jwks.MAX_AGE


def test_force_does_not_wait(file: Path) -> None:
    keys("new", "--file", file)
    (old, _), (new, _) = read(file)
    assert keys("rotate", "--file", file, "--force").code == 0
    assert keys("retire", old, "--file", file, "--force").code == 0
    assert read(file) == [(new, "active")]


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HS256"])
def test_each_algorithm_gives_a_key_that_signs_what_it_verifies(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "signing_keys"
    assert keys("new", "--file", path, "--algorithm", algorithm).code == 0
    key = read_signing_keys(path).active
    assert key.algorithm == algorithm
    assert key.verifies(b"text", key.sign(b"text"))
    assert not key.verifies(b"another", key.sign(b"text"))
    keys("new", "--file", path)
    assert [key.algorithm for key in read_signing_keys(path)] == [algorithm, algorithm], "as the active one"
    keys("new", "--file", path, "--algorithm", "EdDSA")
    assert [key.algorithm for key in read_signing_keys(path)][2] == "EdDSA"


def test_a_shared_secret_is_never_published_and_the_operator_is_told_to_hand_it_out(file: Path) -> None:
    done = keys("new", "--file", file, "--algorithm", "HS256")
    found = read_signing_keys(file)
    assert [jwk["kid"] for jwk in found.jwks()["keys"]] == [found.active.kid]
    assert "secret" in done.out


def test_the_list_shows_id_algorithm_state_and_from_when_on_the_next_step_is_possible(tmp_path: Path) -> None:
    at = "2026-01-31T12:00:00Z"
    path = key_file(tmp_path, ("old", at), ("active", at), ("next", at), ("next", ""))
    rows = [re.split(r"  +", line) for line in keys("list", "--file", path).out.splitlines()]
    assert rows[0] == ["ID", "ALGORITHM", "STATE", "SINCE", "NOTE"]
    assert [(row[0], row[2]) for row in rows[1:]] == read(path)
    assert [row[3:] for row in rows[1:]] == [
        [at, "may be retired from 2026-01-31T12:06:10Z"],
        [at, "-"],
        [at, "may sign from 2026-01-31T12:06:00Z"],
        ["-", "-"],
    ]


def secrets_in(path: Path) -> list[str]:
    """The private members of all keys (RFC 7518 §6)."""
    found = json.loads(path.read_text())["keys"]
    return [key[name] for key in found for name in ("d", "k", "p", "q", "dp", "dq", "qi") if name in key]


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "HS256"])
def test_no_command_shows_a_key(tmp_path: Path, algorithm: str) -> None:
    path, said, hidden = tmp_path / "signing_keys", "", []
    for arguments in (["new"], ["new"], ["list"], ["rotate"], ["rotate", "--force"], ["list"], ["retire", "nope"]):
        more = ["--algorithm", algorithm] if arguments == ["new"] else []
        done = keys(*arguments, *more, "--file", path)
        said += done.out + done.err
        hidden += secrets_in(path)
    assert [word for word in hidden if word in said] == []
    assert hidden
    assert len(said.splitlines()) > 6


# -- which key becomes active
def test_the_last_key_added_becomes_active(file: Path) -> None:
    keys("new", "--file", file)
    keys("new", "--file", file)
    aged(file, hours=1)
    assert keys("rotate", "--file", file).code == 0
    assert [state for _, state in read(file)] == ["old", "next", "active"]


def test_a_key_that_has_signed_never_comes_back_by_itself_but_by_its_name_and_at_once(file: Path) -> None:
    keys("new", "--file", file)
    keys("rotate", "--file", file, "--force")
    (first, _), (second, _) = read(file)
    again = keys("rotate", "--file", file)
    assert again.code == 1
    assert "gateway keys new --signing" in again.err
    assert keys("rotate", "--file", file, "--to", first[:8]).code == 0, "everybody knows it already"
    assert read(file) == [(first, "active"), (second, "old")]


def test_to_make_the_active_key_active_changes_nothing(file: Path) -> None:
    before = file.stat()
    done = keys("rotate", "--file", file, "--to", read(file)[0][0])
    assert done.code == 0
    assert "nothing changed" in done.out
    assert file.stat().st_ino == before.st_ino


@pytest.mark.parametrize("at", ["", "yesterday", "2020-02-31T00:00:00Z", "{future}", "{now}"])
def test_a_key_signs_only_when_it_is_known_that_it_was_published_for_long_enough(tmp_path: Path, at: str) -> None:
    path = key_file(tmp_path, ("active", ""), ("next", at.format(future=ago(days=-1), now=ago(seconds=0))))
    before = path.read_bytes()
    refused = keys("rotate", "--file", path)
    assert refused.code == 1
    assert "--force" in refused.err
    assert path.read_bytes() == before
    assert keys("rotate", "--file", path, "--force").code == 0
    assert [state for _, state in read(path)] == ["old", "active"]


# -- when a key may go
@pytest.mark.parametrize(
    ("state", "at", "may_go"),
    [
        pytest.param("next", "{now}", True, id="it has signed nothing"),
        pytest.param("next", "", True, id="it has signed nothing, and says nothing"),
        pytest.param("old", "{long_ago}", True, id="long ago"),
        pytest.param("old", "2020-01-31", True, id="a day is a time"),
        pytest.param("old", "{recently}", False, id="recently"),
        pytest.param("old", "{future}", False, id="in the future"),
        pytest.param("old", "", False, id="nothing is known"),
        pytest.param("old", "long ago", False, id="no time"),
    ],
)
def test_a_key_goes_only_when_it_is_known_that_no_token_needs_it(
    tmp_path: Path, state: State, at: str, may_go: bool
) -> None:
    times = {"now": ago(seconds=0), "recently": ago(seconds=NEEDED - 30), "future": ago(days=-1)}
    at = at.format(long_ago=ago(seconds=NEEDED + 5), **times)
    path = key_file(tmp_path, ("active", ""), (state, at))
    before, kid = path.read_bytes(), read(path)[1][0]
    done = keys("retire", kid, "--file", path)
    assert done.code == (0 if may_go else 1)
    if not may_go:
        assert "--force" in done.err
        assert path.read_bytes() == before
        assert keys("retire", kid, "--file", path, "--force").code == 0
    assert [state for _, state in read(path)] == ["active"]


def test_without_a_configuration_the_lifetime_of_tokens_can_be_said(tmp_path: Path) -> None:
    path = key_file(tmp_path, ("active", ""), ("old", ago(seconds=NEEDED + 100)))
    kid = read(path)[1][0]
    assert keys("retire", kid, "--file", path, "--token-lifetime", "600").code == 1
    assert keys("retire", kid, "--file", path, "--token-lifetime", "360").code == 0


def test_assertions_for_backends_need_a_key_for_a_minute_however_short_tokens_live(tmp_path: Path) -> None:
    path = key_file(tmp_path, ("active", ""), ("old", ago(seconds=100)))
    assert keys("retire", read(path)[1][0], "--file", path, "--token-lifetime", "1").code == 1


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_active_key_never_goes(tmp_path: Path, force: tuple[str, ...]) -> None:
    path = key_file(tmp_path, ("active", ago(days=9)))
    kid = read(path)[0][0]
    assert "the only one" in keys("retire", kid, "--file", path, *force).err
    keys("new", "--file", path)
    assert "is active" in keys("retire", kid, "--file", path, *force).err
    assert len(read(path)) == 2


@pytest.mark.parametrize("name", ["", "abc", "nobody-has-this", "*"])
def test_an_id_has_to_mean_one_key(file: Path, name: str) -> None:
    keys("new", "--file", file)
    before = file.read_bytes()
    assert keys("retire", name, "--file", file, "--force").code == 1
    assert keys("rotate", "--to", name, "--file", file, "--force").code == 1
    assert file.read_bytes() == before


def test_an_id_that_could_be_two_keys_is_none(tmp_path: Path) -> None:
    path = key_file(tmp_path, ("active", ""), ("next", ""), ("next", ""))
    data = json.loads(path.read_text())
    data["keys"][0]["kid"], data["keys"][1]["kid"], data["keys"][2]["kid"] = "1", "same-1", "same-2"
    path.write_text(json.dumps(data))
    done = keys("retire", "same-", "--file", path)
    assert done.code == 1
    assert "same-1 or same-2" in done.err
    assert keys("retire", "same-2", "--file", path).code == 0
    assert keys("rotate", "--force", "--file", path, "--to", "same-1").code == 0
    assert keys("rotate", "--file", path, "--to", "1").code == 0, "a whole id, however short"
    assert read(path) == [("1", "active"), ("same-1", "old")]


def test_no_id_looks_like_an_option() -> None:
    assert not any(fresh_key("HS256", "next", NOW).kid.startswith("-") for _ in range(1000))


# -- the file
def test_mode_owner_and_links_are_kept(tmp_path: Path, file: Path) -> None:
    file.chmod(0o400 if os.getuid() == 0 else 0o700)
    if os.getuid() == 0:
        os.chown(file, 10001, 10002)
    before = file.stat()
    (tmp_path / "link").symlink_to("signing_keys")
    assert keys("new", "--file", tmp_path / "link").code == 0
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert (tmp_path / "link").is_symlink()
    assert len(read(file)) == 2


@pytest.mark.parametrize("command", [("new",), ("rotate", "--force"), ("list",), ("retire", "abcd", "--force")])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_keys_that_others_can_read_are_not_used(file: Path, command: tuple[str, ...], mode: int) -> None:
    before = file.read_bytes()
    file.chmod(mode)
    done = keys(*command, "--file", file)
    assert done.code == 1
    assert f"chmod 600 {file}" in done.err
    assert file.read_bytes() == before


@pytest.mark.parametrize("command", [("rotate",), ("list",), ("retire", "abcd")])
def test_only_new_makes_a_file_and_the_others_say_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = keys(*command, "--file", tmp_path / "nowhere")
    assert done.code == 1
    assert "gateway keys new --signing" in done.err or "no such file" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "loop", "lost"])
def test_a_place_where_no_file_can_be_is_told_without_a_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    done = keys("new", "--file", tmp_path / name)
    assert done.code == 1
    assert str(tmp_path / name) in done.err
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("text", ["", "{}", MASTER_WORD, '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'])
def test_a_file_that_is_no_set_of_signing_keys_is_left_alone_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signing_keys"
    path.touch(0o600)
    path.write_text(text)
    for command in (("new",), ("rotate", "--force"), ("list",), ("retire", "abcd", "--force")):
        done = keys(*command, "--file", path)
        assert done.code == 1
        assert str(path) in done.err
        assert MASTER_WORD not in done.err
        assert "c2VjcmV0" not in done.err
    assert path.read_text() == text


def test_the_two_kinds_of_keys_are_never_mixed_up(tmp_path: Path, file: Path) -> None:
    ring = ring_file(tmp_path, MASTER_WORD)
    before = ring.read_bytes(), file.read_bytes()
    assert keys("new", "--file", ring).code == 1
    assert any_keys("new", "--file", file).code == 1
    assert (ring.read_bytes(), file.read_bytes()) == before


def test_commands_at_the_same_time_take_turns(file: Path) -> None:
    def add(number: int) -> None:
        change_signing_keys(file, lambda keys: [*keys, fresh_key("EdDSA", "next", NOW)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert len(read(file)) == 25
    assert [path.name for path in file.parent.iterdir()] == ["signing_keys"]


def test_a_change_that_would_leave_no_active_key_is_not_written(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match="active"):
        change_signing_keys(file, lambda keys: [])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("new", "--signing"),
        ("new", "--signing", "--file", "x", "--config", "y"),
        ("new", "--file", "x", "--algorithm", "EdDSA"),
        ("new", "--signing", "--file", "x", "--algorithm", "none"),
        ("rotate", "--signing", "--file", "x", "--algorithm", "EdDSA"),
        ("retire", "--signing", "--file", "x"),
        ("retire", "abcd", "--signing", "--file", "x", "--absolute-timeout", "9"),
        ("retire", "abcd", "--signing", "--config", "x", "--token-lifetime", "9"),
        ("retire", "abcd", "--file", "x", "--token-lifetime", "9"),
        ("retire", "abcd", "--signing", "--file", "x", "--token-lifetime", "0"),
    ],
)
def test_a_wrong_call_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = any_keys(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err


# -- with a configuration
@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that names the file of signing keys, which is there."""
    ring_file(tmp_path, MASTER_WORD)
    keys("new", "--file", tmp_path / "signing_keys")
    monkeypatch.setenv("GATEWAY__TOKENS__KEYS_FILE", "signing_keys")
    return configuration(tmp_path, "{master_file: master_key}")


def test_the_configuration_names_the_file_and_no_store_is_asked(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.parent / "signing_keys"
    monkeypatch.chdir("/")
    done = keys("new", "--config", config)
    assert done.code == 0, done.err
    assert f"gateway keys rotate --signing --config {config}" in done.out
    assert keys("rotate", "--config", config, "--force").code == 0
    assert [state for _, state in read(path)] == ["old", "active"]
    assert keys("list", "--config", config).code == 0


def test_the_lifetime_and_the_leeway_of_the_settings_say_how_long_a_key_is_needed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(config.parent, ("active", ""), ("old", ago(seconds=3600)))
    kid = read(path)[1][0]
    monkeypatch.setenv("GATEWAY__TOKENS__LIFETIME", "3590")
    assert keys("retire", kid, "--config", config).code == 1
    monkeypatch.setenv("GATEWAY__TOKENS__LIFETIME", "3520")
    assert keys("retire", kid, "--config", config).code == 0


def test_the_first_command_makes_the_file_that_the_configuration_names(config: Path) -> None:
    path = config.parent / "signing_keys"
    path.unlink()
    for command in (("list",), ("rotate",), ("retire", "abcd")):
        done = keys(*command, "--config", config)
        assert (done.code, path.exists()) == (1, False)
        assert str(path) in done.err
    done = keys("new", "--config", config)
    assert done.code == 0, done.err
    assert [state for _, state in read(path)] == ["active"]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_gateway_does_not_start_without_the_file_that_its_configuration_names(config: Path, command: str) -> None:
    path = config.parent / "signing_keys"
    path.chmod(0o644)
    done = run_gateway(command, "--config", str(config))
    assert done.returncode == 1
    assert f"chmod 600 {path}" in done.stderr
    path.unlink()
    done = run_gateway(command, "--config", str(config))
    assert done.returncode == 1
    assert f"{path}: there is no such file; gateway keys new --signing --file {path} makes one" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_configuration_without_tokens_names_no_signing_keys(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY__TOKENS__KEYS_FILE")
    done = keys("new", "--config", config)
    assert done.code == 1
    assert "tokens.keys_file" in done.err


def test_what_was_done_stands_in_the_audit_log_without_a_secret(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit, path = config.parent / "audit.log", config.parent / "signing_keys"
    monkeypatch.setenv("GATEWAY__LOG__AUDIT", str(audit))
    for where in (("--config", config), ("--file", path)):
        audit.unlink(missing_ok=True)
        assert keys("new", *where).code == 0
        assert keys("rotate", *where, "--force").code == 0
        old = next(kid for kid, state in read(path) if state == "old")
        assert keys("retire", old, *where, "--force").code == 0
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        assert [line["event"] for line in lines] == ["key_added", "key_activated", "key_retired"]
        new = read(path)[0][0]
        assert [line["key"] for line in lines] == [new, new, old]
        assert {line["file"] for line in lines} == {str(path)}
        assert not any(secret in audit.read_text() for secret in secrets_in(path))
        assert keys("retire", "nobody", *where).code == 1
        assert len(audit.read_text().splitlines()) == 3, "a refused command has done nothing"


def test_the_text_of_a_new_file_is_a_set_of_one_key_that_signs() -> None:
    algorithms: tuple[Algorithm, ...] = ("EdDSA", "ES256", "HS256")
    for algorithm in algorithms:
        made: SigningKeys = parse_signing_keys(first_keys(algorithm, NOW))
        (key,) = made
        assert (key.state, key.algorithm, key.at) == ("active", algorithm, "2026-01-31T12:00:00Z")


def test_neither_keys_nor_errors_tell_a_secret_in_their_repr(file: Path) -> None:
    found: Any = read_signing_keys(file)
    shown = repr(found) + "".join(repr(key) for key in found)
    assert isinstance(found.active, SigningKey)
    assert not any(secret in shown for secret in secrets_in(file))


# -- the documentation
def test_the_commands_of_the_documentation_do_what_it_says_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "secrets" / "signing_keys"
    page = (ROOT / "docs/keys.md").read_text(encoding="utf-8").partition("\n## Signing keys")[2]
    states = []
    for line in re.findall(r"^\$ gateway keys (.+)$", page, flags=re.M):
        words = line.split()
        if "ID" in words:
            words[words.index("ID")] = next(kid for kid, state in read(path) if state == "old")
        if path.exists() and "--force" not in words:
            aged(path, seconds=NEEDED + 1)
        done = any_keys(*words)
        assert done.code == 0, (line, done.err)
        states.append([state for _, state in read(path)])
    assert states == [
        ["active"],
        ["active", "next"],
        ["active", "next"],
        ["old", "active"],
        ["active"],
        ["active", "next"],
        ["old", "active"],
        ["active"],
    ]
