"""TLS to backends: whom to trust, what to present, and words for files that do not do.

A context is made once for each upstream, at start: reading the system's authorities takes milliseconds. Whether the
certificate is for the right name is looked at in each handshake, against the ``server_hostname`` of the connection.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

_NOT_ITS_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class TlsError(ValueError):
    """Settings of which no context can be made; ``setting`` is the one to look at. Never shows what is in a file."""

    def __init__(self, setting: str, what: str) -> None:
        super().__init__(what)
        self.setting = setting


def client_context(
    *, ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None, verify: bool = True
) -> ssl.SSLContext:
    """For connections to one backend: TLS 1.2 at least, its certificate and name checked.

    ``ca_file``: trusted instead of the system's authorities. ``cert_file``, ``key_file``: ours, if the backend asks.
    ``verify`` False: any certificate will do.

    :raises TlsError: a ValueError that names the file and what is wrong with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not create_default_context: that one obeys SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    context.set_alpn_protocols(["http/1.1"])  # RFC 7301: a backend that would rather speak HTTP/2 is told so
    if not verify:
        if ca_file:
            raise TlsError("verify", "with verify: false nobody looks at ca_file: give one of the two")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        _load_certificates(context, "ca_file", ca_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # one certificate of its chain is enough
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if cert_file and key_file:
        present(context, cert_file, key_file)
    elif cert_file or key_file:
        raise TlsError("key_file", "cert_file and key_file go together")
    return context


def has_said_goodbye(transport: asyncio.BaseTransport) -> bool:
    """Was it the backend that ended what it sent? Without TLS: as far as anybody can tell.

    With TLS an end without its farewell (close_notify) can be made by anybody on the way: an answer that ends with its
    connection is not whole then (RFC 9112 §9.8, RFC 8446 §6.1). asyncio and uvloop do not tell the two apart.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return bool(tls.read(1) == b"")
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def _load_certificates(context: ssl.SSLContext, setting: str, file: Path) -> None:
    _open(setting, file)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        if error.reason != "NO_CERTIFICATE_OR_CRL_FOUND":
            raise TlsError(setting, f"{file} holds a damaged certificate") from error
    if not context.cert_store_stats()["x509"]:  # a file of revocations alone is no error to OpenSSL
        raise TlsError(setting, f"{file} holds no certificate (PEM, -----BEGIN CERTIFICATE-----)")


def present(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    """OpenSSL says "PEM lib" for whatever is wrong with either file: so the certificates are tried by themselves first."""
    _load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "cert_file", cert_file)
    _open("key_file", key_file)

    def refuse() -> str:  # without it OpenSSL would ask at the terminal, and wait
        raise TlsError("key_file", f"{key_file} is encrypted: write the key without a password, in a file of mode 600")

    try:
        context.load_cert_chain(cert_file, key_file, password=refuse)
    except ssl.SSLError as error:
        if error.reason in _NOT_ITS_KEY:
            raise TlsError("key_file", f"{key_file} is not the key of the first certificate in cert_file") from error
        if error.reason:
            what = f"{cert_file} cannot be used: {error.reason.replace('_', ' ').lower()}"
            raise TlsError("cert_file", what) from error
        raise TlsError("key_file", f"{key_file} holds no private key that can be read (PEM)") from error


def _open(setting: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise TlsError(setting, f"{file} cannot be read: {why}") from error
