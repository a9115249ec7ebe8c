"""The engine on files: disks that are full, processes that are killed, folders that vanish (the rest: test_contract.py)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.engine import Gone, Kept, Write, version_of
from gateway.store.files import FileSessionEngine
from gateway.store.session_files import SessionFiles
from tests.store.engines import PATIENT, VERSION, fresh, number_in

ROOT = Path(__file__).resolve().parent.parent.parent
LONG = 600.0
NOBODY = 65534


class Clock:
    """Epoch seconds: the real time, and what was added by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sessions"


@pytest.fixture
async def engine(folder: Path, clock: Clock) -> AsyncIterator[FileSessionEngine]:
    made = FileSessionEngine(folder, 60, clock, timeout=PATIENT)
    yield made
    await made.close()


async def look_up(engine: FileSessionEngine, name: bytes) -> Kept | Gone:
    (found,) = await engine.load([name])
    return found


def only_file(folder: Path) -> Path:
    (path,) = (folder / "sessions").iterdir()
    return path


def every_call(engine: FileSessionEngine, name: bytes) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: engine.load([name]),
        lambda: engine.create(name, fresh(), b"", LONG),
        lambda: engine.update(name, fresh(), b"", LONG, b"?" * 17),
        lambda: engine.touch(name, b"", LONG),
        lambda: engine.shorten(name, LONG),
        lambda: engine.delete(name),
        lambda: engine.bury(name, "flushed", LONG),
        lambda: engine.announce(["k"]),
        lambda: engine.withdraw("k"),
        lambda: engine.announced(),
        lambda: engine.clear_expired(),
        lambda: engine.ping(),
    ]


async def assert_unavailable(calls: list[Callable[[], Awaitable[object]]]) -> None:
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call()


# -- in another process
def in_child(function: Callable[..., None], *arguments: object) -> subprocess.Popen[str]:
    """Runs a function of this module there."""
    code = f"import sys; from {__name__} import {function.__name__} as run; run(*sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(child: subprocess.Popen[str]) -> str:
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    return output.strip()


# -- privacy, and where things are
async def test_nobody_else_can_read_anything_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        engine = FileSessionEngine(folder, 60)
        await engine.create(b"n", fresh(), b"seen", LONG)
        await engine.touch(b"n", b"later", LONG)
        await engine.bury(b"m", "flushed", LONG)
        await engine.announce(["k"])
        await engine.close()
    finally:
        os.umask(before)
    inside = [folder, *folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in inside if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in inside if path.is_file()} == {0o600}


async def test_in_a_folder_that_others_may_enter_they_find_nothing(tmp_path: Path) -> None:
    (tmp_path / "open" / "sessions").mkdir(parents=True)
    for path in (tmp_path / "open", tmp_path / "open" / "sessions"):
        path.chmod(0o777)
    engine = FileSessionEngine(tmp_path / "open", 60)
    await engine.create(b"n", fresh(), b"seen", LONG)
    await engine.close()
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "open").iterdir()} == {0}
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o777, "a folder that is not ours stays as it is"


@pytest.mark.parametrize(
    "name",
    [b"", b".", b"..", b"../../../x", b"/etc/passwd", b"a/b", b"a\x00b", b"\xff\xfe", b"~", b"x" * 10_000, b"-rf", b"CON", b"a\nb"],
)  # fmt: skip
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: bytes) -> None:
    engine = FileSessionEngine(tmp_path / "a" / "b", 60)
    value = fresh()
    assert await engine.create(name, value, b"s", LONG)
    assert await engine.load([name]) == [Kept(value, b"s")]
    await engine.bury(name, "flushed", LONG)
    await engine.announce([name.decode("latin-1")])
    assert await engine.announced() == {name.decode("latin-1")}
    assert {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()} == {("a", "b")}
    await engine.withdraw(name.decode("latin-1"))
    assert await engine.delete(name) == value
    assert await engine.load([name]) == [Gone("flushed")]
    await engine.close()


