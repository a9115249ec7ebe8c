"""The file of the signing keys beside a running gateway: followed when it changes, and never worse than before."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.commands.signing_keys import PUBLISHED
from gateway.core.access_tokens import AccessTokens
from gateway.core.identity import Identity
from gateway.core.signing_keys import Algorithm, SigningKeys
from gateway.errors import StartError
from gateway.handlers.jwks import Jwks
from gateway.signing_key_files import (
    SigningKeyFile,
    change_signing_keys,
    first_keys,
    fresh_key,
    read_signing_keys,
    why_it_must_stay,
    why_not_sign,
    with_active,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def write(path: Path, text: str) -> None:
    """As an editor that writes another file and puts it in the place of this one."""
    other = path.with_name("other")
    other.touch(0o600)
    other.write_text(text)
    other.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One key."""
    file = tmp_path / "signing_keys"
    write(file, first_keys("EdDSA", NOW))
    return file


def add_key(path: Path) -> SigningKeys:
    return change_signing_keys(path, lambda keys: [*keys, fresh_key("EdDSA", "next", NOW)])


def kids(keys: SigningKeys) -> list[str]:
    return [key.kid for key in keys]


# -- the start
def test_at_the_start_the_keys_are_there(path: Path) -> None:
    assert kids(SigningKeyFile(path).keys()) == kids(read_signing_keys(path))


