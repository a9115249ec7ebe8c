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
from datetime import UTC, datetime
from pathlib import Path

from gateway.errors import StartError
from gateway.identity.hashes import hash_password
from gateway.private_files import require_private, write_once
from gateway.secret_files import new_master_key
from gateway.settings import Settings, load_settings, settings_from
from gateway.signing_key_files import first_keys
from gateway.store.redis_server import RedisServer, die_with_parent

ROOT = Path(__file__).resolve().parent.parent
_WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The account made at the first start. Its password is kept in a file until it has been shown, and nowhere after."""

    username: str
    password: str
    unshown: Path

    def has_been_shown(self) -> None:
        """Forgets the password."""
        self.unshown.unlink(missing_ok=True)


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
        require_private(master)
        account = None if users else _first_account(state)
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


def _first_account(state: Path) -> FirstAccount | None:
    """A start that fails after this must not lose the password: the next one shows it."""
    users, unshown = state / "users.yaml", state / "first-password"
    if not users.exists():
        unshown.unlink(missing_ok=True)
        write_once(unshown, secrets.token_urlsafe(12))
        password = hash_password(unshown.read_text(encoding="utf-8"))
        row = f"- username: admin\n  password: {password}\n  id: {secrets.token_hex(8)}\n  usertype: admin\n"
        write_once(users, f"# Made by gateway serve. Passwords are hashes only.\nusers:\n{row}")
    if not unshown.exists():
        return None
    return FirstAccount("admin", unshown.read_text(encoding="utf-8"), unshown)


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

    Several demos on one Redis are one site: they share the keys in the clone's ``var/demo``. Without ``--redis`` each is
    its own.
    """
    config = ROOT / "config" / "demo.yaml"
    if not config.exists() or not (ROOT / "demo").is_dir():
        raise StartError("the demo needs a clone of the repository: its backend is no part of the package")
    with tempfile.TemporaryDirectory(prefix="gw-demo-") as name:
        folder = Path(name)
        master = ROOT / "var" / "demo" / "master.key" if redis else folder / "master.key"
        signing = master.with_name("signing_keys")
        write_once(master, new_master_key())
        write_once(signing, first_keys("EdDSA", datetime.now(UTC)))
        with _redis_url(redis, folder / "redis") as url, _demo_backend(backend_port) as backend:
            given = {
                "GATEWAY__SERVER__PORT": str(port),
                "GATEWAY__REDIS__URL": url,
                "GATEWAY__KEYS__MASTER_FILE": str(master),
                "GATEWAY__TOKENS__KEYS_FILE": str(signing),
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