async def test_another_process_or_the_next_start_finds_everything(folder: Path, engine: FileSessionEngine) -> None:
    value = fresh()
    await engine.create(b"n", value, b"s", LONG)
    await engine.bury(b"m", "flushed", LONG)
    await engine.announce(["k"])
    await engine.close()
    again = FileSessionEngine(folder, 60)
    assert await again.load([b"n", b"m"]) == [Kept(value, b"s"), Gone("flushed")]
    assert await again.announced() == {"k"}
    await again.close()


# -- no room
@contextmanager
def tiny_disk(folder: Path, options: str) -> Iterator[bool]:
    """True: ``folder`` is a file system of its own. Only root may do that."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


async def full(folder: Path, fill: Callable[[], None], relieve: Callable[[], None]) -> None:
    """What must hold while nothing large can be written, and afterwards."""
    engine = FileSessionEngine(folder, 60, timeout=PATIENT)
    values = {name: fresh(name * 500) for name in (b"a", b"b")}
    for name, value in values.items():
        assert await engine.create(name, value, b"seen", LONG)
    fill()
    large = fresh(bytes(100_000))
    await assert_unavailable(
        [
            lambda: engine.update(b"a", large, b"later", LONG, version_of(values[b"a"])),
            lambda: engine.create(b"c", large, b"", LONG),
        ]
    )
    assert await engine.load([b"a", b"b", b"c"]) == [Kept(values[b"a"], b"seen"), Kept(values[b"b"], b"seen"), Gone()]
    assert list((folder / "new").iterdir()) == []
    assert await engine.delete(b"b") == values[b"b"], "revocation works on a full disk (hazard R9)"
    assert await look_up(engine, b"b") == Gone()
    relieve()
    assert await engine.update(b"a", large, b"later", LONG, version_of(values[b"a"])) is Write.DONE
    assert await look_up(engine, b"a") == Kept(large, b"later")
    await engine.close()


def child_that_may_write_little(folder: str) -> None:
    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    asyncio.run(full(Path(folder), lambda: limit(4096), lambda: limit(resource.RLIM_INFINITY)))


def test_a_write_that_breaks_off_half_way_leaves_the_old_value(folder: Path) -> None:
    outcome(in_child(child_that_may_write_little, folder))


@pytest.mark.parametrize("options", ["size=1m", "size=8m,nr_inodes=90"], ids=["blocks", "inodes"])
async def test_on_a_full_disk_nothing_is_lost_and_deleting_works(folder: Path, options: str) -> None:
    with tiny_disk(folder, options) as mounted:
        if not mounted:  # the next best: the same, with a limit for one file
            outcome(in_child(child_that_may_write_little, folder))
            return
        ballast = folder / "ballast"
        ballast.mkdir()

        def fill() -> None:
            with suppress(OSError):
                for number in range(10_000):
                    (ballast / str(number)).write_bytes(bytes(4096 if "inodes" not in options else 0))

        def relieve() -> None:
            for path in ballast.iterdir():
                path.unlink()

        await full(folder, fill, relieve)


# -- processes
def whole(size: int) -> bytes:
    body = os.urandom(VERSION + size)
    return body + sha256(body).digest()


def is_whole(data: bytes | None) -> bool:
    return data is not None and sha256(data[:-32]).digest() == data[-32:]


async def write_on(folder: Path) -> None:
    engine = FileSessionEngine(folder, 60, timeout=PATIENT)

    async def keep_writing(name: bytes) -> None:
        while True:
            found = await look_up(engine, name)
            seen = whole(random.randrange(100))
            if isinstance(found, Gone):
                await engine.create(name, whole(100_000), seen, LONG)
                continue
            await engine.update(name, whole(random.randrange(200_000)), seen, LONG, version_of(found.value))
            await engine.touch(name, seen, LONG)
            if name == b"d":
                await engine.delete(name)
                await engine.bury(name, "flushed", LONG)

    await asyncio.gather(*(keep_writing(name) for name in (b"a", b"b", b"c", b"d")))


def child_that_kills_writers(folder: str) -> None:
    """Prints how many were killed with a file half written."""
    files = SessionFiles(Path(folder), 60, time.time)
    files.prepare()
    for name in (b"a", b"b", b"c"):
        assert files.create(name, whole(100_000), whole(10), LONG)
    half = 0
    for _ in range(40):
        if (writer := os.fork()) == 0:
            asyncio.run(write_on(Path(folder)))
        time.sleep(random.uniform(0.005, 0.04))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        left = list(files.new.iterdir())
        half += any(not is_whole(path.read_bytes()[16:]) for path in left)
        for name, found in zip((b"a", b"b", b"c", b"d"), files.load([b"a", b"b", b"c", b"d"]), strict=True):
            assert name == b"d" if isinstance(found, Gone) else is_whole(found.value) and is_whole(found.seen)
        files.touch(b"a", whole(10), LONG)  # no lock is held
        files.sweep(files.new, [path.name for path in left])
        assert list(files.new.iterdir()) == []
    print(half)


def test_processes_that_are_killed_in_mid_write_leave_the_old_value_or_the_new_one(folder: Path) -> None:
    assert int(outcome(in_child(child_that_kills_writers, folder))) > 0, "no kill ever hit a write: nothing was tested"


def child_that_counts(folder: str, times: str) -> None:
    async def count() -> None:
        engine = FileSessionEngine(Path(folder), 60, timeout=PATIENT)
        done = 0
        while done < int(times):
            found = await look_up(engine, b"n")
            assert isinstance(found, Kept)
            after = fresh(b"%d" % (number_in(found.value) + 1))
            done += await engine.update(b"n", after, b"", LONG, version_of(found.value)) is Write.DONE

    asyncio.run(count())


async def test_two_processes_that_count_up_lose_none(folder: Path, engine: FileSessionEngine) -> None:
    await engine.create(b"n", fresh(b"0"), b"", LONG)
    children = [in_child(child_that_counts, folder, 500) for _ in range(2)]
    for child in children:
        await asyncio.to_thread(outcome, child)
    found = await look_up(engine, b"n")
    assert isinstance(found, Kept)
    assert number_in(found.value) == 1000


async def test_locks_that_somebody_cleaned_up_are_made_again_and_hold(folder: Path, engine: FileSessionEngine) -> None:
    """tmpreaper and its kind."""
    await engine.create(b"n", fresh(b"0"), b"", LONG)
    for lock in (folder / "locks").iterdir():
        lock.unlink()
    children = [in_child(child_that_counts, folder, 100) for _ in range(2)]
    for child in children:
        await asyncio.to_thread(outcome, child)
    found = await look_up(engine, b"n")
    assert isinstance(found, Kept)
    assert number_in(found.value) == 200


# -- away
async def test_without_its_folder_it_is_unavailable_and_afterwards_all_is_as_before(
    folder: Path, engine: FileSessionEngine
) -> None:
    value = fresh()
    await engine.create(b"n", value, b"s", LONG)
    folder.rename(folder.with_name("elsewhere"))
    await assert_unavailable(every_call(engine, b"n"))
    assert not folder.exists(), "an empty store in its place would sign everybody out"
    folder.with_name("elsewhere").rename(folder)
    await engine.ping()
    assert await look_up(engine, b"n") == Kept(value, b"s")


async def test_where_no_folder_can_be_made_it_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine = FileSessionEngine(tmp_path / "file" / "sessions", 60)
    await assert_unavailable(every_call(engine, b"n"))
    (tmp_path / "file").unlink()
    await engine.ping()
    await engine.close()


def child_without_rights(folder: str) -> None:
    async def run() -> None:
        engine = FileSessionEngine(Path(folder), 60)
        assert await engine.create(b"n", fresh(), b"", LONG)
        (Path(folder) / "sessions").chmod(0)
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        await assert_unavailable(
            [call for number, call in enumerate(every_call(engine, b"n")) if number < 6]
            + [engine.clear_expired, engine.ping]
        )

    asyncio.run(run())


def test_without_rights_it_is_unavailable(folder: Path) -> None:
    outcome(in_child(child_without_rights, folder))


async def test_a_file_that_cannot_be_read_is_unavailable_and_not_gone(folder: Path, engine: FileSessionEngine) -> None:
    await engine.create(b"n", fresh(), b"", LONG)
    path = only_file(folder)
    path.unlink()
    path.mkdir()  # reading it fails with EISDIR
    with pytest.raises(StoreUnavailable):
        await engine.load([b"n"])


@contextmanager
def hanging(paths: list[Path]) -> Iterator[None]:
    """In their place stand named pipes that nobody writes to: whoever reads one hangs."""
    for path in paths:
        path.unlink()
        os.mkfifo(path)
    try:
        yield
    finally:
        for path in paths:
            with suppress(OSError):  # nobody reads this one
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            path.unlink()


async def test_a_disk_that_hangs_costs_the_time_out_and_never_the_loop(folder: Path) -> None:
    engine = FileSessionEngine(folder, 60, timeout=0.3)
    names = [b"%d" % number for number in range(8)]
    for name in names:
        await engine.create(name, fresh(), b"", LONG)
    with hanging(list((folder / "sessions").iterdir())):
        started = time.monotonic()
        answers = await asyncio.gather(*(engine.load([name]) for name in names), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert time.monotonic() - started < 2
    deadline = time.monotonic() + 10
    while True:
        with suppress(StoreUnavailable):
            assert await look_up(engine, b"0") == Gone()
            break
        assert time.monotonic() < deadline
    await engine.close()


async def test_a_lock_that_a_frozen_process_holds_stops_that_session_only(folder: Path) -> None:
    engine = FileSessionEngine(folder, 60, timeout=0.3)
    values = {b"%d" % number: fresh() for number in range(40)}
    for name, value in values.items():
        await engine.create(name, value, b"", LONG)
    lock = folder / "locks" / f"{int(sha256(b'0').hexdigest()[:2], 16) % 64:02}"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writes = {name: engine.update(name, fresh(), b"", LONG, version_of(values[name])) for name in values}
        results = dict(zip(writes, await asyncio.gather(*writes.values(), return_exceptions=True), strict=True))
        stopped = {name for name, result in results.items() if result is not Write.DONE}
        assert b"0" in stopped
        assert len(stopped) < 10
        assert all(isinstance(results[name], StoreUnavailable) for name in stopped)
        assert await look_up(engine, b"0") == Kept(values[b"0"], b""), "reading needs no lock"
        await engine.clear_expired()
    assert await engine.update(b"0", fresh(), b"", LONG, version_of(values[b"0"])) is Write.DONE
    await engine.close()


async def test_who_is_cancelled_leaves_neither_half_a_file_nor_a_lock(folder: Path, engine: FileSessionEngine) -> None:
    names = [b"%d" % number for number in range(8)]
    for name in names:
        await engine.create(name, whole(50_000), whole(10), LONG)

    async def write(name: bytes) -> None:
        found = await look_up(engine, name)
        assert isinstance(found, Kept)
        await engine.update(name, whole(50_000), whole(10), LONG, version_of(found.value))
        await engine.touch(name, whole(10), LONG)

    for _ in range(30):
        writers = [asyncio.ensure_future(write(random.choice(names))) for _ in range(10)]
        await asyncio.sleep(random.random() / 200)
        for writer in writers:
            writer.cancel()
        assert all(is_whole(found.value) and is_whole(found.seen) for found in await engine.load(names) if isinstance(found, Kept))  # fmt: skip
        await asyncio.gather(*writers, return_exceptions=True)
    for name in names:
        await write(name)
    assert list((folder / "new").iterdir()) == []


async def test_after_closing_it_is_unavailable(engine: FileSessionEngine) -> None:
    await engine.create(b"n", fresh(), b"", LONG)
    await engine.close()
    await assert_unavailable(every_call(engine, b"n"))
    await engine.close()


# -- broken files
async def test_a_file_cut_anywhere_is_a_broken_value_and_never_an_error(
    folder: Path, engine: FileSessionEngine
) -> None:
    value = fresh(b"value")
    await engine.create(b"n", value, b"seen", LONG)
    path = only_file(folder)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        found = await look_up(engine, b"n")
        assert isinstance(found, Kept)
        assert found.value != value
        assert not await engine.create(b"n", fresh(), b"", LONG), "whether it is over is not the engine's business"
        assert await engine.update(b"n", fresh(), b"", LONG, version_of(fresh())) is Write.CHANGED


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00" * 100, os.urandom(1000), b"GWS1", b"GWS1" + b"\xff" * 12, b"GWS1" + b"\xff" * 100, b"{}", b"GWS2" + bytes(100)],
)  # fmt: skip
async def test_garbage_is_handed_up_and_can_be_deleted(folder: Path, engine: FileSessionEngine, garbage: bytes) -> None:
    await engine.create(b"n", fresh(), b"seen", LONG)
    only_file(folder).write_bytes(garbage)
    assert await look_up(engine, b"n") == Kept(garbage, None)
    await engine.touch(b"n", b"later", LONG)
    assert await look_up(engine, b"n") == Kept(garbage, b"later")
    assert await engine.delete(b"n") == garbage
    assert await look_up(engine, b"n") == Gone()


async def test_a_broken_note_or_key_id_is_none(folder: Path, engine: FileSessionEngine) -> None:
    await engine.bury(b"n", "flushed", LONG)
    await engine.announce(["k"])
    for part in ("notes", "keys"):
        (path,) = (folder / part).iterdir()
        path.write_bytes(b"\xff\xfe")
    assert await look_up(engine, b"n") == Gone()
    assert await engine.announced() == frozenset()


# -- the end, and the broom
async def test_what_is_over_is_gone_before_the_broom_comes(
    folder: Path, engine: FileSessionEngine, clock: Clock
) -> None:
    value = fresh()
    await engine.create(b"n", value, b"s", 100)
    clock.ahead = 159
    assert isinstance(await look_up(engine, b"n"), Kept)
    clock.ahead = 161
    assert only_file(folder).exists()
    assert await look_up(engine, b"n") == Gone()
    assert await engine.update(b"n", fresh(), b"", LONG, version_of(value)) is Write.GONE
    await engine.touch(b"n", b"", LONG)
    assert await engine.delete(b"n") is None
    assert await look_up(engine, b"n") == Gone()


async def test_the_place_of_what_is_over_can_be_taken(engine: FileSessionEngine, clock: Clock) -> None:
    await engine.create(b"n", fresh(), b"s", 100)
    clock.ahead = 161
    value = fresh()
    assert await engine.create(b"n", value, b"t", 100)
    assert await look_up(engine, b"n") == Kept(value, b"t")


async def test_the_broom_takes_everything_that_is_over_and_nothing_else(
    folder: Path, engine: FileSessionEngine, clock: Clock
) -> None:
    for number in range(450):
        await engine.create(b"%d" % number, fresh(), b"", 10 if number < 430 else LONG)
    await engine.create(b"broken", fresh(), b"", LONG)
    (broken,) = [path for path in (folder / "sessions").iterdir() if path.name == sha256(b"broken").hexdigest()]
    broken.write_bytes(b"?")
    await engine.bury(b"x", "flushed", 10)
    await engine.bury(b"y", "flushed", LONG)
    await engine.announce(["k"])
    (folder / "new" / f"{sha256(b'z').hexdigest()}-left").write_bytes(b"GWS1")
    clock.ahead = 71
    counts = await asyncio.gather(engine.clear_expired(), engine.clear_expired())
    assert sum(counts) == 430, "two brooms count each one once"
    assert len(list((folder / "sessions").iterdir())) == 21
    assert len(list((folder / "notes").iterdir())) == 1
    assert list((folder / "new").iterdir()) == []
    assert await engine.announced() == {"k"}
    clock.ahead = 2 * 86400
    assert await engine.clear_expired() == 21, "a broken file stays a day, for the operator"


async def test_the_broom_leaves_what_a_living_writer_is_writing(folder: Path, engine: FileSessionEngine) -> None:
    await engine.ping()
    hashed = sha256(b"z").hexdigest()
    half = folder / "new" / f"{hashed}-written"
    half.write_bytes(b"GWS1")
    with (folder / "locks" / f"{int(hashed[:2], 16) % 64:02}").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        await engine.clear_expired()
        assert half.exists()
    await engine.clear_expired()
    assert not half.exists()
