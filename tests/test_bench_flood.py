"""The measurement of what a flood of sign-ins does to others: one real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lab import find_nginx
from tests.harness import ROOT


@pytest.mark.slow
def test_a_real_run_times_requests_with_and_without_the_flood(tmp_path: Path) -> None:
    if find_nginx() is None:
        pytest.skip("no nginx; Debian: apt-get install nginx; the measurement of a flood of sign-ins was not run")
    result = tmp_path / "result.json"
    options = ["--rounds", "1", "--seconds", "1", "--json-out", str(result)]
    command = [sys.executable, "-m", "bench.sign_in_flood", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text(encoding="utf-8"))["medians"]
    assert all(found[name][key] > 0 for name in ("quiet", "flooded", "unthrottled") for key in ("p50_ms", "p99_ms"))
    assert found["unthrottled"]["hashed_per_second"] > 0
