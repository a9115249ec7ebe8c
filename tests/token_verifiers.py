"""The examples of ``docs/verifying-tokens.md`` as processes that are asked about tokens, and a server with keys for them.

Each example is taken out of the document; only the address of the site is another one. What is put around it reads a token from
each line of its input and answers ``good SUB``, ``bad`` or ``away``.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.harness import ROOT

DOCUMENT = ROOT / "docs/verifying-tokens.md"
SITE = "https://app.example.com"
GSON = Path("/usr/share/java/gson.jar")
NODE_FOLDER = ROOT / "var/tests/node"

PYTHON = """
import sys

for line in sys.stdin:
    try:
        print("good", verify(line.strip())["sub"], flush=True)
    except jwt.PyJWKClientConnectionError:
        print("away", flush=True)
    except jwt.PyJWTError:
        print("bad", flush=True)
"""
NODE = """
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log("good " + (await verify(line)).sub);
  } catch (error) {
    console.log(isOutage(error) ? "away" : "bad");
  }
}
"""
PHP = """
while (($line = fgets(STDIN)) !== false) {
    try {
        $claims = verify(trim($line));
        echo "good {$claims['sub']}\\n";
    } catch (KeysAway) {
        echo "away\\n";
    } catch (BadToken) {
        echo "bad\\n";
    }
}
"""
GO = """package main

import (
	"bufio"
	"errors"
	"example/gatewaytokens"
	"fmt"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		claims, err := gatewaytokens.Verify(lines.Text())
		switch {
		case err == nil:
			fmt.Println("good", claims.Subject)
		case errors.Is(err, gatewaytokens.ErrBad):
			fmt.Println("bad")
		default:
			fmt.Println("away")
		}
	}
}
"""
JAVA = """
import java.io.*;

public class Check {
    public static void main(String[] none) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        GatewayTokens tokens = new GatewayTokens();
        for (String line; (line = lines.readLine()) != null; ) {
            try {
                System.out.println("good " + tokens.verify(line).get("sub").getAsString());
            } catch (GatewayTokens.BadToken error) {
                System.out.println("bad");
            } catch (IOException error) {
                System.out.println("away");
            }
        }
    }
}
"""


def examples() -> dict[str, str]:
    """By language."""
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), flags=re.M | re.S))


class Verifier:
    """An example that runs."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, token: str) -> str:
        """``good SUB``, ``bad`` or ``away``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(token + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """The end of its input is its own."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an example is put together: its text, for this site, in this folder."""

    text: str
    folder: Path

    def write(self, name: str, text: str) -> Path:
        """A file of it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def _python(place: Place) -> list[str]:
    return [sys.executable, str(place.write("check.py", place.text + PYTHON))]


def _node(place: Place) -> list[str]:
    node = _needed("node", "nodejs")
    modules = node_modules()
    path = place.write("check.mjs", place.text + NODE)
    (place.folder / "node_modules").symlink_to(modules)
    return [node, str(path)]


def _php(place: Place) -> list[str]:
    php = _needed("php", "php-cli")
    return [php, "-d", "display_errors=stderr", str(place.write("check.php", place.text + PHP))]


def _go(place: Place) -> list[str]:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go") or _needed("go", "golang-go")
    place.write("go.mod", "module example\n\ngo 1.19\n")
    place.write("gatewaytokens/verify.go", place.text)
    place.write("main.go", GO)
    _made([go, "build", "-o", "check", "."], place.folder)
    return ["./check"]


def _java(place: Place) -> list[str]:
    java, javac = _needed("java", "default-jdk-headless"), _needed("javac", "default-jdk-headless")
    if not GSON.exists():
        pytest.skip("no Gson for Java (Debian: apt-get install libgoogle-gson-java)")
    place.write("GatewayTokens.java", place.text)
    place.write("Check.java", JAVA)
    _made([javac, "-cp", str(GSON), "GatewayTokens.java", "Check.java"], place.folder)
    return [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{GSON}:.", "Check"]


LANGUAGES: dict[str, Callable[[Place], list[str]]] = {
    "python": _python,
    "js": _node,
    "php": _php,
    "go": _go,
    "java": _java,
}


def command_for(language: str, site: str, folder: Path, changes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """How to start the example of this language for a gateway at ``site``; skips where its runtime is missing.

    ``changes``: other texts that stand in it once, and what is to stand there instead.
    """
    text = examples()[language]
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return LANGUAGES[language](Place(text.replace(SITE, site), folder))


def node_modules() -> Path:
    """What ``tests/node/package-lock.json`` names, installed once for all tests; no package's scripts are run."""
    npm = _needed("npm", "npm")
    lock, installed = ROOT / "tests/node/package-lock.json", NODE_FOLDER / "installed.json"
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    with (NODE_FOLDER / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two halves of the tests may run at once
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(ROOT / "tests/node" / name, NODE_FOLDER)
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            _made([str(ROOT / ".ci/retry"), npm, "ci", *quiet], NODE_FOLDER)
            shutil.copy(lock, installed)
    return NODE_FOLDER / "node_modules"


def _needed(program: str, package: str) -> str:
    """Of this environment, or of the machine."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        pytest.skip(f"no {program}; on this platform install one (Debian: apt-get install {package})")
    return found


def _made(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class KeyServer:
    """Serves a key set at ``/auth/jwks.json``; ``jwks`` may be changed at any time."""

    def __init__(self, jwks: Callable[[], dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(jwks()).encode() if self.path == "/auth/jwks.json" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> KeyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
