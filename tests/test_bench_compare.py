"""The comparison with other proxies: its parsers and its arithmetic, its checks on small real servers, and one real run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.client import Answer, Client
from bench.compare import options_from
from bench.cpu import Process, cpu_seconds, memory, parse_stat, settle, tree_of
from bench.lab import Cores, filled, find_nginx, pick_cores
from bench.load import Ask, Outcome, find_wrk, invented, parse_wrk, run_idle, run_uploads, wrk_script
from bench.measure import Sample, Wrong, check, faults_of
from bench.programs import Program
from bench.report import Row, as_json, as_table, median, ratio, ratio_with_redis, row_of, spread
from bench.scenarios import SCENARIOS, Scenario
from tests.harness import ROOT

GET, LARGE, IDLE = (next(one for one in SCENARIOS if one.name == name) for name in ("get-64", "large", "idle"))
COUNTED = "counted requests=1000 bytes=1300000 microseconds=2000000 connect={} read={} write={} status={} timeout={} p50=1500 p99=9000"


# -- what wrk says
@pytest.mark.parametrize(
    ("numbers", "refusals_count", "errors"),
    [
        ((0, 0, 0, 0, 0), False, {}),
        ((1, 2, 3, 4, 5), False, {"connect": 1, "read": 2, "write": 3, "timeout": 5, "status": 4}),
        ((0, 0, 0, 1000, 0), True, {}),
        ((0, 0, 0, 990, 0), True, {"status": 10}),
        ((0, 0, 0, 0, 0), True, {"status": 1000}),
    ],
)
def test_every_kind_of_error_that_wrk_counts_is_seen(
    numbers: tuple[int, ...], refusals_count: bool, errors: dict[str, int]
) -> None:
    text = f"Running 2s test\n  1000 requests in 2.00s\n{COUNTED.format(*numbers)}\n"
    assert parse_wrk(text, refusals_count) == Outcome(1000, 1_300_000, 2.0, 1.5, 9.0, errors)


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", "  1000 requests in 2s"])
def test_a_run_of_wrk_that_did_not_end_is_no_figure(text: str) -> None:
    with pytest.raises(ValueError, match="counted nothing"):
        parse_wrk(text)


def test_several_cookies_take_turns_and_one_stands_in_the_script(tmp_path: Path) -> None:
    file = tmp_path / "cookies"
    assert "[==[a=1]==]" in wrk_script(Ask("GET", "/", ["a=1"]), file)
    assert not file.exists()
    assert str(file) in wrk_script(Ask("GET", "/", ["a=1", "a=2"]), file)
    assert file.read_text() == "a=1\na=2\n"


@pytest.mark.parametrize(
    "cookie", ["gw_session=AQIDBAUGBwgJabcdefXYZ_-0129", "connect.sid=s%3AabcDEF-123.x%2FyzAB%2B12"]
)
def test_invented_cookies_have_the_form_of_the_real_one_and_differ(cookie: str) -> None:
    def form(text: str) -> str:
        return re.sub(r"%..|[0-9]|[a-z]|[A-Z]", lambda m: m[0] if m[0][0] == "%" else "0aA"[kind(m[0])], text)

    def kind(char: str) -> int:
        return 0 if char.isdigit() else 1 + char.isupper()

    made = invented(cookie, 500)
    assert made == invented(cookie, 500), "the same for every program and every run"
    assert len(set(made)) == 500
    assert cookie not in made
    assert {form(one) for one in made} == {form(cookie)}


def test_a_cookie_that_is_too_short_for_so_many_invented_ones_is_an_error() -> None:
    with pytest.raises(ValueError, match="too few letters"):
        invented("sid=abcdefg1h", 500)


# -- what /proc says
@pytest.mark.parametrize("name", ["nginx", "a b", "(sd-pam)", "x) R 1 (y", ") 1 2 3 4"])
def test_a_process_is_read_whatever_its_name(name: str) -> None:
    rest = "S 7 42 42 0 -1 4194560 9 9 9 9 100 20 3 4 20 0 1 0 555 1000000 321 18446744073709551615 1 1"
    assert parse_stat(f"42 ({name}) {rest}\n") == Process(42, 7, 127, 321)


@pytest.mark.parametrize("text", ["", "42 nginx S 7", "42 (nginx) S 7 42"])
def test_what_is_no_line_of_a_process_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a line"):
        parse_stat(text)


def test_a_tree_is_the_process_and_all_that_descend_from_it() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
    processes = [Process(pid, parent, 1, 1) for pid, parent in reversed(parents.items())]
    assert {process.pid for process in tree_of(10, processes)} == {10, 11, 12, 13}
    assert tree_of(99, processes) == []


def test_the_work_of_a_child_counts_for_the_tree_while_it_runs_and_after_it_ended() -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"
    shell = f'{sys.executable} -c "{work}"; read x'
    with subprocess.Popen(["sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "done\n"
        while_it_runs = cpu_seconds(process.pid)
        assert 0.25 <= while_it_runs < 5
        assert memory(process.pid) > 4_000_000, "a Python takes more than that"
        assert settle(process.pid, 30)
        process.stdin.write("\n")
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while memory(process.pid) > 4_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert cpu_seconds(process.pid) >= while_it_runs
        process.stdin.write("\n")
    assert cpu_seconds(process.pid) == 0


# -- arithmetic
def sample(requests: int = 1000, cpu: float = 0.02, redis: float = 0.0, **more: Any) -> Sample:
    outcome = Outcome(requests, requests * 1300, 1.0, 1.0, 2.0)
    return Sample(outcome, cpu, redis, more.get("commands", 0), more.get("memory", 0), tuple(more.get("faults", ())))


def test_the_figures_are_medians_over_the_rounds() -> None:
    row = row_of("x", GET, [sample(cpu=cpu, redis=0.01, commands=500) for cpu in (0.02, 0.09, 0.03)], True)
    assert row.figure == pytest.approx(30)
    assert row.total == pytest.approx(40)
    assert row.spread == pytest.approx(70 / 30)
    assert (row.redis_commands, row.rate, row.busy, row.p99) == (0.5, 1000, 0.03, 2.0)
    assert row.requests == 3000


@pytest.mark.parametrize(
    ("values", "middle", "apart"),
    [([], None, None), ([None], None, None), ([3.0], 3.0, None), ([1.0, None, 3.0], 2.0, 1.0), ([2.0, 2.0], 2.0, 0.0)],
)
def test_rounds_without_a_figure_do_not_count(
    values: list[float | None], middle: float | None, apart: float | None
) -> None:
    assert (median(values), spread(values)) == (middle, apart)


def test_large_bodies_are_measured_in_bytes_and_waiting_connections_in_memory() -> None:
    moved = Sample(Outcome(10, 512 * 1024 * 1024, 1.0), 0.25, 0, 0, 0, ())
    assert moved.figure(LARGE) == pytest.approx(2048)
    assert sample(requests=100, cpu=0.0, memory=1024 * 1000).figure(IDLE) == pytest.approx(10)
    assert sample(requests=0).figure(GET) is None
    assert sample(cpu=0.0).figure(GET) is None, "so short that no time was seen"


def rows() -> dict[str, Row]:
    return {
        "nginx": row_of("nginx", GET, [sample(cpu=0.01)], False),
        "traefik": row_of("traefik", GET, [sample(cpu=0.04)], False),
        "nginx-lua": row_of("nginx-lua", GET, [sample(cpu=0.02, redis=0.02, commands=1000)], True),
        "gateway": row_of("gateway", GET, [sample(cpu=0.02, commands=1)], True),
        "broken": row_of("broken", GET, [sample(cpu=0.001, faults=["7 status errors"]), sample(cpu=0.001)], False),
    }


def test_ratios_are_to_the_same_run_and_redis_counts_on_both_sides() -> None:
    table = rows()
    gateway = table["gateway"]
    assert ratio(gateway, table, "nginx") == pytest.approx(2)
    assert ratio(gateway, table, "traefik") == pytest.approx(0.5)
    assert ratio_with_redis(gateway, table, "nginx-lua") == pytest.approx(0.5)
    assert ratio(gateway, {"gateway": gateway}, "nginx") is None, "nothing to compare with"


def test_a_figure_with_errors_is_marked_and_compared_with_nothing() -> None:
    table = rows()
    assert ratio(table["broken"], table, "nginx") is None
    assert ratio(table["gateway"], table, "broken") is None
    text = as_table(GET, table, {"broken": "Broken"})
    line = next(line for line in text.splitlines() if line.startswith("Broken"))
    assert re.match(r"Broken +1\.0! +0 % +- +-", line)
    assert "! Broken: 7 status errors" in text


def test_the_table_has_a_line_for_each_program_and_no_empty_column() -> None:
    lines = as_table(GET, rows(), {"gateway": "ours"}).splitlines()
    assert "less is better" in lines[0]
    assert {"x nginx", "x Traefik", "+ Redis"} <= set(re.split(r"\s{2,}", lines[1].strip()))
    assert next(line for line in lines if line.startswith("ours")).split()[1:4] == ["20.0", "-", "2.00"]
    assert len({len(line) for line in lines[1:7]}) == 1, "aligned"
    idle = as_table(
        IDLE, {"gateway": row_of("gateway", IDLE, [Sample(Outcome(1000, 0, 1.0), 0.1, 0, 0, 10_240_000, ())], True)}, {}
    )
    assert idle.splitlines()[1].split() == ["KiB/connection"]


def test_the_json_has_medians_ratios_and_every_round() -> None:
    table = rows()
    samples = {name: [sample(), sample()] for name in table}
    found = json.loads(json.dumps(as_json(GET, table, samples)))
    assert found["unit"] == "µs/request"
    assert found["better"] == "less"
    ours = found["programs"]["gateway"]
    assert ours["to_nginx"] == pytest.approx(2)
    assert ours["to_nginx_lua_with_redis"] == pytest.approx(0.5)
    assert [(one["requests"], one["cpu"]) for one in ours["rounds"]] == [(1000, 0.02)] * 2
    assert found["programs"]["broken"]["faults"] == ["7 status errors"]


# -- what makes a round no figure
RIGHT = Answer(200, (), b"x" * 1024, 1300)


@pytest.mark.parametrize(
    ("outcome", "reached", "is_refused", "words"),
    [
        (Outcome(1000, 1_300_000, 1.0), 1001, False, ""),
        (Outcome(1000, 1_310_000, 1.0), 1000, False, ""),
        (Outcome(1000, 1_300_000, 1.0), 0, True, ""),
        (Outcome(1000, 1_300_000, 1.0, errors={"read": 2}), 1000, False, "2 read errors"),
        (Outcome(0, 0, 1.0), 0, False, "no request was answered"),
        (Outcome(1000, 1_300_000, 1.0), 900, False, "100 requests did not reach the backend"),
        (Outcome(1000, 1_300_000, 1.0), 5, True, "5 refused requests reached the backend"),
        (Outcome(1000, 700_000, 1.0), 1000, False, "answers of 700 bytes instead of 1300"),
    ],
)
def test_a_round_with_faults_says_which(outcome: Outcome, reached: int, is_refused: bool, words: str) -> None:
    assert "; ".join(faults_of(GET, outcome, reached, is_refused, RIGHT)) == words


# -- small real servers
class Server(ThreadingHTTPServer):
    """Answers everything in one way; ``ended`` counts the connections that it has closed."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes, closes: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.closes, self.ended = status, body, closes, 0
        self.port = int(self.server_address[1])

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.ended += 1