def spoiled(path: Path, how: str) -> None:
    """Makes the file unusable."""
    text = path.read_text()
    match how:
        case "open to the group":
            path.chmod(0o640)
        case "open to all":
            path.chmod(0o604)
        case "away":
            path.unlink()
        case "a folder":
            path.unlink()
            path.mkdir(0o700)
        case "a pipe":
            path.unlink()
            os.mkfifo(path, 0o600)
        case "a link to nowhere":
            path.unlink()
            path.symlink_to("nowhere")
        case "half":
            write(path, text[: len(text) // 2])
        case "empty":
            write(path, "")
        case "bytes":
            path.write_bytes(b"\xff\xfe")
        case "no active key":
            write(path, text.replace('"active"', '"old"'))
        case "a key twice":
            data = json.loads(text)
            write(path, json.dumps({"keys": data["keys"] * 2}))
        case "only the public part":
            data = json.loads(text)
            del data["keys"][0]["d"]
            write(path, json.dumps(data))


SPOILED = [
    "open to the group",
    "open to all",
    "away",
    "a folder",
    "a pipe",
    "a link to nowhere",
    "half",
    "empty",
    "bytes",
    "no active key",
    "a key twice",
    "only the public part",
]


@pytest.mark.parametrize("how", SPOILED)
def test_a_file_that_cannot_be_used_stops_the_start_with_its_name_and_without_its_content(path: Path, how: str) -> None:
    secret = json.loads(path.read_text())["keys"][0]["d"]
    spoiled(path, how)
    with pytest.raises(StartError) as raised:
        SigningKeyFile(path)
    assert str(path) in str(raised.value)
    assert secret not in str(raised.value)


# -- while it runs
@asynccontextmanager
async def watched(file: SigningKeyFile) -> AsyncIterator[None]:
    task = asyncio.create_task(file.watch())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_a_change_is_taken_over_without_a_restart(path: Path) -> None:
    file = SigningKeyFile(path)
    async with watched(file):
        wanted = await asyncio.to_thread(add_key, path)
        await until(lambda: kids(file.keys()) == kids(wanted))


async def test_while_nothing_changes_the_keys_are_the_same_object(path: Path) -> None:
    """What was made of them is kept for as long as they are."""
    file = SigningKeyFile(path)
    before = file.keys()
    await file.refresh()
    assert file.keys() is before
    add_key(path)
    await file.refresh()
    assert file.keys() is not before


@pytest.mark.parametrize("how", SPOILED)
async def test_a_broken_edit_keeps_the_keys_from_before_until_the_file_is_right_again(
    path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = SigningKeyFile(path)
    before, text = file.keys(), path.read_text()
    spoiled(path, how)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await file.refresh()
    assert file.keys() is before
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1, "once, not every second"
    assert json.loads(text)["keys"][0]["d"] not in told[0]
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    write(path, text)
    wanted = add_key(path)
    await file.refresh()
    assert kids(file.keys()) == kids(wanted)


async def test_a_file_that_was_open_to_others_is_used_once_its_mode_is_right(path: Path) -> None:
    """``chmod`` changes neither the file's size nor its time of modification."""
    file = SigningKeyFile(path)
    text = first_keys("ES256", NOW)
    write(path, text)
    path.chmod(0o644)
    await file.refresh()
    assert file.keys().active.algorithm == "EdDSA"
    path.chmod(0o600)
    await file.refresh()
    assert file.keys().active.algorithm == "ES256"


async def test_a_mounted_secret_that_is_switched_by_a_link_is_followed(tmp_path: Path) -> None:
    """As Kubernetes does: ``signing_keys`` → ``..data/signing_keys``, and ``..data`` → another folder each time."""
    for name, algorithm in dict[str, Algorithm](first="EdDSA", second="ES256").items():
        (tmp_path / name).mkdir()
        write(tmp_path / name / "signing_keys", first_keys(algorithm, NOW))
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "signing_keys").symlink_to("..data/signing_keys")
    file = SigningKeyFile(tmp_path / "signing_keys")
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").replace(tmp_path / "..data")
    await file.refresh()
    assert file.keys().active.algorithm == "ES256"


async def test_an_editor_that_writes_in_place_is_never_met_half_way(path: Path) -> None:
    """Nothing but a whole set is one: a part of it is no JSON."""
    file = SigningKeyFile(path)
    text = first_keys("EdDSA", NOW)
    seen = {file.keys().active.kid}
    with path.open("r+") as handle:
        handle.truncate()
        for piece in (text[:100], text[100:-3], text[-3:]):
            handle.write(piece)
            handle.flush()
            await file.refresh()
            seen.add(file.keys().active.kid)
    assert len(seen) == 2
    assert file.keys().active.kid == json.loads(text)["keys"][0]["kid"]


async def test_readers_meet_the_old_keys_or_the_new_ones_and_nothing_else(path: Path) -> None:
    """While commands change it again and again."""
    file = SigningKeyFile(path)
    known = [kids(file.keys())]
    met = [*known]

    def change() -> None:
        for _ in range(20):
            known.append(kids(add_key(path)))

    work = asyncio.create_task(asyncio.to_thread(change))
    while not work.done():
        await file.refresh()
        met.append(kids(file.keys()))
    await work
    assert all(one in known for one in met)
    await file.refresh()
    assert kids(file.keys()) == known[-1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- a rotation, as verifiers see it
@dataclass(slots=True)
class Verifier:
    """PyJWT with the set as it was when it was fetched: kept for as long as the answer's headers allow, and not a second
    less; a key that is not in it is unknown."""

    fetched: float = -1e9
    keys: dict[str, Any] = field(default_factory=dict)

    def verify(self, token: str, jwks: dict[str, Any], now: float) -> None:
        if now >= self.fetched + Jwks.MAX_AGE:
            found = jwt.PyJWKSet.from_dict({**jwks, "ret": 0}).keys
            self.fetched, self.keys = now, {str(key.key_id): key for key in found}
        header = jwt.get_unverified_header(token)
        key = self.keys[header["kid"]]
        jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience="https://www.example.org",
            options={"verify_exp": False, "verify_iat": False},
        )


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_rotation_never_meets_a_verifier_that_does_not_know_the_key(path: Path, algorithm: Algorithm) -> None:
    """Three rotations as soon as the commands allow each step; verifiers that fetched the set at every moment there is."""
    clock = NOW.timestamp()
    keys = read_signing_keys(path)
    site = "https://www.example.org"
    tokens = AccessTokens(lambda: keys, site, site, lifetime=300, leeway=10, clock=lambda: clock, entropy=os.urandom)
    user = Identity("7", "alice")
    verifiers = [Verifier() for _ in range(12)]
    needed, living, signers = timedelta(seconds=370), list[tuple[str, float]](), set[str]()
    rotations = 0
    while rotations < 3 or len(keys) > 1:
        now = datetime.fromtimestamp(clock, UTC)
        waiting = next((key for key in keys if key.state == "next"), None)
        old = next((key for key in keys if key.state == "old"), None)
        if waiting is not None and why_not_sign(waiting, now, PUBLISHED) is None:
            keys = SigningKeys(with_active(keys, waiting, now))
            rotations += 1
        elif old is not None and why_it_must_stay(old, now, needed) is None:
            keys = SigningKeys(key for key in keys if key is not old)
        elif waiting is None and old is None and rotations < 3:
            keys = SigningKeys([*keys, fresh_key(algorithm, "next", now)])
        token, seconds = tokens.issue(user, "sid", client_id="gateway", ends_at=clock + 9000)
        signers.add(keys.active.kid)
        living = [(one, end) for one, end in living if end > clock - 10] + [(token, clock + seconds)]
        for number, verifier in enumerate(verifiers):
            if (clock // 23) % len(verifiers) == number or verifier.keys:  # they begin one after the other
                for one in [*[kept for kept, _ in living[:: max(1, len(living) // 3)]], token]:
                    verifier.verify(one, keys.jwks(), clock)
        for one, end in living[:1] + living[-1:]:
            if end > clock:
                assert tokens.verify(one).sid == "sid", "the gateways themselves"
        clock += 23
    assert len(signers) == 4


def test_without_the_wait_a_verifier_would_meet_a_key_that_it_does_not_know(path: Path) -> None:
    """The test above can fail."""
    keys, clock = read_signing_keys(path), NOW.timestamp()
    tokens = AccessTokens(lambda: keys, "x", "https://www.example.org", clock=lambda: clock, entropy=os.urandom)
    user, verifier = Identity("7", "alice"), Verifier()
    verifier.verify(tokens.issue(user, "sid", client_id="g", ends_at=clock + 900)[0], keys.jwks(), clock)
    fresh = fresh_key("EdDSA", "next", NOW)
    keys = SigningKeys(with_active(SigningKeys([*keys, fresh]), fresh, NOW))
    with pytest.raises(KeyError):
        verifier.verify(tokens.issue(user, "sid", client_id="g", ends_at=clock + 900)[0], keys.jwks(), clock)
