"""What all programs share: two cores, a folder, the backend (nginx), and a Redis for each one that keeps sessions."""

from __future__ import annotations

import os
import re
import shutil
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.children import Child, answers, free_port
from bench.client import Client

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
KILOBYTE, MEGABYTE = 1024, 1024 * 1024
APT = "bench/setup installs it, or: apt-get install"

_NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 32768; }}
"""
_PLACES = "\n".join(
    f"    {kind}_temp_path {{folder}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
# No spooling: neither uploads nor answers go to a file, as with every other program here.
_PROXYING = """
    keepalive_requests 1000000000;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    {more}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    upstream backend {{ server 127.0.0.1:{backend}; keepalive 2048; keepalive_requests 1000000000; }}
"""


@dataclass(frozen=True, slots=True)
class Cores:
    """One for the program that is measured, one for the backend, Redis and the load."""

    program: int
    rest: int


def pick_cores(allowed: set[int]) -> Cores:
    """The last for the program (interrupts are more often on the first), the first for the rest."""
    return Cores(max(allowed), min(allowed))


def filled(text: str, values: dict[str, object]) -> str:
    """A configuration with ``@NAME@`` replaced.

    :raises KeyError: a name without a value.
    """
    return re.sub(r"@([A-Z_]+)@", lambda match: str(values[match[1]]), text)


def find_nginx() -> str | None:
    """Debian has it in /usr/sbin, which not everybody has in the PATH."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


@dataclass
class Lab:
    """Where a measurement takes place."""

    folder: Path
    cores: Cores
    files: int  # descriptors that a process may have
    gateway_root: Path
    children: list[Child] = field(default_factory=list)  # the backend and every Redis

    def room(self, name: str) -> Path:
        """A new folder; nginx' workers are another user when it was started as root."""
        folder, number = self.folder / name, 0
        while folder.exists():
            folder, number = self.folder / f"{name}-{number}", number + 1
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        return folder

    def nginx(self, template: str, folder: Path, port: int, **more: object) -> Child:
        """A running one.

        :raises NotStarted: it does not come up.
        """
        values: dict[str, object] = {
            "NGINX": _NGINX.format(folder=folder, files=self.files),
            "PLACES": _PLACES.format(folder=folder),
            "FOLDER": folder,
            "PORT": port,
            **more,
        }
        config = folder / "nginx.conf"
        config.write_text(filled((PEERS / template).read_text(), values))
        core = self.cores.rest if template == "backend.conf" else self.cores.program
        child = Child([find_nginx() or "nginx", "-p", folder, "-c", config, "-e", folder / "error.log"], core, folder)
        child.wait_for(lambda: answers(port))
        return child

    def stop(self) -> None:
        """The backend and every Redis."""
        for child in self.children:
            child.stop()

    @cached_property
    def backend(self) -> Backend:
        """Of all programs; it is started when it is first asked for."""
        return Backend(self)

    def proxying(self, more: str = "") -> str:
        """What nginx needs to proxy, with and without Lua; ``more``: other directives."""
        return _PROXYING.format(backend=self.backend.port, more=more)


class Backend:
    """nginx with what :mod:`bench.scenarios` asks for."""

    def __init__(self, lab: Lab) -> None:
        folder, self.port = lab.room("backend"), free_port()
        files = folder / "files"
        files.mkdir()
        (files / "1m").write_bytes(os.urandom(MEGABYTE))
        self.child = lab.nginx("backend.conf", folder, self.port, KILOBYTE="x" * KILOBYTE)
        lab.children.append(self.child)

    def requests(self) -> int:
        """Answered until now, this one not counted (ngx_http_stub_status_module: the third of three numbers)."""
        with Client(self.port) as client:
            lines = client.ask("GET", "/count").body.decode().splitlines()
        return int(lines[2].split()[2]) - 1


class Redis:
    """One that keeps nothing on disk, on TCP as in an ordinary deployment."""

    def __init__(self, lab: Lab, name: str) -> None:
        folder, self.port = lab.room(f"{name}-redis"), free_port()
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.child = Child([shutil.which("redis-server") or "redis-server", *options], lab.cores.rest, folder)
        lab.children.append(self.child)
        self.child.wait_for(lambda: answers(self.port))

    def command(self, *words: str) -> str:
        """The answer as it came: simple ones and bulk strings."""
        parts = [word.encode() for word in words]
        text = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), 5) as link:
            link.sendall(text)
            received = link.recv(1 << 16)
            while received.startswith(b"$") and len(received) < int(received[1:].split(b"\r\n")[0]):
                received += link.recv(1 << 16)
        return received.decode()

    def commands(self) -> int:
        """Processed until now, this one not counted."""
        found = re.search(r"total_commands_processed:(\d+)", self.command("INFO", "stats"))
        return int(found[1]) if found else 0
