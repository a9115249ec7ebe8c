"""What access tokens cost: ``.venv/bin/python -m bench.tokens [--count 2000] [--algorithm EdDSA …]``.

CPU microseconds of one process, the best of five rounds, for an ordinary user with two groups: a token that this process has
verified before (its text made anew each time, as from a request), one that is new, the refusal of one whose signature is
wrong, and issuing one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.access_tokens import AccessTokens
from gateway.core.identity import Identity
from gateway.core.jwt import ALGORITHMS, Algorithm, BadToken
from gateway.core.signing_keys import SigningKeys, new_signing_key

_ROUNDS = 5
_ALICE = Identity("0123456789abcdef", "alice", "Alice Liddell", "alice@example.org", "user", ("sales", "staff"), "file")


class Lab:
    """Tokens of one algorithm: ``texts`` are good, and no two are the same."""

    def __init__(self, algorithm: Algorithm, count: int) -> None:
        keys = SigningKeys([new_signing_key(algorithm, "active", "")])
        self._keys = keys
        self.tokens = self.fresh()
        self.texts = [self.issue() for _ in range(count)]

    def fresh(self) -> AccessTokens:
        """One that has verified nothing yet."""
        site = "https://www.example.org"
        return AccessTokens(lambda: self._keys, site, site, clock=time.time, entropy=os.urandom)

    def issue(self) -> str:
        """Another one for Alice."""
        return self.tokens.issue(_ALICE, "s" * 22, client_id="page", ends_at=float("inf"))[0]


def _best(run: Callable[[], Callable[[Any], Any]], arguments: Sequence[Any]) -> float:
    """CPU microseconds of a call; ``run`` makes what is called, anew for each round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        call = run()
        started = time.process_time()
        for argument in arguments:
            call(argument)
        best = min(best, (time.process_time() - started) / len(arguments))
    return best * 1e6


def _refused(made: AccessTokens) -> Callable[[str], None]:
    def ask(text: str) -> None:
        try:
            made.verify(text)
        except BadToken:
            return
        raise AssertionError("a wrong signature was taken")

    return ask


def measure(algorithm: Algorithm, count: int) -> dict[str, float]:
    """What → CPU microseconds."""
    lab = Lab(algorithm, count)
    known, once = lab.fresh(), lab.texts[0].encode()
    known.verify(lab.texts[0])
    wrong = [f"{text.rpartition('.')[0]}.{lab.texts[0].rpartition('.')[2]}" for text in lab.texts[1:]]
    return {
        "known": _best(lambda: lambda raw: known.verify(raw.decode("latin-1")), [once] * (10 * count)),
        "new": _best(lambda: lab.fresh().verify, lab.texts),
        "wrong": _best(lambda: _refused(lab.fresh()), wrong),
        "issued": _best(lambda: lambda _: lab.issue(), lab.texts),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--algorithm", choices=ALGORITHMS, action="append")
    given = parser.parse_args()
    print(f"{'CPU µs':<8}{'known':>8}{'new':>8}{'wrong':>8}{'issued':>8}")
    for algorithm in given.algorithm or ALGORITHMS:
        found = measure(algorithm, max(given.count, 2))
        print(f"{algorithm:<8}" + "".join(f"{value:8.1f}" for value in found.values()), flush=True)


if __name__ == "__main__":
    main()
