"""The secrets of a deployment as files: made once, whole or not at all, readable by nobody else."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from gateway.core.keys import KEY_BYTES, format_key, parse_ring
from gateway.core.signing_keys import parse_signing_keys
from gateway.errors import StartError
from gateway.private_files import write_once
from gateway.signing_key_files import first_keys

# Beside each, how to change it once it is in use.
_TO_CHANGE = {
    "redis_password": "to change it: gateway secrets --new-redis-password",
    "master_key": "with another key everybody is signed out; if that is wanted, remove the one in use",
    "signing_keys": "to change them: gateway keys new --signing",
}


def new_master_key() -> str:
    """A ring of one fresh key."""
    return format_key(secrets.token_bytes(KEY_BYTES))


def make_secrets(folder: Path, source: Path | None, *, new_password: bool = False) -> list[str]:
    """The Redis password, the master key and the signing keys in ``folder``, copied from ``source`` or made.

    What is there stays. ``redis.conf`` beside them tells Redis the same password. ``new_password``: another one replaces it.

    Returns the names of the files that were written.

    :raises StartError: with every problem, before anything is written; or the folder cannot be written.
    """
    problems: list[str] = []
    kept = _read_secrets(folder, problems)
    given = _read_secrets(source, problems) if source else {}
    if source and not source.is_dir():
        problems.append(f"{source}: there is no such folder")
    old = kept.pop("redis_password", None) if new_password else None
    if old is not None and given.get("redis_password") == old:
        problems.append(f"{source}/redis_password: still the one in use; put the new one there, or remove it")
    for name in sorted(kept.keys() & given.keys()):
        if kept[name] != given[name]:
            problems.append(f"{source}/{name}: not the one in use, {folder / name}; {_TO_CHANGE[name]}")
    if problems:
        raise StartError("\n  ".join(["these secrets cannot be used, nothing was written:", *problems]))
    fresh = {
        "redis_password": secrets.token_urlsafe(32),
        "master_key": new_master_key().strip(),
        "signing_keys": first_keys("EdDSA", datetime.now(UTC)).strip(),
    }
    try:
        if old is not None:
            (folder / "redis_password").unlink()
        return _write_secrets(folder, fresh | given | kept)
    except OSError as error:
        raise StartError(f"{folder}: cannot be written: {error.strerror}") from error


def _read_secrets(folder: Path, problems: list[str]) -> dict[str, str]:
    found = {}
    for name in _TO_CHANGE:
        try:
            found[name] = (folder / name).read_text(encoding="utf-8").strip()
            _check_secret(name, found[name])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeDecodeError:
            problems.append(f"{folder / name}: is not UTF-8")
        except OSError as error:
            problems.append(f"{folder / name}: cannot be read: {error.strerror}")
        except ValueError as error:
            problems.append(f"{folder / name}: {error}")
    return found


def _check_secret(name: str, text: str) -> None:
    """:raises ValueError: never with the secret in it."""
    if not text:
        raise ValueError("is empty")
    if name == "master_key":
        parse_ring(text)
    elif name == "signing_keys":
        parse_signing_keys(text)
    elif not text.isprintable():
        raise ValueError("must be one line without control characters")


def _write_secrets(folder: Path, texts: dict[str, str]) -> list[str]:
    written = [name for name, text in texts.items() if write_once(folder / name, text + "\n")]
    password = (folder / "redis_password").read_text(encoding="utf-8").strip()
    config = folder / "redis.conf"
    line = f"requirepass {_redis_quoted(password)}\n"
    if config.exists() and config.read_bytes() != line.encode():
        config.unlink()  # it belongs to an older password: Redis and the gateway must agree
    return written + [config.name] * write_once(config, line)


def _redis_quoted(text: str) -> str:
    """As redis.conf and redis-cli read it (``sdssplitargs`` in Redis's sds.c)."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in text.encode()) + '"'


def hand_over(folder: Path, gateway: int, redis: int, redis_data: Path | None) -> None:
    """Gives each secret to the one user (uid) that reads it, and Redis its data folder: at the start of the containers.

    :raises StartError: not root.
    """
    owners = {"master_key": gateway, "signing_keys": gateway, "redis_password": gateway, "redis.conf": redis}
    try:
        folder.chmod(0o711)  # both pass through, nobody lists
        for name, uid in owners.items():
            (folder / name).chmod(0o400)
            os.chown(folder / name, uid, uid)
        if redis_data is not None:
            redis_data.chmod(0o700)
            os.chown(redis_data, redis, redis)
    except OSError as error:
        raise StartError(f"{error.filename}: cannot be given to another user: {error.strerror}") from error
