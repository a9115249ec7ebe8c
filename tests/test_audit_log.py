"""The audit log by itself: whole lines, in a file that may be moved, removed or full, and never a word that is not meant for it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from gateway.core.identity import Identity
from gateway.telemetry.audit import EVENTS, FIELDS, AuditLog, Event, Fields, operator
from gateway.telemetry.audit_files import Lines, lines_to
from tests.harness import ROOT

ALICE = Identity("a3f1", "alice", name="Alice", email="alice@example.org", source="file:users.yaml", generation=3)
HOSTILE = 'x"\n{"event": "sign_in"}\r\x1b[2J\u2028\udcff\0'


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("ascii").splitlines() if line]


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def written_to(file: Path) -> Callable[[int], None]:
    """Waits until the file has so many lines."""
    return lambda count: until(lambda: file.exists() and len(file.read_bytes().splitlines()) >= count)


def test_a_line_says_when_what_who_and_where_in_this_order(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file), clock=lambda: 1784556789.0424) as audit:
        audit.note("sign_in", ALICE, address="192.0.2.7", request_id="01J", session="Xk3")
    assert file.read_text() == (
        '{"time": "2026-07-20T14:13:09.042Z", "event": "sign_in", "outcome": "success", "user_id": "a3f1", '
        '"username": "alice", "source": "file:users.yaml", "address": "192.0.2.7", "request_id": "01J", "session": "Xk3"}\n'
    )


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file)) as audit:
        audit.note("sign_out", ALICE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_there_as_soon_as_the_log_is_started(tmp_path: Path) -> None:
    with AuditLog(Lines(tmp_path / "audit.jsonl")) as audit:
        audit.start()
    assert rows(tmp_path / "audit.jsonl") == []


@pytest.mark.parametrize(
    "field", [name for name in FIELDS if name not in ("time", "event", "outcome", "typed", "count")]
)
def test_no_value_can_write_a_line_of_its_own(field: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file)) as audit:
        audit.note("sign_in_failed", **cast(Fields, {field: HOSTILE * 100}))
    (row,) = rows(file)
    assert row["event"] == "sign_in_failed"
    assert row[field] == (HOSTILE * 100)[:200]


def test_what_is_no_field_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file)) as audit:
        audit.note("sign_in", ALICE, **cast(Fields, {"password": "hunter2", "cookie": "gw_session=abc"}))
    assert set(rows(file)[0]) == {"time", "event", "outcome", "user_id", "username", "source"}
    assert "hunter2" not in file.read_text()


def test_a_typed_name_is_a_hash_that_is_the_same_for_the_same_name_under_the_same_key(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    for key, name in ((b"k" * 32, "hunter2"), (b"k" * 32, "hunter2"), (b"k" * 32, "hunter3"), (b"o" * 32, "hunter2")):
        with AuditLog(Lines(file), key) as audit:
            audit.note("sign_in_failed", typed=name)
    first, again, other_name, other_key = (row["typed"] for row in rows(file))
    assert re.fullmatch(r"hmac:[0-9a-f]{16}", first)
    assert first == again
    assert len({first, other_name, other_key}) == 3
    assert "hunter" not in file.read_text()


def test_outcomes_follow_from_the_event_unless_they_are_given(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file)) as audit:
        for event in get_args(Event):
            audit.note(event)
        audit.note("sessions_revoked", outcome="failure")
    outcomes = {row["event"]: row["outcome"] for row in rows(file)[:-1]}
    assert {event for event, outcome in outcomes.items() if outcome == "failure"} == {
        "sign_in_failed",
        "password_refused",
    }
    assert set(outcomes) == set(EVENTS)
    assert rows(file)[-1]["outcome"] == "failure"


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_file_that_was_moved_removed_or_replaced_is_opened_anew(how: str, tmp_path: Path) -> None:
    file, other = tmp_path / "audit.jsonl", tmp_path / "audit.1"
    with AuditLog(Lines(file)) as audit:
        audit.note("sign_in", ALICE)
        written_to(file)(1)
        if how == "moved":
            file.rename(other)
        elif how == "removed":
            file.unlink()
        else:
            other.touch()
            other.rename(file)
        audit.note("sign_out", ALICE)
    assert [row["event"] for row in rows(file)] == ["sign_out"]
    assert not other.exists() or [row["event"] for row in rows(other)] == ["sign_in"]


def test_a_file_that_was_emptied_is_written_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    with AuditLog(Lines(file)) as audit:
        audit.note("sign_in", ALICE)
        written_to(file)(1)
        os.truncate(file, 0)  # what logrotate does with copytruncate
        audit.note("sign_out", ALICE)
    assert [row["event"] for row in rows(file)] == ["sign_out"]


def test_lines_that_could_not_be_written_are_counted_in_the_stream_when_it_works_again(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    lines = Lines(folder / "audit.jsonl")
    with AuditLog(lines) as audit:
        for _ in range(3):
            audit.note("sign_in", ALICE)
    folder.mkdir()
    with AuditLog(lines) as audit:
        audit.note("sign_out", ALICE)
    lost, row = rows(folder / "audit.jsonl")
    assert (lost["event"], lost["count"], lost["outcome"]) == ("lines_lost", 3, "failure")
    assert row["event"] == "sign_out"


def test_a_full_disk_is_told_once_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with AuditLog(Lines(Path("/dev/full"))) as audit:
        for _ in range(20):
            audit.note("sign_in", ALICE)
    told = [record for record in caplog.records if record.name == "gateway.audit"]
    assert [record.levelname for record in told] == ["ERROR"]


_HALF = """
import resource, signal, sys
from pathlib import Path
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.audit_files import Lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lines = Lines(Path(sys.argv[1]))
with AuditLog(lines) as audit:
    audit.note("sign_in", user_id="one")
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 20, resource.RLIM_INFINITY))
with AuditLog(lines) as audit:
    audit.note("sign_in", user_id="two")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with AuditLog(lines) as audit:
    audit.note("sign_in", user_id="three")
