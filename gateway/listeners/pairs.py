"""A certificate and its key as files: a context of them, the names they are for, and what an operator should hear."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.upstream.tls import TlsError, present

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; those of 1.3 are all fine (RFC 9325 §4.2)
_FOR_OTHERS = 0o027  # a group may read a key, as with Debian's ssl-cert
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Pair:
    """Both in PEM; ``cert_file`` holds the chain, too."""

    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in them. ``names`` are in lower case."""

    context: ssl.SSLContext
    names: frozenset[str]
    begins: datetime
    ends: datetime


def server_context(minimum: str) -> ssl.SSLContext:
    """Without a certificate yet."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_SERVER
    )  # compression is off in it, and the server's order of ciphers holds
    context.minimum_version = VERSIONS[minimum]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])  # RFC 7301: who would rather speak HTTP/2 is told so
    return context


def load(pair: Pair, minimum: str = "1.2") -> Loaded:
    """:raises TlsError: names the file and what is wrong with it."""
    context = server_context(minimum)
    present(context, pair.cert_file, pair.key_file)
    try:
        first = x509.load_pem_x509_certificates(pair.cert_file.read_bytes())[0]
        names = _names(first)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion) as error:
        raise TlsError("cert_file", f"{pair.cert_file} holds a damaged certificate") from error
    return Loaded(context, names, first.not_valid_before_utc, first.not_valid_after_utc)


def _names(certificate: x509.Certificate) -> frozenset[str]:
    """Of hosts; the subject's common name counts when there are no others (RFC 6125 §6.4.4)."""
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return frozenset(str(one.value).lower() for one in common)
    return frozenset(name.lower() for name in others.get_values_for_type(x509.DNSName))


def warnings_of(pair: Pair, now: datetime) -> list[str]:
    """What is wrong with it, and no reason not to start."""
    found = []
    try:
        loaded, mode = load(pair), pair.key_file.stat().st_mode & 0o777
    except (TlsError, OSError):
        return []  # told as an error
    if loaded.ends < now:
        found.append(f"{pair.cert_file} has expired: it was valid until {loaded.ends:%Y-%m-%d %H:%M} UTC")
    if loaded.begins > now:
        found.append(f"{pair.cert_file} is not valid before {loaded.begins:%Y-%m-%d %H:%M} UTC")
    if mode & _FOR_OTHERS:
        found.append(f"{pair.key_file} is open to others (mode {mode:o}): chmod 600 {pair.key_file}")
    return found