class Handler(BaseHTTPRequestHandler):
    """Reads what it is sent, then answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.close_connection = self.server.closes

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(status, body)``: a server that answers so."""
    made: list[Server] = []

    def make(status: int, body: bytes, closes: bool = False) -> Server:
        made.append(Server(status, body, closes))
        threading.Thread(target=made[-1].serve_forever, args=(0.02,), daemon=True).start()
        return made[-1]

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "has_gate", "who", "problem"),
    [
        (200, b"x" * 1024, False, "user", ""),
        (200, b"x" * 1023, False, "user", "a body of 1023 bytes"),
        (502, b"x" * 1024, False, "user", "status 502"),
        (302, b'{"ret": 302}', True, "stranger", ""),
        (302, b"<a>sign in</a>", True, "stranger", "not the JSON 302"),
        (200, b"x" * 1024, True, "stranger", "status 200 instead of a refusal"),
        (200, b"x" * 1024, True, "invented", "status 200 instead of a refusal"),
        (200, b"x" * 1024, False, "stranger", ""),
    ],
)
def test_a_program_that_answers_wrongly_is_not_measured(
    serve: Serve, status: int, body: bytes, has_gate: bool, who: Any, problem: str
) -> None:
    port = serve(status, body).port
    program = cast(
        Program, SimpleNamespace(port=port, cookie="sid=abcdefghijklmnop", has_gate=has_gate, refusals=(302,))
    )
    scenario = Scenario("x", "x", who=who)
    if not problem:
        assert check(program, scenario, 0.0).status == status
        return
    with pytest.raises(Wrong, match=problem):
        check(program, scenario, 0.0)


