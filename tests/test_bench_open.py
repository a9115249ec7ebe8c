"""The measurement of open connections: its load counts what it says, and one real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.certificate import self_signed
from bench.lab import find_nginx
from tests.harness import ROOT


def test_the_certificate_is_one_that_openssl_takes(tmp_path: Path) -> None:
    import ssl

    certificate, key = self_signed(tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_real_run_has_a_figure_for_each_program(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    options = [
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--kind",
        "messages",
        "--kind",
        "handshakes",
        "--json-out",
        str(result),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "bench.open_connections", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text(encoding="utf-8"))
    programs = {"gateway", "nginx"} if find_nginx() else {"gateway"}
    assert [kind["name"] for kind in found["kinds"]] == ["messages", "handshakes"]
    for kind in found["kinds"]:
        assert kind["medians"].keys() == programs
        assert all(figure > 0 for figure in kind["medians"].values())
