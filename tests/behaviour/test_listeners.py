"""Several listeners, unix sockets, http that is sent to https, and how many connections there may be."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.errors import SettingsError
from tests.behaviour.listener_lab import addresses, certificates, port_of, serving, tls_of, trusting
from tests.conformance.backend import Backend, Reply
from tests.conformance.lab import Case, Lab
from tests.conformance.tls import TlsWire
from tests.conformance.wire import Wire
from tests.core.tables import table
from tests.harness import GatewayProcess, free_port, make_settings
from tests.redis_lab import wait_until

HOST = "127.0.0.1"
SESSION = b"GET /auth/session HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("listeners")
    certificates(made, "localhost")
    return made


# -- unix sockets
def curl(path: Path, url: str, *options: str) -> str:
    command = ["curl", "-sS", "--unix-socket", str(path), *options, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def test_a_unix_socket_has_its_mode_is_served_and_goes_with_the_gateway(short_folder: Path, backend: Backend) -> None:
    path = short_folder / "gw.sock"
    more = [{"unix": str(path), "mode": "0600"}]
    with serving(short_folder, backend, server={"more_listeners": more}) as lab:
        assert addresses(lab)[1] == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        case = lab.case()
        assert curl(path, f"http://localhost/public/{case.token.decode()}") == f"/public/{case.token.decode()}"
        (seen,) = case.arrived()
        assert (seen.values(b"X-Forwarded-For"), seen.values(b"X-Forwarded-Proto")) == ([b""], [b"http"])
        case.finish()
        assert lab.process.stop() == 0
    assert not path.exists()


def test_tls_on_a_unix_socket_is_possible(folder: Path, short_folder: Path, backend: Backend) -> None:
    path = short_folder / "gw.sock"
    server = {"tls": tls_of(folder, "localhost"), "more_listeners": [{"unix": str(path), "tls": True}]}
    with serving(short_folder, backend, server=server):
        told = curl(path, "https://localhost/auth/session", "--cacert", str(folder / "ca.crt"))
        assert json.loads(told)["reason"] == "no_session"


def _start(folder: Path, path: Path, backend: Backend) -> str:
    """What a start says that fails."""
    server = {"more_listeners": [{"unix": str(path)}]}
    with pytest.raises(AssertionError) as caught, serving(folder, backend, server=server):
        pass
    return str(caught.value)


def test_a_socket_that_was_left_behind_is_taken_over_and_one_in_use_is_not(
    short_folder: Path, backend: Backend
) -> None:
    path = short_folder / "gw.sock"
    more = {"more_listeners": [{"unix": str(path)}]}
    with serving(short_folder, backend, server=more) as lab:
        lab.process.kill()
    assert path.is_socket()
    with serving(short_folder, backend, server=more) as lab:
        assert f"{path} is in use" in _start(short_folder, path, backend)
        assert json.loads(curl(path, "http://localhost/auth/session"))["reason"] == "no_session"


def test_a_file_that_is_no_socket_and_a_folder_that_is_none_are_left_alone(
    short_folder: Path, backend: Backend
) -> None:
    (short_folder / "file").write_text("mine")
    assert "is there, and no socket" in _start(short_folder, short_folder / "file", backend)
    assert (short_folder / "file").read_text() == "mine"
    assert "No such file or directory" in _start(short_folder, short_folder / "nowhere" / "gw.sock", backend)


def test_a_socket_that_somebody_else_put_there_meanwhile_is_not_removed(short_folder: Path, backend: Backend) -> None:
    path = short_folder / "gw.sock"
    with serving(short_folder, backend, server={"more_listeners": [{"unix": str(path)}]}) as lab:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            assert lab.process.stop() == 0
    assert path.is_socket()


# -- several listeners
@pytest.mark.parametrize("workers", [1, 2])
def test_all_listeners_serve_the_same_site_and_all_close_at_the_end(
    folder: Path, short_folder: Path, backend: Backend, workers: int
) -> None:
    path = short_folder / "gw.sock"
    more = [{"port": 0, "tls": False}, {"host": "127.0.0.2", "port": 0}, {"unix": str(path)}]
    server = {"tls": tls_of(folder, "localhost"), "more_listeners": more, "redirect_http": {"port": 0}}
    session = {"engine": "file", "file": {"path": str(short_folder / "sessions")}}
    with serving(short_folder, backend, server={**server, "workers": workers}, session=session) as lab:
        secure, plain, other, unix, redirect = addresses(lab)
        assert [one.partition(":")[0] for one in (secure, plain, other, unix, redirect)] == [
            "https",
            "http",
            "https",
            "unix",
            "http",
        ]
        wires = [TlsWire(port_of(secure), context=trusting(folder)), Wire(port_of(plain))]
        for wire in wires:
            wire.send(SESSION)
            assert wire.answer().reason == "no_session"
        command = ["curl", "-sS", "--cacert", str(folder / "ca.crt"), "--connect-to", f"::127.0.0.2:{port_of(other)}"]
        done = subprocess.run([*command, "https://localhost/auth/session"], capture_output=True, timeout=20, check=True)
        assert b"no_session" in done.stdout
        assert "no_session" in curl(path, "http://localhost/auth/session")
        assert lab.process.stop() == 0
        for wire in wires:
            wire.rest()
            assert wire.end == "closed"
        for address in (secure, plain, redirect):
            with pytest.raises(ConnectionRefusedError):
                Wire(port_of(address))
    assert not path.exists()


def test_a_listener_that_cannot_be_had_ends_the_start_and_frees_the_others(
    short_folder: Path, backend: Backend
) -> None:
    path = short_folder / "gw.sock"
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        more = [{"unix": str(path)}, {"port": taken.getsockname()[1]}]
        said = pytest.raises(AssertionError, match=r"is in use; choose another with server\.more_listeners")
        with said, serving(short_folder, backend, server={"more_listeners": more}):
            pass
    assert not path.exists()


# -- http to https
@pytest.fixture(scope="module")
def redirecting(folder: Path, backend: Backend) -> Iterator[Lab]:
    """``process.port`` is TLS."""
    server = {"tls": tls_of(folder, "localhost"), "redirect_http": {"port": 0}, "head_timeout": 0.7}
    with serving(folder, backend, server=server) as lab:
        yield lab


REDIRECTS = {
    "a page": (b"GET /x?y=%2F HTTP/1.1\r\nHost: www.example\r\n\r\n", "https://www.example:{}/x?y=%2F"),
    "another port": (b"GET / HTTP/1.1\r\nHost: www.example:8080\r\n\r\n", "https://www.example:{}/"),
    "IPv6": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]:{}/"),
    "absolute": (b"GET http://a.example/b HTTP/1.1\r\nHost: c.example\r\n\r\n", "https://a.example:{}/b"),
    "a post": (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "https://a:{}/x"),
    "1.0": (b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "https://a:{}/x"),
    "two slashes": (b"GET //evil.example HTTP/1.1\r\nHost: a\r\n\r\n", "https://a:{}//evil.example"),
    "our own": (b"GET /auth/login HTTP/1.1\r\nHost: a\r\n\r\n", "https://a:{}/auth/login"),
    "nearly ACME": (
        b"GET /.well-known/acme-challengex HTTP/1.1\r\nHost: a\r\n\r\n",
        "https://a:{}/.well-known/acme-challengex",
    ),
}


@pytest.mark.parametrize(("sent", "location"), table(REDIRECTS))
def test_http_is_sent_to_https(redirecting: Lab, sent: bytes, location: str) -> None:
    with Wire(port_of(addresses(redirecting)[-1])) as wire:
        wire.send(sent)
        answer = wire.answer(sent.split(b" ")[0])
        assert answer.status == 308
        assert answer.values(b"Location") == [location.format(redirecting.port).encode()]
        if b"HTTP/1.1" in sent:
            wire.send(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
            assert wire.answer().status == 308


MALFORMED = {
    "a Host that is none": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a way out": (b"GET / HTTP/1.1\r\nHost: a@evil.example\r\n\r\n", 400),
    "a path in the Host": (b"GET / HTTP/1.1\r\nHost: evil.example/x\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no Host of 1.0": (b"GET / HTTP/1.0\r\n\r\n", 400),
    "no path": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "another version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
    "a slow head": (b"GET / HTTP/1.1\r\nHos", 408),
}


@pytest.mark.parametrize(("sent", "status"), table(MALFORMED))
def test_what_cannot_be_sent_on_is_refused_with_the_connection_closed(
    redirecting: Lab, sent: bytes, status: int
) -> None:
    with Wire(port_of(addresses(redirecting)[-1])) as wire:
        wire.send(sent)
        answer = wire.answer()
        assert (answer.status, answer.values(b"Location"), answer.json.get("ret")) == (status, [], status)
        if status != 405 or answer.closes:
            assert wire.rest() == b""


def test_challenges_of_acme_are_answered_without_https_and_nothing_else_gets_by_that_way(redirecting: Lab) -> None:
    case = redirecting.case()
    with Wire(port_of(addresses(redirecting)[-1])) as wire:
        path = b"/.well-known/acme-challenge/" + case.token
        wire.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        assert wire.answer().body == path
        wire.send(b"GET /.well-known/acme-challenge/../../public/%b HTTP/1.1\r\nHost: a\r\n\r\n" % case.token)
        assert wire.answer().reason == "ambiguous_path"
    assert len(case.seen) == 1
    case.finish()


def test_the_port_of_the_site_s_url_is_the_one_to_go_to_and_only_its_hosts_are_sent_on(
    tmp_path: Path, backend: Backend
) -> None:
    site = {"url": "https://www.example", "hosts": ["www.example"]}
    with serving(tmp_path, backend, site=site, server={"redirect_http": {"port": 0}}) as lab:
        for host, status, location in ((b"www.example", 308, [b"https://www.example/x"]), (b"b.example", 421, [])):
            with Wire(port_of(addresses(lab)[-1])) as wire:
                wire.send(b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                answer = wire.answer()
                assert (answer.status, answer.values(b"Location")) == (status, location)


# -- how many
def _refused(wire: Wire) -> None:
    """503 before anything was asked, and the end."""
    answer = wire.answer()
    assert (answer.status, answer.reason, answer.closes) == (503, "too_many_connections", True)
    assert answer.values(b"Retry-After") != []
    assert wire.rest() == b""
    assert wire.end == "closed"


def _served(wire: Wire) -> None:
    wire.send(SESSION)
    assert wire.answer().reason == "no_session"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_one_connection_too_many_is_told_so_and_has_its_place_when_another_goes(
    folder: Path, tmp_path: Path, backend: Backend, tls: bool
) -> None:
    given = {"tls": tls_of(folder, "localhost")} if tls else {}
    with serving(tmp_path, backend, server={"max_connections": 3, **given}) as lab, contextlib.ExitStack() as stack:

        def connect() -> Wire:
            made = TlsWire(lab.port, context=trusting(folder)) if tls else Wire(lab.port)
            return stack.enter_context(made)

        wires = [connect() for _ in range(3)]
        for wire in wires:
            _served(wire)
        for _ in range(5):
            _refused(connect())
        asking = connect()
        asking.send(b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100000))
        _refused(asking)
        for wire in wires:
            _served(wire)
        wires[0].close()

        def has_place() -> bool:
            wire = connect()
            wire.send(SESSION)
            return wire.answer().status != 503

        wait_until(has_place)


def _try(port: int, stack: contextlib.ExitStack) -> Wire | None:
    """None: reset at once."""
    try:
        return stack.enter_context(Wire(port))
    except ConnectionResetError:
        return None


def test_a_flood_beyond_the_limit_is_reset_and_disturbs_nobody(tmp_path: Path, backend: Backend) -> None:
    with serving(tmp_path, backend, server={"max_connections": 2}) as lab, contextlib.ExitStack() as stack:
        kept = stack.enter_context(Wire(lab.port))
        _served(kept)
        flood = list(filter(None, [_try(lab.port, stack) for _ in range(400)]))
        _served(kept)

        def end(wire: Wire) -> str:
            return wire.end if wire.is_answered(6) and not wire.received else "told"

        ends = [end(wire) for wire in flood[1:]] + ["reset"] * (400 - len(flood))
        print(f"of {len(ends)}: {ends.count('told')} told, {ends.count('reset')} reset")
        assert set(ends) == {"told", "reset"}
        _served(kept)


def test_a_handshake_that_nobody_finishes_counts_too(folder: Path, tmp_path: Path, backend: Backend) -> None:
    """Beyond the limit and those that may be told, TLS is not even begun."""
    server = {"tls": tls_of(folder, "localhost"), "max_connections": 1, "head_timeout": 30}
    with serving(tmp_path, backend, server=server) as lab, contextlib.ExitStack() as stack:
        kept = stack.enter_context(TlsWire(lab.port, context=trusting(folder)))
        flood = [_try(lab.port, stack) for _ in range(300)]
        assert all(wire is None or (wire.is_answered(6) and wire.end == "reset") for wire in flood[-20:])
        _served(kept)


def test_one_address_may_have_so_many_and_others_go_on(tmp_path: Path, short_folder: Path, backend: Backend) -> None:
    path = short_folder / "gw.sock"
    server = {"max_connections_per_address": 2, "more_listeners": [{"unix": str(path)}]}
    with serving(tmp_path, backend, server=server) as lab, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(lab.port)) for _ in range(2)]
        for wire in wires:
            _served(wire)
        _refused(stack.enter_context(Wire(lab.port)))
        other = stack.enter_context(socket.create_connection((HOST, lab.port), source_address=("127.0.0.2", 0)))
        other.sendall(SESSION)
        assert b"no_session" in other.recv(65536)
        held = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(5)]
        for one in held:
            one.connect(str(path))
            one.sendall(SESSION)
            assert b"no_session" in one.recv(65536), "a unix socket is nobody's own address"
        wires[0].close()

        def has_place() -> bool:
            wire = stack.enter_context(Wire(lab.port))
            wire.send(SESSION)
            return wire.answer().status != 503

        wait_until(has_place)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_flood_of_one_address_takes_no_place_of_others(
    folder: Path, tmp_path: Path, backend: Backend, tls: bool
) -> None:
    """Be it refused ones, handshakes that nobody finishes, or both."""
    given = {"tls": tls_of(folder, "localhost")} if tls else {}
    server = {"max_connections_per_address": 5, "max_connections": 400, "head_timeout": 30, **given}
    with serving(tmp_path, backend, server=server) as lab, contextlib.ExitStack() as stack:
        for _ in range(450):
            _try(lab.port, stack)
        other = stack.enter_context(socket.create_connection((HOST, lab.port), source_address=("127.0.0.3", 0)))
        if tls:
            other = stack.enter_context(trusting(folder).wrap_socket(other, server_hostname="localhost"))
        other.sendall(SESSION)
        assert b"no_session" in other.recv(65536)


def test_trusted_proxies_may_have_any_number(tmp_path: Path, backend: Backend) -> None:
    server = {"max_connections_per_address": 2, "trusted_proxies": [HOST]}
    with serving(tmp_path, backend, server=server) as lab, contextlib.ExitStack() as stack:
        for _ in range(6):
            _served(stack.enter_context(Wire(lab.port)))


def test_a_connection_serves_so_many_requests_and_says_so_in_its_last_answer(tmp_path: Path, backend: Backend) -> None:
    with serving(tmp_path, backend, server={"keepalive_requests": 3}) as lab:
        case: Case = lab.case()
        ask = b"GET /public/%b HTTP/1.1\r\nHost: a\r\n\r\n" % case.token
        for sent in (ask * 5, SESSION * 5):
            wire = case.ask(sent)
            assert [wire.answer().closes for _ in range(3)] == [False, False, True]
            assert wire.rest() == b""
            assert wire.end == "closed"
        assert len(case.seen) == 3
        case.finish()


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(tmp_path: Path, backend: Backend) -> None:
    """A shell gives 1024, which is room for 500 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serving(tmp_path, backend, server={"max_connections": 600}) as lab:
            assert resource.prlimit(lab.process.pid, resource.RLIMIT_NOFILE) == (min(2 * 600 + 512, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- the end
@pytest.mark.parametrize("workers", [1, 2])
def test_draining_closes_every_listener_and_lets_what_runs_finish(
    folder: Path, short_folder: Path, backend: Backend, workers: int
) -> None:
    path = short_folder / "gw.sock"
    server = {"tls": tls_of(folder, "localhost"), "redirect_http": {"port": 0}, "more_listeners": [{"unix": str(path)}]}
    session = {"engine": "file", "file": {"path": str(short_folder / "sessions")}}
    with serving(short_folder, backend, server={**server, "workers": workers}, session=session) as lab:
        redirect = port_of(addresses(lab)[-1])
        case = lab.case()
        case.reply(Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"world")))
        with Wire(redirect) as idle, Wire(redirect) as wire:
            idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.answer().status == 308
            wire.send(b"GET /.well-known/acme-challenge/%b HTTP/1.1\r\nHost: a\r\n\r\n" % case.token)
            wire.wait_for(b"hello")
            process: GatewayProcess = lab.process
            os.kill(process.pid, 15)
            assert idle.rest() == b""

            def is_closed() -> bool:
                try:
                    Wire(redirect).close()
                except ConnectionRefusedError:
                    return True
                return False

            def is_deaf() -> bool:
                with socket.socket(socket.AF_UNIX) as other:
                    return other.connect_ex(str(path)) != 0

            wait_until(is_closed)
            wait_until(is_deaf)
            case.arrived()[0].may_go_on.set()
            assert wire.answer().body == b"helloworld"
            case.finish()
            assert process.process is not None
            assert process.process.wait(20) == 0
    assert not path.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_to_all_processes_at_once_is_one_signal(short_folder: Path, backend: Backend, workers: int) -> None:
    """systemd stops a whole group of processes, and so does Ctrl-C; the supervisor passes the signal on besides."""
    path = short_folder / "gw.sock"
    session = {"engine": "file", "file": {"path": str(short_folder / "sessions")}}
    server = {"workers": workers, "more_listeners": [{"unix": str(path)}]}
    with serving(short_folder, backend, server=server, session=session) as lab:
        case = lab.case()
        case.reply(Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"world")))
        with Wire(port_of(addresses(lab)[0])) as wire:
            wire.send(b"GET /public/%b HTTP/1.1\r\nHost: a\r\n\r\n" % case.token)
            wire.wait_for(b"hello")
            process = psutil.Process(lab.process.pid)
            for one in [process, *process.children(recursive=True)]:
                one.send_signal(signal.SIGTERM)
            wait_until(lambda: not path.exists())  # draining has begun
            case.arrived()[0].may_go_on.set()
            assert wire.answer().body == b"helloworld"
            case.finish()
            assert lab.process.process is not None
            assert lab.process.process.wait(20) == 0


