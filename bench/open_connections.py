"""WebSockets, streams of events and TLS, the gateway beside nginx: ``.venv/bin/python -m bench.open_connections``.

As :mod:`bench.compare`: one core for the program, another for backend, Redis and load; CPU of the program's process tree
for each message, event, handshake or MiB; rounds in turn, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.certificate import self_signed
from bench.children import Child, free_port
from bench.cpu import cpu_seconds, memory, settle
from bench.lab import ROOT, Lab, find_nginx, pick_cores
from bench.measure import SPARE_FILES
from bench.programs import Gateway, NginxPlain

RESULT = ROOT / "bench/results/open_connections.json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that is measured: ``per`` of it make one unit of the figure."""

    name: str
    title: str
    unit: str
    count: int
    per: float = 1e6
    over_tls: bool = False


KINDS = (
    Kind("idle", "10,000 WebSockets that wait", "KiB/connection", 10_000),  # first: in a fresh process
    Kind("messages", "64 WebSockets, a message of 64 bytes and its answer", "µs/message", 64),
    Kind("events", "2,000 streams of events, ten a second each", "µs/event", 2000),
    Kind("handshakes", "TLS handshakes, none resumed", "µs/handshake", 1, over_tls=True),
    Kind("downloads", "answers of 1 MiB over TLS", "MiB/CPU s", 1, over_tls=True),
)


class OpenLab(Lab):
    """With another backend, and a certificate for TLS."""

    open_port = 0
    certificate: Path
    key: Path

    def prepare(self) -> None:
        """Before the programs start."""
        self.certificate, self.key = self_signed(self.folder)
        folder = self.room("open-backend")
        child = Child([sys.executable, "-m", "bench.open_backend"], self.cores.rest, folder, {"PYTHONPATH": str(ROOT)})
        self.children.append(child)
        child.wait_for(lambda: child.out.read_text().endswith("\n"))
        self.open_port = int(child.out.read_text())

    @property
    def values(self) -> dict[str, object]:
        """For configurations."""
        return {"OPEN_PORT": self.open_port, "CERTIFICATE": self.certificate, "KEY": self.key}


class OpenGateway(Gateway):
    """With the backend of this measurement."""

    lab: OpenLab
    tls_port = 0

    def run(self, folder: Path) -> Child:
        """On two ports."""
        self.tls_port = free_port()
        return self.serve(folder, "gateway-open.yaml", TLS_PORT=self.tls_port, **self.lab.values)


class OpenNginx(NginxPlain):
    """Passing on ``Upgrade``; no log, no gate."""

    lab: OpenLab
    tls_port = 0

    def run(self, folder: Path) -> Child:
        """One worker, on two ports."""
        self.tls_port = free_port()
        return self.lab.nginx("nginx-open.conf", folder, self.port, TLS_PORT=self.tls_port, **self.lab.values)


def measure(program: OpenGateway | OpenNginx, kind: Kind, seconds: int) -> tuple[float, float]:
    """One round: the figure in the kind's unit; and how many there were in a second (of downloads: MiB)."""
    port = program.tls_port if kind.over_tls else program.port
    count = min(kind.count, (program.lab.files - SPARE_FILES) // 2)  # a program has two descriptors for each
    pid = program.child.pid
    settle(pid, 3)
    before_memory = memory(pid)
    command = [sys.executable, "-m", "bench.open_client", kind.name, str(port), str(count), str(seconds)]
    core = program.lab.cores.rest
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ) as load:  # fmt: skip
        assert load.stdin is not None
        assert load.stdout is not None

        def say(text: str) -> None:
            assert load.stdin is not None
            load.stdin.write(text + "\n")
            load.stdin.flush()

        say(program.cookie)
        if load.stdout.readline().strip() != "ready":
            raise SystemExit(f"{program.title}: {kind.title}: the load did not start")
        if kind.name == "idle":
            settle(pid, 10)
            grown = memory(pid) - before_memory
        before = cpu_seconds(pid)
        say("go")
        counted = int(load.stdout.readline() or 0)
        spent = cpu_seconds(pid) - before
        say("done")
    if kind.name == "idle":
        return grown / count / 1024, 0.0
    if not counted:
        raise SystemExit(f"{program.title}: {kind.title}: nothing was counted")
    if kind.name == "downloads":
        return counted / (1 << 20) / spent, counted / (1 << 20) / seconds
    return spent / counted * kind.per, counted / seconds


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(
        prog="bench.open_connections", description="WebSockets, event streams and TLS, beside nginx."
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=int, default=3, metavar="N")
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], action="append")
    parser.add_argument("--json-out", type=Path, default=RESULT, metavar="FILE")
    given = parser.parse_args()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    folder.chmod(0o755)
    lab = OpenLab(folder, pick_cores(os.sched_getaffinity(0)), files, ROOT)
    programs: list[OpenGateway | OpenNginx] = [OpenGateway(lab), *([OpenNginx(lab)] if find_nginx() else [])]
    try:
        lab.prepare()
        for program in programs:
            program.start()
        kinds = [kind for kind in KINDS if not given.kind or kind.name in given.kind]
        results = _rounds(programs, kinds, given.rounds, given.seconds)
    finally:
        for program in programs:
            program.stop()
        lab.stop()
        shutil.rmtree(folder, ignore_errors=True)
    made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "rounds": given.rounds, "seconds": given.seconds}
    versions = {program.name: program.version() for program in programs}
    given.json_out.write_text(
        json.dumps({**made, "programs": versions, "kinds": results}, indent=1, ensure_ascii=False) + "\n"
    )
    print(f"written: {given.json_out}")


def _rounds(
    programs: list[OpenGateway | OpenNginx], kinds: list[Kind], rounds: int, seconds: int
) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for kind in kinds:
        rates: dict[str, list[float]] = {program.name: [] for program in programs}
        figures: dict[str, list[float]] = {program.name: [] for program in programs}
        for number in range(1 if kind.name == "idle" else rounds):
            for program in programs[number % len(programs) :] + programs[: number % len(programs)]:
                figure, rate = measure(program, kind, seconds)
                figures[program.name].append(figure)
                rates[program.name].append(rate)
        medians = {name: statistics.median(values) for name, values in figures.items()}
        per_second = {name: statistics.median(values) for name, values in rates.items()}
        print(f"{kind.title} ({kind.unit})")
        for program in programs:
            ratio = f"{medians[program.name] / medians['nginx']:6.2f} x nginx" if "nginx" in medians else ""
            rate_text = f"{per_second[program.name]:10,.0f} a second" if per_second[program.name] else ""
            print(f"  {program.title:15} {medians[program.name]:10.1f} {ratio} {rate_text}")
        told = {"medians": medians, "per_second": per_second, "rounds": figures}
        results.append({"name": kind.name, "title": kind.title, "unit": kind.unit, **told})
    return results


if __name__ == "__main__":
    main()
