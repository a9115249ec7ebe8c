"""Real Redis in every topology, for tests: single servers, TLS, Sentinel with replicas, a Cluster; on free ports.

Everything that was started is stopped by its process id.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import Redis
from redis.exceptions import RedisError

from gateway.store.redis_server import RedisServer, die_with_parent, find_redis_server

HOST = "127.0.0.1"
_CLUSTER_BUS = 10_000  # a node's bus listens this far above its port


def wait_until(is_so: Callable[[], Any], seconds: float = 20.0, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except (RedisError, OSError):
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or is_so}"
        time.sleep(0.02)


def free_port() -> int:
    """A port that is free, and so is the bus port of a Cluster that goes with it."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            for number in (port, port + _CLUSTER_BUS):
                with socket.socket() as probe:
                    probe.bind((HOST, number))
        except OSError:
            continue
        return port


def has_tls() -> bool:
    """Can the binary do TLS? One without does not know the setting."""
    binary = find_redis_server()
    if binary is None:
        return False
    command = [binary, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere"]
    tried = subprocess.run(command, capture_output=True, timeout=20, check=False)
    return b"Bad directive" not in tried.stdout + tried.stderr


class Node(RedisServer):
    """A server with a TCP port (``port``) beside its unix socket, which is for the test itself."""

    def __init__(self, folder: Path, port: int, *options: str, tls: bool = False) -> None:
        listen = ("--tls-port" if tls else "--port", str(port), "--bind", HOST)
        # Replicas need not wait for one another.
        super().__init__(folder, append_only=False, options=(*listen, "--repl-diskless-sync-delay", "0", *options))
        self.port = port

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def tcp_url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket))

    def command(self, *words: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def stop(self) -> None:
        """At once: nothing in it is needed any more."""
        self.kill()

    def signal(self, number: signal.Signals) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)


class Sentinel:
    """One Sentinel process."""

    def __init__(self, folder: Path, master: Node, quorum: int, *lines: str, name: str = "mymaster") -> None:
        folder.mkdir(mode=0o700)
        self.port = free_port()
        self._file = folder / "sentinel.conf"
        watched = (
            f"sentinel monitor {name} {HOST} {master.port} {quorum}",
            f"sentinel down-after-milliseconds {name} 500",
            f"sentinel failover-timeout {name} 3000",
            f"sentinel parallel-syncs {name} 1",
        )
        head = (f"port {self.port}", f"bind {HOST}", f"dir {folder}", "daemonize no")
        self._file.write_text("\n".join((*head, *watched, *lines)) + "\n")
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def start(self) -> None:
        binary = find_redis_server()
        assert binary is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, self._file, "--sentinel"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def says(self, *words: Any) -> Any:
        with Redis(host=HOST, port=self.port, protocol=2) as client:
            return client.execute_command("SENTINEL", *words)

    def knows(self, replicas: int, sentinels: int) -> bool:
        facts = self.says("MASTER", "mymaster")
        named = facts if isinstance(facts, dict) else dict(zip(facts[::2], facts[1::2], strict=True))
        plain = {str(key if isinstance(key, str) else key.decode()): value for key, value in named.items()}
        return int(plain["num-slaves"]) == replicas and int(plain["num-other-sentinels"]) == sentinels - 1


@dataclass(frozen=True)
class Replicated:
    """A master, its replicas and the Sentinels that watch them."""

    master: Node
    replicas: list[Node]
    sentinels: list[Sentinel]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        return tuple(sentinel.address for sentinel in self.sentinels)

    def named(self) -> int:
        """The port that the first Sentinel names."""
        return int(self.sentinels[0].says("GET-MASTER-ADDR-BY-NAME", "mymaster")[1])