"""


def test_half_a_line_spoils_none_but_itself(tmp_path: Path) -> None:
    """As on a disk that fills up in the middle of a line; here by a limit on the size of files."""
    file = tmp_path / "audit.jsonl"
    command = [sys.executable, "-c", _HALF, str(file)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=60, capture_output=True)
    one, half, *whole = file.read_text().splitlines()
    assert json.loads(one)["user_id"] == "one"
    assert len(half) == 20
    assert [row.get("user_id", row["event"]) for row in map(json.loads, whole)] == ["lines_lost", "three"]


def test_a_reader_that_stands_still_holds_up_nobody(tmp_path: Path) -> None:
    """Standard output may be a pipe that nobody reads."""
    reading, writing = os.pipe()
    try:
        audit = AuditLog(Lines(writing))
        started = time.monotonic()
        for _ in range(20_000):
            audit.note("sign_in", ALICE)
        assert time.monotonic() - started < 15  # with some of them lost: a request never waits
        pieces = b""
        while len(pieces) < 100_000:
            pieces += os.read(reading, 65536)
        assert all(json.loads(line)["event"] in ("sign_in", "lines_lost") for line in pieces.splitlines()[:-1])
    finally:
        os.close(reading)  # what still waits is lost now, and the thread ends
        audit.close()
        os.close(writing)


_MANY = """
import sys
from pathlib import Path
from gateway.telemetry.audit import AuditLog
from gateway.telemetry.audit_files import Lines
with AuditLog(Lines(Path(sys.argv[1]))) as audit:
    for number in range(300):
        audit.note("sign_in", user_id=sys.argv[2], request_id=str(number), reason="x" * 190)
"""


def test_lines_of_several_processes_do_not_get_into_each_other(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    command = [sys.executable, "-c", _MANY, str(file)]
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = rows(file)
    for name in "abc":
        assert [row["request_id"] for row in found if row["user_id"] == name] == [str(number) for number in range(300)]


def test_off_writes_nothing_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with AuditLog(lines_to("off")) as audit:
        audit.start()
        audit.note("sign_in", ALICE)
    assert list(tmp_path.iterdir()) == []


def test_who_gives_a_command_is_who_the_system_says_he_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    name = operator()
    assert name
    monkeypatch.setenv("SUDO_USER", "ann")
    assert operator() == (f"{name} (sudo: ann)" if os.getuid() == 0 else name)
