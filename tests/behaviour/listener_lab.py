"""Gateways with listeners of every kind, as ``gateway serve`` runs them, and certificates for them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conformance import lab as parts
from tests.conformance.backend import Backend
from tests.conformance.lab import Lab
from tests.quick import cheap_users
from tests.redis_lab import Certificate, make_ca, make_certificate

ROUTES: list[dict[str, Any]] = [
    {"path": "/public/", "access": "public"},
    {"path": "/brief/", "access": "public", "timeouts": {"between_bytes": 0.5}},
    {"path": "/.well-known/acme-challenge/", "access": "public"},
    {"path": "/"},
]
ADDRESS = re.compile(r"(?:https?|unix):\S+")
Serve = Callable[..., Lab]


def certificates(folder: Path, *names: str) -> Certificate:
    """An authority ``ca``, and ``NAME.crt`` and ``NAME.key`` for each host; ``*`` in a file's name is ``any``."""
    ca = make_ca(folder, "ca")
    for name in names:
        make_certificate(folder, name.replace("*", "any"), ca, host=name)
    return ca


def tls_of(folder: Path, first: str, *others: str, **more: Any) -> dict[str, Any]:
    """``server.tls`` with these certificates."""
    pairs = [
        {"cert_file": str(folder / f"{name}.crt"), "key_file": str(folder / f"{name}.key")} for name in (first, *others)
    ]
    return {**pairs[0], "certificates": pairs[1:], **more}


def trusting(folder: Path, **attributes: Any) -> ssl.SSLContext:
    """A client that trusts the authority."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


@contextmanager
def serving(folder: Path, backend: Backend, **over: Any) -> Iterator[Lab]:
    """A gateway with these sections of settings."""
    cheap_users(folder / "users.yaml")
    lab = parts.start(folder, backend, over.pop("routes", ROUTES), **over)
    try:
        yield lab
    finally:
        if lab.process.process is not None and lab.process.process.poll() is None:
            lab.process.stop()


def addresses(lab: Lab) -> list[str]:
    """Of all listeners, as the gateway printed them."""
    line = next(line for line in lab.process.output.splitlines() if "listens on" in line)
    return ADDRESS.findall(line)


def port_of(address: str) -> int:
    """Of ``http://HOST:PORT``."""
    return int(address.rpartition(":")[2])
