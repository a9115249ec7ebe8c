"""The peers that ask who is there: each looks the session up in its Redis for each request."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from urllib.parse import urlencode

from bench.children import Child
from bench.lab import APT, PEERS, ROOT, find_nginx
from bench.programs import Program, binary, first_version

_MODULES = Path("/usr/lib/nginx/modules")
_LUA_REDIS = Path("/usr/share/lua/5.1/nginx/redis.lua")
NODE = ROOT / "var/bench/node"
_GO = ROOT / "var/bench/go"


class NginxLua(Program):
    """nginx' Lua module and Debian's lua-nginx-redis (lua-resty-redis under another name)."""

    name, title = "nginx-lua", "nginx + Lua + Redis"
    has_gate = keeps_sessions = True

    def missing(self) -> str | None:
        """Its packages."""
        is_there = find_nginx() and (_MODULES / "ngx_http_lua_module.so").exists() and _LUA_REDIS.exists()
        if is_there and shutil.which("redis-server"):
            return None
        return f"{APT} nginx libnginx-mod-http-lua lua-nginx-redis redis-server"

    def version(self) -> str:
        """Of nginx."""
        return first_version([find_nginx() or "nginx", "-v"])

    def run(self, folder: Path) -> Child:
        """One worker."""
        assert self.redis
        values = {"PROXYING": self.lab.proxying(), "MODULES": _MODULES, "REDIS_PORT": self.redis.port}
        return self.lab.nginx("nginx-lua.conf", folder, self.port, **values)

    def sign_in(self) -> str:
        """It has no sign-in of its own: the session is written as one would."""
        assert self.redis
        id_ = secrets.token_urlsafe(32)
        self.redis.command("SET", f"sess:{id_}", "377ce22669eec229\talice\tuser", "EX", "43200")
        return f"sid={id_}"


class _Node(Program):
    """A script in bench/peers with packages that bench/setup installs."""

    has_gate = keeps_sessions = True
    package: str

    def missing(self) -> str | None:
        """Node, its packages, Redis."""
        if not (shutil.which("node") and shutil.which("redis-server")):
            return "it needs Node 20 or newer and redis-server; then bench/setup installs it"
        is_there = (NODE / "node_modules" / self.package / "package.json").exists()
        return None if is_there else f"bench/setup installs it (npm: {self.package} and what goes with it)"

    def version(self) -> str:
        """Of the package, and of Node."""
        found = json.loads((NODE / "node_modules" / self.package / "package.json").read_text())["version"]
        return f"{found} on Node {first_version(['node', '--version'])}"

    def run(self, folder: Path) -> Child:
        """Packages are found from where the script is: it is run where they are."""
        assert self.redis
        script = NODE / f"{self.name}.mjs"
        shutil.copyfile(PEERS / script.name, script)
        ports = {"PORT": self.port, "BACKEND_PORT": self.lab.backend.port, "REDIS_PORT": self.redis.port}
        env = {name: str(port) for name, port in ports.items()} | {"NODE_ENV": "production"}
        return self.launch(["node", script], folder, env)

    def sign_in(self) -> str:
        """As a front end does it."""
        return self.sign_in_by_json()


class Fastify(_Node):
    """@fastify/http-proxy, @fastify/session, connect-redis."""

    name, title, package = "fastify", "Fastify + Redis", "fastify"


class Express(_Node):
    """express-session, connect-redis, http-proxy-middleware."""

    name, title, package = "express", "Express + Redis", "express"


class OAuth2Proxy(Program):
    """Its own sign-in form with an htpasswd file, sessions in Redis. Strangers get its sign-in page with 403."""

    name, title = "oauth2-proxy", "oauth2-proxy + Redis"
    has_gate = keeps_sessions = True
    refusals = (302, 401, 403)

    def _binary(self) -> str | None:
        return shutil.which(str(_GO / "oauth2-proxy")) or binary("oauth2-proxy")

    def missing(self) -> str | None:
        """Go builds it."""
        is_there = self._binary() and shutil.which("redis-server")
        return (
            None
            if is_there
            else "bench/setup builds it where Go is (go install github.com/oauth2-proxy/oauth2-proxy/v7)"
        )

    def version(self) -> str:
        """As it says; nothing when Go built it from a module."""
        return first_version([self._binary() or "oauth2-proxy", "--version"])

    def run(self, folder: Path) -> Child:
        """The provider is never asked: who signs in with the form has a session all the same."""
        assert self.redis
        users = folder / "htpasswd"  # SHA-1 or bcrypt; looked at when somebody signs in, not for each request
        digest = base64.b64encode(hashlib.sha1(b"alice-demo", usedforsecurity=False).digest()).decode()
        users.write_text(f"alice:{{SHA}}{digest}\n")
        options = {
            "http-address": f"127.0.0.1:{self.port}",
            "upstream": f"http://127.0.0.1:{self.lab.backend.port}/",
            "provider": "github",
            "client-id": "measured",
            "client-secret": "measured",
            "cookie-secret": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "cookie-secure": "false",
            "email-domain": "*",
            "htpasswd-file": str(users),
            "session-store-type": "redis",
            "redis-connection-url": f"redis://127.0.0.1:{self.redis.port}",
            "request-logging": "false",
            "auth-logging": "false",
            "standard-logging": "false",
        }
        command = [self._binary() or "oauth2-proxy", *(f"--{name}={value}" for name, value in options.items())]
        return self.launch(command, folder)

    def sign_in(self) -> str:
        """By its form."""
        form = urlencode({"username": "alice", "password": "alice-demo", "rd": "/"}).encode()
        return self.asked("/oauth2/sign_in", form, "application/x-www-form-urlencoded").cookies()
