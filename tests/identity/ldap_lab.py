"""A real directory for tests: Debian's slapd on free ports of loopback, with TLS, groups and locked accounts."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.store.redis_server import die_with_parent
from tests.harness import free_port
from tests.redis_lab import make_ca, make_certificate

HOST = "127.0.0.1"
BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
GROUPS = f"ou=groups,{BASE}"
ROOT_DN, ROOT_PASSWORD = f"cn=root,{BASE}", "root of the directory"
GATEWAY_DN, GATEWAY_PASSWORD = f"cn=gateway,{BASE}", "the gateway's own"
PASSWORD = "correct horse 猫"
SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/usr/libexec")
_PATIENT = 20.0

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/pid
TLSCACertificateFile {folder}/ca.crt
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
allow bind_anon_cred bind_anon_dn
database mdb
maxsize 10485760
dbnosync
suffix "{base}"
directory {folder}/data
rootdn "{root}"
rootpw "{root_password}"
access to attrs=userPassword by anonymous auth by * none
access to * by {reader} read by * none
overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
overlay ppolicy
ppolicy_default "cn=default,{base}"
"""
_TREE = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {people}
objectClass: organizationalUnit
ou: people

dn: {groups}
objectClass: organizationalUnit
ou: groups

dn: ou=elsewhere,{base}
objectClass: organizationalUnit
ou: elsewhere

dn: cn=default,{base}
objectClass: device
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE

dn: {gateway}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: gateway
userPassword: {gateway_password}
"""
# uid, mail, more lines
_USERS = (
    ("alice", "alice@example.org", "employeeType: staff"),
    ("bob", "bob@example.org", ""),
    ("carol", "carol@example.org", ""),
    ("dora", "dora@example.org", "employeeType: disabled"),
    ("eve (star) *", "eve@example.org", ""),
    ("张伟", "zhang@example.org", "displayName: 张伟"),
    ("twin", "twins@example.org", ""),
    ("other-twin", "twins@example.org", ""),
    ("third-twin", "twins@example.org", ""),
    ("locked", "locked@example.org", "pwdAccountLockedTime: 000001010000Z"),
    ("other twin", "spaced@example.org", ""),
    ("keyless", "keyless@example.org", ""),
)
_GROUPS = (
    (f"cn=editors,{GROUPS}", ("alice", "bob")),
    (f"cn=sales\\, east,{GROUPS}", ("alice",)),
    (f"cn=mgr,ou=elsewhere,{BASE}", ("alice",)),
    (f"cn=mgr,{GROUPS}", ("carol",)),
)


def dn_of(uid: str) -> str:
    """Of one of the users."""
    return f"uid={uid},{PEOPLE}"


def _user(uid: str, mail: str, more: str) -> str:
    lines = [f"dn: {dn_of(uid)}", "objectClass: inetOrgPerson", f"uid: {uid}", f"cn: {uid.title()} Adams", "sn: Adams"]
    password = [] if uid == "keyless" else [f"userPassword: {PASSWORD}"]
    return "\n".join([*lines, f"mail: {mail}", *password, *([more] if more else [])])


def _group(dn: str, members: tuple[str, ...]) -> str:
    return "\n".join([f"dn: {dn}", "objectClass: groupOfNames", *(f"member: {dn_of(uid)}" for uid in members)])


class Slapd:
    """One server with all of it. Killed, it can be started again and knows what it knew. ``reader``: who may search it.

    It allows binds without a password, as many directories do.
    """

    def __init__(self, folder: Path, reader: str = f'dn.exact="{GATEWAY_DN}"') -> None:
        if SLAPD is None or shutil.which("ldapmodify") is None or not Path("/etc/ldap/schema/core.schema").exists():
            pytest.skip("no slapd on this machine (Debian: apt-get install slapd ldap-utils)")
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        make_certificate(folder, "server", make_ca(folder, "ca"), host=HOST)
        places = {"folder": folder, "base": BASE, "people": PEOPLE, "groups": GROUPS, "root": ROOT_DN}
        secrets = {"root_password": ROOT_PASSWORD, "gateway": GATEWAY_DN, "gateway_password": GATEWAY_PASSWORD}
        (folder / "slapd.conf").write_text(_CONFIG.format(**places, **secrets, reader=reader))
        self.port, self.tls_port = 0, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._start_on_free_ports()
        entries = [_TREE.format(**places, **secrets).strip(), *(_user(*user) for user in _USERS)]
        self.add("\n\n".join([*entries, *(_group(*group) for group in _GROUPS)]))

    def _start_on_free_ports(self, tries: int = 3) -> None:
        """Somebody else may be quicker."""
        self.port, self.tls_port = free_port(), free_port()
        try:
            self.start()
        except AssertionError:
            self.kill()
            if tries <= 1:
                raise
            self._start_on_free_ports(tries - 1)

    @property
    def url(self) -> str:
        return f"ldap://{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://{HOST}:{self.tls_port}"

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.crt")

    def start(self) -> None:
        """Returns when it listens."""
        assert SLAPD is not None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [SLAPD, "-d", "0", "-f", self.folder / "slapd.conf", "-h", f"{self.url}/ {self.tls_url}/"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + _PATIENT
        while not all(map(_listens, (self.port, self.tls_port))):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "slapd did not come up"
            time.sleep(0.02)

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """It is there, accepts, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def add(self, ldif: str) -> None:
        """New entries."""
        self._tool("ldapadd", ldif)

    def modify(self, uid: str, *lines: str) -> None:
        """Changes a user: ``replace: mail``, ``mail: new@example.org``."""
        self._tool("ldapmodify", "\n".join([f"dn: {dn_of(uid)}", "changetype: modify", *lines]))

    def members(self, group: str, change: str, *uids: str) -> None:
        """``add`` or ``delete`` members of a group."""
        lines = [f"dn: {group}", "changetype: modify", f"{change}: member", *(f"member: {dn_of(uid)}" for uid in uids)]
        self._tool("ldapmodify", "\n".join(lines))

    def _tool(self, name: str, ldif: str) -> None:
        command = [name, "-x", "-H", self.url, "-D", ROOT_DN, "-w", ROOT_PASSWORD]
        done = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def ldap(*urls: str, **over: Any) -> dict[str, Any]:
    """A source of users, as the configuration has it."""
    usual = {"bind_dn": GATEWAY_DN, "bind_password": GATEWAY_PASSWORD, "base": PEOPLE, "timeout": 5.0}
    return {"source": "ldap", "url": list(urls), "connect_timeout": 5.0, **usual, **over}