def insist(lab: Lab, sock: socket.socket) -> None:
    """Signals until the connection ends; in the first second they count as one."""
    sock.settimeout(0.5)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        os.kill(lab.process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            assert sock.recv(65536) != b"", "it ended as if it were whole"


def test_an_answer_that_a_second_signal_cuts_off_does_not_look_whole(short_folder: Path, backend: Backend) -> None:
    path = short_folder / "gw.sock"
    with serving(short_folder, backend, server={"more_listeners": [{"unix": str(path)}]}) as lab:
        case = lab.case()
        case.reply(Reply((b"HTTP/1.1 200 OK\r\n\r\nhalf of it", b" and the rest")))
        sock = socket.create_connection((HOST, port_of(addresses(lab)[0])), 20)
        sock.sendall(b"GET /public/%b HTTP/1.0\r\nHost: a\r\n\r\n" % case.token)
        received = b""
        while b"half of it" not in received:
            received += sock.recv(65536)
        os.kill(lab.process.pid, signal.SIGTERM)
        wait_until(lambda: not path.exists())
        with pytest.raises(ConnectionResetError):
            insist(lab, sock)
        sock.close()
        case.arrived()[0].may_go_on.set()


def test_ipv4_and_ipv6_have_a_listener_each_at_one_port(tmp_path: Path, backend: Backend) -> None:
    port = free_port()
    server = {"host": HOST, "port": port, "more_listeners": [{"host": "::", "port": port}]}
    with serving(tmp_path, backend, server=server) as lab:
        assert len(addresses(lab)) == 2
        with socket.create_connection(("::1", port), 20) as sock:
            sock.sendall(SESSION.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 ")


# -- settings
WRONG: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "nowhere": ({"more_listeners": [{}]}, [("server.more_listeners.0", "needs either a port or unix")]),
    "two places": (
        {"more_listeners": [{"port": 1, "unix": "/a"}]},
        [("server.more_listeners.0", "needs either a port or unix")],
    ),
    "a host for a socket": (
        {"more_listeners": [{"host": "::1", "unix": "/a"}]},
        [("server.more_listeners.0", "a unix socket has no host")],
    ),
    "no mode": (
        {"more_listeners": [{"unix": "/a", "mode": "rw"}]},
        [("server.more_listeners.0.mode", 'must be three octal digits in quotes, like "0660"')],
    ),
    "TLS without a certificate": (
        {"more_listeners": [{"port": 1, "tls": True}]},
        [("server.more_listeners.0.tls", "needs a certificate in server.tls")],
    ),
    "one place twice": (
        {"port": 81, "more_listeners": [{"port": 82}, {"port": 82}, {"unix": "/a"}, {"unix": "/a"}]},
        [
            ("server.more_listeners.1.port", "the same address and port as server.more_listeners.0"),
            ("server.more_listeners.3.unix", "the same address and port as server.more_listeners.2"),
        ],
    ),
    "no https to go to": (
        {"redirect_http": {"port": 80}},
        [
            (
                "server.redirect_http",
                "there is no https to go to: server.tls has no certificate, site.url is not https",
            )
        ],
    ),
    "fewer than none": ({"max_connections": -1}, [("server.max_connections", "must be at least 0")]),
}


@pytest.mark.parametrize(("server", "said"), table(WRONG))
def test_a_wrong_listener_is_named(server: dict[str, Any], said: list[tuple[str, str]]) -> None:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", server=server)
    assert [(problem.key, problem.what) for problem in caught.value.problems] == said
