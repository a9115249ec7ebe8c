"""Names become connections: both families, whichever answers first; a name that moves is followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from gateway.errors import UpstreamError
from gateway.upstream.address import Address
from gateway.upstream.names import Names, by_turns, first_of
from gateway.upstream.pool import Pool


class Wire:
    """A connection that remembers whether it was aborted."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Network:
    """``after``: address → seconds until it answers, negative: until it refuses. No address twice."""

    def __init__(self, **after: float) -> None:
        self._after = after
        self.tried: list[str] = []
        self.made: list[Wire] = []

    async def dial(self, address: str) -> Wire:
        self.tried.append(address)
        await asyncio.sleep(abs(self._after[address]))
        if self._after[address] < 0:
            raise ConnectionRefusedError(address)
        self.made.append(Wire(address))
        return self.made[-1]


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ([], []),
        (["10.0.0.1"], ["10.0.0.1"]),
        (["::1", "::2", "10.0.0.1"], ["::1", "10.0.0.1", "::2"]),
        (["10.0.0.1", "10.0.0.2", "::1", "::2", "::3"], ["10.0.0.1", "::1", "10.0.0.2", "::2", "::3"]),
    ],
)
def test_the_families_are_tried_in_turns(found: list[str], order: list[str]) -> None:
    assert by_turns(found) == order


async def test_an_address_that_is_silent_costs_a_moment_only() -> None:
    network = Network(a=30, b=0.01, c=0.01)
    started = time.monotonic()
    wire = await first_of(network.dial, ["a", "b", "c"], 0.05)
    assert (wire.address, wire.aborted, network.tried) == ("b", False, ["a", "b"])
    assert time.monotonic() - started < 5


async def test_an_address_that_refuses_costs_nothing() -> None:
    network = Network(a=-0.001, b=0.001)
    assert (await first_of(network.dial, ["a", "b"], 30)).address == "b"


async def test_when_the_first_is_late_but_the_others_fail_it_is_waited_for() -> None:
    network = Network(a=0.2, b=-0.001, c=-0.001)
    assert (await first_of(network.dial, ["a", "b", "c"], 0.01)).address == "a"


async def test_when_all_fail_the_first_error_is_told() -> None:
    network = Network(a=-0.1, b=-0.001)
    with pytest.raises(ConnectionRefusedError, match="a"):
        await first_of(network.dial, ["a", "b"], 0.01)


async def test_a_second_connection_at_the_same_time_is_closed() -> None:
    gate = asyncio.Event()
    made: list[Wire] = []

    async def dial(address: str) -> Wire:
        await gate.wait()
        made.append(Wire(address))
        return made[-1]

    asyncio.get_running_loop().call_later(0.2, gate.set)
    won = await first_of(dial, ["a", "b"], 0.01)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [wire.aborted for wire in made if wire is not won] == [True]
    assert not won.aborted


# -- look-ups
class Book:
    """A name service; ``now`` is the clock."""

    def __init__(self) -> None:
        self.entries: Sequence[str] | None = ["10.0.0.1"]
        self.asked = 0
        self.now = 100.0

    async def resolve(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.entries is None:
            raise OSError("no such host")
        return self.entries

    def names(self) -> Names:
        return Names("a.test", 80, seconds=30, resolve=self.resolve, clock=lambda: self.now)


async def test_many_who_ask_at_once_cause_one_look_up() -> None:
    book = Book()
    names = book.names()
    found = await asyncio.gather(*(names.addresses() for _ in range(20)))
    assert (found, book.asked) == ([["10.0.0.1"]] * 20, 1)


async def test_it_is_due_when_its_time_is_over() -> None:
    book = Book()
    names = book.names()
    assert not names.is_due(), "nobody has asked yet"
    await names.addresses()
    book.now += 29
    assert not names.is_due()
    book.now += 1
    assert names.is_due()
    await names.renew()
    assert not names.is_due()


async def test_a_name_service_that_fails_changes_nothing_that_is_known() -> None:
    book = Book()
    names = book.names()
    await names.addresses()
    book.entries = None
    book.now += 60
    assert await names.renew() == ["10.0.0.1"]
    assert await names.addresses() == ["10.0.0.1"]


async def test_a_name_that_nobody_knows_is_an_error_each_time() -> None:
    book = Book()
    names = book.names()
    for entries in (None, []):
        book.entries = entries
        with pytest.raises(OSError, match="no"):
            await names.addresses()
    book.entries = ["10.0.0.7"]
    assert await names.addresses() == ["10.0.0.7"]


# -- connections
class Listener:
    """Two servers at one port: on 127.0.0.1 and 127.0.0.2."""

    def __init__(self) -> None:
        self.servers: list[asyncio.Server] = []
        self.seen: list[str] = []
        self.port = 0

    async def listen(self, host: str) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.seen.append(host)
            await reader.read()
            writer.close()

        self.servers.append(await asyncio.start_server(connected, host, self.port))
        self.port = self.servers[0].sockets[0].getsockname()[1]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    yield made
    for server in made.servers:
        server.close()


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """A condition, looked at often."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


async def test_when_a_name_has_moved_its_old_connections_are_not_used_again(listener: Listener) -> None:
    book = Book()
    book.entries = ["127.0.0.1"]
    await listener.listen("127.0.0.1")
    await listener.listen("127.0.0.2")
    address = Address("http", "backend.test", listener.port, "backend.test")
    pool = Pool(address, resolve_seconds=1.0, resolve=book.resolve)
    connection = await pool.connect(5)
    assert connection.peer == "127.0.0.1"
    book.entries = ["127.0.0.2"]

    def moved() -> bool:
        pool.maintain()
        return connection.retired

    await until(moved)
    assert (await pool.connect(5)).peer == "127.0.0.2"
    pool.close()


async def test_after_a_failure_the_name_is_looked_up_again(listener: Listener) -> None:
    book = Book()
    book.entries = ["127.0.0.1"]
    await listener.listen("127.0.0.1")
    await listener.listen("127.0.0.2")
    address = Address("http", "backend.test", listener.port, "backend.test")
    pool = Pool(address, resolve_seconds=3600, resolve=book.resolve)
    assert (await pool.connect(5)).peer == "127.0.0.1"
    listener.servers[0].close()
    book.entries = ["127.0.0.2"]
    found = ""

    async def moved() -> bool:
        nonlocal found
        with suppress(UpstreamError):
            found = (await pool.connect(5)).peer
        return bool(found)

    await until(moved)
    assert found == "127.0.0.2"


@pytest.mark.parametrize("there", ["::1", "127.0.0.1", "127.0.0.2"])
async def test_of_the_addresses_of_a_name_of_either_family_one_that_is_there_is_found(
    listener: Listener, there: str
) -> None:
    book = Book()
    book.entries = ["::1", "127.0.0.1", "127.0.0.2"]
    await listener.listen(there)
    pool = Pool(Address("http", "backend.test", listener.port, "backend.test"), resolve=book.resolve)
    assert (await pool.connect(5)).peer == there