def test_a_program_that_is_not_there_is_not_measured() -> None:
    program = cast(Program, SimpleNamespace(port=1, cookie="", has_gate=False, refusals=()))
    with pytest.raises(Wrong, match="refused"):
        check(program, GET, 0.0)


def test_uploads_are_counted_when_they_are_whole(serve: Serve) -> None:
    outcome = run_uploads(serve(200, b"taken\n").port, Ask("POST", "/sink", ["a=1"], 100_000), 2, 1)
    assert outcome.requests > 2
    assert outcome.bytes == outcome.requests * 100_000
    assert outcome.seconds >= 1
    assert outcome.p50
    assert outcome.p99
    assert outcome.p99 >= outcome.p50 > 0
    assert outcome.errors == {}


def test_uploads_that_are_not_taken_are_errors(serve: Serve) -> None:
    outcome = run_uploads(serve(413, b"").port, Ask("POST", "/sink", (), 1000), 1, 1)
    assert (outcome.requests, outcome.p50) == (0, None)
    assert outcome.errors["BadAnswer"] > 0


@pytest.mark.parametrize(("closes", "errors"), [(False, {}), (True, {"closed": 5})])
def test_of_connections_that_wait_those_that_were_closed_are_seen(
    serve: Serve, closes: bool, errors: dict[str, int]
) -> None:
    server = serve(200, b"x", closes)
    looked: list[int] = []

    def look() -> None:
        deadline = time.monotonic() + 30
        while closes and server.ended < 5:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with Client(server.port) as other:
            looked.append(other.ask("GET", "/").status)

    outcome = run_idle(server.port, Ask("GET", "/"), 5, look)
    assert (outcome.requests, outcome.errors, looked) == (5, errors, [200])


