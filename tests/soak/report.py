"""What a soak has to say at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.soak.watch import Look


@dataclass
class Report:
    """``outcomes``: (who, plan, outcome) → how often. ``problems``: what must not be, in words; none is what is wanted."""

    seed: int
    seconds: float
    outcomes: Counter[tuple[str, str, str]]
    problems: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    """After each round, when all is quiet."""
    quiet: list[float] = field(default_factory=list)
    """Seconds until it was."""
    idle: list[float] = field(default_factory=list)
    """Shares of a core."""

    def add(self, look: Look, quiet: float, idle: float) -> None:
        """A round is over."""
        self.looks.append(look)
        self.quiet.append(quiet)
        self.idle.append(idle)

    @property
    def succeeded(self) -> int:
        """Answers of the backend that well-behaved clients got whole."""
        return sum(count for (who, _, got), count in self.outcomes.items() if (who, got) == ("guest", "whole"))

    def __str__(self) -> str:
        lines = [f"{self.seconds:.0f} s of load, seed {self.seed}, {self.outcomes.total()} turns"]
        lines += [f"  {who:9}{plan:24}{self._counts(who, plan)}" for who, plan in self._rows()]
        for number, (look, quiet, idle) in enumerate(zip(self.looks, self.quiet, self.idle, strict=True), 1):
            lines.append(f"  round {number}: quiet after {quiet:.1f} s, {idle:.1%} of a core; {look}")
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str]]:
        return sorted({(who, plan) for who, plan, _ in self.outcomes})

    def _counts(self, who: str, plan: str) -> str:
        found = {
            got: count for (one, other, got), count in sorted(self.outcomes.items()) if (one, other) == (who, plan)
        }
        return ", ".join(f"{got} {count}" for got, count in found.items())
