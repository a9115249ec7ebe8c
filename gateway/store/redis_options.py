"""Where Redis is, in plain data: one server, Sentinels that know the master, or a Cluster."""

from __future__ import annotations

from dataclasses import dataclass

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """One of three topologies: ``sentinels`` given: Sentinel; ``cluster``: a Cluster; else the server of ``url``.

    With Sentinel the host of ``url`` is not used, in a Cluster it is one more node to ask when ``nodes`` is empty; scheme,
    database, user and password of ``url`` count everywhere.
    """

    url: str
    """``redis://``, ``rediss://`` (TLS) or ``unix://``."""
    username: str | None = None
    password: str | None = None
    prefix: str = "gw:"
    timeout: float = 1.0
    """Seconds for one command or pipeline in all: waiting for a connection, connecting, repeating."""
    pool_size: int = 32
    """Connections to one server."""
    retries: int = 1
    """How often what failed for a reason that may be over (a dead connection, a change of master) is sent again."""
    wait_replicas: int = 0
    """How many replicas must have a durable write before it counts (WAIT)."""
    sentinels: tuple[Address, ...] = ()
    sentinel_master: str = "mymaster"
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    cluster: bool = False
    nodes: tuple[Address, ...] = ()
    """Nodes of the Cluster to ask for the others; a few are enough."""
    tls: bool = False
    """TLS to Sentinels and to the nodes they or the Cluster name; ``rediss://`` in ``url`` means the same."""
    ca_file: str | None = None
    """Trusted instead of the system's authorities."""
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True

    def __repr__(self) -> str:
        kind = "cluster" if self.cluster else "sentinel" if self.sentinels else "server"
        return f"RedisOptions({kind}, prefix={self.prefix!r}, timeout={self.timeout}, pool_size={self.pool_size})"
