"""TLS at the gateway: versions, names, certificates that change under load, ends that are no ends, and who speaks no TLS."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as dial
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Origin

from gateway.errors import SettingsError
from gateway.listeners.certificates import Certificates
from gateway.listeners.pairs import Pair
from gateway.upstream.tls import TlsError
from tests.behaviour.listener_lab import certificates, serving, tls_of, trusting
from tests.behaviour.test_upstream_tls import NO_KEY, NOT_ITS_KEY, NOT_THERE, _expire
from tests.conformance.backend import Backend, Exchange, Hold, Line, Reply
from tests.conformance.lab import Case, Lab
from tests.conformance.tls import TlsWire, tls_case
from tests.conformance.wire import Wire
from tests.core.tables import table
from tests.harness import ALICE, GatewayProcess, make_settings, run_gateway
from tests.redis_lab import Certificate, make_certificate, wait_until

HOST = "127.0.0.1"
LARGE = os.urandom(3 * 1024 * 1024)
SESSION = b"GET /auth/session HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    ca = certificates(made, "localhost", "b.example", "*.wild.example", "gone.example")
    _expire(make_certificate(made, "expired", ca, host="localhost"), ca)
    return made


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lab(folder: Path, backend: Backend) -> Iterator[Lab]:
    """TLS with three certificates, and little patience."""
    tls = tls_of(folder, "localhost", "b.example", "any.wild.example")
    with serving(folder, backend, server={"tls": tls, "head_timeout": 0.7}) as made:
        yield made


@pytest.fixture
def case(lab: Lab, folder: Path) -> Iterator[Case]:
    made = tls_case(lab, trusting(folder))
    yield made
    made.finish()


def connect(port: int, folder: Path, name: str = "localhost", **attributes: Any) -> TlsWire:
    return TlsWire(port, context=trusting(folder, **attributes), name=name)


def certificate_of(wire: TlsWire) -> x509.Certificate:
    shown = wire.tls.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def names_of(wire: TlsWire) -> list[str]:
    found = certificate_of(wire).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(found.get_values_for_type(x509.DNSName))


# -- the handshake
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_tls_1_2_and_1_3_are_spoken_with_forward_secrecy(lab: Lab, folder: Path, version: ssl.TLSVersion) -> None:
    with connect(lab.port, folder, minimum_version=version, maximum_version=version) as wire:
        wire.send(SESSION)
        assert wire.answer().reason == "no_session"
        cipher = wire.tls.cipher()
        assert cipher is not None
        assert cipher[0].startswith(("ECDHE-", "TLS_"))
        assert wire.tls.compression() is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"minimum_version": ssl.TLSVersion.TLSv1, "maximum_version": ssl.TLSVersion.TLSv1_1},
        {"ciphers": "AES128-GCM-SHA256"},
        {"ciphers": "ECDHE-ECDSA-AES128-SHA256"},
    ],
    ids=["TLS 1.1", "no forward secrecy", "CBC"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_what_is_too_weak_is_not_spoken(lab: Lab, folder: Path, attributes: dict[str, Any]) -> None:
    context = trusting(folder)
    context.set_ciphers(attributes.pop("ciphers", "ALL") + ":@SECLEVEL=0")
    context.maximum_version = attributes.get("maximum_version", ssl.TLSVersion.TLSv1_2)
    context.minimum_version = attributes.get("minimum_version", ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        TlsWire(lab.port, context=context)


def test_the_oldest_version_can_be_1_3(folder: Path, tmp_path: Path, backend: Backend) -> None:
    tls = tls_of(folder, "localhost", min_version=1.3)
    with serving(tmp_path, backend, server={"tls": tls}) as lab:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect(lab.port, folder, maximum_version=ssl.TLSVersion.TLSv1_2)
        with connect(lab.port, folder) as wire:
            assert wire.tls.version() == "TLSv1.3"


def test_who_can_speak_http_2_too_is_told_http_1_1(lab: Lab, folder: Path) -> None:
    context = trusting(folder)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with TlsWire(lab.port, context=context) as wire:
        assert wire.tls.selected_alpn_protocol() == "http/1.1"


NAMES = {
    "the first": ("localhost", ["localhost"]),
    "another": ("b.example", ["b.example"]),
    "in capitals": ("B.Example", ["b.example"]),
    "one of a wildcard": ("x.wild.example", ["*.wild.example"]),
    "two below a wildcard": ("x.y.wild.example", ["localhost"]),
    "a wildcard's own": ("wild.example", ["localhost"]),
    "nobody's": ("other.example", ["localhost"]),
}


@pytest.mark.parametrize(("name", "shown"), table(NAMES))
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_the_name_that_is_asked_for_chooses_the_certificate(
    lab: Lab, folder: Path, version: ssl.TLSVersion, name: str, shown: list[str]
) -> None:
    context = trusting(folder, check_hostname=False, maximum_version=version)
    with TlsWire(lab.port, context=context, name=name) as wire:
        assert names_of(wire) == shown


def test_who_asks_for_no_name_gets_the_first(lab: Lab, folder: Path) -> None:
    context = trusting(folder, check_hostname=False)
    with (
        socket.create_connection((HOST, lab.port)) as plain,
        context.wrap_socket(plain, server_hostname=None) as tls,
    ):
        assert tls.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert((folder / "localhost.crt").read_text())


def _session_of_tls(lab: Lab, context: ssl.SSLContext, known: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Of a new connection, which resumes a ``known`` one."""
    with (
        socket.create_connection((HOST, lab.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=known) as tls,
    ):
        assert tls.session_reused == (known is not None)
        return tls.session


def test_a_session_of_tls_is_resumed(lab: Lab, folder: Path) -> None:
    context = trusting(folder, maximum_version=ssl.TLSVersion.TLSv1_2)
    session = _session_of_tls(lab, context, None)
    assert _session_of_tls(lab, context, session) is not None


def test_renegotiation_is_refused(lab: Lab, folder: Path) -> None:
    command = ["openssl", "s_client", "-connect", f"{HOST}:{lab.port}", "-tls1_2", "-CAfile", str(folder / "ca.crt")]
    done = subprocess.run(
        [*command, "-legacy_renegotiation"], input=b"R\n", capture_output=True, timeout=20, check=False
    )
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"no renegotiation" in done.stderr.lower() or done.returncode != 0


# -- HTTP over it
def test_curl_gets_its_answer_over_https(lab: Lab, folder: Path) -> None:
    url = f"https://localhost:{lab.port}/auth/session"
    command = ["curl", "-sS", "--ipv4", "--cacert", str(folder / "ca.crt"), "-w", "%{http_version}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert '"reason":"no_session"' in done.stdout
    assert done.stdout.endswith("1.1")


def test_many_requests_in_one_record_and_one_in_many_are_answered(case: Case) -> None:
    asked = b"GET /public/CASE0000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    together = case.ask(asked * 5)
    for _ in range(5):
        case.expect(together.answer().status == 200, "not answered")
    slowly = case.ask(asked, pieces=len(asked))
    case.expect(slowly.answer().status == 200, "not answered byte by byte")
    case.expect(case.is_usable(together) and case.is_usable(slowly), "not kept")


def test_large_bodies_pass_both_ways(case: Case) -> None:
    def give_back(line: Line, exchange: Exchange) -> None:
        line.read_body(exchange)
        line.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(exchange.body) + exchange.body)

    case.reply(give_back)
    wire = case.connect()
    head = b"POST /public/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (case.token, len(LARGE))
    wire.send(head + LARGE)
    answer = wire.answer()
    assert (answer.status, answer.body == LARGE) == (200, True)
    assert case.is_usable(wire)


async def test_large_bodies_pass_both_ways_at_the_same_time(case: Case, folder: Path) -> None:
    """With back-pressure on both sides: each stops and goes on many times."""
    sent = LARGE * 8
    size = len(sent)

    def stream(line: Line, _: Exchange) -> None:
        line.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        while left and (line.left or line.fill()):
            data, line.left = line.left, b""
            left -= len(data)
            line.write(data)

    case.reply(stream)
    reader, writer = await asyncio.open_connection(
        "localhost", case.lab.port, ssl=trusting(folder), family=socket.AF_INET
    )
    writer.write(b"POST /public/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (case.token, size))

    async def send() -> None:
        for at in range(0, size, 50_000):
            writer.write(sent[at : at + 50_000])
            await writer.drain()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(30):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        assert await reader.readexactly(size) == sent
        await sending
    writer.close()


def test_backends_are_told_https_and_cookies_are_secure_without_a_site_url(case: Case) -> None:
    wire = case.ask(b"GET /public/CASE0000 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: http\r\n\r\n")
    assert wire.answer().status == 200
    (seen,) = case.seen
    assert (seen.values(b"X-Forwarded-Proto"), seen.values(b"X-Forwarded-Port")) == ([b"https"], [b"443"])
    body = b'{"username": "%b", "password": "%b"}' % (ALICE["username"].encode(), ALICE["password"].encode())
    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nContent-Type: application/json\r\n"
    case.send(wire, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = wire.answer()
    assert answer.status == 200, answer.raw
    (cookie,) = [one for one in answer.values(b"Set-Cookie") if b"gw_session" in one]
    assert cookie.startswith(b"__Host-gw_session=")
    assert b"; Secure" in cookie
    assert answer.values(b"Strict-Transport-Security") != []
    case.send(wire, head.replace(b"https://localhost", b"http://localhost") + b"Content-Length: 2\r\n\r\n{}")
    assert wire.answer().reason == "cross_site"


def test_a_websocket_passes_over_tls_and_its_origin_is_https(folder: Path, tmp_path: Path, backend: Backend) -> None:
    def give_back(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(give_back, HOST, 0, max_size=None) as behind:
        threading.Thread(target=behind.serve_forever, daemon=True).start()
        url = f"http://{HOST}:{behind.socket.getsockname()[1]}"
        server = {"tls": tls_of(folder, "localhost")}
        with serving(tmp_path, backend, server=server, upstreams={"backend": {"url": url}}) as lab:
            wss, site = f"wss://localhost:{lab.port}/public/", f"localhost:{lab.port}"
            with pytest.raises(InvalidStatus), dial(wss, ssl=trusting(folder), origin=Origin(f"http://{site}")):
                pass
            ours = Origin(f"https://{site}")
            with dial(wss, ssl=trusting(folder), origin=ours, max_size=None) as socket_:
                for message in ("hello", LARGE):
                    socket_.send(message)
                    assert socket_.recv(10) == message


# -- ends
def test_an_answer_that_lasts_until_the_end_ends_with_a_farewell(case: Case) -> None:
    case.reply(Reply((b"HTTP/1.1 200 OK\r\n\r\nuntil the end",), end="close"))
    wire = case.ask(b"GET /public/CASE0000 HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = wire.answer()
    case.expect((answer.body, wire.end) == (b"until the end", "closed"), f"{answer.body!r}, {wire.end}")


def test_an_end_waits_for_who_reads_late_whatever_is_still_on_its_way(case: Case) -> None:
    """Sizes around what the buffers of kernel and process hold: some end while a part is in each of them."""
    sizes = [size * 300_000 for size in range(1, 20)]
    bodies = [b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size) for size in sizes]
    wires = []
    for body in bodies:
        case.reply(Reply((body,), end="close"))
        wires.append(case.ask(b"GET /public/CASE0000 HTTP/1.0\r\nHost: localhost\r\n\r\n"))
        case.arrived(len(wires))
    time.sleep(1.5)  # longer than the gateway looks after ends
    got = [(len(wire.answer().body), wire.end) for wire in wires]
    assert got == [(size, "closed") for size in sizes]


def test_an_answer_that_was_cut_has_no_farewell(case: Case) -> None:
    """RFC 9112 §9.8: an end without close_notify is no end."""
    case.reply(Reply((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",), end="reset"))
    wire = case.ask(b"GET /public/CASE0000 HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = wire.answer()
    case.expect(not answer.whole and wire.end == "reset", f"{answer.raw!r}, {wire.end}")


def test_who_says_goodbye_in_the_middle_of_an_answer_ends_the_backend_s_request(case: Case) -> None:
    """TLS has no halves."""
    case.reply(Hold(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    wire = case.ask(b"GET /public/CASE0000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wire.wait_for(b"hello")
    wire.half_close()
    assert case.arrived()[0].gone.wait(6), "the backend's request goes on"


def test_a_refused_upload_is_told_why_before_the_end(case: Case) -> None:
    """The answer must not be lost to a reset because of bytes that nobody read."""
    wire = case.connect()
    head = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n"
    wire.send(head + LARGE)
    answer = wire.answer()
    assert (answer.status, answer.reason, answer.closes) == (413, "too_large", True)


# -- who is slow
def _is_served(case: Case) -> bool:
    return case.is_usable(case.connect())


def _is_gone(sock: socket.socket, seconds: float = 6.0) -> float:
    """Seconds until the gateway has ended the connection."""
    began = time.monotonic()
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_handshakes_that_do_not_end_are_cut_off_and_disturb_nobody(case: Case) -> None:
    """P88, A9: ``head_timeout`` holds for them, too."""
    socks = [socket.create_connection((HOST, case.lab.port)) for _ in range(30)]
    for number, sock in enumerate(socks):
        if number % 2:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert _is_served(case)
    took = [_is_gone(sock) for sock in socks]
    print(f"handshakes ended after {max(took):.2f} s, promised: 0.7")
    for sock in socks:
        sock.close()
    assert _is_served(case)


def test_slow_heads_and_bodies_are_told_408(case: Case) -> None:
    head = case.ask(b"GET /public/CASE0000 HTTP/1.1\r\nHost: a\r\n")
    body = case.ask(b"POST /brief/CASE0000 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    assert _is_served(case)
    for wire in (head, body):
        answer = wire.answer()
        assert (answer.status, answer.reason, wire.rest(), wire.end) == (408, "slow_request", b"", "closed")


def test_who_does_not_read_is_reset_and_disturbs_nobody(case: Case) -> None:
    def flood(line: Line, exchange: Exchange) -> None:
        line.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not line.gone.is_set() and not exchange.is_over:
            line.write(bytes(65536))

    case.reply(flood)
    wire = case.ask(b"GET /brief/CASE0000 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _is_served(case)
    assert case.arrived()[0].gone.wait(10), "the backend's request goes on"
    answer = wire.answer()
    assert (answer.whole, wire.end) == (False, "reset")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00" * 100, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"]
)
def test_who_speaks_no_tls_is_gone_at_once(case: Case, data: bytes) -> None:
    with Wire(case.lab.port) as wire:
        wire.send(data)
        assert b"HTTP/" not in wire.rest()
    assert _is_served(case)


def test_plain_http_is_closed_with_the_client_s_bytes_unread_and_others_go_on(case: Case) -> None:
    kept = case.connect()
    for _ in range(20):
        with Wire(case.lab.port) as wire:
            wire.send(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    assert case.is_usable(kept)


def test_without_file_descriptors_nobody_comes_in_until_there_are_some_again(
    folder: Path, tmp_path: Path, backend: Backend
) -> None:
    with serving(tmp_path, backend, server={"tls": tls_of(folder, "localhost")}) as lab:
        hard = resource.prlimit(lab.process.pid, resource.RLIMIT_NOFILE)[1]
        used = len(os.listdir(f"/proc/{lab.process.pid}/fd"))
        before = resource.prlimit(lab.process.pid, resource.RLIMIT_NOFILE, (used + 8, hard))
        flood = [socket.create_connection((HOST, lab.port)) for _ in range(30)]
        wait_until(lambda: "no connection can be accepted" in lab.process.output)
        resource.prlimit(lab.process.pid, resource.RLIMIT_NOFILE, before)
        for sock in flood:
            sock.close()
        with connect(lab.port, folder) as wire:
            wire.send(SESSION)
            assert wire.answer().reason == "no_session"


# -- certificates that change
def _replace(folder: Path, name: str, made: Certificate) -> None:
    """As certbot does: each file at once, one after the other."""
    for kind, source in (("crt", made.cert), ("key", made.key)):
        shutil.copy(source, folder / f"new-{kind}")
        os.replace(folder / f"new-{kind}", folder / f"{name}.{kind}")


@pytest.fixture
def changing(tmp_path: Path, backend: Backend) -> Iterator[tuple[Lab, Certificate]]:
    """A gateway whose certificate may change, and the authority."""
    ca = certificates(tmp_path, "localhost")
    with serving(tmp_path, backend, server={"tls": tls_of(tmp_path, "localhost")}) as lab:
        yield lab, ca


def _serial(lab: Lab, folder: Path) -> int:
    with connect(lab.port, folder) as wire:
        return certificate_of(wire).serial_number


def test_no_handshake_fails_while_the_files_change(changing: tuple[Lab, Certificate], tmp_path: Path) -> None:
    lab, ca = changing
    serials: list[int] = []
    kept = connect(lab.port, tmp_path)
    over = threading.Event()

    def shake_hands() -> None:
        while not over.is_set() or len(serials) < 200:
            serials.append(_serial(lab, tmp_path))

    clients = [threading.Thread(target=shake_hands) for _ in range(2)]
    for client in clients:
        client.start()
    (tmp_path / "new").mkdir()
    wanted = set()
    for number in range(2):
        made = make_certificate(tmp_path / "new", f"n{number}", ca, host="localhost")
        serial = x509.load_pem_x509_certificate(made.cert.read_bytes()).serial_number
        wanted.add(serial)
        _replace(tmp_path, "localhost", made)
        wait_until(lambda serial=serial: serials and serials[-1] == serial)
    over.set()
    for client in clients:
        client.join()
    print(f"{len(serials)} handshakes")
    assert wanted < set(serials)
    assert len(serials) >= 200
    kept.send(SESSION)
    assert kept.answer().reason == "no_session", "who was connected before stays"
    kept.close()


def test_a_broken_pair_changes_nothing_and_a_right_one_after_it_does(
    changing: tuple[Lab, Certificate], tmp_path: Path
) -> None:
    lab, ca = changing
    before = _serial(lab, tmp_path)
    (tmp_path / "new").mkdir()
    made = make_certificate(tmp_path / "new", "n", ca, host="localhost")
    for wrong in (b"", made.cert.read_bytes()):  # empty, then one that does not fit the key
        told = lab.process.output.count("the one before stays")
        (tmp_path / "localhost.crt").write_bytes(wrong)
        wait_until(lambda told=told: lab.process.output.count("the one before stays") > told)
        assert _serial(lab, tmp_path) == before
    _replace(tmp_path, "localhost", made)
    serial = x509.load_pem_x509_certificate(made.cert.read_bytes()).serial_number
    wait_until(lambda: _serial(lab, tmp_path) == serial)


def test_a_wildcard_is_for_one_label_and_an_exact_name_goes_before_it(tmp_path: Path) -> None:
    certificates(tmp_path, "localhost", "*.example", "a.example")
    names = ("localhost", "any.example", "a.example")
    found = Certificates([Pair(tmp_path / f"{one}.crt", tmp_path / f"{one}.key") for one in names])
    first, wild, exact = [found.find(one) for one in ("localhost", "b.example", "a.example")]
    assert len({id(first), id(wild), id(exact)}) == 3
    assert [found.find(one) for one in ("", None, "x.a.example", "example")] == [first] * 4
    assert found.find("B.EXAMPLE.") is wild
    with pytest.raises(TlsError):
        Certificates([Pair(tmp_path / "localhost.crt", tmp_path / "a.example.key")])


# -- settings
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such file": ({"cert_file": "nowhere", "key_file": "localhost.key"}, ".cert_file", f"{{}}/nowhere {NOT_THERE}"),
    "no key": ({"cert_file": "localhost.crt"}, ".key_file", "cert_file and key_file go together"),
    "a certificate for a key": (
        {"cert_file": "localhost.crt", "key_file": "localhost.crt"},
        ".key_file",
        f"{{}}/localhost.crt {NO_KEY}",
    ),
    "the key of another": (
        {"cert_file": "localhost.crt", "key_file": "b.example.key"},
        ".key_file",
        f"{{}}/b.example.key {NOT_ITS_KEY}",
    ),
    "an old version": (
        {"cert_file": "localhost.crt", "key_file": "localhost.key", "min_version": 1.1},
        ".min_version",
        "must be 1.2 or 1.3",
    ),
}


def _problems(**over: Any) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        make_settings("redis://127.0.0.1:1/0", "http://127.0.0.1:1", **over)
    return [(problem.key, problem.what) for problem in caught.value.problems]


@pytest.mark.parametrize(("given", "key", "said"), table(WRONG))
def test_a_wrong_certificate_is_named(folder: Path, given: dict[str, Any], key: str, said: str) -> None:
    tls = {name: str(folder / value) if name.endswith("_file") else value for name, value in given.items()}
    assert _problems(server={"tls": tls}) == [(f"server.tls{key}", said.format(folder))]


def test_a_wrong_certificate_among_several_is_named(folder: Path) -> None:
    tls = tls_of(folder, "localhost", "b.example")
    tls["certificates"][0]["key_file"] = str(folder / "localhost.key")
    said = f"{folder}/localhost.key {NOT_ITS_KEY}"
    assert _problems(server={"tls": tls}) == [("server.tls.certificates.0.key_file", said)]


def test_tls_needs_a_site_that_is_https_and_no_proxy_protocol(folder: Path) -> None:
    server = {"tls": tls_of(folder, "localhost"), "proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    found = [key for key, _ in _problems(server=server, site={"url": "http://localhost"})]
    assert sorted(found) == ["server.proxy_protocol", "site.url"]


def test_check_warns_of_a_certificate_that_is_over_and_a_key_that_others_can_read(folder: Path, tmp_path: Path) -> None:
    (folder / "expired.key").chmod(0o644)
    tls = tls_of(folder, "expired")
    lines = [f"server: {{tls: {{cert_file: '{tls['cert_file']}', key_file: '{tls['key_file']}'}}}}"]
    lines += ["keys: {master: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8}", "session: {engine: memory}"]
    lines += ["users: [{path: users.yaml}]", "upstreams: {a: {url: 'http://127.0.0.1:1'}}", "routes: [{path: /}]", ""]
    (tmp_path / "users.yaml").write_text("users: []\n")
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    done = run_gateway("check", "--config", str(tmp_path / "c.yaml"))
    assert (done.returncode, done.stderr.count("warning:")) == (0, 2)
    assert "expired.crt has expired" in done.stderr
    assert "chmod 600" in done.stderr


# -- several processes, and the end
def test_workers_share_the_listener_and_its_sessions_of_tls(folder: Path, tmp_path: Path, backend: Backend) -> None:
    """The keys of the tickets are made before the fork: who resumes may meet another worker."""
    server = {"tls": tls_of(folder, "localhost"), "workers": 2}
    session = {"engine": "file", "file": {"path": str(tmp_path / "sessions")}}
    with serving(tmp_path, backend, server=server, session=session) as lab:
        wait_until(lambda: _serial(lab, folder))
        context = trusting(folder, maximum_version=ssl.TLSVersion.TLSv1_2)
        known = _session_of_tls(lab, context, None)
        for _ in range(20):
            _session_of_tls(lab, context, known)
        assert lab.process.stop() == 0


def test_draining_lets_an_answer_over_tls_finish_and_takes_nobody_in(
    folder: Path, tmp_path: Path, backend: Backend
) -> None:
    with serving(tmp_path, backend, server={"tls": tls_of(folder, "localhost")}) as lab:
        case = tls_case(lab, trusting(folder))
        case.reply(Reply((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"world")))
        idle = connect(lab.port, folder)
        wire = case.ask(b"GET /public/CASE0000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.wait_for(b"hello")
        stalled = socket.create_connection((HOST, lab.port))
        process: GatewayProcess = lab.process
        assert process.process is not None
        process.process.terminate()
        idle.rest()
        assert idle.end == "closed"

        def is_closed() -> bool:
            try:
                socket.create_connection((HOST, lab.port)).close()
            except ConnectionRefusedError:
                return True
            return False

        wait_until(is_closed)
        case.arrived()[0].may_go_on.set()
        assert wire.answer().body == b"helloworld"
        idle.close()
        case.close()
        assert process.process.wait(20) == 0
        stalled.close()


def test_a_handler_of_errors_is_not_needed_for_clients_that_fail(lab: Lab) -> None:
    """What strangers do wrong in a handshake is no line in the log: it would be theirs to fill."""
    before = lab.process.output
    for data in (b"", b"\x16", b"GET / HTTP/1.0\r\n\r\n", os.urandom(300)):
        with Wire(lab.port) as wire:
            wire.send(data)
            wire.reset()
    with pytest.raises(ssl.SSLError):
        TlsWire(lab.port, context=ssl.create_default_context())
    assert lab.process.output == before


def test_a_worker_that_begins_later_has_the_certificate_of_today(tmp_path: Path) -> None:
    """They are read before workers are forked, and one may be replaced months later."""
    ca = certificates(tmp_path, "localhost")
    found = Certificates([Pair(tmp_path / "localhost.crt", tmp_path / "localhost.key")])
    before = found.find("localhost")
    found.catch_up()
    assert found.find("localhost") is before
    (tmp_path / "new").mkdir()
    _replace(tmp_path, "localhost", make_certificate(tmp_path / "new", "n", ca, host="localhost"))
    found.catch_up()
    today = found.find("localhost")
    assert today is not before
    (tmp_path / "localhost.crt").write_text("nonsense")
    found.catch_up()
    assert found.find("localhost") is today
