"""The measurements can be made: what they say is asserted nowhere, these machines are shared."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.harness import ROOT


@pytest.mark.slow
def test_what_sessions_cost_can_be_measured() -> None:
    command = [sys.executable, "-m", "bench.sessions", "--sessions", "300", "--more", "600", "--repeats", "50"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.search(r"600 sessions: \d+ bytes of Redis memory each", done.stdout)
    assert "a miss: 1 command, {'mget': 1}" in done.stdout, "one round trip"
    assert "(100 % of the look-ups were hits)" in done.stdout
    for operation in ("sign in", "find (a miss)", "touch", "save", "list a user's", "sign out"):
        assert re.search(rf"{re.escape(operation)}( +\d+ / \d+ / \d+){{2}}", done.stdout), operation
