"""How attempts are counted (gateway/core/throttling.py): limits, and which counters an attempt has."""

from __future__ import annotations

import pytest

from gateway.core.device_cookie import Device
from gateway.core.throttling import (
    Counter,
    Held,
    Kind,
    Level,
    Limit,
    Policy,
    Success,
    account_counters,
    attempts,
    counted,
    door_counters,
    given_back,
    level_now,
    networks_of,
    prefix_of,
    shown_wait,
    wait_of,
)
from tests.core.tables import table

NOW = 1_700_000_000_000
WALL = Limit(5, 60_000)
PAUSES = Limit(10, 60_000, 1_000, 60_000)
POLICY = Policy()
DEVICE = Device(b"d" * 16)


def try_at(limit: Limit, moments: list[int]) -> list[int]:
    """The wait (ms) at each moment; what has room is counted."""
    level: Level | None = None
    waits = []
    for moment in moments:
        level = level_now(level, limit, NOW + moment)
        waits.append(wait_of(level, limit, NOW + moment))
        if not waits[-1]:
            level = counted(level, limit, NOW + moment)
    return waits


# -- a wall
def test_a_burst_passes_and_then_one_whenever_one_is_forgotten() -> None:
    assert try_at(WALL, [0] * 6) == [0, 0, 0, 0, 0, 60_000]
    assert try_at(WALL, [0] * 5 + [59_999, 60_000, 60_001]) == [0] * 5 + [1, 0, 59_999]


def test_what_was_refused_lengthens_no_wait() -> None:
    waits = try_at(WALL, [0] * 5 + [1_000 * second for second in range(1, 60)] + [60_000])
    assert waits[5:] == [1_000 * (60 - second) for second in range(1, 60)] + [0]


def test_a_burst_is_whole_again_after_a_rest() -> None:
    assert try_at(WALL, [0] * 5 + [300_000] * 6) == [0] * 10 + [60_000]


# -- a pause that grows
def test_the_pause_grows_from_the_first_to_the_longest_and_no_further() -> None:
    level, now, waits = Level(NOW, 0), NOW, []
    for _ in range(40):
        level = level_now(level, PAUSES, now)
        wait = wait_of(level, PAUSES, now)
        waits.append(wait)
        now += wait
        level = counted(level_now(level, PAUSES, now), PAUSES, now)
    assert waits[:16] == [0] * 10 + [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]
    assert waits[16:] == sorted(waits[16:])
    assert waits[-20:] == [60_000] * 20


def test_after_the_pause_the_next_attempt_passes_so_nobody_is_locked_out() -> None:
    level = level_now(Level(NOW + PAUSES.most, NOW), PAUSES, NOW)
    assert wait_of(level, PAUSES, NOW) == 60_000
    later = NOW + 60_000
    assert wait_of(level_now(level, PAUSES, later), PAUSES, later) == 0


def test_after_a_siege_everything_is_forgotten_within_minutes() -> None:
    level, now = Level(NOW, 0), NOW
    for _ in range(1_000):
        now += wait_of(level_now(level, PAUSES, now), PAUSES, now)
        level = counted(level_now(level, PAUSES, now), PAUSES, now)
    assert level.empty_at - now <= PAUSES.most == 17 * 60_000
    later = now + 9 * 60_000
    assert wait_of(level_now(level, PAUSES, later), PAUSES, later) == 0


def test_a_pause_that_never_grows_is_one_too() -> None:
    even = Limit(1, 60_000, 2_000, 2_000)
    assert try_at(even, [0, 0, 2_000, 2_000, 4_000]) == [0, 2_000, 0, 2_000, 0]


@pytest.mark.parametrize("limit", [WALL, PAUSES], ids=["wall", "pauses"])
def test_a_clock_that_goes_back_an_hour_shuts_nobody_out_for_longer_than_the_limit_says(limit: Limit) -> None:
    ahead = Level(NOW + 3_600_000 + limit.most, NOW + 3_600_000)
    assert wait_of(level_now(ahead, limit, NOW), limit, NOW) <= 60_000


def test_huge_levels_from_other_settings_do_not_overflow() -> None:
    tiny = Limit(1, 1, 1, 86_400_000)
    assert wait_of(Level(NOW + 10_000_000, NOW), tiny, NOW) == 86_400_000


def test_what_is_given_back_can_be_used_again() -> None:
    level = Level(NOW, 0)
    for _ in range(5):
        level = counted(level, WALL, NOW)
    assert attempts(level, WALL, NOW) == 5
    back = given_back(level, WALL, 2)
    assert (attempts(back, WALL, NOW), wait_of(back, WALL, NOW)) == (3, 0)
    assert attempts(given_back(level, WALL, 50), WALL, NOW) == 0


def test_a_list_shows_the_wait_that_the_next_attempt_has() -> None:
    assert shown_wait(Held(Kind.ADDRESS, "x", 300_000, 5), POLICY) == 10_000
    assert shown_wait(Held(Kind.BROWSER, "x", 290_000, 5), POLICY) == 0
    assert shown_wait(Held(Kind.ACCOUNT, "x", 600_000, 400), POLICY) == 600
    assert shown_wait(Held(Kind.ACCOUNT, "x", 540_001, 400), POLICY) == 600
    assert shown_wait(Held(Kind.ACCOUNT, "x", 540_000, 400), POLICY) == 0


# -- who is one caller
@pytest.mark.parametrize(
    ("address", "expected"),
    table(
        {
            "IPv4": ("192.0.2.7", "192.0.2.7/32"),
            "IPv6 by its network": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            "IPv6 in another spelling": ("2001:0DB8:0001:0002::", "2001:db8:1:2::/64"),
            "IPv4 inside of IPv6": ("::ffff:192.0.2.7", "192.0.2.7/32"),
            "IPv4 inside of IPv6 in hexadecimal": ("::FFFF:c000:207", "192.0.2.7/32"),
            "an address of one link": ("fe80::1%eth0", "fe80::/64"),
            "a unix socket": ("", ""),
            "no address": ("unknown", "unknown"),
        }
    ),
)
def test_addresses_of_one_caller_have_one_prefix(address: str, expected: str) -> None:
    assert prefix_of(address, POLICY) == expected


def test_the_operator_says_how_much_of_an_address_is_one_caller() -> None:
    wide = Policy(ipv4_prefix=24, ipv6_prefix=48)
    assert prefix_of("192.0.2.7", wide) == "192.0.2.0/24"
    assert prefix_of("2001:db8:1:2::1", wide) == "2001:db8:1::/48"


@pytest.mark.parametrize(
    ("address", "expected"),
    table(
        {
            "IPv4": ("192.0.2.7", ["192.0.2.7/32"]),
            "IPv4 inside of IPv6": ("::ffff:192.0.2.7", ["192.0.2.7/32"]),
            "IPv6": ("2001:db8:1:2::7", ["2001:db8:1:2::/64", "2001:db8:1::/48"]),
            "an address of one link": ("fe80::1%eth0", ["fe80::/64", "fe80::/48"]),
            "a unix socket": ("", [""]),
        }
    ),
)
def test_a_customers_whole_ipv6_allocation_is_counted_together_too(address: str, expected: list[str]) -> None:
    assert networks_of(address, POLICY) == expected
    kinds_there = [Kind.ADDRESS, Kind.NETWORK][: len(expected)]
    assert [(one.kind, one.names[0]) for one in door_counters(address, None, POLICY)] == list(
        zip(kinds_there, expected, strict=True)
    )


@pytest.mark.parametrize("bits", [48, 32])
def test_a_caller_who_is_as_wide_already_is_counted_once(bits: int) -> None:
    assert len(networks_of("2001:db8:1:2::7", Policy(ipv6_prefix=bits))) == 1


def test_an_allocation_has_room_for_eight_callers() -> None:
    assert POLICY.network == POLICY.limit_of(Kind.NETWORK) == Limit(240, 1_250)
    assert Policy(Limit(1, 1)).network == Limit(8, 1)


# -- which counters
def kinds(counters: list[Counter]) -> list[Kind]:
    return [one.kind for one in counters]


def test_a_stranger_is_counted_by_address_and_at_the_account() -> None:
    assert kinds(door_counters("192.0.2.7", None, POLICY)) == [Kind.ADDRESS]
    assert kinds(account_counters("a", "192.0.2.7", None, is_known=False, policy=POLICY)) == [
        Kind.ACCOUNT_AT_ADDRESS,
        Kind.ACCOUNT,
    ]


def test_a_browser_that_is_known_is_counted_by_itself_alone() -> None:
    """Nothing that others do, from wherever they do it, moves these counters."""
    counters = [
        *door_counters("192.0.2.7", DEVICE, POLICY),
        *account_counters("a", "192.0.2.7", DEVICE, is_known=True, policy=POLICY),
    ]
    assert kinds(counters) == [Kind.BROWSER, Kind.DEVICE]
    assert all(DEVICE.id.hex() in one.names for one in counters)


def test_a_device_cookie_gives_no_credit_at_other_accounts() -> None:
    """Else who has one account could make cookies and guess at all others past the limit of his address."""
    counters = account_counters("b", "192.0.2.7", DEVICE, is_known=False, policy=POLICY)
    assert kinds(counters) == [Kind.ADDRESS, Kind.ACCOUNT_AT_ADDRESS, Kind.ACCOUNT]
    assert counters[:1] == door_counters("192.0.2.7", None, POLICY)
    over_ipv6 = account_counters("b", "2001:db8:1:2::7", DEVICE, is_known=False, policy=POLICY)
    assert over_ipv6[:2] == door_counters("2001:db8:1:2::7", None, POLICY)


def test_a_known_account_without_a_device_is_a_contradiction_that_gives_no_credit() -> None:
    counters = account_counters("a", "192.0.2.7", None, is_known=True, policy=POLICY)
    assert kinds(counters) == [Kind.ACCOUNT_AT_ADDRESS, Kind.ACCOUNT]


def test_a_success_clears_what_is_its_own_and_gives_others_no_more_than_its_one() -> None:
    does = {kind: Counter(kind, ("x",), WALL).on_success for kind in Kind}
    assert does == {
        Kind.ADDRESS: Success.GIVES_BACK,
        Kind.NETWORK: Success.GIVES_BACK,
        Kind.BROWSER: Success.GIVES_BACK,
        Kind.ACCOUNT: Success.LOWERS,
        Kind.ACCOUNT_AT_ADDRESS: Success.CLEARS,
        Kind.DEVICE: Success.CLEARS,
    }