# -- the command
def test_the_cores_are_two_where_there_are_two() -> None:
    assert pick_cores({0, 1}) == Cores(program=1, rest=0)
    assert pick_cores({2, 5, 7}) == Cores(program=7, rest=2)
    assert pick_cores({3}) == Cores(3, 3)


def test_a_configuration_with_a_name_that_nobody_fills_in_is_an_error() -> None:
    assert filled("listen @PORT@; user@example.org @fallback", {"PORT": 80}) == "listen 80; user@example.org @fallback"
    with pytest.raises(KeyError):
        filled("listen @PRT@;", {"PORT": 80})


@pytest.mark.parametrize("wrong", [["--only", "ngix"], ["--scenario", "get"], ["--rounds", "x"], ["--seconds", "0"]])
def test_what_is_not_there_cannot_be_chosen(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_from(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_no_address_of_a_registry_stands_in_the_lists_of_packages() -> None:
    for name in ("package.json", "package-lock.json", "requirements.txt"):
        text = (ROOT / "bench/peers" / name).read_text()
        assert not re.search(r'"resolved"|https?://[^"\s]+\.tgz|--(extra-)?index-url', text), name


def test_a_peer_that_is_there_is_measured_and_one_that_is_not_is_named(tmp_path: Path) -> None:
    if not (find_wrk() and find_nginx()):
        pytest.skip("the comparison with peers: no wrk or no nginx; Debian: apt-get install wrk nginx")
    target = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench.compare", "--quick", "--only", "gateway,nginx", "--scenario", "get-64"]
    options = ["--gateway-root", str(tmp_path), "--json-out", str(target)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"left out: gateway: not here (no gateway in {tmp_path})" in done.stdout
    assert re.search(r"^nginx plain +[\d.]+ ", done.stdout, re.M), done.stdout
    assert "chart" in done.stdout or "result.png" in done.stdout
    result = json.loads(target.read_text())
    assert result["programs"]["nginx"]["version"]
    found = result["scenarios"][0]["programs"]["nginx"]
    assert found["faults"] == []
    assert found["requests"] > 0
    assert 0 < found["figure"] < 10_000
    assert found["to_nginx"] == 1
