"""The measurement of tokens can be made; what it says is asserted nowhere, these machines are shared."""

from __future__ import annotations

import re
import subprocess
import sys

from gateway.core.jwt import ALGORITHMS
from tests.harness import ROOT


def test_what_tokens_cost_can_be_measured() -> None:
    command = [sys.executable, "-m", "bench.tokens", "--count", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CPU", "µs", "known", "new", "wrong", "issued"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert tuple(rows) == ALGORITHMS
    for algorithm, figures in rows.items():
        assert len(figures) == 4
        assert all(re.fullmatch(r"\d+\.\d", figure) for figure in figures), algorithm
