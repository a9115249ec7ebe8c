"""Ready-made settings: the demo, and one command in front of one's own backend.

Both bring a Redis of their own unless one is named. ``serve --upstream`` keeps its data (append-only file), its master
key and its users in a state folder; the demo keeps nothing unless several demos share a Redis.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.keys import KEY_BYTES, format_key, parse_ring
from gateway.errors import StartError
from gateway.identity.passwords import hash_password
from gateway.identity.users_file import UsersFile
from gateway.settings import Settings, load_settings, settings_from
from gateway.store.redis_server import RedisServer, die_with_parent

ROOT = Path(__file__).resolve().parent.parent
_WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The account made at the first start; its password is shown once and stored nowhere."""

    username: str
    password: str


def write_once(path: Path, text: str) -> bool:
    """Writes a secret with mode 0600, whole or not at all, unless the file is there. True: it was written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(name, path)  # atomic, and fails when somebody else was first
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    return True


def new_master_key() -> str:
    """A ring of one fresh key."""
    return format_key(secrets.token_bytes(KEY_BYTES))


@contextmanager
def own_redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis in ``folder``; started again should it die; stopped at the end."""
    server = RedisServer(folder, append_only=True)
    server.start()
    over = threading.Event()
    watcher = threading.Thread(target=_keep_running, args=(server, over), name="redis-watch", daemon=True)
    watcher.start()
    try:
        yield server
    finally:
        over.set()
        watcher.join()
        server.stop()


def _keep_running(server: RedisServer, over: threading.Event) -> None:
    while not over.wait(_WATCH_SECONDS):
        if not server.has_ended:
            continue
        print("Redis ended; starting it again", file=sys.stderr, flush=True)
        try:
            server.start()
        except StartError as error:
            print(error, file=sys.stderr, flush=True)


def default_state_folder() -> Path:
    """Where ``serve --upstream`` keeps things (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base, "auth-gateway")


@contextmanager
def standalone(
    upstream: str, host: str, port: int, redis: str | None, users: Path | None, state: Path
) -> Iterator[tuple[Settings, FirstAccount | None]]:
    """Settings for one backend behind a sign-in, with what they need running."""
    master = state / "master.key"
    try:
        write_once(master, new_master_key())
        account = None if users else _first_account(state / "users.yaml")
    except OSError as error:
        raise StartError(
            f"the state folder {state} cannot be used: {error.strerror}; name another with --state"
        ) from error
    data = {
        "server": {"host": host, "port": port},
        "management": {"port": 0},
        "keys": {"master_file": str(master)},
        "users": [{"source": "file", "path": str((users or state / "users.yaml").resolve())}],
        "upstreams": {"app": {"url": upstream}},
        "routes": [{"path": "/", "upstream": "app"}],
    }
    with _redis_url(redis, state / "redis") as url:
        yield settings_from({**data, "redis": {"url": url}}, os.environ, "the command line", Path.cwd()), account


def _first_account(path: Path) -> FirstAccount | None:
    if path.exists():
        return None
    account = FirstAccount("admin", secrets.token_urlsafe(12))
    file = UsersFile(path)
    file.create()
    row: dict[str, Any] = {"username": account.username, "password": hash_password(account.password)}
    file.add({**row, "id": secrets.token_hex(8), "usertype": "admin"})
    return account


@contextmanager
def _redis_url(given: str | None, folder: Path) -> Iterator[str]:
    if given:
        yield given
        return
    with own_redis(folder) as server:
        yield server.url


@contextmanager
def demo(port: int, backend_port: int, redis: str | None) -> Iterator[Settings]:
    """The demo's settings, with its backend and Redis running.

    Several demos on one Redis are one site: they share the key in the clone's ``var/demo``. Without ``--redis`` each is
    its own.
    """
    config = ROOT / "config" / "demo.yaml"
    if not config.exists() or not (ROOT / "demo").is_dir():
        raise StartError("the demo needs a clone of the repository: its backend is no part of the package")
    with tempfile.TemporaryDirectory(prefix="gw-demo-") as name:
        folder = Path(name)
        master = ROOT / "var" / "demo" / "master.key" if redis else folder / "master.key"
        write_once(master, new_master_key())
        with _redis_url(redis, folder / "redis") as url, _demo_backend(backend_port) as backend:
            given = {
                "GATEWAY__SERVER__PORT": str(port),
                "GATEWAY__REDIS__URL": url,
                "GATEWAY__KEYS__MASTER_FILE": str(master),
                "GATEWAY__UPSTREAMS__DEMO__URL": backend,
            }
            yield load_settings(config, {**os.environ, **given})


@contextmanager
def _demo_backend(port: int) -> Iterator[str]:
    """The backend as a process of its own; yields its address, which it prints when it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", str(port)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )
    try:
        assert process.stdout is not None
        address = next((word for word in process.stdout.readline().split() if word.startswith("http://")), None)
        if address is None:
            raise StartError(f"the demo backend did not start on port {port}; choose another with --backend-port")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


# -- the secrets of a deployment; beside each, how to change it once it is in use
_TO_CHANGE = {
    "redis_password": "to change it: gateway secrets --new-redis-password",
    "master_key": "with another key everybody is signed out; if that is wanted, remove the one in use",
}


def make_secrets(folder: Path, source: Path | None, *, new_password: bool = False) -> list[str]:
    """The Redis password and the master key in ``folder``, copied from ``source`` or made; what is there stays.

    ``redis.conf`` beside them tells Redis the same password. ``new_password``: another one replaces it.

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
    fresh = {"redis_password": secrets.token_urlsafe(32), "master_key": new_master_key().strip()}
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
    owners = {"master_key": gateway, "redis_password": gateway, "redis.conf": redis}
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
