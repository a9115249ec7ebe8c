"""Which server is picked, and which is out: tables and properties, with a clock of the test's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.balancer import Balancer, EjectRules, Lease, Server, Strategy

STRATEGIES: list[Strategy] = ["round_robin", "least_connections", "sticky"]
RULES = EjectRules(failures=3, seconds=10, longest=300, slow_start=10)


def servers(*weights: int) -> list[Server]:
    return [Server(chr(ord("a") + index), weight) for index, weight in enumerate(weights)]


def one(balancer: Balancer[Server], now: float = 0.0, key: bytes = b"", avoid: Sequence[Server] = ()) -> Lease[Server]:
    lease = balancer.pick(now, key, avoid)
    assert lease is not None
    return lease


def picks(balancer: Balancer[Server], count: int, now: float = 0.0) -> str:
    """The names of the servers of requests that end at once."""
    names = ""
    for _ in range(count):
        lease = one(balancer, now)
        names += lease.server.name
        balancer.release(lease)
    return names


def fail(balancer: Balancer[Server], server: Server, now: float, times: int = 3) -> None:
    """So many failures in a row of this server."""
    others = [other for other in balancer.servers if other is not server]
    for _ in range(times):
        lease = one(balancer, now, avoid=others)
        balancer.failed(lease, now)
        balancer.release(lease)


# -- in turn
@pytest.mark.parametrize(
    ("weights", "order"),
    [((1,), "aaaa"), ((1, 1), "abab"), ((5, 1, 1), "aabacaa" * 2), ((2, 1), "abaaba"), ((1, 2), "babbab")],
)
def test_turns_are_smooth_as_nginx_has_them(weights: tuple[int, ...], order: str) -> None:
    assert picks(Balancer(servers(*weights)), len(order)) == order


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 4))
def test_in_as_many_turns_as_the_weights_add_up_to_each_server_has_its_weight(weights: list[int], rounds: int) -> None:
    found = Counter(picks(Balancer(servers(*weights)), sum(weights) * rounds))
    assert found == {chr(ord("a") + index): weight * rounds for index, weight in enumerate(weights)}


# -- by load
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 60))
def test_by_load_no_server_has_more_than_its_share(weights: list[int], count: int) -> None:
    """Nobody could have been given the last request of a server at a smaller load."""
    balancer = Balancer(servers(*weights), "least_connections")
    for _ in range(count):
        one(balancer)
    loads = [server.in_flight / server.weight for server in balancer.servers]
    after = [(server.in_flight + 1) / server.weight for server in balancer.servers]
    assert max(loads) <= min(after) + 1e-9


def test_by_load_servers_that_idle_have_their_turns() -> None:
    assert picks(Balancer(servers(1, 1, 1), "least_connections"), 6) == "abcabc"


def test_a_slow_server_gets_less() -> None:
    balancer = Balancer(servers(1, 1), "least_connections")
    slow = one(balancer)
    assert {one(balancer).server.name} == {"b"}
    balancer.release(slow)
    assert one(balancer).server.name == "a"


# -- by session
KEYS = [b"%d" % number for number in range(600)]


def places(balancer: Balancer[Server], now: float = 0.0) -> dict[bytes, str]:
    found = {}
    for key in KEYS:
        lease = one(balancer, now, key)
        found[key] = lease.server.name
        balancer.release(lease)
    return found


@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.data())
def test_when_a_server_goes_only_its_own_keys_move_and_they_come_back(weights: list[int], data: st.DataObject) -> None:
    balancer = Balancer(servers(*weights), "sticky")
    before = places(balancer)
    gone = balancer.servers.pop(data.draw(st.integers(0, len(weights) - 1)))
    after = places(balancer)
    assert all(after[key] == before[key] for key in KEYS if before[key] != gone.name)
    balancer.servers.insert(0, gone)
    assert places(balancer) == before


def test_keys_are_spread_by_weight() -> None:
    found = Counter(places(Balancer(servers(1, 2, 3), "sticky")).values())
    assert 60 < found["a"] < 140
    assert 150 < found["b"] < 250
    assert 240 < found["c"] < 360


def test_a_server_that_comes_back_gets_its_keys_bit_by_bit_and_nobody_elses() -> None:
    balancer = Balancer(servers(1, 1, 1), "sticky", RULES)
    before = places(balancer)
    fail(balancer, balancer.servers[0], 0)
    trial = one(balancer, 10, avoid=balancer.servers[1:])
    balancer.answered(trial, 10, 200)
    balancer.release(trial)
    mine = [key for key in KEYS if before[key] == "a"]
    found = [places(balancer, now) for now in (10, 13, 16, 20)]
    back = [sum(one[key] == "a" for key in mine) for one in found]
    assert back == sorted(back)
    assert back[0] < len(mine) / 2
    assert back[-1] == len(mine)
    assert all(found[1][key] == before[key] for key in KEYS if before[key] != "a")


# -- failures
def test_failures_in_a_row_eject_and_an_answer_in_between_starts_anew() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad = balancer.servers[0]
    fail(balancer, bad, 0, 2)
    lease = one(balancer, 0, avoid=balancer.servers[1:])
    balancer.answered(lease, 0, 500)
    balancer.release(lease)
    fail(balancer, bad, 0, 2)
    assert not bad.is_out
    fail(balancer, bad, 0, 1)
    assert bad.is_out
    assert picks(balancer, 4, 9.9) == "bbbb"


def test_a_status_counts_when_it_is_asked_for() -> None:
    balancer = Balancer(servers(1, 1), rules=EjectRules(2, statuses=frozenset({503})))
    for status in (503, 500, 503, 503):
        lease = one(balancer, 0, avoid=balancer.servers[1:])
        balancer.answered(lease, 0, status)
        balancer.release(lease)
    assert balancer.servers[0].is_out


def test_one_request_is_tried_on_it_then_its_weight_grows() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    fail(balancer, bad, 0)
    assert balancer.pick(9.9, avoid=[other]) is None
    trial = one(balancer, 10, avoid=[other])
    assert trial.is_trial
    assert balancer.pick(10, avoid=[other]) is None, "a second one at once"
    balancer.answered(trial, 10, 200)
    balancer.release(trial)
    assert picks(balancer, 200, 10).count("a") < 30
    assert 50 < picks(balancer, 200, 15).count("a") < 80
    assert picks(balancer, 200, 20).count("a") == 100


def test_a_trial_that_decides_nothing_leaves_the_next_one_free() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    fail(balancer, bad, 0)
    balancer.release(one(balancer, 10, avoid=[other]))
    assert one(balancer, 10, avoid=[other]).is_trial


def test_each_time_it_is_out_for_longer_up_to_a_bound() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    fail(balancer, bad, 0)
    now, seconds = 0.0, []
    for _ in range(7):
        seconds.append(bad.out_until - now)
        now = bad.out_until
        fail(balancer, bad, now, 1)
    assert seconds == [10, 20, 40, 80, 160, 300, 300]
    trial = one(balancer, bad.out_until, avoid=[other])
    balancer.answered(trial, bad.out_until, 200)
    balancer.release(trial)
    later = bad.since + 301
    fail(balancer, bad, later)
    assert bad.out_until - later == 10, "it was good for long enough"


def test_what_began_before_the_ejection_says_nothing_new() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    early = [one(balancer, 0, avoid=[other]) for _ in range(8)]
    assert [balancer.failed(lease, 0) for lease in early] == [False, False, True, False, False, False, False, False]
    assert bad.out_until == 10
    balancer.answered(early[-1], 1, 200)
    assert bad.is_out


def test_the_only_server_is_never_ejected() -> None:
    balancer = Balancer(servers(1), rules=RULES)
    fail(balancer, balancer.servers[0], 0, 20)
    assert picks(balancer, 2) == "aa"


def test_when_all_are_out_that_is_said_until_one_may_be_tried() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    for server in balancer.servers:
        fail(balancer, server, 0)
    assert balancer.pick(5) is None
    assert balancer.why_none(5) == "down"
    assert one(balancer, 10).is_trial


def test_an_ill_server_gets_nothing_and_comes_back_slowly() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    balancer.checked(balancer.servers[0], 0, False)
    assert picks(balancer, 3, 0) == "bbb"
    balancer.checked(balancer.servers[0], 5, True)
    assert picks(balancer, 100, 5).count("a") < 20
    assert picks(balancer, 100, 15).count("a") == 50


# -- room
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_server_gets_more_than_there_is_room_for(strategy: Strategy) -> None:
    balancer = Balancer(servers(3, 1), strategy, room=2)
    leases = [one(balancer) for _ in range(4)]
    assert balancer.pick(0) is None
    assert balancer.why_none(0) == "full"
    assert balancer.why_none(0, balancer.servers) == "tried"
    balancer.release(leases[0])
    balancer.release(leases[0])
    assert one(balancer).server is leases[0].server
    assert balancer.pick(0) is None, "a place given back twice is one place"


# -- whatever happens
STEPS = st.lists(st.tuples(st.sampled_from(["good", "bad", "silent", "ill", "well"]), st.integers(0, 9)), max_size=60)


@given(st.sampled_from(STRATEGIES), st.lists(st.integers(1, 3), min_size=1, max_size=4), STEPS)
def test_whatever_happens_nobody_out_is_picked_and_somebody_is_while_one_is_in(
    strategy: Strategy, weights: list[int], steps: list[tuple[str, int]]
) -> None:
    balancer = Balancer(servers(*weights), strategy, RULES)
    now = 0.0
    for step, number in steps:
        now += number
        server = balancer.servers[number % len(weights)]
        if step in ("ill", "well"):
            balancer.checked(server, now, step == "well")
            continue
        able = [each for each in balancer.servers if each.is_in(now)]
        lease = balancer.pick(now, b"%d" % number)
        assert (lease is None) == (not able)
        if lease is None:
            assert balancer.why_none(now) == "down"
            continue
        assert lease.server in able
        assert lease.server.is_well
        assert lease.is_trial == lease.server.is_out
        if step == "good":
            balancer.answered(lease, now, 200)
            assert not lease.server.is_out
        elif step == "bad":
            balancer.failed(lease, now)
        balancer.release(lease)
        assert not lease.server.trial_until
    assert all(each.in_flight == 0 for each in balancer.servers)


def test_a_trial_is_decided_once_whatever_its_request_does_later() -> None:
    """A long download that was a trial once must not free the place of a later trial."""
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    fail(balancer, bad, 0)
    download = one(balancer, 10, avoid=[other])
    balancer.answered(download, 10, 200)
    fail(balancer, bad, 20)
    assert one(balancer, 40, avoid=[other]).is_trial
    balancer.release(download)
    assert balancer.pick(40, avoid=[other]) is None


def test_a_failed_trial_counts_once() -> None:
    balancer = Balancer(servers(1, 1), rules=RULES)
    bad, other = balancer.servers
    fail(balancer, bad, 0)
    trial = one(balancer, 10, avoid=[other])
    assert [balancer.failed(trial, 10), balancer.failed(trial, 10)] == [True, False]
    assert bad.out_until == 30


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_server_whose_time_is_over_is_tried_soon(strategy: Strategy) -> None:
    """By whatever it is picked: few requests and few sessions must not keep it out for ever."""
    balancer = Balancer(servers(1, 1), strategy, RULES)
    fail(balancer, balancer.servers[0], 0.0)
    names = set()
    for number in range(40):
        lease = one(balancer, 11.0, b"session %d" % (number % 8))
        names.add(lease.server.name)
        balancer.answered(lease, 11.0, 200)
        balancer.release(lease)
    assert names == {"a", "b"}


def test_a_trial_that_takes_long_decides_for_nobody_else() -> None:
    balancer = Balancer(servers(1, 1), "round_robin", RULES)
    for server in balancer.servers:
        fail(balancer, server, 0.0)
    slow = [one(balancer, 11.0), one(balancer, 11.0)]
    assert balancer.pick(11.0) is None
    later = one(balancer, 15.0)
    assert later.is_trial
    balancer.answered(later, 15.0, 200)
    assert balancer.pick(15.0) is not None
    for lease in slow:
        balancer.release(lease)