class Lab:
    """Starts servers in a folder of its own and stops them all."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gwl-"))
        self._started: list[Node | Sentinel] = []

    def close(self) -> None:
        for server in self._started:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def node(self, *options: str, tls: bool = False) -> Node:
        node = Node(self.folder / f"n{len(self._started)}", free_port(), *options, tls=tls)
        self._started.append(node)
        node.start()
        return node

    def replica_of(self, master: Node, *options: str) -> Node:
        replica = self.node("--replicaof", HOST, str(master.port), *options)
        wait_until(lambda: is_synced(replica, master), what="the replica's first sync")
        return replica

    def replicated(self, replicas: int = 2, sentinels: int = 3) -> Replicated:
        master = self.node()
        followers = [self.replica_of(master) for _ in range(replicas)]
        watchers = [Sentinel(self.folder / f"s{number}", master, sentinels // 2 + 1) for number in range(sentinels)]
        for watcher in watchers:
            self._started.append(watcher)
            watcher.start()
        for watcher in watchers:
            wait_until(lambda w=watcher: w.knows(replicas, sentinels), what="Sentinels that know each other")
        return Replicated(master, followers, watchers)

    def cluster(self, masters: int = 3) -> list[Node]:
        nodes = [self.cluster_node() for _ in range(masters)]
        share = 16384 // masters
        for number, node in enumerate(nodes):
            last = 16384 if number == masters - 1 else (number + 1) * share
            node.command("CLUSTER", "ADDSLOTS", *range(number * share, last))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.command("CLUSTER", "MEET", HOST, nodes[0].port)
        for node in nodes:
            wait_until(lambda n=node: is_whole(n, masters), what="a Cluster in order")
        return nodes

    def cluster_node(self) -> Node:
        return self.node(
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"),
            *("--cluster-replica-validity-factor", "0"),  # on a machine under load a replica may look long cut off
        )


def is_synced(replica: Node, master: Node) -> bool:
    """Its link is up and its acknowledgements count; that takes up to a second longer."""
    with replica.client() as client:
        if client.info("replication")["master_link_status"] != "up":
            return False
    with master.client() as client:
        client.set("lab", "")
        acknowledged: int = client.wait(client.info("replication")["connected_slaves"], 100)
        client.delete("lab")
        return acknowledged == client.info("replication")["connected_slaves"]


def cluster_info(node: Node) -> dict[str, str]:
    text = node.command("CLUSTER", "INFO")
    if isinstance(text, dict):
        return text
    return dict(line.split(":", 1) for line in text.decode().split())


def is_whole(node: Node, masters: int) -> bool:
    info = cluster_info(node)
    whole = (info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"])
    return whole == ("ok", "16384", str(masters))


def node_id(node: Node) -> str:
    answer = node.command("CLUSTER", "MYID")
    return str(answer.decode() if isinstance(answer, bytes) else answer)


# -- a bad way
class Proxy:
    """TCP before a server's unix socket, to lose, delay or cut what passes: ``async with Proxy(node.socket) as way``."""

    def __init__(self, behind: Path) -> None:
        self._behind = behind
        self._open: set[asyncio.StreamWriter] = set()
        self._deaf: set[asyncio.StreamWriter] = set()
        self._doomed: set[asyncio.StreamWriter] = set()
        self.delay = 0.0
        """Seconds that answers take longer."""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._carry, HOST, 0)
        self.url = f"redis://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in tuple(self._open):
            writer.close()

    def forget(self) -> None:
        """Nothing passes any more on the connections there are, as when a firewall forgot them."""
        self._deaf |= self._open

    def doom(self) -> None:
        """The connections there are will be closed when something is sent on them."""
        self._doomed |= self._open

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        behind, ahead = await asyncio.open_unix_connection(str(self._behind))
        back = asyncio.create_task(self._carry_back(behind, writer))
        try:
            while (data := await reader.read(4096)) and writer not in self._doomed:
                if writer not in self._deaf:
                    ahead.write(data)
        finally:
            self._open.discard(writer)
            back.cancel()
            ahead.close()
            writer.close()

    async def _carry_back(self, behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await behind.read(4096):
            await asyncio.sleep(self.delay)
            if writer not in self._deaf:
                writer.write(data)
        writer.close()


# -- certificates
@dataclass(frozen=True)
class Certificate:
    """Paths of PEM files."""

    cert: Path
    key: Path


def make_ca(folder: Path, name: str) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = _builder(subject, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    made = made.add_extension(usage, True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return _write(folder, name, made.sign(key, hashes.SHA256()), key)


def make_certificate(folder: Path, name: str, ca: Certificate, *, host: str = HOST) -> Certificate:
    """For a server (or a client) called ``host``, an address or a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(ca.cert.read_bytes())
    ca_key: Any = serialization.load_pem_private_key(ca.key.read_bytes(), None)
    try:
        called: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        called = x509.DNSName(host)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = _builder(subject, authority.subject, key).add_extension(x509.SubjectAlternativeName([called]), False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    made = made.add_extension(identifier, False)
    return _write(folder, name, made.sign(ca_key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def _write(folder: Path, name: str, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    paths = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    paths.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths
