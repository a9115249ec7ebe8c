"""Every conduct of the backend, and what a well-behaved client may get of it.

``whole``: the backend's answer, every byte of it; a number: the gateway's own answer with that status; ``cut``: an answer
that visibly broke off; ``nothing``: the connection ended without one. What is not named must not happen.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.soak import fair, foul
from tests.soak.backend import Act

KIB = 1024
_WHOLE = frozenset({"whole"})
_NO_ANSWER = frozenset({"502"})
_BROKEN = frozenset({"502", "cut", "nothing"})
"""What was already passed on is cut; a gateway that notices before may still say 502."""
_SLOW = frozenset({"504", "cut", "nothing"})
_EARLY = frozenset({"whole", "502", "cut", "nothing"})
"""The gateway ends the connection of a client that is still sending: its system may lose what was received."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``sizes``: of the answer's body, from the first up to the second; ``uploads``: of the request's, likewise."""

    act: Act
    may: frozenset[str]
    weight: int = 2
    sizes: tuple[int, int] = (1, 60 * KIB)
    uploads: tuple[int, int] | None = None
    """None: with and without a body; then there is one of up to 300 KiB, in one third of the requests."""
    route: str = "calm"
    """``calm`` has patience, so that a slow machine excuses nothing; ``rough`` has a second; ``dead`` has no backend."""
    head: bool = False
    """May it be asked with HEAD?"""


PLANS: dict[str, Plan] = {
    "plain": Plan(fair.plain, _WHOLE, 30, head=True),
    "chunked": Plan(fair.chunked, _WHOLE, 8),
    "until_close": Plan(fair.until_close, _WHOLE),
    "drip": Plan(fair.drip, _WHOLE, sizes=(1, 2000)),
    "huge": Plan(fair.huge, _WHOLE, 1, sizes=(1024 * KIB, 6 * 1024 * KIB)),
    "interim": Plan(fair.interim, _WHOLE, 4),
    "no_content": Plan(fair.no_content, _WHOLE, 3, sizes=(0, 0)),
    "closes_later": Plan(fair.closes_later, _WHOLE, 6),
    "says_close": Plan(fair.says_close, _WHOLE),
    "slow_reader": Plan(fair.slow_reader, _WHOLE, uploads=(200 * KIB, 1500 * KIB)),
    "ends_at_once": Plan(foul.ends_at_once, _NO_ANSWER, 3),
    "ends_in_head": Plan(foul.ends_in_head, _NO_ANSWER),
    "ends_after_head": Plan(foul.ends_after_head, _BROKEN, 3),
    "ends_in_body": Plan(foul.ends_in_body, _BROKEN, 4, sizes=(1, 300 * KIB)),
    "ends_in_chunks": Plan(foul.ends_in_chunks, _BROKEN, 4),
    "resets_before_close": Plan(foul.resets_before_close, _BROKEN),
    "says_too_much": Plan(foul.says_too_much, _WHOLE, 4, sizes=(0, 8 * KIB), head=True),
    "says_too_much_late": Plan(foul.says_too_much_late, _WHOLE),
    "body_behind_no_body": Plan(foul.body_behind_no_body, _WHOLE, 3, sizes=(0, 0)),
    "too_much_behind_chunks": Plan(foul.too_much_behind_chunks, _WHOLE, 3, sizes=(1, 8 * KIB)),
    "bad_chunks": Plan(foul.bad_chunks, _BROKEN, 4),
    "bad_head": Plan(foul.bad_head, _NO_ANSWER, 5, sizes=(0, 0)),
    "endless_head": Plan(foul.endless_head, _NO_ANSWER, 1),
    "endless_framing": Plan(foul.endless_framing, _BROKEN, 1, sizes=(3, 3)),
    "stalls_before": Plan(foul.stalls_before, frozenset({"504"}), route="rough"),
    "stalls_after_head": Plan(foul.stalls_after_head, _SLOW, route="rough"),
    "stalls_in_body": Plan(foul.stalls_in_body, _SLOW, route="rough"),
    "never_reads": Plan(foul.never_reads, _SLOW, 1, route="rough", uploads=(1, 24 * 1024 * KIB)),
    "answers_first": Plan(foul.answers_first, _EARLY, sizes=(1, 8 * KIB), uploads=(1, 3 * 1024 * KIB)),
    "answers_first_and_ends": Plan(
        foul.answers_first_and_ends, _EARLY, sizes=(1, 8 * KIB), uploads=(1, 3 * 1024 * KIB)
    ),
    "nobody_there": Plan(fair.plain, _NO_ANSWER, 3, route="dead"),
    "ends_in_upload": Plan(foul.ends_in_upload, _BROKEN, uploads=(1, 3 * 1024 * KIB)),
}
ACTS = {name: plan.act for name, plan in PLANS.items()}
NAMES = list(PLANS)
WEIGHTS = [plan.weight for plan in PLANS.values()]
